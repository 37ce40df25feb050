//! The file of the logs: `logs.jsonl` in the data directory, one entry on each line.
//!
//! New entries are appended. A file that has become too long is replaced by one with the entries
//! that are still kept. Lines that aren't entries, such as one that a killed host has begun, are
//! skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::debug;

use super::entry::{BYTES_MAX, LogEntry};
use crate::STORE;

/// The length at which the file is replaced, bytes.
const FILE_BYTES_MAX: u64 = 2 * BYTES_MAX as u64;

/// The file's name in the data directory.
const NAME: &str = "logs.jsonl";

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// The length that earlier processes have written, bytes.
    earlier_bytes: u64,
    /// The length at which it is replaced next, bytes.
    full_bytes: u64,
    /// Open for appending, from the first entry of this process.
    open: Option<File>,
}

/// The room in the file after an entry was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    Full,
}

impl Room {
    pub(super) fn is_full(self) -> bool {
        self == Self::Full
    }
}

impl LogFile {
    /// Returns the file in a data directory, which it looks at without reading it.
    pub(super) fn new(data_dir: &Path) -> Self {
        let path = data_dir.join(NAME);
        let earlier_bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { path, earlier_bytes, full_bytes: FILE_BYTES_MAX, open: None }
    }

    /// Reads the entries of earlier processes. None are left once the file was replaced.
    pub(super) fn earlier(&self) -> Vec<LogEntry> {
        let mut content = Vec::new();
        let Ok(file) = File::open(&self.path) else { return Vec::new() };
        // An unreadable file loses its entries.
        let _ = file.take(self.earlier_bytes).read_to_end(&mut content);
        let lines = content.split(|byte| *byte == b'\n');
        let mut entries: Vec<LogEntry> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        // A clock that was set back has left entries out of order.
        entries.sort_by_key(|entry| entry.at_unix_us);
        entries
    }

    /// Appends entries.
    pub(super) fn append(&mut self, entries: &[Arc<LogEntry>]) -> Room {
        let written = self.write(&lines(entries));
        match written {
            Ok(length) if length > self.full_bytes => Room::Full,
            Ok(_) => Room::Left,
            Err(error) => {
                // A later entry tries again.
                self.open = None;
                debug!(target: STORE, error = error.to_string(), "the log of calls can't be written");
                Room::Left
            }
        }
    }

    /// Writes lines at the end and returns the file's length.
    fn write(&mut self, lines: &[u8]) -> io::Result<u64> {
        let file = match &mut self.open {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                let mut file = options.append(true).create(true).mode(0o600).open(&self.path)?;
                // Ends a line that a killed host has begun.
                file.write_all(b"\n")?;
                none.insert(file)
            }
        };
        file.write_all(lines)?;
        Ok(file.metadata()?.len())
    }

    /// Replaces the file by one with these entries.
    pub(super) fn rewrite(&mut self, entries: &[Arc<LogEntry>]) {
        self.earlier_bytes = 0;
        self.open = None;
        let lines = lines(entries);
        // Entries whose text needs many escapes take more than they count.
        self.full_bytes = FILE_BYTES_MAX.max(2 * lines.len() as u64);
        let replacement = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&replacement)?;
            file.write_all(&lines)?;
            std::fs::rename(&replacement, &self.path)
        };
        // Otherwise the longer file stays, and the next entry tries again.
        let _ = write();
    }
}

fn lines(entries: &[Arc<LogEntry>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        // Writing to memory doesn't fail, and every entry is valid JSON.
        if serde_json::to_writer(&mut lines, &**entry).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}
