//! The database that holds the names.
//!
//! redb answers an I/O error, such as a full disk, by refusing everything after it until it is opened
//! again: what it has in memory may not be what the disk has. So it is opened again, and the operation
//! tried once more. A disk that is full only for a while then costs what failed meanwhile, and no restart.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, Error, ReadableDatabase};

use super::StoreError;
use super::records::{CURRENT, RECORDS};

pub(super) struct Store {
    path: PathBuf,
    /// `None` where opening it again failed.
    database: RwLock<Option<Database>>,
}

impl Store {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let database = RwLock::new(Some(open(&path)?));
        Ok(Self { path, database })
    }

    #[cfg(test)]
    pub(super) fn with_database(path: PathBuf, database: Database) -> Self {
        Self { path, database: RwLock::new(Some(database)) }
    }

    /// Runs an operation, which may be run twice, on a database without failures behind it.
    pub(super) fn run<T>(
        &self,
        operation: impl Fn(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(database) = &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            match operation(database) {
                Err(StoreError::Database(error)) if matches!(*error, Error::PreviousIo) => {}
                outcome => return outcome,
            }
        }
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: a database is open once.
        *slot = None;
        operation(slot.insert(open(&self.path)?))
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    let database = Database::create(path)?;
    let reading = database.begin_read()?;
    if reading.open_table(CURRENT).is_err() || reading.open_table(RECORDS).is_err() {
        let transaction = database.begin_write()?;
        transaction.open_table(CURRENT)?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
    }
    Ok(database)
}
