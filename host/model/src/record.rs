//! What is written down of each version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::description::Pipeline;
use crate::form::Form;
use crate::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use crate::limits::LimitOverrides;
use crate::remember::Remember;

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
    pub fn way_to(&self, name: &FunctionName) -> Option<Vec<FunctionName>> {
        let mut way = vec![self.name.clone()];
        if self.name == *name {
            return Some(way);
        }
        way.append(&mut self.linked.iter().find_map(|linked| linked.way_to(name))?);
        Some(way)
    }

    /// Whether another component than that one is linked here under this name.
    pub fn has_other(&self, name: &FunctionName, digest: &Digest) -> bool {
        (self.name == *name && self.digest != *digest)
            || self.linked.iter().any(|linked| linked.has_other(name, digest))
    }
}

impl Composition {
    /// Which version `function`, as it is written, stands for.
    pub fn version_of(&self, function: &FunctionRef) -> Option<FunctionRef> {
        let pinned = self.pinned.get(&function.to_string())?;
        Some(FunctionRef { name: function.name.clone(), selector: Selector::Version(pinned.version) })
    }

    /// The description with every function by its digest: what the pipeline's own digest is of.
    pub fn content(&self) -> Vec<u8> {
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
