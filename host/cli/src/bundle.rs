//! What is deployed to be called in this process: a component, or a pipeline with all that it calls, brought from its
//! server.
//!
//! Invariants:
//! * What is brought is what its digest names, and may use what it may use there.
//! * Whatever a function calls comes before it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU64;

use anyhow::{Context, ensure};
use bytes::Bytes;
use nebula_http::wire::{FunctionVersion, PinnedVersion};
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_runtime::limits::{LimitOverrides, Limits};
use nebula_runtime::pipeline::{Fuse, Pipeline};

use crate::client::Client;

/// What is deployed, in this order; the last is what is called.
#[derive(Clone, Debug)]
pub(crate) struct Bundle(Vec<Part>);

/// One function of it. Names are made here: a pipeline may call two versions of one function.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: FunctionName,
    pub(crate) content: Content,
    pub(crate) limits: LimitOverrides,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Component(Bytes),
    /// Its steps run one by one.
    Pipeline(Pipeline),
}

impl Bundle {
    /// A component by itself.
    pub(crate) fn of_component(component: Bytes, limits: LimitOverrides) -> anyhow::Result<Self> {
        Ok(Self(vec![Part { name: name(0)?, content: Content::Component(component), limits }]))
    }

    /// A version of a function, with all that it calls.
    pub(crate) fn bring(client: &Client<'_>, record: &FunctionVersion) -> anyhow::Result<Self> {
        let mut bringing = Bringing { client, parts: Vec::new(), known: HashMap::new() };
        bringing.bring(record)?;
        Ok(Self(bringing.parts))
    }

    /// With another deadline for each part, by the one that it was given.
    pub(crate) fn with_deadlines(mut self, of: impl Fn(NonZeroU64) -> Option<NonZeroU64>) -> Self {
        for part in &mut self.0 {
            let given = part.limits.deadline_ms.unwrap_or(Limits::default().deadline_ms);
            part.limits.deadline_ms = of(given);
        }
        self
    }

    /// With other limits of what is called.
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

struct Bringing<'a> {
    client: &'a Client<'a>,
    parts: Vec<Part>,
    /// What each version is called here; nothing while it is being brought.
    known: HashMap<(FunctionName, Version), Option<FunctionName>>,
}

impl Bringing<'_> {
    fn bring(&mut self, record: &FunctionVersion) -> anyhow::Result<FunctionName> {
        let version = (record.name.clone(), record.version);
        match self.known.entry(version.clone()) {
            Entry::Vacant(vacant) => vacant.insert(None),
            // One that is under way calls itself: no server says so, and it would never come to an end.
            Entry::Occupied(known) => {
                let calls_itself = || format!("`{}` calls itself, says the server", record.name);
                return known.get().clone().with_context(calls_itself);
            }
        };
        let content = match &record.pipeline {
            None => {
                let component = self.client.component_of(&record.digest);
                let component = component.with_context(|| format!("cannot bring `{}`", record.name))?;
                let found = Digest::of(&component);
                ensure!(
                    found == record.digest,
                    "the server's `{}` is {found}, not {}",
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
                    renamed.insert(written.clone(), self.bring(&called)?);
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
        self.parts.push(Part { name: name.clone(), content, limits: record.limits.clone().into() });
        self.known.insert(version, Some(name.clone()));
        Ok(name)
    }
}

/// A version, as its server has it.
fn version_of(client: &Client<'_>, name: &FunctionName, version: Version) -> anyhow::Result<FunctionVersion> {
    let versions = client.detail(name)?.versions;
    let found = versions.into_iter().find(|record| record.version == version);
    found.with_context(|| format!("the server has no version {version} of `{name}`"))
}

fn name(index: usize) -> anyhow::Result<FunctionName> {
    Ok(format!("function-{index}").parse()?)
}
