//! Processes that have died in the middle of a write, one after the other: the length of `results.writing`.
//!
//! A process may be killed at any moment, and the file of results is as good as before. But a disk that has lost what it said it had
//! may leave a file that ends whoever writes to it: redb panics, and again while that panic unwinds, which
//! nobody catches. The next process would die the same way. So that it doesn't, a file over which [`DEATHS_MAX`] processes have
//! died in a row is begun anew.
//!
//! Invariant: a write that ends, however it does, leaves no mark.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// By chance one may be killed in the middle of a write, and the next one in the middle of its first.
const DEATHS_MAX: u64 = 2;

pub(super) struct Mark(PathBuf);

/// A write that is under way, until dropped.
pub(super) struct Writing<'a>(&'a Mark);

impl Mark {
    /// Beside the file of results.
    pub(super) fn beside(path: &Path) -> Self {
        Self(path.with_extension("writing"))
    }

    /// Whether the file is what they died of, as far as one can tell.
    pub(super) fn is_deadly(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|metadata| metadata.len() >= DEATHS_MAX)
    }

    /// Begins a write. Without the mark, where the disk doesn't take it.
    pub(super) fn begin(&self) -> Writing<'_> {
        let mark = OpenOptions::new().create(true).append(true).open(&self.0);
        let _ = mark.and_then(|mut mark| mark.write_all(b"."));
        Writing(self)
    }

    /// There is no such file any more.
    pub(super) fn clear(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}
