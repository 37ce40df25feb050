//! Calls: the log of the last ones, and one explained step by step.

use nebula_runtime as runtime;
use nebula_runtime::id::{FunctionName, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::{NameSchema, VersionSchema};

/// The log of a function, or of all.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionLogs {
    /// The last calls that printed something or failed, oldest first.
    pub calls: Vec<LoggedCall>,
}

/// A call that printed something or failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LoggedCall {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub function: FunctionName,
    /// The time at which it ended, microseconds since the Unix epoch. No two calls have the same.
    pub at_unix_us: u64,
    /// The version that ran.
    #[schema(value_type = VersionSchema)]
    pub version: Version,
    /// `ok`, or the error.
    pub outcome: String,
    /// Duration, microseconds.
    pub duration_us: u64,
    /// The text that it printed.
    pub output: String,
    /// The id of the request that made the call, if one did: `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The stack of a trap, one line per frame, innermost first; absent for any other call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

/// A call, and each step of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallExplanation {
    /// `ok`, `error` (the function's own), or `failed`.
    #[schema(pattern = "^(ok|error|failed)$")]
    pub outcome: String,
    /// The answer or the error: JSON, text, or the number of bytes and their media type.
    pub output: String,
    /// From the call's beginning to its end, microseconds.
    pub took_us: u64,
    /// The calls of a pipeline in the order in which they ended; the first thousand.
    pub steps: Vec<StepExplanation>,
}

/// One call of a pipeline's step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepExplanation {
    /// The step's label.
    pub step: String,
    /// The source of the result: `hit` (memory), `disk`, or `miss` (the function ran).
    #[schema(pattern = "^(hit|disk|miss)$")]
    pub cache: String,
    /// Duration on the wall clock, microseconds.
    pub took_us: u64,
    /// The step's input: JSON, text, or the number of bytes and their media type.
    pub input: String,
    /// The step's output, in the same form.
    pub output: String,
    /// Set if the output is an error.
    pub failed: bool,
}

impl From<runtime::LogEntry> for LoggedCall {
    fn from(entry: runtime::LogEntry) -> Self {
        let runtime::LogEntry {
            function,
            at_unix_us,
            version,
            outcome,
            duration_us,
            output,
            request_id,
            backtrace,
        } = entry;
        Self { function, at_unix_us, version, outcome, duration_us, output, request_id, backtrace }
    }
}

impl From<runtime::Explained> for StepExplanation {
    fn from(step: runtime::Explained) -> Self {
        let runtime::Explained { step, cache, took_us, input, output, failed } = step;
        Self { step, cache, took_us, input, output, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_read_as_the_runtime_writes_them() {
        let entry = runtime::LogEntry {
            function: "f".parse().unwrap(),
            at_unix_us: 1,
            version: Version::FIRST,
            outcome: "ok".to_owned(),
            duration_us: 2,
            output: "text".to_owned(),
            request_id: Some("id".to_owned()),
            backtrace: vec!["0: f!handle".to_owned()],
        };
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::to_string(&LoggedCall::from(entry)).unwrap(), json);
        let step = runtime::Explained {
            step: "s".to_owned(),
            cache: "hit".to_owned(),
            took_us: 1,
            input: "1".to_owned(),
            output: "2".to_owned(),
            failed: true,
        };
        let json = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::to_string(&StepExplanation::from(step)).unwrap(), json);
    }
}
