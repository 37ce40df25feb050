//! The parts of a function that is called in this process: a component, or a pipeline with all that
//! it calls, fetched from a server.
//!
//! Invariants:
//! * Each fetched part has the content of its digest and its limits on the server.
//! * The functions that a part calls come before it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU64;

use anyhow::{Context, ensure};
use bytes::Bytes;
use nebula_http::wire::{FunctionVersion, PinnedVersion};
use nebula_runtime::Configuration;
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_runtime::limits::{LimitOverrides, Limits};
use nebula_runtime::pipeline::{Fuse, Pipeline};

use crate::client::Client;

/// The functions to deploy, in order. The last is the one to call.
#[derive(Clone, Debug)]
pub(crate) struct Bundle(Vec<Part>);

/// A function of a bundle. Its name is generated, because a pipeline may call two versions of one
/// function.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: FunctionName,
    pub(crate) content: Content,
    pub(crate) limits: LimitOverrides,
    pub(crate) config: Configuration,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Component(Bytes),
    /// A pipeline, whose steps run one by one.
    Pipeline(Pipeline),
}

impl Bundle {
    /// Returns the bundle of a component.
    pub(crate) fn of_component(
        component: Bytes,
        limits: LimitOverrides,
        config: Configuration,
    ) -> anyhow::Result<Self> {
        Ok(Self(vec![Part { name: name(0)?, content: Content::Component(component), limits, config }]))
    }

    /// Fetches a version of a function and all that it calls.
    pub(crate) fn fetch(client: &Client<'_>, record: &FunctionVersion) -> anyhow::Result<Self> {
        let mut fetcher = Fetcher { client, parts: Vec::new(), known: HashMap::new() };
        fetcher.fetch(record)?;
        Ok(Self(fetcher.parts))
    }

    /// Replaces the deadline of each part by `of` its current one.
    pub(crate) fn with_deadlines(mut self, of: impl Fn(NonZeroU64) -> Option<NonZeroU64>) -> Self {
        for part in &mut self.0 {
            let given = part.limits.deadline_ms.unwrap_or(Limits::default().deadline_ms);
            part.limits.deadline_ms = of(given);
        }
        self
    }

    /// Replaces the limits of the function to call.
    pub(crate) fn with_limits(mut self, limits: LimitOverrides) -> Self {
        if let Some(called) = self.0.last_mut() {
            called.limits = limits;
        }
        self
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }
}

/// Fetches the parts of a bundle.
struct Fetcher<'a> {
    client: &'a Client<'a>,
    parts: Vec<Part>,
    /// The generated name of each version; `None` while it is being fetched.
    known: HashMap<(FunctionName, Version), Option<FunctionName>>,
}

impl Fetcher<'_> {
    fn fetch(&mut self, record: &FunctionVersion) -> anyhow::Result<FunctionName> {
        let version = (record.name.clone(), record.version);
        match self.known.entry(version.clone()) {
            Entry::Vacant(vacant) => vacant.insert(None),
            // A version that is being fetched calls itself. No correct server reports that, and the
            // fetch wouldn't end.
            Entry::Occupied(known) => {
                let calls_itself = || format!("the server reports that `{}` calls itself", record.name);
                return known.get().clone().with_context(calls_itself);
            }
        };
        let content = match &record.pipeline {
            None => {
                let component = self.client.component_of(&record.digest);
                let component = component.with_context(|| format!("cannot fetch `{}`", record.name))?;
                let found = Digest::of(&component);
                ensure!(
                    found == record.digest,
                    "the server sent {found} for `{}`, not {}",
                    record.name,
                    record.digest
                );
                Content::Component(component.into())
            }
            Some(composition) => {
                let mut renamed = HashMap::new();
                for (written, PinnedVersion { version, .. }) in &composition.pinned {
                    let function: FunctionRef = written.parse()?;
                    let called = version_of(self.client, &function.name, *version)?;
                    renamed.insert(written.clone(), self.fetch(&called)?);
                }
                let mut pipeline = composition.description.clone();
                pipeline.fuse = Fuse::Never;
                pipeline.steps.rename(&|function| match renamed.get(&function.to_string()) {
                    Some(name) => FunctionRef { name: name.clone(), selector: Selector::Current },
                    None => function.clone(),
                });
                Content::Pipeline(pipeline)
            }
        };
        let name = name(self.parts.len())?;
        let (limits, config) = (record.limits.clone().into(), record.config.clone());
        self.parts.push(Part { name: name.clone(), content, limits, config });
        self.known.insert(version, Some(name.clone()));
        Ok(name)
    }
}

/// Returns the server's record of a version.
fn version_of(client: &Client<'_>, name: &FunctionName, version: Version) -> anyhow::Result<FunctionVersion> {
    let versions = client.detail(name)?.versions;
    let found = versions.into_iter().find(|record| record.version == version);
    found.with_context(|| format!("the server has no version {version} of `{name}`"))
}

fn name(index: usize) -> anyhow::Result<FunctionName> {
    Ok(format!("function-{index}").parse()?)
}
