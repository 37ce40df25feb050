//! Output: data on stdout; errors with cause and hint, and notes, on stderr.
//!
//! Invariants:
//! * No command panics because its output can't be written. Besides this module, only a
//!   server's log (`logging`) writes to stdout or stderr; clippy refuses `println`.
//! * A reader that has enough, such as `head`, isn't a failure: the rest is dropped, and the command
//!   exits as it would have. Any other failed write to stdout, such as to a full disk, is an error.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use serde_json::json;

use crate::failure::{Failure, FailureKind};

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

/// Returns the kind of an error.
pub(crate) fn kind(error: &anyhow::Error) -> FailureKind {
    error.downcast_ref().map_or(FailureKind::Failed, |failure: &Failure| failure.kind)
}

/// Returns an error's hint. That of a command has precedence over that of a kind of failure.
pub(crate) fn hint(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref() {
        Some(HintedError { hint, .. }) => Some(hint),
        None => error.downcast_ref().and_then(|failure: &Failure| failure.hint.as_deref()),
    }
}

/// Prints an error to stderr, with its causes and its hint.
pub(crate) fn error(error: &anyhow::Error) {
    let (red, bold, reset) =
        (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Style::new().bold(), anstyle::Reset);
    let mut text = format!("{red}error:{reset} {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(hint) = hint(error) {
        text.push_str(&format!("\n{bold}hint:{reset} {hint}\n"));
    }
    to_stderr(text);
}

/// Prints an error to stderr as one line with a JSON object.
pub(crate) fn error_json(error: &anyhow::Error) {
    let kind = kind(error);
    let causes: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
    let problem = error.downcast_ref().and_then(|failure: &Failure| failure.problem.as_ref());
    let document = json!({
        "error": {
            "kind": kind.name(),
            "exit": kind.code(),
            "message": error.to_string(),
            "causes": causes,
            "hint": hint(error),
            "problem": problem,
        }
    });
    to_stderr(format!("{document}\n"));
}

/// Prints a line to stderr.
pub(crate) fn note(line: impl fmt::Display) {
    to_stderr(format!("{line}\n"));
}

/// Writes to stderr. Ignores a failure, because there is no other place to report it.
fn to_stderr(text: String) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Prints bytes to stdout.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns whether stdout still has a reader, if it is a pipe.
pub(crate) fn has_reader() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        Ok(_) => !polled[0].revents().contains(PollFlags::ERR),
        Err(_) => true,
    }
}

/// Prints a text to stdout.
pub(crate) fn text(text: impl fmt::Display) -> anyhow::Result<()> {
    bytes(text.to_string().as_bytes())
}

/// Prints a line to stdout.
pub(crate) fn line(line: impl fmt::Display) -> anyhow::Result<()> {
    bytes(format!("{line}\n").as_bytes())
}

/// Prints a JSON document to stdout.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}
