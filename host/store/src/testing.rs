//! Tests that every implementation of the store's traits passes, and what they are made of.
//!
//! Another crate enables the feature `testing`, implements the fixture for its implementation and
//! runs the suite:
//!
//! ```ignore
//! struct Nats(/* a server of its own */);
//! impl nebula_store::testing::catalog::Fixture for Nats { /* … */ }
//! nebula_store::catalog_conformance!(Nats);
//! ```

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

pub mod blobs;
pub mod catalog;
pub mod interrupted;

use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::description::Pipeline;
use nebula_model::disagreement::Disagreement;
use nebula_model::form::Form;
use nebula_model::id::{Digest, Version};
use nebula_model::limits::LimitOverrides;
use nebula_model::record::{Composition, Description, Linked, VersionRecord};

/// Returns version `number` of a function.
pub fn version(name: &str, number: u32) -> VersionRecord {
    let content = format!("{name}@v{number}");
    VersionRecord {
        name: name.parse().unwrap(),
        version: Version::new(number).unwrap(),
        digest: Digest::of(content.as_bytes()),
        size_bytes: content.len() as u64,
        deployed_at_unix_s: 1_790_000_000,
        limits: LimitOverrides::default(),
        cache: Caching::default(),
        config: Configuration::default(),
        project: None,
        cors: None,
        routes: Vec::new(),
        hosts: Vec::new(),
        pipeline: None,
        linked: Vec::new(),
        description: description(),
    }
}

/// Returns a version that is a pipeline.
pub fn pipeline_version(name: &str, number: u32) -> VersionRecord {
    let description: Pipeline = serde_json::from_str(r#"{"steps":["double"]}"#).unwrap();
    VersionRecord {
        pipeline: Some(Composition { description, pinned: Default::default() }),
        ..version(name, number)
    }
}

/// Returns a version with a function linked into it.
pub fn importing_version(name: &str, number: u32) -> VersionRecord {
    let double = version("double", 1);
    let linked =
        Linked { name: double.name, version: double.version, digest: double.digest, linked: Vec::new() };
    VersionRecord { linked: vec![linked], ..version(name, number) }
}

/// Returns a version with a route.
pub fn routed_version(name: &str, number: u32) -> VersionRecord {
    VersionRecord { routes: vec!["/api/...".parse().unwrap()], ..version(name, number) }
}

/// Returns a disagreement about a component.
pub fn disagreement(component: Digest) -> Disagreement {
    Disagreement {
        component,
        function: "double@v2".to_owned(),
        input: Digest::of(b"5"),
        cached: "15".to_owned(),
        computed: "16".to_owned(),
        engines: ["one".to_owned(), "other".to_owned()],
        at_unix_s: 1_790_000_000,
    }
}

pub(crate) fn description() -> Description {
    Description {
        form: Form::Typed,
        signature: "handle: func()".to_owned(),
        docs: None,
        input_schema: None,
        output_schema: None,
        error_schema: None,
        imports: vec![],
        notes: vec![],
    }
}
