//! The kind of a failure, which a script reads from the exit code or from `--json`.
//!
//! An error without a kind exits with 1. `docs/cli.md` and `nebula --help` list the codes; a test
//! compares them with [`FailureKind::ALL`].

use std::fmt;
use std::process::ExitCode;

use nebula_runtime::Fault;
use serde_json::Value;

use crate::hints::{IMPORT_HINT, INITIALISE_HINT, PIPELINE_HINT, PURITY_HINT, TOKEN_HINT};

/// The part of a problem document's type before its name.
const PROBLEM_PREFIX: &str = "urn:nebula:problem:";

/// The kind of a failure. Each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No other kind fits: a file can't be read, a build fails, recomputed answers disagree, a goal of
    /// `nebula bench` isn't held.
    Failed = 1,
    /// The command line is wrong: its arguments don't parse, exclude each other, or don't fit what
    /// they are given for. clap exits with this code too.
    Usage = 2,
    /// The function ran and returned its own error.
    OwnError = 3,
    /// The input doesn't fit the function, which didn't run.
    BadInput = 4,
    /// The function ran and gave no answer: it trapped or reached a limit.
    Trap = 5,
    /// No server answers.
    NoServer = 6,
    /// The server refuses: the token, the name, the component or the change.
    Refused = 7,
    /// The server has no room now; the same request may succeed later.
    Busy = 8,
}

impl FailureKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 8] = [
        Self::Failed,
        Self::Usage,
        Self::OwnError,
        Self::BadInput,
        Self::Trap,
        Self::NoServer,
        Self::Refused,
        Self::Busy,
    ];

    /// Returns the exit code.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Returns the name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::OwnError => "own-error",
            Self::BadInput => "bad-input",
            Self::Trap => "trap",
            Self::NoServer => "no-server",
            Self::Refused => "refused",
            Self::Busy => "busy",
        }
    }

    /// Returns the meaning for `--help`.
    fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "any other failure; `verify`, `replay`, `doctor` and `bench`: a check failed",
            Self::Usage => "the command line is wrong",
            Self::OwnError => "the function returned its own error",
            Self::BadInput => "the input doesn't fit the function",
            Self::Trap => "the function trapped or reached a limit",
            Self::NoServer => "no server answers",
            Self::Refused => "the server refused: the token, the name, the component or the change",
            Self::Busy => "the server is overloaded: try again",
        }
    }

    /// Returns the kind of a server's answer, by the name of its problem, else by its status.
    fn of_answer(problem: Option<&str>, status: u16) -> Self {
        match problem {
            Some(
                "trap" | "resource-limit" | "output-too-large" | "invalid-answer" | "function-failed"
                | "deadline-exceeded" | "pipeline-limit" | "step-refused",
            ) => return Self::Trap,
            Some("not-a-component" | "bad-name" | "bad-host" | "bad-limit" | "bad-expiry") => {
                return Self::Refused;
            }
            _ => {}
        }
        match status {
            400 | 413 | 415 => Self::BadInput,
            429 | 503 => Self::Busy,
            400..500 | 507 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl From<Fault> for FailureKind {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Caller => Self::BadInput,
            Fault::Guest => Self::Trap,
            Fault::Load => Self::Busy,
            Fault::Host => Self::Failed,
        }
    }
}

impl From<FailureKind> for ExitCode {
    fn from(kind: FailureKind) -> Self {
        Self::from(kind.code())
    }
}

/// Returns the table of exit codes for `--help`.
pub(crate) fn exit_codes_help() -> String {
    let mut text = "Exit codes:\n  0  done\n".to_owned();
    for kind in FailureKind::ALL {
        text.push_str(&format!("  {}  {}\n", kind.code(), kind.meaning()));
    }
    text.push_str("\nWith `--json` the last line on stderr describes a failure as one JSON object.");
    text
}

/// A failure of a known kind: alone, or as the context of its cause.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The problem document of the server's answer.
    pub(crate) problem: Option<Value>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, problem: None }
    }

    /// Creates the failure of a command line that is wrong, for what clap can't check.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message).with_hint(hint)
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Creates the failure of a server's answer with an error status.
    pub(crate) fn of_answer(status: u16, reason: &str, document: Option<Value>) -> Self {
        let member = |name: &str| document.as_ref().and_then(|document| document[name].as_str());
        let mut lines = vec![member("detail").unwrap_or(reason).to_owned()];
        let frames = document.as_ref().and_then(|document| document["backtrace"].as_array());
        for frame in frames.into_iter().flatten().filter_map(|frame| frame.as_str()) {
            lines.push(format!("    at {frame}"));
        }
        let name = document.as_ref().and_then(problem_name);
        let kind = FailureKind::of_answer(name, status);
        let hint = name.and_then(hint).map(str::to_owned);
        Self { kind, message: lines.join("\n"), hint, problem: document }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Returns whether a body is a problem document of the server, not an answer of the function.
pub(crate) fn problem_document(media_type: &str, body: &[u8]) -> Option<Value> {
    if media_type != "application/problem+json" {
        return None;
    }
    let document: Value = serde_json::from_slice(body).ok()?;
    let is_ours = document["type"].as_str().is_some_and(|kind| kind.starts_with(PROBLEM_PREFIX));
    is_ours.then_some(document)
}

/// Returns the name of a problem of the server.
pub(crate) fn problem_name(document: &Value) -> Option<&str> {
    document["type"].as_str()?.strip_prefix(PROBLEM_PREFIX)
}

/// Returns the hint for a server's problem.
fn hint(problem: &str) -> Option<&'static str> {
    Some(match problem {
        "unauthorized" => TOKEN_HINT,
        "token-expired" => "`nebula token create`, with another token, creates a new one",
        "insufficient-scope" => {
            "give a token with that scope; `nebula token create NAME --scope SCOPE`, with an admin's token, creates one"
        }
        "token-exists" => "`nebula token list` shows the names; `nebula token revoke NAME` frees one",
        "unknown-token" => "`nebula token list` shows the names",
        "unknown-function" => "`nebula list` shows what is deployed",
        "unknown-version" => "`nebula inspect` shows its versions",
        "type-mismatch" | "invalid-json" => "`nebula inspect` shows the function's signature",
        "deadline-exceeded" => "deploy it with a larger `--deadline-ms`, or give it less to do",
        "resource-limit" => "deploy it with a larger `--memory-bytes-max`, or give it less to do",
        "initialisation-failed" => INITIALISE_HINT,
        "not-a-component" => "build one with `nebula build`",
        "invalid-pipeline" => PIPELINE_HINT,
        "breaks-pipelines" => {
            "change the pipelines too, or have them stay with the version that they call: `--keep-pipelines`"
        }
        "in-use" => "remove the pipelines first",
        "import-conflicts" => {
            "an import adds functions and changes none: remove these on the server, or export others by name"
        }
        "unknown-import" => "deploy the function that it imports first, with `nebula deploy`",
        "invalid-import" => IMPORT_HINT,
        "refused" => PURITY_HINT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_and_a_name_of_its_own() {
        let codes: std::collections::BTreeSet<_> = FailureKind::ALL.map(FailureKind::code).into();
        let names: std::collections::BTreeSet<_> = FailureKind::ALL.map(FailureKind::name).into();
        assert_eq!((codes.len(), names.len()), (FailureKind::ALL.len(), FailureKind::ALL.len()));
        assert!(!codes.contains(&0), "0 is success");
    }

    #[test]
    fn the_documented_table_is_the_one_of_the_code() {
        let documented = include_str!("../../../docs/cli.md");
        for kind in FailureKind::ALL {
            let row = format!("| {} | `{}` |", kind.code(), kind.name());
            assert!(documented.contains(&row), "docs/cli.md lacks `{row}`");
        }
    }

    #[test]
    fn answers_have_the_kind_of_their_problem() {
        let kind = |name: &str, status| {
            let document = serde_json::json!({ "type": format!("{PROBLEM_PREFIX}{name}"), "detail": "d" });
            Failure::of_answer(status, "", Some(document)).kind
        };
        for (name, status, expected) in [
            ("type-mismatch", 400, FailureKind::BadInput),
            ("unsupported-media-type", 415, FailureKind::BadInput),
            ("body-too-large", 413, FailureKind::BadInput),
            ("trap", 502, FailureKind::Trap),
            ("deadline-exceeded", 504, FailureKind::Trap),
            ("unknown-function", 404, FailureKind::Refused),
            ("unauthorized", 401, FailureKind::Refused),
            ("token-expired", 401, FailureKind::Refused),
            ("insufficient-scope", 403, FailureKind::Refused),
            ("bad-expiry", 400, FailureKind::Refused),
            ("breaks-pipelines", 409, FailureKind::Refused),
            ("storage-full", 507, FailureKind::Refused),
            ("overloaded", 503, FailureKind::Busy),
            ("internal", 500, FailureKind::Failed),
        ] {
            assert_eq!(kind(name, status), expected, "{name}");
        }
        assert_eq!(Failure::of_answer(502, "Bad Gateway", None).kind, FailureKind::Failed);
    }
}
