//! The tables of the file: the log, and the view that its changes add up to.
//!
//! Format 1 of the data directory has the tables of the view alone.

use nebula_model::id::Digest;
use nebula_model::record::VersionRecord;
use redb::{
    ReadTransaction, ReadableTable, Table, TableDefinition, TableError, TableHandle, WriteTransaction,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::{CatalogError, Change, RawChange};
use super::failure::Failure;

/// Sequence to log record. Missing until the first change in format 2.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Name to the number of its current version.
pub(super) const CURRENT: TableDefinition<'_, &str, u32> = TableDefinition::new("current");

/// (Name, version number) to the version record, JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("records");

/// Names that have a version that is a pipeline. Missing until the first one.
pub(super) const PIPELINES: TableDefinition<'_, &str, ()> = TableDefinition::new("pipelines");

/// Names that have a version with functions linked into it. Missing until the first one.
pub(super) const IMPORTERS: TableDefinition<'_, &str, ()> = TableDefinition::new("importers");

/// Names that have a version with routes. Missing until the first one.
pub(super) const ROUTED: TableDefinition<'_, &str, ()> = TableDefinition::new("routed");

/// Distrusted component to the disagreement, JSON. Missing until the first one.
pub(super) const DISTRUSTED: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("distrusted");

/// A table that is missing while it is empty.
pub(super) fn optional<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, Failure> {
    match transaction.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

/// The tables of the view, open for changes.
pub(super) struct View<'t> {
    transaction: &'t WriteTransaction,
    current: Table<'t, &'static str, u32>,
    records: Table<'t, (&'static str, u32), &'static [u8]>,
}

impl<'t> View<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            transaction,
            current: transaction.open_table(CURRENT)?,
            records: transaction.open_table(RECORDS)?,
        })
    }

    /// Applies one change. `raw` is the same change as it was written, and is stored as it is: a
    /// later release may have written fields that this one doesn't know.
    pub(super) fn apply(&mut self, change: &Change, raw: &RawChange) -> Result<(), Failure> {
        match change {
            Change::Publish(record) => {
                let (name, number) = (record.name.as_str(), record.version.number());
                self.records.insert((name, number), raw.content.as_slice())?;
                self.current.insert(name, number)?;
                if record.pipeline.is_some() {
                    self.transaction.open_table(PIPELINES)?.insert(name, ())?;
                }
                if !record.linked.is_empty() {
                    self.transaction.open_table(IMPORTERS)?.insert(name, ())?;
                }
                if !record.routes.is_empty() {
                    self.transaction.open_table(ROUTED)?.insert(name, ())?;
                }
            }
            Change::SetCurrent { name, version } => {
                let (name, number) = (name.as_str(), version.number());
                if self.records.get((name, number))?.is_some() {
                    self.current.insert(name, number)?;
                }
            }
            Change::Remove(name) => {
                let name = name.as_str();
                self.records.retain_in((name, 0)..=(name, u32::MAX), |_, _| false)?;
                self.current.remove(name)?;
                for table in [PIPELINES, IMPORTERS, ROUTED] {
                    if self.has(table)? {
                        self.transaction.open_table(table)?.remove(name)?;
                    }
                }
            }
            Change::Distrust(disagreement) => {
                let component = disagreement.component.bytes();
                self.transaction.open_table(DISTRUSTED)?.insert(component, raw.content.as_slice())?;
            }
            Change::Trust(component) => {
                if self.has(DISTRUSTED)? {
                    self.transaction.open_table(DISTRUSTED)?.remove(component.bytes())?;
                }
            }
            Change::Unknown(_) => {}
        }
        Ok(())
    }

    /// Returns whether a table is there. Opening a missing one for changes would create it.
    fn has(&self, table: impl TableHandle) -> Result<bool, Failure> {
        Ok(self.transaction.list_tables()?.any(|found| found.name() == table.name()))
    }

    /// Returns the changes that add up to the view, each as small as it can be.
    pub(super) fn snapshot(&self) -> Result<Vec<RawChange>, Failure> {
        let mut changes = Vec::new();
        for entry in self.current.iter()? {
            let (name, current) = entry?;
            let name = name.value();
            let mut last = None;
            for entry in self.records.range((name, 0)..=(name, u32::MAX))? {
                let (key, record) = entry?;
                last = Some(key.value().1);
                changes.push(RawChange::publish(record.value()));
            }
            if last != Some(current.value()) {
                changes.push(RawChange::set_current(name, current.value()));
            }
        }
        if self.has(DISTRUSTED)? {
            for entry in self.transaction.open_table(DISTRUSTED)?.iter()? {
                changes.push(RawChange::distrust(entry?.1.value()));
            }
        }
        Ok(changes)
    }
}

pub(super) fn read_record(name: &str, version: u32, bytes: &[u8]) -> Result<VersionRecord, Failure> {
    parse(name, version, bytes)
}

/// Reads the digest alone. Most of a record is schemas, which this skips.
pub(super) fn read_digest(name: &str, version: u32, bytes: &[u8]) -> Result<Digest, Failure> {
    #[derive(Deserialize)]
    struct WithDigest {
        digest: Digest,
    }
    parse(name, version, bytes).map(|WithDigest { digest }| digest)
}

fn parse<T: DeserializeOwned>(name: &str, version: u32, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|source| {
        Failure::Catalog(CatalogError::Version { name: name.to_owned(), version, source: source.into() })
    })
}
