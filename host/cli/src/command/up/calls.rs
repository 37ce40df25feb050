//! The lines that `nebula up` prints about calls: each call, and what functions print.
//!
//! ```text
//! hello | some output
//! POST /f/hello 200 1.2 ms run
//! POST /f/hello 200 0.1 ms hit
//! POST /f/hello 502 0.9 ms run: the function trapped: panicked at src/lib.rs:5:9: no
//!     at hello::handle
//! ```
//!
//! Serving threads never wait for the terminal: a thread of its own prints the lines, and lines that
//! come faster than it can print are counted instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use nebula_http::{ObservedCall, ObservedProblem, ObservedSource, Server};
use nebula_runtime::id::FunctionName;
use nebula_runtime::{LogEntry, Runtime};

use crate::report::note;

/// The most calls that wait to be printed.
const WAITING_MAX: usize = 1024;

/// Prints every call of the server from now on, and what functions print. Turns the cached fast path
/// off.
pub(super) fn print_calls(runtime: &Runtime, server: &mut Server) -> anyhow::Result<()> {
    let (sender, waiting) = sync_channel(WAITING_MAX);
    let lines = Lines { sender, skipped: Arc::default() };
    let skipped = Arc::clone(&lines.skipped);
    std::thread::Builder::new()
        .name("nebula-calls".to_owned())
        .spawn(move || print(&waiting, &skipped))
        .context("cannot start a thread")?;
    let output = lines.clone();
    runtime.observe_logs(Box::new(move |function, entry| {
        if !entry.output.is_empty() {
            output.push(printed(function, entry));
        }
    }));
    server.observe(Arc::new(move |call| {
        if !matches!(call.target.as_str(), "/healthz" | "/readyz") {
            lines.push(line(call));
        }
    }));
    Ok(())
}

/// The lines that wait to be printed.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<String>,
    skipped: Arc<AtomicU64>,
}

impl Lines {
    fn push(&self, text: String) {
        if self.sender.try_send(text).is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn print(waiting: &Receiver<String>, skipped: &AtomicU64) {
    for text in waiting {
        note(text);
        let skipped = skipped.swap(0, Ordering::Relaxed);
        if skipped > 0 {
            note(format!("({skipped} more calls or outputs, too many to print)"));
        }
    }
}

/// Returns what a function printed during a call, each line with the function's name.
fn printed(function: &FunctionName, entry: &LogEntry) -> String {
    let lines = entry.output.lines().map(|line| format!("{function} | {}", printable(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the line of a call, with the function's stack below it if it trapped.
fn line(call: &ObservedCall) -> String {
    let ObservedCall { method, target, status, took, source, problem } = call;
    let mut text = format!("{method} {target} {} {}", status.as_u16(), shown(*took));
    match source {
        Some(ObservedSource::Ran) => text.push_str(" run"),
        Some(ObservedSource::Hit) => text.push_str(" hit"),
        Some(ObservedSource::Collapsed) => text.push_str(" shared"),
        None => {}
    }
    if let Some(ObservedProblem { detail, backtrace }) = problem {
        text.push_str(": ");
        text.push_str(&printable(detail));
        for frame in backtrace {
            text.push_str("\n    at ");
            text.push_str(&printable(frame));
        }
    }
    text
}

fn shown(took: Duration) -> String {
    match took {
        took if took < Duration::from_secs(1) => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
        took => format!("{:.2} s", took.as_secs_f64()),
    }
}

/// Returns the text without characters that control the terminal: callers choose parts of it.
fn printable(text: &str) -> String {
    let shown = |character: char| match character {
        '\t' => "\t".to_owned(),
        control if control.is_control() => control.escape_default().to_string(),
        other => other.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_cannot_control_the_terminal() {
        assert_eq!(printable("a\tä \u{1b}[31m\r\u{9b}x"), "a\tä \\u{1b}[31m\\r\\u{9b}x");
    }

    #[test]
    fn times_are_short() {
        let shown = |us| shown(Duration::from_micros(us));
        assert_eq!(
            [shown(40), shown(1_234), shown(999_000), shown(2_345_678)],
            ["0.0 ms", "1.2 ms", "999.0 ms", "2.35 s"]
        );
    }
}
