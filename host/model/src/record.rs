//! The record of each version, as the store keeps it and the control plane returns it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::caching::Caching;
use crate::configuration::Configuration;
use crate::cors::Cors;
use crate::description::Pipeline;
use crate::form::Form;
use crate::id::{Digest, FunctionName, FunctionRef, ProjectName, Selector, Version};
use crate::limits::LimitOverrides;
use crate::route::{RouteHost, RoutePath};

/// The facts about a component that are known without running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The form.
    pub form: Form,
    /// The signature of `handle`, in WIT.
    pub signature: String,
    /// The author's text about the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// JSON Schema of the input document; `None` for functions of the raw and the http form.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the function's value.
    pub output_schema: Option<serde_json::Value>,
    /// JSON Schema of the function's own error.
    pub error_schema: Option<serde_json::Value>,
    /// The names of the imports.
    pub imports: Vec<String>,
    /// Notes for the author, for example about imports that are always denied.
    pub notes: Vec<String>,
}

/// The content of a version that is a pipeline: its description, and the versions its names stood
/// for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// The description as deployed.
    pub description: Pipeline,
    /// The pinned version of each function, by its reference in the description.
    pub pinned: BTreeMap<String, Pinned>,
}

/// A version of a function that a pipeline calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The version's number.
    pub version: Version,
    /// Digest of its component.
    pub digest: Digest,
    /// Digest of its [configuration](Configuration::digest), if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
}

/// The content of a pipeline some of whose functions have a configuration.
#[derive(Serialize)]
struct ConfiguredContent<'a> {
    #[serde(flatten)]
    description: &'a Pipeline,
    /// The digest of each call's configuration, in order.
    config: Vec<Option<Digest>>,
}

/// A function that is linked into a version. Later deploys of the function don't change it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Linked {
    /// The function.
    pub name: FunctionName,
    /// The version that was current at the deploy.
    pub version: Version,
    /// Digest of its component, including what is linked into that.
    pub digest: Digest,
    /// The functions linked into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Linked>,
}

impl Linked {
    /// Returns the path from this function to the one of that name, both included.
    pub fn way_to(&self, name: &FunctionName) -> Option<Vec<FunctionName>> {
        let mut way = vec![self.name.clone()];
        if self.name == *name {
            return Some(way);
        }
        way.append(&mut self.linked.iter().find_map(|linked| linked.way_to(name))?);
        Some(way)
    }

    /// Returns whether a different component than `digest` is linked here under that name.
    pub fn has_other(&self, name: &FunctionName, digest: &Digest) -> bool {
        (self.name == *name && self.digest != *digest)
            || self.linked.iter().any(|linked| linked.has_other(name, digest))
    }
}

impl Composition {
    /// Returns the pinned version of a function in the description.
    pub fn version_of(&self, function: &FunctionRef) -> Option<FunctionRef> {
        let pinned = self.pinned.get(&function.to_string())?;
        Some(FunctionRef { name: function.name.clone(), selector: Selector::Version(pinned.version) })
    }

    /// Returns the description with every function by its digest, and the digests of their
    /// configurations, if any has one. The pipeline's digest is the digest of this.
    pub fn content(&self) -> Vec<u8> {
        let pinned_of = |function: &FunctionRef| self.pinned.get(&function.to_string());
        let config = self.description.steps.calls().into_iter().map(|call| pinned_of(call)?.config);
        let config: Vec<_> = config.collect();
        let mut description = self.description.clone();
        description.steps.rename(&|function| match pinned_of(function) {
            Some(Pinned { digest, .. }) => {
                FunctionRef { name: function.name.clone(), selector: Selector::Digest(*digest) }
            }
            None => function.clone(),
        });
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and JSON values: there is nothing to refuse"
        )]
        match config.iter().any(Option::is_some) {
            true => serde_json::to_vec(&ConfiguredContent { description: &description, config }),
            false => serde_json::to_vec(&description),
        }
        .expect("a description serializes")
    }
}

/// An immutable version of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The function.
    pub name: FunctionName,
    /// The version's number.
    pub version: Version,
    /// Digest of the component, or of [`Composition::content`].
    pub digest: Digest,
    /// Length of the component or content, bytes.
    pub size_bytes: u64,
    /// When it was deployed, seconds since the Unix epoch.
    pub deployed_at_unix_s: u64,
    /// The function's own limits.
    pub limits: LimitOverrides,
    /// Caching of the function's results. Stored as `remember`, which earlier releases read.
    #[serde(rename = "remember", default, skip_serializing_if = "Caching::is_default")]
    pub cache: Caching,
    /// The constants that the function reads.
    #[serde(default, skip_serializing_if = "Configuration::is_empty")]
    pub config: Configuration,
    /// The project that deployed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// The pages that may call it, if its deploy says so; otherwise the server's policy holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// The paths under which it answers beside `/f/NAME`.
    #[serde(default, rename = "route", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RoutePath>,
    /// The hosts of these paths: all if empty.
    #[serde(default, rename = "host", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<RouteHost>,
    /// The pipeline, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Composition>,
    /// The imported functions that are linked into the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Linked>,
    /// The facts about the component or pipeline.
    #[serde(flatten)]
    pub description: Description,
}
