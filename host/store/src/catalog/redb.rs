//! A catalog in one redb file, `registry.redb` in the data directory.
//!
//! The log record and its effect on the view are one redb transaction, which is durable when it
//! commits. So after a crash at any point the log ends with the change before or with this one, and
//! the view has the same changes as the log.
//!
//! Opening the catalog reads the log's last sequence and nothing else of the log, and writes
//! nothing.
//!
//! A directory of format 1 has the view without a log. The first change writes, in this order:
//!
//! 1. `FORMAT` says 2, synced. A crash after this leaves a directory of format 2 without a log,
//!    which is read like one of format 1, and which older releases refuse.
//! 2. One transaction writes log records that add up to the view, then the record of the change.
//!
//! An older release can't change the names without the log, because it refuses format 2 before the
//! log exists.

mod database;
mod failure;
mod tables;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use self::database::Database;
use self::failure::{Failure, damaged};
use self::tables::{CURRENT, DISTRUSTED, IMPORTERS, LOG, PIPELINES, RECORDS, ROUTED, View};
use super::progress::{Progress, WriteTurn};
use super::record::{self, NO_RECORD, RecordHash};
use super::{
    AppendError, Catalog, CatalogError, Change, LogDamage, LogKey, LogRecord, RawChange, RecordError,
    Sequence,
};
use crate::Cause;
use crate::directory::Directory;

const FILE: &str = "registry.redb";

/// The content of one record of a snapshot, bytes, unless one change is larger.
const SNAPSHOT_RECORD_BYTES: usize = 1024 * 1024;

/// The records that one `follow` returns, bytes, unless one record is larger.
const FOLLOW_BYTES: usize = 4 * 1024 * 1024;

/// A catalog in the data directory.
pub struct RedbCatalog {
    database: Database,
    key: LogKey,
    progress: Progress,
    turn: WriteTurn,
    directory: Arc<Directory>,
}

impl RedbCatalog {
    /// Opens the catalog in `directory`, or creates an empty one.
    ///
    /// # Errors
    /// The reason why redb can't open the file.
    pub fn open(directory: Arc<Directory>) -> Result<Self, Cause> {
        let database = Database::open(directory.path().join(FILE))?;
        Self::new(directory, database).map_err(Cause::from)
    }

    fn new(directory: Arc<Directory>, database: Database) -> Result<Self, CatalogError> {
        let last = database.read(read_last)?;
        let key = LogKey::new(directory.secret());
        Ok(Self { database, key, progress: Progress::new(last), turn: WriteTurn::default(), directory })
    }

    /// Returns the catalog on a disk that a test controls.
    #[cfg(test)]
    pub(crate) fn with_backend(
        directory: Arc<Directory>,
        backend: impl redb::StorageBackend,
    ) -> Result<Self, CatalogError> {
        let opened = redb::Database::builder().create_with_backend(backend);
        let opened = opened.map_err(|error| CatalogError::from(Failure::from(error)))?;
        let database = Database::with_redb(Self::file(directory.path()), opened);
        Self::new(directory, database)
    }

    /// Returns the path of the file in a data directory.
    #[cfg(test)]
    pub(crate) fn file(directory: &std::path::Path) -> std::path::PathBuf {
        directory.join(FILE)
    }

    fn append_in(
        &self,
        transaction: &WriteTransaction,
        base: Sequence,
        changes: &[Change],
    ) -> Result<Sequence, Failure> {
        let mut log = Log { table: transaction.open_table(LOG)?, key: &self.key };
        let mut view = View::open(transaction)?;
        let mut head = log.head()?;
        if head.sequence != base {
            return Err(Failure::Append(AppendError::Conflict { last: head.sequence }));
        }
        if head.sequence == Sequence::START {
            for changes in in_parts(view.snapshot()?) {
                head = log.push(&head, changes)?;
            }
        }
        let raw: Vec<_> = changes.iter().map(RawChange::from).collect();
        for (change, raw) in changes.iter().zip(&raw) {
            view.apply(change, raw)?;
        }
        Ok(log.push(&head, raw)?.sequence)
    }

    fn names_in(
        &self,
        table: TableDefinition<'static, &'static str, ()>,
    ) -> Result<Vec<FunctionName>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let mut names = Vec::new();
            if let Some(table) = tables::optional(transaction, table)? {
                for entry in table.iter()? {
                    // Skips names that this release doesn't allow.
                    names.extend(entry?.0.value().parse().ok());
                }
            }
            Ok(names)
        })?)
    }
}

/// The log, open for appending.
struct Log<'t> {
    table: redb::Table<'t, u64, &'static [u8]>,
    key: &'t LogKey,
}

/// The last record of a log.
struct Head {
    sequence: Sequence,
    hash: RecordHash,
}

impl Log<'_> {
    fn head(&self) -> Result<Head, Failure> {
        let Some((sequence, bytes)) = self.table.last()? else {
            return Ok(Head { sequence: Sequence::START, hash: NO_RECORD });
        };
        let (sequence, bytes) = (Sequence::new(sequence.value()), bytes.value());
        match LogRecord::open(self.key, bytes.to_vec()) {
            Ok(record) if record.sequence() == sequence => {}
            Ok(_) => return Err(damaged(sequence, LogDamage::BrokenChain)),
            // The key was lost. The chain continues with the new one.
            Err(RecordError::OtherKey) => {}
            Err(error) => return Err(damaged(sequence, error.into())),
        }
        Ok(Head { sequence, hash: record::hash(bytes) })
    }

    fn push(&mut self, head: &Head, changes: Vec<RawChange>) -> Result<Head, Failure> {
        let record =
            LogRecord::seal(self.key, head.sequence.next(), head.hash, changes).map_err(Failure::Append)?;
        self.table.insert(record.sequence().number(), record.bytes())?;
        Ok(Head { sequence: record.sequence(), hash: record.hash() })
    }
}

/// Splits a snapshot into records of a moderate size.
fn in_parts(changes: Vec<RawChange>) -> Vec<Vec<RawChange>> {
    let mut parts: Vec<Vec<RawChange>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let length = change.content.len();
        match parts.last_mut() {
            Some(part) if bytes + length <= SNAPSHOT_RECORD_BYTES => part.push(change),
            Some(_) | None => {
                bytes = 0;
                parts.push(vec![change]);
            }
        }
        bytes += length;
    }
    parts
}

fn read_last(transaction: &ReadTransaction) -> Result<Sequence, Failure> {
    let Some(log) = tables::optional(transaction, LOG)? else { return Ok(Sequence::START) };
    Ok(log.last()?.map_or(Sequence::START, |(sequence, _)| Sequence::new(sequence.value())))
}

impl Catalog for RedbCatalog {
    fn applied(&self) -> Sequence {
        self.progress.applied()
    }

    fn last(&self, _: Instant) -> Result<Sequence, CatalogError> {
        Ok(self.database.read(read_last)?)
    }

    fn append(&self, base: Sequence, changes: &[Change], deadline: Instant) -> Result<Sequence, AppendError> {
        let _turn = self.turn.take(deadline).ok_or(AppendError::DeadlineExceeded)?;
        self.directory.upgrade().map_err(|error| match crate::is_out_of_space(&error) {
            true => CatalogError::OutOfSpace(error.into()),
            false => CatalogError::Failed(error.into()),
        })?;
        let appended = self.database.write(|transaction| {
            let sequence = self.append_in(&transaction, base, changes)?;
            transaction.commit()?;
            Ok(sequence)
        });
        match appended {
            Ok(sequence) => {
                self.progress.advance(sequence);
                Ok(sequence)
            }
            Err(failure) => {
                // A commit that failed may be on the disk all the same.
                if let Ok(last) = self.database.read(read_last) {
                    self.progress.advance(last);
                }
                Err(failure.into())
            }
        }
    }

    fn follow(&self, from: Sequence, deadline: Instant) -> Result<Vec<LogRecord>, CatalogError> {
        if !self.progress.wait_past(from, deadline) {
            return Ok(Vec::new());
        }
        Ok(self.database.read(|transaction| {
            let Some(log) = tables::optional(transaction, LOG)? else { return Ok(Vec::new()) };
            let mut previous = match log.get(from.number())? {
                Some(bytes) => record::hash(bytes.value()),
                None if from == Sequence::START => NO_RECORD,
                None => return Err(damaged(from, LogDamage::Missing)),
            };
            let (mut records, mut bytes) = (Vec::new(), 0);
            let mut expected = from.next();
            for entry in log.range(expected.number()..)? {
                let (number, content) = entry?;
                if number.value() != expected.number() {
                    return Err(damaged(expected, LogDamage::Missing));
                }
                let record = LogRecord::open(&self.key, content.value().to_vec())
                    .map_err(|error| damaged(expected, error.into()))?;
                if record.sequence() != expected || *record.previous() != previous {
                    return Err(damaged(expected, LogDamage::BrokenChain));
                }
                bytes += record.bytes().len();
                (previous, expected) = (record.hash(), expected.next());
                records.push(record);
                if bytes >= FOLLOW_BYTES {
                    break;
                }
            }
            Ok(records)
        })?)
    }

    fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let Some(current) = transaction.open_table(CURRENT)?.get(name.as_str())? else { return Ok(None) };
            let number = current.value();
            let record = transaction.open_table(RECORDS)?.get((name.as_str(), number))?;
            record.map(|record| tables::read_record(name.as_str(), number, record.value())).transpose()
        })?)
    }

    fn version(&self, name: &FunctionName, version: Version) -> Result<Option<VersionRecord>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let record = transaction.open_table(RECORDS)?.get((name.as_str(), version.number()))?;
            let read = |bytes: &[u8]| tables::read_record(name.as_str(), version.number(), bytes);
            record.map(|record| read(record.value())).transpose()
        })?)
    }

    fn latest(&self, name: &FunctionName) -> Result<Option<Version>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            let last = records.range((name.as_str(), 0)..=(name.as_str(), u32::MAX))?.next_back();
            Ok(last.transpose()?.and_then(|(key, _)| Version::new(key.value().1)))
        })?)
    }

    fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let mut versions = Vec::new();
            let name = name.as_str();
            for entry in transaction.open_table(RECORDS)?.range((name, 0)..=(name, u32::MAX))? {
                let (key, record) = entry?;
                versions.push(tables::read_record(name, key.value().1, record.value())?);
            }
            Ok(versions)
        })?)
    }

    fn list(&self) -> Result<Vec<VersionRecord>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let (current, records) = (transaction.open_table(CURRENT)?, transaction.open_table(RECORDS)?);
            let mut list = Vec::new();
            for entry in current.iter()? {
                let (name, version) = entry?;
                let (name, version) = (name.value(), version.value());
                if let Some(record) = records.get((name, version))? {
                    list.push(tables::read_record(name, version, record.value())?);
                }
            }
            Ok(list)
        })?)
    }

    fn names(&self, prefix: &str, count: usize) -> Result<Vec<FunctionName>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let mut names = Vec::new();
            for entry in transaction.open_table(CURRENT)?.range(prefix..)?.take(count) {
                let (name, _) = entry?;
                if !name.value().starts_with(prefix) {
                    break;
                }
                // Skips names that this release doesn't allow.
                names.extend(name.value().parse().ok());
            }
            Ok(names)
        })?)
    }

    fn pipelines(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.names_in(PIPELINES)
    }

    fn importers(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.names_in(IMPORTERS)
    }

    fn routed(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.names_in(ROUTED)
    }

    fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let mut found = HashMap::new();
            if let Some(table) = tables::optional(transaction, DISTRUSTED)? {
                for entry in table.iter()? {
                    let (component, content) = entry?;
                    let component = Digest::from_bytes(component.value());
                    // A disagreement that another release has written counts even if it can't be
                    // read.
                    let read = serde_json::from_slice(content.value());
                    found.insert(component, read.unwrap_or_else(|_| Disagreement::unreadable(component)));
                }
            }
            Ok(found)
        })?)
    }

    fn digests(&self) -> Result<HashSet<Digest>, CatalogError> {
        Ok(self.database.read(|transaction| {
            let mut digests = HashSet::new();
            for entry in transaction.open_table(RECORDS)?.iter()? {
                let (key, record) = entry?;
                let (name, version) = key.value();
                digests.insert(tables::read_digest(name, version, record.value())?);
            }
            Ok(digests)
        })?)
    }
}

#[cfg(test)]
mod tests;
