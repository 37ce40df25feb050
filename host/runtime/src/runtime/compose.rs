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

mod names;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

use nebula_engine::Described;
use nebula_model::description::Pipeline;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Version};
use nebula_model::record::{Description, VersionRecord};
use nebula_model::remember::Settings;
use nebula_pipeline::{Callee, InputType, InvalidPipeline, OutputType, Plan, View};
use nebula_store::{NewVersion, Publication, ResolveError, StoreError};

pub(super) use self::names::Names;
use super::{Runtime, Shared};
use crate::error::LoadError;
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
            | DeployError::Import(_)
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
            linked: Vec::new(),
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
        let record = records.into_iter().next();
        let mut record = record.ok_or_else(|| DeployError::Internal("nothing was published".to_owned()))?;
        let notes = self.note_of_importers(&record);
        record.description.notes.extend(notes);
        Ok(record)
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

impl Runtime {
    /// What a component is, compiling it again if need be. Waits for that.
    pub(super) fn describe(&self, digest: &Digest) -> Result<Described, LoadError> {
        let Shared { registry, compiler, compatibility, lane_pool, .. } = &*self.0;
        let refused = |refused: nebula_engine::Refused| LoadError::Engine(refused.to_string());
        if let Some(compiled) = registry.open_compiled(digest, compatibility)? {
            return lane_pool.engine().describe_artefact(&compiled.path).map_err(refused);
        }
        let artefact = compiler.compile(&registry.read_component(digest)?)?;
        registry.store_compiled(digest, compatibility, &artefact)?;
        lane_pool.engine().describe_compiled(&artefact).map_err(refused)
    }
}

fn as_publication<'a>(record: &'a VersionRecord, content: &'a [u8]) -> Publication<'a> {
    let VersionRecord { name, digest, size_bytes, limits, remember, pipeline, linked, description, .. } =
        record;
    let version = NewVersion {
        digest: *digest,
        size_bytes: *size_bytes,
        limits: limits.clone(),
        remember: remember.clone(),
        description: description.clone(),
        pipeline: pipeline.clone(),
        linked: linked.clone(),
    };
    Publication { name, content: Cow::Borrowed(content), version }
}

/// The functions that a version calls, if it is a pipeline.
fn calls(record: &VersionRecord) -> impl Iterator<Item = &FunctionRef> {
    record.pipeline.iter().flat_map(|composition| composition.description.steps.calls())
}

/// What is written down of a pipeline.
fn describe(plan: &Plan) -> Description {
    let Callee { input, output, error, .. } = &plan.callee;
    let (form, input_schema) = match input {
        InputType::Payload => (Form::Raw, None),
        InputType::Values(params) => (Form::Typed, nebula_codec::input_schema(params)),
    };
    Description {
        form,
        signature: plan.callee.signature_text(),
        input_schema,
        output_schema: match output {
            OutputType::Value(ty) => Some(nebula_codec::json_schema(ty)),
            OutputType::Nothing | OutputType::Payload => None,
        },
        error_schema: error.value().map(nebula_codec::json_schema),
        imports: Vec::new(),
        notes: Vec::new(),
    }
}
