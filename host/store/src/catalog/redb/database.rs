//! The file that holds the names, opened for reading until the first change.
//!
//! ```text
//! reading --(first change)--> writing
//! ```
//!
//! Opening the file for reading writes nothing. redb marks a file that is open for writing and
//! syncs that mark first, and a start would wait for the disk. So a server that only answers calls
//! leaves the file as it was, however the server ends. The first change reopens the file for
//! writing.
//!
//! After an I/O error, such as a full disk, redb refuses every operation until the file is opened
//! again, because its memory may differ from the disk. So the file is reopened and the operation is
//! tried once more. A disk that is full for a while causes errors for that while, and no restart.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Builder, Database as RedbDatabase, Error, ReadOnlyDatabase};
use redb::{ReadTransaction, ReadableDatabase, WriteTransaction};

use super::failure::Failure;
use super::tables::{CURRENT, RECORDS};

/// The part of the file that redb caches, bytes. The kernel caches all of it anyway.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

pub(super) struct Database {
    path: PathBuf,
    /// `None` if reopening the file failed.
    opened: RwLock<Option<Opened>>,
}

enum Opened {
    Reading(ReadOnlyDatabase),
    Writing(RedbDatabase),
}

impl Database {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let opened = RwLock::new(Some(Opened::open(&path)?));
        Ok(Self { path, opened })
    }

    #[cfg(test)]
    pub(super) fn with_redb(path: PathBuf, database: RedbDatabase) -> Self {
        Self { path, opened: RwLock::new(Some(Opened::Writing(database))) }
    }

    /// Runs an operation that reads. May run it twice: the second time on the reopened file.
    pub(super) fn read<T>(
        &self,
        operation: impl Fn(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let read = |opened: &Opened| operation(&opened.begin_read()?);
        if let Some(opened) = &*self.opened.read().unwrap_or_else(PoisonError::into_inner) {
            match read(opened) {
                Err(error) if has_failed_before(&error) => {}
                outcome => return outcome,
            }
        }
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        // Close it first: redb opens a file once.
        *slot = None;
        read(slot.insert(Opened::open(&self.path)?))
    }

    /// Runs an operation that changes something and commits it. May run it twice, like
    /// [`read`](Self::read).
    pub(super) fn write<T>(
        &self,
        operation: impl Fn(WriteTransaction) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let write = |database: &RedbDatabase| {
            let mut transaction = database.begin_write()?;
            // Stores the free pages in the file, so that a start after a crash doesn't search them.
            transaction.set_quick_repair(true);
            operation(transaction)
        };
        let mut failed_before = false;
        loop {
            match &*self.opened.read().unwrap_or_else(PoisonError::into_inner) {
                // Readers continue meanwhile.
                Some(Opened::Writing(database)) => match write(database) {
                    Err(error) if has_failed_before(&error) && !failed_before => failed_before = true,
                    outcome => return outcome,
                },
                Some(Opened::Reading(_)) | None => {}
            }
            let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have reopened it.
            if failed_before || !matches!(*slot, Some(Opened::Writing(_))) {
                *slot = None;
                *slot = Some(Opened::Writing(open_to_write(&self.path)?));
            }
        }
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self, Error> {
        if let Some(database) = open_to_read(path) {
            return Ok(Self::Reading(database));
        }
        // The file is missing, wasn't closed, or isn't a database. Opening it for writing creates
        // or repairs it, or reports why not. Closing it again completes the repair.
        drop(open_to_write(path)?);
        match open_to_read(path) {
            Some(database) => Ok(Self::Reading(database)),
            None => Ok(Self::Writing(open_to_write(path)?)),
        }
    }

    fn begin_read(&self) -> Result<ReadTransaction, redb::TransactionError> {
        match self {
            Self::Reading(database) => database.begin_read(),
            Self::Writing(database) => database.begin_read(),
        }
    }
}

/// Returns whether redb refuses the operation because of an earlier failure.
fn has_failed_before(error: &Failure) -> bool {
    matches!(error, Failure::Redb(error) if matches!(**error, Error::PreviousIo))
}

fn open_to_read(path: &Path) -> Option<ReadOnlyDatabase> {
    // Opened for writing too, so that a read-only file is reported at the start and not at a
    // deploy.
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let database = builder().open_read_only_with_backend(FileBackend::new(file).ok()?).ok()?;
    has_tables(&database.begin_read().ok()?).then_some(database)
}

fn open_to_write(path: &Path) -> Result<RedbDatabase, Error> {
    let database = builder().create(path)?;
    if !has_tables(&database.begin_read()?) {
        let transaction = database.begin_write()?;
        transaction.open_table(CURRENT)?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
    }
    Ok(database)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn has_tables(transaction: &ReadTransaction) -> bool {
    transaction.open_table(CURRENT).is_ok() && transaction.open_table(RECORDS).is_ok()
}
