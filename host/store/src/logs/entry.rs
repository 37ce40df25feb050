//! An entry of the logs, and the bounds on all entries together.

use nebula_model::id::{FunctionName, Version};
use serde::{Deserialize, Serialize};

/// The most calls with an entry.
pub(super) const ENTRIES_MAX: usize = 4096;

/// The most output of all entries, bytes.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The entry of a call that printed something or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The function.
    pub function: FunctionName,
    /// The call's end, microseconds since the Unix epoch. [`Logs::push`](super::Logs::push) moves it
    /// behind the entry before.
    pub at_unix_us: u64,
    /// The version that ran.
    pub version: Version,
    /// `ok`, or the error.
    pub outcome: String,
    /// The call's duration, microseconds.
    pub duration_us: u64,
    /// The call's output.
    pub output: String,
    /// The id of the request that made the call, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The stack of a trap, one line per frame, innermost first; empty for any other call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

impl LogEntry {
    /// Returns what it counts towards [`BYTES_MAX`].
    pub(super) fn bytes(&self) -> usize {
        let frames: usize = self.backtrace.iter().map(String::len).sum();
        self.outcome.len() + self.output.len() + self.request_id.as_ref().map_or(0, String::len) + frames
    }
}
