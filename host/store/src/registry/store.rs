//! The database that holds the names.
//!
//! ```text
//! reading --(the first change)--> writing
//! ```
//!
//! It is opened to be read, which writes nothing: redb's mark that a file is being written to has to be on
//! the disk before anything else is, and whoever starts a server waits for its first answer. So a server that
//! only answers calls leaves the file as it was, however it ends. The first change opens it again, to be
//! written to.
//!
//! redb answers an I/O error, such as a full disk, by refusing everything after it until it is opened
//! again: what it has in memory may not be what the disk has. So it is opened again, and the operation
//! tried once more. A disk that is full only for a while then costs what failed meanwhile, and no restart.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Builder, Database, Error, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::records::{CURRENT, RECORDS};

/// What redb keeps of the file in memory, bytes. The kernel has all of it anyway.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

pub(super) struct Store {
    path: PathBuf,
    /// `None` where opening it again failed.
    database: RwLock<Option<Opened>>,
}

enum Opened {
    Reading(ReadOnlyDatabase),
    Writing(Database),
}

impl Store {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let database = RwLock::new(Some(Opened::open(&path)?));
        Ok(Self { path, database })
    }

    #[cfg(test)]
    pub(super) fn with_database(path: PathBuf, database: Database) -> Self {
        Self { path, database: RwLock::new(Some(Opened::Writing(database))) }
    }

    /// Runs an operation that reads, which may be run twice, on a database without failures behind it.
    pub(super) fn read<T>(
        &self,
        operation: impl Fn(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let read = |opened: &Opened| operation(&opened.begin_read()?);
        if let Some(opened) = &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            match read(opened) {
                Err(error) if has_failed_before(&error) => {}
                outcome => return outcome,
            }
        }
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: a database is open once.
        *slot = None;
        read(slot.insert(Opened::open(&self.path)?))
    }

    /// Runs an operation that changes something, and commits it itself; likewise.
    pub(super) fn write<T>(
        &self,
        operation: impl Fn(WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let write = |database: &Database| {
            let mut transaction = database.begin_write()?;
            // A server that is killed then starts as fast as any: what is free stands in the file.
            transaction.set_quick_repair(true);
            operation(transaction)
        };
        let mut failed_before = false;
        loop {
            match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
                // Who reads goes on meanwhile.
                Some(Opened::Writing(database)) => match write(database) {
                    Err(error) if has_failed_before(&error) && !failed_before => failed_before = true,
                    outcome => return outcome,
                },
                Some(Opened::Reading(_)) | None => {}
            }
            let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have opened it in the meantime.
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
        // Not there, not whole, or no database: it is made or mended, or its error is the one that counts. Closed
        // again, it is whole.
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

/// Whether this is no failure of its own, but redb's refusal after one.
fn has_failed_before(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(error) if matches!(**error, Error::PreviousIo))
}

fn open_to_read(path: &Path) -> Option<ReadOnlyDatabase> {
    // Also for writing: a file that may not be written to is found out now, and not by the first deploy.
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let database = builder().open_read_only_with_backend(FileBackend::new(file).ok()?).ok()?;
    has_tables(&database.begin_read().ok()?).then_some(database)
}

fn open_to_write(path: &Path) -> Result<Database, Error> {
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
