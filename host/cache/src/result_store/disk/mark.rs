//! The crash mark: counts processes in a row that died while writing the results file, as the
//! length of `results.writing`.
//!
//! A process may be killed at any moment without harm to the results file. But a disk that lost
//! acknowledged writes may leave a file that crashes every writer: redb panics, and again while
//! that panic unwinds, which can't be caught. The next process would die in the same way. To
//! prevent that, a file over which [`DEATHS_MAX`] processes in a row have died is recreated. redb
//! also writes when it opens a file and when it closes one.
//!
//! Invariant: only a death during a write counts, and a successful write resets the count.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Two, because a process may be killed by chance in the middle of a write, and the next one in the
/// middle of its first.
const DEATHS_MAX: u64 = 2;

pub(super) struct Mark {
    path: PathBuf,
    own: Mutex<Own>,
}

/// Writes of this process.
#[derive(Default)]
struct Own {
    /// Writes under way: by the writer thread, and by threads that open or close the file
    /// meanwhile.
    count: usize,
    /// Number of processes that died before this one.
    deaths: u64,
}

/// A write under way, until dropped.
pub(super) struct Writing<'a>(&'a Mark);

impl Mark {
    /// Creates the mark for the results file at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        Self { path: path.with_extension("writing"), own: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Returns whether the file has probably crashed its writers.
    pub(super) fn is_deadly(&self) -> bool {
        self.lock().count == 0 && self.length() >= DEATHS_MAX
    }

    /// Begins a write. Continues without the mark if the disk doesn't accept it.
    pub(super) fn begin(&self) -> Writing<'_> {
        let mut own = self.lock();
        if own.count == 0 {
            own.deaths = self.length();
            let mark = OpenOptions::new().create(true).append(true).open(&self.path);
            let _ = mark.and_then(|mut mark| mark.write_all(b"."));
        }
        own.count += 1;
        Writing(self)
    }

    /// Resets the count after the file was removed.
    pub(super) fn clear(&self) {
        let mut own = self.lock();
        own.deaths = 0;
        if own.count == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Writing<'_> {
    /// Ends a successful write: the file didn't cause the earlier deaths.
    pub(super) fn succeeds(self) {
        self.0.lock().deaths = 0;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut own = self.0.lock();
        own.count -= 1;
        if own.count > 0 {
            return;
        }
        let _ = match own.deaths {
            0 => fs::remove_file(&self.0.path),
            deaths => OpenOptions::new().write(true).open(&self.0.path).and_then(|mark| mark.set_len(deaths)),
        };
    }
}
