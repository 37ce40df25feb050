//! What is written down of each version.

use std::collections::BTreeMap;

use redb::TableDefinition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{NewVersion, StoreError};
use crate::engine::Form;
use crate::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use crate::limits::LimitOverrides;
use crate::pipeline::Pipeline;
use crate::remember::Remember;

/// Name to the number of its current version.
pub(super) const CURRENT: TableDefinition<'_, &str, u32> = TableDefinition::new("current");

/// (Name, version number) to the record, as JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("records");

/// Names that have, or had, a version that is a pipeline. The table isn't there where none was deployed.
pub(super) const PIPELINES: TableDefinition<'_, &str, ()> = TableDefinition::new("pipelines");

/// Names that have, or had, a version with functions linked into it. The table isn't there where none was deployed.
pub(super) const IMPORTERS: TableDefinition<'_, &str, ()> = TableDefinition::new("importers");

/// What a component is, as far as one can tell without running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Which of the three forms.
    pub form: Form,
    /// In WIT.
    pub signature: String,
    /// JSON Schema of the input document; none for functions on bytes and of the http form.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the answer.
    pub output_schema: Option<serde_json::Value>,
    /// JSON Schema of the function's own error.
    pub error_schema: Option<serde_json::Value>,
    /// Its imports by name.
    pub imports: Vec<String>,
    /// What its author should know, such as imports that are always denied.
    pub notes: Vec<String>,
}

/// A version that is a pipeline: what was written, and what its names stood for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// As it was written.
    pub description: Pipeline,
    /// What each function that it names is, by how it is named.
    pub pinned: BTreeMap<String, Pinned>,
}

/// One version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Its number.
    pub version: Version,
    /// Of its component.
    pub digest: Digest,
}

/// A function that is linked into a version, as it was then: it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// The function.
    pub name: FunctionName,
    /// The version that its name stood for.
    pub version: Version,
    /// Of its component, with what was linked into that.
    pub digest: Digest,
    /// What was linked into it in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Linked>,
}

impl Linked {
    /// The way from this to the function of that name: both, and what is between them.
    pub(crate) fn way_to(&self, name: &FunctionName) -> Option<Vec<FunctionName>> {
        let mut way = vec![self.name.clone()];
        if self.name == *name {
            return Some(way);
        }
        way.append(&mut self.linked.iter().find_map(|linked| linked.way_to(name))?);
        Some(way)
    }

    /// Whether another component than that one is linked here under this name.
    pub(crate) fn has_other(&self, name: &FunctionName, digest: &Digest) -> bool {
        (self.name == *name && self.digest != *digest)
            || self.linked.iter().any(|linked| linked.has_other(name, digest))
    }
}

impl Composition {
    /// Which version `function`, as it is written, stands for.
    pub(crate) fn version_of(&self, function: &FunctionRef) -> Option<FunctionRef> {
        let pinned = self.pinned.get(&function.to_string())?;
        Some(FunctionRef { name: function.name.clone(), selector: Selector::Version(pinned.version) })
    }

    /// The description with every function by its digest: what the pipeline's own digest is of.
    pub(crate) fn content(&self) -> Vec<u8> {
        let mut description = self.description.clone();
        description.steps.rename(&|function| match self.pinned.get(&function.to_string()) {
            Some(Pinned { digest, .. }) => {
                FunctionRef { name: function.name.clone(), selector: Selector::Digest(*digest) }
            }
            None => function.clone(),
        });
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and JSON values: there is nothing to refuse"
        )]
        serde_json::to_vec(&description).expect("a description serializes")
    }
}

/// One immutable version of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The function.
    pub name: FunctionName,
    /// Its number.
    pub version: Version,
    /// Of the component, or of the pipeline's description with every function by its digest.
    pub digest: Digest,
    /// Length of that.
    pub size_bytes: u64,
    /// When it was deployed, seconds since the Unix epoch.
    pub deployed_at_unix_s: u64,
    /// The function's own limits.
    pub limits: LimitOverrides,
    /// What is remembered of it.
    #[serde(default, skip_serializing_if = "Remember::is_default")]
    pub remember: Remember,
    /// If it is a pipeline: of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Composition>,
    /// The functions that it imports, which were linked into its component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Linked>,
    /// What it is.
    #[serde(flatten)]
    pub description: Description,
}

impl VersionRecord {
    pub(super) fn new(name: FunctionName, version: Version, new: NewVersion) -> Self {
        let deployed_at_unix_s = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let NewVersion { digest, size_bytes, limits, remember, pipeline, linked, description } = new;
        Self {
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

    /// Whether publishing `new` makes nothing else of the function than this version.
    pub(super) fn was_made_of(&self, new: &NewVersion) -> bool {
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
        self.digest == *digest
            && self.limits == *limits
            && self.remember == *remember
            && self.pipeline == *pipeline
            && self.linked == *linked
    }
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
