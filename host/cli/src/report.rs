//! Output: errors with cause and hint on stderr, notes on stderr, JSON documents on stdout.

use std::fmt;

/// An error with a hint on what to do about it.
#[derive(Debug)]
pub(crate) struct HintedError {
    message: String,
    hint: String,
}

impl fmt::Display for HintedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for HintedError {}

/// Returns an error with a hint, to be used alone or as the context of another error.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> HintedError {
    HintedError { message: message.into(), hint: hint.into() }
}

/// The hint for a component whose initialiser fails.
pub(crate) const INITIALISE_HINT: &str =
    "docs/writing-functions.md describes what `wizer-initialize` may do, under \"Work done once\"";

/// The hint for imported functions that can't be linked.
pub(crate) const IMPORT_HINT: &str = "docs/pipelines.md describes what can be imported, under \"Composition by typed import\"; `nebula inspect NAME` shows a \
     function's types";

/// Prints an error to stderr, with its causes and its hint.
pub(crate) fn error(error: &anyhow::Error) {
    let (red, bold, reset) =
        (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Style::new().bold(), anstyle::Reset);
    anstream::eprintln!("{red}error:{reset} {error}");
    for cause in error.chain().skip(1) {
        anstream::eprintln!("  caused by: {cause}");
    }
    if let Some(HintedError { hint, .. }) = error.downcast_ref() {
        anstream::eprintln!("\n{bold}hint:{reset} {hint}");
    }
}

/// Prints a line to stderr.
pub(crate) fn note(line: impl fmt::Display) {
    anstream::eprintln!("{line}");
}

/// Prints a JSON document to stdout.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
