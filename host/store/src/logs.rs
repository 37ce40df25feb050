//! The logs of recent calls: their output and their failures, over restarts of the host.
//!
//! ```text
//! push (serving threads) -> memory --writer thread--> file
//!                             ^                         |
//!                             +---- first read ---------+
//! ```
//!
//! Invariants:
//! * The logs of all functions together hold at most [`ENTRIES_MAX`] entries and [`BYTES_MAX`] bytes
//!   of output. The oldest entries are dropped first.
//! * A serving thread never waits for the disk. The writer thread starts with an entry and ends when
//!   all are written, so an idle host has none.
//! * No two entries have the same time, and later entries have later ones: a reader that knows the
//!   last entry asks for those after its time.
//! * A failing disk costs the entries of earlier processes, and no call.
//!
//! `entry` is one entry, `file` reads and writes the file.

mod entry;
mod file;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nebula_model::id::FunctionName;

pub use self::entry::LogEntry;
use self::entry::{BYTES_MAX, ENTRIES_MAX};
use self::file::LogFile;

/// The time for which the writer thread gathers entries: most that a killed host loses.
const GATHER: Duration = Duration::from_millis(100);

/// Returns the time now, as entries have it.
pub fn now_unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The log of every function.
#[derive(Debug)]
pub struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Locked before `kept` by all that read or write the file.
    file: Mutex<LogFile>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<LogEntry>>,
    bytes: usize,
    /// The time of the last entry.
    last_unix_us: u64,
    /// The time of the last entry that is in the file.
    written_unix_us: u64,
    /// Set while the writer thread runs.
    is_writing: bool,
    /// Set once the entries of earlier processes have been read.
    is_loaded: bool,
}

impl Logs {
    /// Returns the logs of a data directory. Doesn't read them yet.
    pub fn new(data_dir: &Path) -> Self {
        Self(Arc::new(Shared { file: Mutex::new(LogFile::new(data_dir)), kept: Mutex::default() }))
    }

    /// Adds an entry. Doesn't wait for the disk.
    pub fn push(&self, mut entry: LogEntry) {
        let mut kept = self.0.kept();
        entry.at_unix_us = entry.at_unix_us.max(kept.last_unix_us.saturating_add(1));
        kept.add(Arc::new(entry));
        if !kept.is_writing {
            let shared = Arc::clone(&self.0);
            let writer = thread::Builder::new().name("nebula-logs".to_owned());
            // Without a thread the entries stay in memory, and the next one tries again.
            kept.is_writing = writer.spawn(move || shared.write_until_done()).is_ok();
        }
    }

    /// Returns the entries after a time, of one function or of all, oldest first. The first call
    /// reads the file.
    pub fn after(&self, unix_us: u64, function: Option<&FunctionName>) -> Vec<LogEntry> {
        self.0.load(&mut self.0.file());
        let kept = self.0.kept();
        let newer =
            kept.newer_than(unix_us).filter(|entry| function.is_none_or(|name| entry.function == *name));
        newer.map(|entry| LogEntry::clone(entry)).collect()
    }

    /// Removes a function's entries, from the file too.
    pub fn remove(&self, name: &FunctionName) {
        let mut file = self.0.file();
        self.0.load(&mut file);
        let mut kept = self.0.kept();
        let before = kept.entries.len();
        kept.entries.retain(|entry| entry.function != *name);
        if kept.entries.len() == before {
            return;
        }
        kept.bytes = kept.entries.iter().map(|entry| entry.bytes()).sum();
        let entries: Vec<_> = kept.entries.iter().cloned().collect();
        kept.written_unix_us = kept.last_unix_us;
        drop(kept);
        file.rewrite(&entries);
    }

    /// Writes the entries that the file lacks. Waits for the disk.
    pub fn flush(&self) {
        self.0.write();
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, LogFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the entries of earlier processes before those of this one, once.
    fn load(&self, file: &mut LogFile) {
        if self.kept().is_loaded {
            return;
        }
        let earlier = file.earlier();
        let mut kept = self.kept();
        kept.is_loaded = true;
        kept.last_unix_us = kept.last_unix_us.max(earlier.last().map_or(0, |entry| entry.at_unix_us));
        let before = kept.entries.len();
        let mut later = kept.entries.front().map_or(u64::MAX, |entry| entry.at_unix_us);
        for mut entry in earlier.into_iter().rev() {
            // The clock may have been set back since.
            entry.at_unix_us = entry.at_unix_us.min(later.saturating_sub(1));
            later = entry.at_unix_us;
            kept.bytes += entry.bytes();
            kept.entries.push_front(Arc::new(entry));
        }
        // The file has them.
        let loaded = kept.entries.len() - before;
        let last = loaded.checked_sub(1).map_or(0, |last| kept.entries[last].at_unix_us);
        kept.written_unix_us = kept.written_unix_us.max(last);
        kept.drop_oldest();
    }

    /// Writes the entries that the file lacks; returns whether there were any.
    fn write(&self) -> bool {
        let mut file = self.file();
        let batch: Vec<_> = {
            let mut kept = self.kept();
            let batch = kept.newer_than(kept.written_unix_us).cloned().collect();
            kept.written_unix_us = kept.last_unix_us;
            batch
        };
        if batch.is_empty() {
            return false;
        }
        if file.append(&batch).is_full() {
            self.load(&mut file);
            let entries: Vec<_> = {
                let mut kept = self.kept();
                // Others may have come since the batch.
                kept.written_unix_us = kept.last_unix_us;
                kept.entries.iter().cloned().collect()
            };
            file.rewrite(&entries);
        }
        true
    }

    /// The writer thread.
    fn write_until_done(&self) {
        loop {
            thread::sleep(GATHER);
            if self.write() {
                continue;
            }
            let mut kept = self.kept();
            if kept.written_unix_us == kept.last_unix_us {
                kept.is_writing = false;
                return;
            }
        }
    }
}

impl Kept {
    fn add(&mut self, entry: Arc<LogEntry>) {
        self.last_unix_us = entry.at_unix_us;
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// Returns the entries after a time, oldest first.
    fn newer_than(&self, unix_us: u64) -> impl Iterator<Item = &Arc<LogEntry>> {
        let older = self.entries.partition_point(|entry| entry.at_unix_us <= unix_us);
        self.entries.range(older..)
    }
}

#[cfg(test)]
mod tests {
    use nebula_model::id::Version;

    use super::*;

    fn name(text: &str) -> FunctionName {
        text.parse().unwrap()
    }

    fn entry(function: &str, output: impl Into<String>) -> LogEntry {
        LogEntry {
            function: name(function),
            at_unix_us: now_unix_us(),
            version: Version::FIRST,
            outcome: String::new(),
            duration_us: 0,
            output: output.into(),
            request_id: None,
            backtrace: Vec::new(),
        }
    }

    fn outputs(logs: &Logs, function: Option<&str>) -> Vec<String> {
        let entries = logs.after(0, function.map(name).as_ref());
        entries.into_iter().map(|entry| entry.output).collect()
    }

    #[test]
    fn the_oldest_entries_are_dropped_first() {
        let home = tempfile::tempdir().unwrap();
        let logs = Logs::new(home.path());
        logs.push(entry("quiet", "first"));
        for index in 0..5 {
            logs.push(entry("loud", format!("{index}{}", "x".repeat(BYTES_MAX / 4))));
        }
        assert!(outputs(&logs, Some("quiet")).is_empty());
        let kept = outputs(&logs, Some("loud"));
        assert_eq!(kept.len(), 3);
        assert!(kept[2].starts_with('4'));
        logs.remove(&name("loud"));
        logs.push(entry("quiet", "last"));
        assert_eq!(outputs(&logs, None), ["last"]);
    }

    #[test]
    fn times_increase_and_select_what_is_new() {
        let home = tempfile::tempdir().unwrap();
        let logs = Logs::new(home.path());
        for output in ["a", "b", "c"] {
            logs.push(LogEntry { at_unix_us: 5, ..entry("f", output) });
        }
        let times: Vec<_> = logs.after(0, None).iter().map(|entry| entry.at_unix_us).collect();
        assert_eq!(times, [5, 6, 7]);
        let newer: Vec<_> = logs.after(6, None).into_iter().map(|entry| entry.output).collect();
        assert_eq!(newer, ["c"]);
        assert!(logs.after(7, None).is_empty());
    }

    #[test]
    fn entries_survive_a_restart_in_their_order() {
        let home = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let logs = Logs::new(home.path());
            logs.push(entry("f", format!("{round} a\n")));
            logs.push(entry("g", format!("{round} b")));
            logs.flush();
        }
        let logs = Logs::new(home.path());
        logs.push(entry("f", "now"));
        assert_eq!(outputs(&logs, Some("f")), ["0 a\n", "1 a\n", "2 a\n", "now"]);
        let times: Vec<_> = logs.after(0, None).iter().map(|entry| entry.at_unix_us).collect();
        assert!(times.is_sorted(), "{times:?}");
        // A removed function is removed from the file too.
        logs.remove(&name("f"));
        drop(logs);
        assert_eq!(outputs(&Logs::new(home.path()), None), ["0 b", "1 b", "2 b"]);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_the_order() {
        let home = tempfile::tempdir().unwrap();
        for (at_unix_us, output) in [(900, "first"), (500, "second"), (100, "third")] {
            let logs = Logs::new(home.path());
            logs.push(LogEntry { at_unix_us, ..entry("f", output) });
            assert_eq!(outputs(&logs, None).last().unwrap(), output);
            logs.flush();
        }
        let logs = Logs::new(home.path());
        logs.push(LogEntry { at_unix_us: 50, ..entry("f", "now") });
        let times: Vec<_> = logs.after(0, None).iter().map(|entry| entry.at_unix_us).collect();
        assert!(times.len() == 4 && times.is_sorted_by(|a, b| a < b), "{times:?}");
    }

    #[test]
    fn the_writer_thread_writes_and_ends() {
        let home = tempfile::tempdir().unwrap();
        let logs = Logs::new(home.path());
        for round in 0..2 {
            logs.push(entry("f", format!("{round}")));
            let started = std::time::Instant::now();
            while logs.0.kept().is_writing {
                assert!(started.elapsed() < Duration::from_secs(10), "the writer doesn't end");
                thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(outputs(&Logs::new(home.path()), None).len(), round + 1);
        }
    }

    #[test]
    fn the_file_is_bounded_and_damage_costs_only_its_lines() {
        let home = tempfile::tempdir().unwrap();
        let logs = Logs::new(home.path());
        for index in 0..40 {
            logs.push(entry("f", format!("{index}{}", "x".repeat(BYTES_MAX / 8))));
            logs.flush();
        }
        let path = home.path().join("logs.jsonl");
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length <= 3 * BYTES_MAX as u64, "{length}");
        assert!(outputs(&Logs::new(home.path()), None).last().unwrap().starts_with("39"));

        let logs = Logs::new(home.path());
        logs.remove(&name("f"));
        logs.push(entry("f", "before"));
        logs.flush();
        let mut content = std::fs::read(&path).unwrap();
        content.extend(b"\xff{\"function\":\"cut off");
        std::fs::write(&path, content).unwrap();
        let logs = Logs::new(home.path());
        logs.push(entry("f", "after"));
        logs.flush();
        assert_eq!(outputs(&Logs::new(home.path()), None), ["before", "after"]);
        assert_eq!(outputs(&logs, None), ["before", "after"]);
    }

    #[test]
    fn a_failing_disk_costs_no_entry_of_this_process() {
        let logs = Logs::new(Path::new("/nowhere"));
        logs.push(entry("f", "kept"));
        logs.flush();
        assert_eq!(outputs(&logs, None), ["kept"]);
        logs.remove(&name("f"));
    }
}
