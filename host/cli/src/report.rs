//! How errors are said: what failed, why, and what to do next.

use std::fmt;

/// An error with something to do about it.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// An error of `message`, with `hint`; by itself or as the context of another.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Hinted {
    Hinted { message: message.into(), hint: hint.into() }
}

/// What to do about a component that can't be initialised.
pub(crate) const INITIALISE_HINT: &str =
    "docs/writing-functions.md says what `wizer-initialize` may do, under \"Work done once\"";

/// What to do about imports of functions that can't be linked.
pub(crate) const IMPORT_HINT: &str = "docs/pipelines.md says what can be imported, under \"Composition by typed import\"; `nebula inspect NAME` shows a \
     function's types";

/// Says an error on stderr.
pub(crate) fn error(error: &anyhow::Error) {
    let (red, bold, reset) =
        (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Style::new().bold(), anstyle::Reset);
    anstream::eprintln!("{red}error:{reset} {error}");
    for cause in error.chain().skip(1) {
        anstream::eprintln!("  caused by: {cause}");
    }
    if let Some(Hinted { hint, .. }) = error.downcast_ref() {
        anstream::eprintln!("\n{bold}hint:{reset} {hint}");
    }
}

/// Says a line of talk on stderr.
pub(crate) fn note(line: impl fmt::Display) {
    anstream::eprintln!("{line}");
}

/// Writes a JSON document to stdout.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
