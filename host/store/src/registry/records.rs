//! Records in the database: its tables, and how a record is written and read.

use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;
use redb::TableDefinition;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{NewVersion, StoreError};

/// Name to the number of its current version.
pub(super) const CURRENT: TableDefinition<'_, &str, u32> = TableDefinition::new("current");

/// (Name, version number) to the record, as JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("records");

/// Names that have, or had, a version that is a pipeline. The table isn't there where none was deployed.
pub(super) const PIPELINES: TableDefinition<'_, &str, ()> = TableDefinition::new("pipelines");

/// Names that have, or had, a version with functions linked into it. The table isn't there where none was deployed.
pub(super) const IMPORTERS: TableDefinition<'_, &str, ()> = TableDefinition::new("importers");

/// Returns the record of a version that is deployed now.
pub(super) fn record_of(name: FunctionName, version: Version, new: NewVersion) -> VersionRecord {
    let deployed_at_unix_s =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let NewVersion { digest, size_bytes, limits, remember, pipeline, linked, description } = new;
    VersionRecord {
        name,
        version,
        digest,
        size_bytes,
        deployed_at_unix_s,
        limits,
        remember,
        pipeline,
        linked,
        description,
    }
}

/// Returns whether publishing `new` would make the same version as `record`.
pub(super) fn is_made_of(record: &VersionRecord, new: &NewVersion) -> bool {
    // Every field, so that a new one doesn't compile until it is decided whether it makes another version.
    let NewVersion {
        digest,
        limits,
        remember,
        pipeline,
        linked,
        // Both follow from the content that the digest names.
        size_bytes: _,
        description: _,
    } = new;
    record.digest == *digest
        && record.limits == *limits
        && record.remember == *remember
        && record.pipeline == *pipeline
        && record.linked == *linked
}

pub(super) fn write(record: &VersionRecord) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "strings, numbers and JSON values: there is nothing to refuse")]
    serde_json::to_vec(record).expect("a record serializes")
}

pub(super) fn read(name: &FunctionName, version: u32, bytes: &[u8]) -> Result<VersionRecord, StoreError> {
    read_named(name.as_str(), version, bytes)
}

pub(super) fn read_named(name: &str, version: u32, bytes: &[u8]) -> Result<VersionRecord, StoreError> {
    parse(name, version, bytes)
}

/// The digest alone, for whoever reads all records: schemas are most of one.
pub(super) fn read_digest(name: &str, version: u32, bytes: &[u8]) -> Result<Digest, StoreError> {
    #[derive(Deserialize)]
    struct Digested {
        digest: Digest,
    }
    parse(name, version, bytes).map(|Digested { digest }| digest)
}

fn parse<T: DeserializeOwned>(name: &str, version: u32, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Record {
        name: name.to_owned(),
        version,
        source,
    })
}
