//! The logs of recent calls: their output and their failures.
//!
//! The logs are in memory and end with the process.
//!
//! Invariant: the logs of all functions together hold at most [`ENTRIES_MAX`] entries and
//! [`BYTES_MAX`] bytes of output. The oldest entries are dropped first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use nebula_model::id::{FunctionName, Version};
use serde::{Deserialize, Serialize};

/// The most calls with an entry.
const ENTRIES_MAX: usize = 4096;

/// The most output of all entries, bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The entry of a call that printed something or failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// The call's end, seconds since the Unix epoch.
    pub at_unix_s: u64,
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
}

impl LogEntry {
    fn bytes(&self) -> usize {
        self.outcome.len() + self.output.len() + self.request_id.as_ref().map_or(0, String::len)
    }
}

/// The log of every function.
#[derive(Debug, Default)]
pub struct Logs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<(FunctionName, LogEntry)>,
    bytes: usize,
}

impl Logs {
    /// Adds an entry.
    pub fn push(&self, name: FunctionName, entry: LogEntry) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += entry.bytes();
        kept.entries.push_back((name, entry));
        while kept.entries.len() > ENTRIES_MAX || kept.bytes > BYTES_MAX {
            let Some((_, oldest)) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.bytes();
        }
    }

    /// Returns a function's entries, oldest first.
    pub fn of(&self, name: &FunctionName) -> Vec<LogEntry> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.iter().filter(|(of, _)| of == name).map(|(_, entry)| entry.clone()).collect()
    }

    /// Removes a function's entries.
    pub fn remove(&self, name: &FunctionName) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.retain(|(of, _)| of != name);
        kept.bytes = kept.entries.iter().map(|(_, entry)| entry.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(output: String) -> LogEntry {
        LogEntry {
            at_unix_s: 0,
            version: Version::FIRST,
            outcome: String::new(),
            duration_us: 0,
            output,
            request_id: None,
        }
    }

    #[test]
    fn the_oldest_entries_are_dropped_first() {
        let logs = Logs::default();
        let (loud, quiet): (FunctionName, FunctionName) = ("loud".parse().unwrap(), "quiet".parse().unwrap());
        logs.push(quiet.clone(), entry("first".to_owned()));
        for index in 0..5 {
            logs.push(loud.clone(), entry(format!("{index}{}", "x".repeat(BYTES_MAX / 4))));
        }
        assert!(logs.of(&quiet).is_empty());
        let kept = logs.of(&loud);
        assert_eq!(kept.len(), 3);
        assert!(kept[2].output.starts_with('4'));
        logs.remove(&loud);
        logs.push(quiet.clone(), entry("last".to_owned()));
        assert_eq!(logs.of(&quiet).len(), 1);
    }
}
