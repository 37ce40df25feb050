//! Processes that have died over the file of results, one after the other: the length of `results.writing`.
//!
//! A process may be killed at any moment, and the file of results is as good as before. But a disk that has lost what it said it had
//! may leave a file that ends whoever writes to it: redb panics, and again while that panic unwinds, which
//! nobody catches. The next process would die the same way. So that it doesn't, a file over which [`DEATHS_MAX`] processes have
//! died in a row is begun anew. redb also writes when it opens a file and when it closes one.
//!
//! Invariant: only what a process was at when it died counts, and nothing does once a write has ended well.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By chance one may be killed in the middle of a write, and the next one in the middle of its first.
const DEATHS_MAX: u64 = 2;

pub(super) struct Mark {
    path: PathBuf,
    own: Mutex<Own>,
}

/// What this process is at.
#[derive(Default)]
struct Own {
    /// Writes under way: by the thread that writes, and by whoever opens or closes the file meanwhile.
    count: usize,
    /// Processes that had died before.
    deaths: u64,
}

/// A write that is under way, until dropped.
pub(super) struct Writing<'a>(&'a Mark);

impl Mark {
    /// Beside the file of results.
    pub(super) fn beside(path: &Path) -> Self {
        Self { path: path.with_extension("writing"), own: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Whether the file is what they died of, as far as one can tell.
    pub(super) fn is_deadly(&self) -> bool {
        self.lock().count == 0 && self.length() >= DEATHS_MAX
    }

    /// Begins a write. Without the mark, where the disk doesn't take it.
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

    /// What they died of is gone.
    pub(super) fn clear(&self) {
        let mut own = self.lock();
        own.deaths = 0;
        if own.count == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Writing<'_> {
    /// It has ended well: whatever others died of, it wasn't the file.
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
