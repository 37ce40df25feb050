//! Pipelines' way in, and what becomes of them when a function that they call gets another version.
//!
//! ```text
//! description --check--> pinned (every name the version it is now) --publish--> version
//! a name's new version --check of each pipeline that follows it--> fits: the pipeline's new version, at once
//!                                                              \-> doesn't: refused, or the pipeline stays as it is
//! ```
//!
//! Invariants:
//! * A pipeline's version calls the same versions for ever: what its digest names is one function.
//! * What a name stands for and the pipelines that follow it change in one transaction.
//! * No version that a pipeline calls is removed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use super::{Runtime, Shared};
use crate::engine::{Described, Form};
use crate::error::LoadError;
use crate::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use crate::pipeline::{self, Callee, Gives, InvalidPipeline, Pipeline, Plan, Takes, View};
use crate::registry::{
    Composition, Description, NewVersion, Pinned, Publication, ResolveError, StoreError, VersionRecord,
};
use crate::remember::Settings;
use crate::runtime::DeployError;

/// A pipeline that a change would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub pipeline: FunctionName,
    /// What wouldn't fit any more.
    pub reason: InvalidPipeline,
}

/// Why a name doesn't get another version, or isn't removed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum NamingError {
    /// There is none.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Pipelines that follow it would be broken.
    #[error("it would break {}", broken(.0))]
    Breaks(Vec<Broken>),
    /// Pipelines call it.
    #[error("`{name}` is called by {}", list(by))]
    InUse {
        /// It.
        name: FunctionName,
        /// They.
        by: Vec<FunctionName>,
    },
    /// The version is a pipeline that can't be any more.
    #[error(transparent)]
    Pipeline(InvalidPipeline),
    /// What a function takes and gives couldn't be told.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<DeployError> for NamingError {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Breaks(broken) => Self::Breaks(broken),
            DeployError::Store(error) => error.into(),
            DeployError::Load(error) => Self::Load(error),
            DeployError::Pipeline(error) => Self::Pipeline(error),
            // It was deployed once.
            error @ (DeployError::Admission(_)
            | DeployError::Refused(_)
            | DeployError::Compile(_)
            | DeployError::Limit(_)
            | DeployError::Internal(_)) => Self::Load(LoadError::Engine(error.to_string())),
        }
    }
}

impl From<StoreError> for NamingError {
    fn from(error: StoreError) -> Self {
        Self::Resolve(error.into())
    }
}

pub(super) fn broken(broken: &[Broken]) -> String {
    let each =
        broken.iter().map(|Broken { pipeline, reason }| format!("the pipeline `{pipeline}` ({reason})"));
    each.collect::<Vec<_>>().join(", ")
}

fn list(names: &[FunctionName]) -> String {
    let pipelines = if names.len() == 1 { "the pipeline" } else { "the pipelines" };
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{pipelines} {}", names.join(", "))
}

/// What becomes of the pipelines that follow a name, where they don't fit its new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Followers {
    /// The change is refused.
    #[default]
    MustFit,
    /// They stay as they are, with the version that they call, until they fit again.
    MayStay,
}

/// What a deploy of a pipeline would publish: itself with its content, those that follow it with theirs; and its plan.
type Thought = (NewVersion, Vec<u8>, Vec<(VersionRecord, Vec<u8>)>, Plan);

/// What names stand for while a change is thought through.
pub(super) struct Names<'a> {
    runtime: &'a Runtime,
    /// What they will stand for.
    changed: HashMap<FunctionName, VersionRecord>,
    /// Of components that are known already.
    described: HashMap<Digest, Callee>,
    plans: HashMap<(FunctionName, Version), Callee>,
}

impl Runtime {
    /// Checks a pipeline as a deploy would, and shows it.
    ///
    /// # Errors
    /// [`DeployError`].
    pub fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<View, DeployError> {
        let (.., plan) = self.think_through(name, pipeline, settings, followers)?;
        Ok(plan.view)
    }

    /// What deploying a pipeline would publish, with those that follow it, and its plan.
    fn think_through(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<Thought, DeployError> {
        self.0.limits.with(&settings.limits)?;
        let mut names = Names::new(self);
        let (composition, plan) = names.plan(name, pipeline)?;
        let content = composition.content();
        let version = NewVersion {
            digest: Digest::of(&content),
            size_bytes: content.len() as u64,
            limits: settings.limits.clone(),
            remember: settings.remember.clone(),
            description: describe(&plan),
            pipeline: Some(composition),
        };
        let others = names.follow(self.0.registry.prospect(name, &version)?, followers)?;
        Ok((version, content, others, plan))
    }

    /// The current version of a pipeline, as it is shown.
    ///
    /// # Errors
    /// [`NamingError`]; `None` where it is no pipeline.
    pub fn view_pipeline(
        &self,
        reference: &FunctionRef,
    ) -> Result<Option<(VersionRecord, View)>, NamingError> {
        let record = self.0.registry.resolve(reference)?;
        let Some(composition) = &record.pipeline else { return Ok(None) };
        let mut names = Names::new(self);
        let view = names.pinned_plan(composition)?.view;
        Ok(Some((record, view)))
    }

    /// Checks a pipeline and publishes it. Durable when it returns. Waits for the disk.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    pub fn deploy_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        // What can be told without the lock is: others wait for it.
        pipeline.check().map_err(InvalidPipeline::from)?;
        let _naming = self.lock_naming();
        let (version, content, others, _) = self.think_through(name, pipeline, settings, followers)?;
        let publication = Publication { name, content: Cow::Owned(content), version };
        self.publish(publication, &others)
    }

    /// Publishes a version and those of the pipelines that follow its name.
    pub(super) fn publish(
        &self,
        publication: Publication<'_>,
        others: &[(VersionRecord, Vec<u8>)],
    ) -> Result<VersionRecord, DeployError> {
        let mut publications = vec![publication];
        publications.extend(others.iter().map(|(record, content)| as_publication(record, content)));
        let records = self.0.registry.publish(&publications)?;
        self.forget_named(&records);
        self.fuse_later(&records);
        // There is one for each, in order.
        records.into_iter().next().ok_or_else(|| DeployError::Internal("nothing was published".to_owned()))
    }

    fn forget_named(&self, records: &[VersionRecord]) {
        for record in records {
            self.forget_resolved(&record.name);
        }
    }

    /// Makes an earlier version current.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn rollback(
        &self,
        name: &FunctionName,
        to: Option<Version>,
        followers: Followers,
    ) -> Result<VersionRecord, NamingError> {
        let _naming = self.lock_naming();
        let target = self.0.registry.earlier(name, to)?;
        let mut names = Names::new(self);
        if let Some(composition) = &target.pipeline {
            names.refuse_cycles(name, &composition.description)?;
        }
        let others = names.follow(target.clone(), followers)?;
        let others: Vec<_> = others.iter().map(|(record, content)| as_publication(record, content)).collect();
        let records = self.0.registry.roll_back(&target, &others)?;
        self.forget_named(&records);
        self.fuse_later(&records);
        self.forget_resolved(name);
        Ok(target)
    }

    /// Removes a function with its versions, and the files that nothing else needs.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn remove(&self, name: &FunctionName) -> Result<(), NamingError> {
        let _naming = self.lock_naming();
        let mut by = Vec::new();
        for pipeline in self.0.registry.pipelines()? {
            let calls = |record: &VersionRecord| calls(record).any(|function| function.name == *name);
            if pipeline != *name && self.0.registry.versions(&pipeline)?.iter().any(calls) {
                by.push(pipeline);
            }
        }
        if !by.is_empty() {
            return Err(NamingError::InUse { name: name.clone(), by });
        }
        if !self.0.registry.remove(name)? {
            return Err(ResolveError::UnknownFunction(name.clone()).into());
        }
        self.forget_resolved(name);
        self.0.logs.forget(name);
        self.lock_counts().remove(name);
        self.collect_garbage()?;
        Ok(())
    }

    /// The digests of the pipelines that call this component, by way of others too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn pipelines_of(&self, component: &Digest) -> Result<HashSet<Digest>, StoreError> {
        let mut records = Vec::new();
        for pipeline in self.0.registry.pipelines()? {
            records.extend(self.0.registry.versions(&pipeline)?);
        }
        let mut found = HashSet::new();
        loop {
            let before = found.len();
            for record in &records {
                let pinned = record.pipeline.iter().flat_map(|composition| composition.pinned.values());
                if pinned.into_iter().any(|it| it.digest == *component || found.contains(&it.digest)) {
                    found.insert(record.digest);
                }
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }

    pub(super) fn lock_naming(&self) -> MutexGuard<'_, ()> {
        self.0.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Names<'a> {
    pub(super) fn new(runtime: &'a Runtime) -> Self {
        Self { runtime, changed: HashMap::new(), described: HashMap::new(), plans: HashMap::new() }
    }

    /// A component that is no version's yet.
    pub(super) fn learn(&mut self, digest: Digest, described: &Described) {
        if let Some(callee) = callee_of(described) {
            self.described.insert(digest, callee);
        }
    }

    /// What has to be published with `record`, which becomes its name's current version: new versions of the pipelines
    /// that follow it.
    ///
    /// # Errors
    /// [`DeployError::Breaks`] where one doesn't fit and must.
    pub(super) fn follow(
        &mut self,
        record: VersionRecord,
        followers: Followers,
    ) -> Result<Vec<(VersionRecord, Vec<u8>)>, DeployError> {
        let registry = &self.runtime.0.registry;
        let current = |name: &FunctionName| {
            let reference = FunctionRef { name: name.clone(), selector: Selector::Current };
            match registry.resolve(&reference) {
                Ok(record) => Ok(Some(record)),
                Err(ResolveError::Store(error)) => Err(error),
                Err(
                    ResolveError::UnknownFunction(_)
                    | ResolveError::UnknownVersion { .. }
                    | ResolveError::NoEarlierVersion { .. },
                ) => Ok(None),
            }
        };
        // What each name stood for that is going to change.
        let mut before = HashMap::new();
        match current(&record.name)? {
            // Nothing changes.
            Some(found) if found.version == record.version => return Ok(Vec::new()),
            found => before.extend(found.map(|found| (record.name.clone(), found.version))),
        }
        let mut waiting = Vec::new();
        for name in registry.pipelines()? {
            if name == record.name {
                continue;
            }
            waiting.extend(current(&name)?.filter(|record| record.pipeline.is_some()));
        }
        self.changed.insert(record.name.clone(), record);
        let (mut published, mut broken) = (Vec::new(), Vec::new());
        // Each once those that it follows have been seen to; there are no cycles.
        while let Some(at) = (0..waiting.len()).find(|at| {
            let follows = |other: &VersionRecord| follows(&waiting[*at], &other.name);
            !waiting.iter().any(follows)
        }) {
            let record = waiting.swap_remove(at);
            if !self.changed.keys().any(|name| follows(&record, name)) {
                continue;
            }
            let Some(composition) = &record.pipeline else { continue };
            let description = composition.description.clone();
            match self.plan(&record.name, &description) {
                Ok((composition, plan)) => {
                    if record.pipeline.as_ref() == Some(&composition) {
                        continue;
                    }
                    let content = composition.content();
                    let version = NewVersion {
                        digest: Digest::of(&content),
                        size_bytes: content.len() as u64,
                        limits: record.limits.clone(),
                        remember: record.remember.clone(),
                        description: describe(&plan),
                        pipeline: Some(composition),
                    };
                    before.insert(record.name.clone(), record.version);
                    let record = registry.prospect(&record.name, &version)?;
                    self.changed.insert(record.name.clone(), record.clone());
                    published.push((record, content));
                }
                // One that had stayed behind before isn't broken by this.
                Err(DeployError::Pipeline(reason)) => {
                    let mut is_up_to_date = true;
                    for name in followed(&description) {
                        let stood_for = match before.get(&name) {
                            Some(version) => Some(*version),
                            None => current(&name)?.map(|found| found.version),
                        };
                        let pinned = composition.pinned.get(name.as_str()).map(|pinned| pinned.version);
                        is_up_to_date &= stood_for == pinned;
                    }
                    if is_up_to_date {
                        broken.push(Broken { pipeline: record.name, reason });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // Those in a circle, which there can't be: none of them comes before the others.
        for record in waiting.into_iter().filter(|it| self.changed.keys().any(|name| follows(it, name))) {
            let names = vec![record.name.to_string(), record.name.to_string()];
            broken.push(Broken { pipeline: record.name, reason: InvalidPipeline::Cycle { names } });
        }
        match followers {
            Followers::MustFit if !broken.is_empty() => Err(DeployError::Breaks(broken)),
            Followers::MustFit | Followers::MayStay => Ok(published),
        }
    }

    /// The version that a name stands for.
    fn resolve(&self, function: &FunctionRef) -> Result<VersionRecord, ResolveError> {
        match self.changed.get(&function.name) {
            Some(record)
                if function.selector == Selector::Current
                    || function.selector == Selector::Version(record.version) =>
            {
                Ok(record.clone())
            }
            Some(_) | None => self.runtime.0.registry.resolve(function),
        }
    }

    /// Checks a pipeline under the name `own`, with what names stand for now.
    fn plan(&mut self, own: &FunctionName, pipeline: &Pipeline) -> Result<(Composition, Plan), DeployError> {
        pipeline.check().map_err(InvalidPipeline::from)?;
        self.refuse_cycles(own, pipeline)?;
        let (mut pinned, mut failed) = (BTreeMap::new(), None);
        let plan = pipeline::check(pipeline, &mut |function| {
            let record = self.resolve(function).map_err(|error| {
                let reason = error.to_string();
                if let ResolveError::Store(error) = error {
                    failed = Some(DeployError::Store(error));
                }
                reason
            })?;
            pinned.insert(function.to_string(), Pinned { version: record.version, digest: record.digest });
            self.callee(&record).map_err(|error| {
                if let DeployError::Pipeline(InvalidPipeline::UnknownFunction { reason, .. }) = error {
                    return reason;
                }
                let reason = error.to_string();
                if !matches!(error, DeployError::Pipeline(_)) {
                    failed = Some(error);
                }
                reason
            })
        });
        match (plan, failed) {
            (_, Some(error)) => Err(error),
            (plan, None) => Ok((Composition { description: pipeline.clone(), pinned }, plan?)),
        }
    }

    /// What a version takes and gives.
    ///
    /// Of pipelines in pipelines the innermost comes first: however deep they are, this isn't.
    fn callee(&mut self, record: &VersionRecord) -> Result<Callee, DeployError> {
        if record.pipeline.is_none() {
            return self.callee_of_component(record);
        }
        let version = |record: &VersionRecord| (record.name.clone(), record.version);
        let mut waiting = vec![record.clone()];
        while let Some(record) = waiting.last().cloned() {
            let Some(composition) =
                record.pipeline.as_ref().filter(|_| !self.plans.contains_key(&version(&record)))
            else {
                waiting.pop();
                continue;
            };
            let mut inner = Vec::new();
            for function in composition.description.steps.calls() {
                let Some(function) = composition.version_of(function) else { continue };
                let found = self.resolve(&function)?;
                if found.pipeline.is_some() && !self.plans.contains_key(&version(&found)) {
                    inner.push(found);
                }
            }
            if inner.is_empty() {
                let callee = self.pinned_plan(composition)?.callee;
                self.plans.insert(version(&record), callee);
                waiting.pop();
            } else {
                waiting.extend(inner);
            }
        }
        let callee = self.plans.get(&version(record)).cloned();
        callee.ok_or_else(|| DeployError::Internal(format!("`{}` has no plan", record.name)))
    }

    fn callee_of_component(&mut self, record: &VersionRecord) -> Result<Callee, DeployError> {
        let unsuitable = |reason: &str| {
            DeployError::Pipeline(InvalidPipeline::UnknownFunction {
                step: record.name.to_string(),
                function: record.name.to_string(),
                reason: reason.to_owned(),
            })
        };
        match record.description.form {
            Form::Raw => return Ok(Callee::raw()),
            Form::Http => {
                return Err(unsuitable("it takes whole HTTP requests, which don't flow from step to step"));
            }
            Form::Typed => {}
        }
        if let Some(callee) = self.described.get(&record.digest) {
            return Ok(callee.clone());
        }
        let described = self.runtime.describe(&record.digest)?;
        let callee = callee_of(&described).ok_or_else(|| unsuitable("its types can't be told"))?;
        self.described.insert(record.digest, callee.clone());
        Ok(callee)
    }

    /// The plan of a pipeline as it was deployed.
    pub(super) fn pinned_plan(&mut self, composition: &Composition) -> Result<Plan, DeployError> {
        let mut failed = None;
        let plan = pipeline::check(&composition.description, &mut |function| {
            let version = composition.version_of(function).ok_or("it isn't pinned")?;
            let callee = self.resolve(&version).map_err(DeployError::from);
            callee.and_then(|record| self.callee(&record)).map_err(|error| {
                let reason = error.to_string();
                failed = Some(error);
                reason
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(plan?),
        }
    }

    /// A pipeline that follows itself would never come to rest.
    fn refuse_cycles(&self, own: &FunctionName, pipeline: &Pipeline) -> Result<(), DeployError> {
        let mut seen = HashSet::new();
        let mut ways = vec![(vec![own.clone()], followed(pipeline))];
        while let Some((way, names)) = ways.pop() {
            for name in names {
                let mut way = way.clone();
                way.push(name.clone());
                if name == *own {
                    let names = way.iter().map(ToString::to_string).collect();
                    return Err(InvalidPipeline::Cycle { names }.into());
                }
                if !seen.insert(name.clone()) {
                    continue;
                }
                // What isn't there is found out by the check.
                let found = self.resolve(&FunctionRef { name, selector: Selector::Current });
                if let Ok(VersionRecord { pipeline: Some(composition), .. }) = found {
                    ways.push((way, followed(&composition.description)));
                }
            }
        }
        Ok(())
    }
}

impl Runtime {
    /// What a component is, compiling it again if need be. Waits for that.
    pub(super) fn describe(&self, digest: &Digest) -> Result<Described, LoadError> {
        let Shared { registry, compiler, compatibility, lane_pool, .. } = &*self.0;
        let refused = |refused: crate::engine::Refused| LoadError::Engine(refused.to_string());
        if let Some(compiled) = registry.open_compiled(digest, compatibility)? {
            return lane_pool.engine().describe_artefact(&compiled.path).map_err(refused);
        }
        let artefact = compiler.compile(&registry.read_component(digest)?)?;
        registry.store_compiled(digest, compatibility, &artefact)?;
        lane_pool.engine().describe_compiled(&artefact).map_err(refused)
    }
}

fn callee_of(described: &Described) -> Option<Callee> {
    match described.form {
        Form::Typed => described.types.as_ref().map(Callee::typed),
        Form::Raw => Some(Callee::raw()),
        Form::Http => None,
    }
}

fn as_publication<'a>(record: &'a VersionRecord, content: &'a [u8]) -> Publication<'a> {
    let VersionRecord { name, digest, size_bytes, limits, remember, pipeline, description, .. } = record;
    let version = NewVersion {
        digest: *digest,
        size_bytes: *size_bytes,
        limits: limits.clone(),
        remember: remember.clone(),
        description: description.clone(),
        pipeline: pipeline.clone(),
    };
    Publication { name, content: Cow::Borrowed(content), version }
}

/// The functions that a version calls, if it is a pipeline.
fn calls(record: &VersionRecord) -> impl Iterator<Item = &FunctionRef> {
    record.pipeline.iter().flat_map(|composition| composition.description.steps.calls())
}

/// Whether a pipeline calls whatever `name` stands for.
fn follows(record: &VersionRecord, name: &FunctionName) -> bool {
    calls(record).any(|function| function.name == *name && function.selector == Selector::Current)
}

/// The names that a pipeline follows.
fn followed(pipeline: &Pipeline) -> Vec<FunctionName> {
    let calls = pipeline.steps.calls().into_iter();
    calls.filter(|it| it.selector == Selector::Current).map(|it| it.name.clone()).collect()
}

/// What is written down of a pipeline.
fn describe(plan: &Plan) -> Description {
    let Callee { takes, gives, fails, .. } = &plan.callee;
    let (form, input_schema) = match takes {
        Takes::Payload => (Form::Raw, None),
        Takes::Values(params) => (Form::Typed, crate::codec::input_schema(params)),
    };
    Description {
        form,
        signature: plan.callee.signature_text(),
        input_schema,
        output_schema: match gives {
            Gives::Value(ty) => Some(crate::codec::json_schema(ty)),
            Gives::Nothing | Gives::Payload => None,
        },
        error_schema: fails.as_ref().and_then(Option::as_ref).map(crate::codec::json_schema),
        imports: Vec::new(),
        notes: Vec::new(),
    }
}
