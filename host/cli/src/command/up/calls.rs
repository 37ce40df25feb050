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
//! They wait in the queue of the log, so that serving threads never wait for the terminal.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use nebula_http::{
    ObservedAnswer, ObservedCall, ObservedProblem, ObservedSource, Observer, Plane, Server, endpoints,
};
use nebula_runtime::id::FunctionName;
use nebula_runtime::{LogEntry, Runtime};

use crate::logging::LineQueue;

/// Prints every call of the server from now on, and what functions print.
pub(super) fn print_calls(runtime: &Runtime, server: &mut Server, lines: &LineQueue) {
    let output = lines.clone();
    runtime.observe_logs(Box::new(move |function, entry| {
        if !entry.output.is_empty() {
            output.push(printed(function, entry));
        }
    }));
    server.observe(Arc::new(CallPrinter(lines.clone())));
}

/// Prints the calls, those of the console included.
struct CallPrinter(LineQueue);

impl Observer for CallPrinter {
    fn wants(&self, _: Plane, status: Option<StatusCode>) -> bool {
        status.is_some()
    }

    fn observe(&self, ObservedCall { plane, request, took, answer, .. }: &ObservedCall) {
        let target = request.target.as_ref().map_or("", |target| target.as_str());
        if let Some(answer) = answer
            && is_call(*plane, target)
        {
            self.0.push(line(&format!("{} {target}", request.method), *took, answer));
        }
    }
}

/// Returns whether a request makes a call.
fn is_call(plane: Plane, target: &str) -> bool {
    match plane {
        Plane::Data => !matches!(target, "/healthz" | "/readyz"),
        Plane::Control => {
            let path = target.split('?').next().unwrap_or(target);
            let parts = endpoints::CALL.path.split_once("{name}");
            parts.is_some_and(|(before, after)| path.starts_with(before) && path.ends_with(after))
        }
    }
}

/// Returns what a function printed during a call, each line with the function's name.
fn printed(function: &FunctionName, entry: &LogEntry) -> String {
    let lines = entry.output.lines().map(|line| format!("{function} | {}", printable(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the line of a call, with the function's stack below it if it trapped.
fn line(
    request: &str,
    took: Duration,
    ObservedAnswer { status, source, problem, .. }: &ObservedAnswer,
) -> String {
    let mut text = format!("{request} {} {}", status.as_u16(), shown(took));
    match source {
        Some(ObservedSource::Ran) => text.push_str(" run"),
        Some(ObservedSource::Hit) => text.push_str(" hit"),
        Some(ObservedSource::Collapsed) => text.push_str(" shared"),
        None => {}
    }
    if let Some(ObservedProblem { detail, backtrace, kind: _ }) = problem {
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
    fn calls_are_told_from_other_requests() {
        for (plane, target, expected) in [
            (Plane::Data, "/f/hello?x=1", true),
            (Plane::Data, "/healthz", false),
            (Plane::Control, "/api/v1/functions/hello/call", true),
            (Plane::Control, "/api/v1/functions/hello@v2/call?x=1", true),
            (Plane::Control, "/api/v1/functions/hello", false),
            (Plane::Control, "/api/v1/session", false),
        ] {
            assert_eq!(is_call(plane, target), expected, "{target}");
        }
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
