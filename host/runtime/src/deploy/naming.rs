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
use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use nebula_model::description::Pipeline;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Version};
use nebula_model::record::{Description, VersionRecord};
use nebula_model::remember::Settings;
use nebula_pipeline::{Callee, Gives, InvalidPipeline, Plan, Takes, View};
use nebula_store::{NewVersion, Publication, ResolveError, StoreError};

use super::{DeployError, Deployer, Names};
use crate::error::LoadError;

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

/// The new version of a pipeline that follows a name which changes.
pub(super) struct FollowerVersion {
    pub(super) record: VersionRecord,
    pub(super) content: Vec<u8>,
}

/// What a deploy of a pipeline would publish.
struct PipelineChange {
    version: NewVersion,
    content: Vec<u8>,
    /// The pipelines that follow it.
    followers: Vec<FollowerVersion>,
    plan: Plan,
}

impl Deployer {
    /// Checks a pipeline as a deploy would, and shows it.
    ///
    /// # Errors
    /// [`DeployError`].
    pub(crate) fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<View, DeployError> {
        self.with_names(|names| {
            let change = self.think_through(names, name, pipeline, settings, followers)?;
            Ok(change.plan.view)
        })
    }

    /// What deploying a pipeline would publish, with those that follow it, and its plan.
    fn think_through(
        &self,
        names: &mut Names<'_>,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<PipelineChange, DeployError> {
        self.functions.limits().with(&settings.limits)?;
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
        let followers = names.follow(self.registry.prospect(name, &version)?, followers)?;
        Ok(PipelineChange { version, content, followers, plan })
    }

    /// The current version of a pipeline, as it is shown.
    ///
    /// # Errors
    /// [`NamingError`]; `None` where it is no pipeline.
    pub(crate) fn view_pipeline(
        &self,
        reference: &FunctionRef,
    ) -> Result<Option<(VersionRecord, View)>, NamingError> {
        let record = self.registry.resolve(reference)?;
        let Some(composition) = &record.pipeline else { return Ok(None) };
        let view = self.with_names(|names| names.pinned_plan(composition))?.view;
        Ok(Some((record, view)))
    }

    /// Checks a pipeline and publishes it. Durable when it returns. Waits for the disk.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    pub(crate) fn deploy_pipeline(
        self: &Arc<Self>,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        // What can be told without the lock is: others wait for it.
        pipeline.check().map_err(InvalidPipeline::from)?;
        self.with_names(|names| {
            let _naming = self.lock_naming();
            let change = self.think_through(names, name, pipeline, settings, followers)?;
            let content = Cow::Owned(change.content);
            self.publish(Publication { name, content, version: change.version }, &change.followers)
        })
    }

    /// Publishes a version and those of the pipelines that follow its name.
    pub(super) fn publish(
        self: &Arc<Self>,
        publication: Publication<'_>,
        followers: &[FollowerVersion],
    ) -> Result<VersionRecord, DeployError> {
        let mut publications = vec![publication];
        publications.extend(followers.iter().map(as_publication));
        let records = self.registry.publish(&publications)?;
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
            self.functions.forget(&record.name);
        }
    }

    /// Makes an earlier version current.
    ///
    /// # Errors
    /// [`NamingError`].
    pub(crate) fn rollback(
        self: &Arc<Self>,
        name: &FunctionName,
        to: Option<Version>,
        followers: Followers,
    ) -> Result<VersionRecord, NamingError> {
        self.with_names(|names| {
            let _naming = self.lock_naming();
            let target = self.registry.earlier(name, to)?;
            if let Some(composition) = &target.pipeline {
                names.refuse_cycles(name, &composition.description)?;
            }
            let others = names.follow(target.clone(), followers)?;
            let others: Vec<_> = others.iter().map(as_publication).collect();
            let records = self.registry.roll_back(&target, &others)?;
            self.forget_named(&records);
            self.fuse_later(&records);
            self.functions.forget(name);
            Ok(target)
        })
    }

    /// Removes a function with its versions, and the files that nothing else needs.
    ///
    /// # Errors
    /// [`NamingError`].
    pub(crate) fn remove(&self, name: &FunctionName) -> Result<(), NamingError> {
        let _naming = self.lock_naming();
        let mut by = Vec::new();
        for pipeline in self.registry.pipelines()? {
            let calls = |record: &VersionRecord| calls(record).any(|function| function.name == *name);
            if pipeline != *name && self.registry.versions(&pipeline)?.iter().any(calls) {
                by.push(pipeline);
            }
        }
        if !by.is_empty() {
            return Err(NamingError::InUse { name: name.clone(), by });
        }
        if !self.registry.remove(name)? {
            return Err(ResolveError::UnknownFunction(name.clone()).into());
        }
        self.functions.forget(name);
        self.results.forget_function(name);
        self.collect_garbage()?;
        Ok(())
    }

    /// The digests of the pipelines that call this component, by way of others too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn pipelines_of(&self, component: &Digest) -> Result<HashSet<Digest>, StoreError> {
        let mut records = Vec::new();
        for pipeline in self.registry.pipelines()? {
            records.extend(self.registry.versions(&pipeline)?);
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
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_publication(follower: &FollowerVersion) -> Publication<'_> {
    let FollowerVersion { record, content } = follower;
    let VersionRecord {
        name,
        digest,
        size_bytes,
        limits,
        remember,
        pipeline,
        linked,
        description,
        // The registry gives it another number and time.
        version: _,
        deployed_at_unix_s: _,
    } = record;
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
pub(super) fn calls(record: &VersionRecord) -> impl Iterator<Item = &FunctionRef> {
    record.pipeline.iter().flat_map(|composition| composition.description.steps.calls())
}

/// What is written down of a pipeline.
pub(super) fn describe(plan: &Plan) -> Description {
    let Callee { takes, gives, fails, .. } = &plan.callee;
    let (form, input_schema) = match takes {
        Takes::Payload => (Form::Raw, None),
        Takes::Values(params) => (Form::Typed, nebula_codec::input_schema(params)),
    };
    Description {
        form,
        signature: plan.callee.signature_text(),
        input_schema,
        output_schema: match gives {
            Gives::Value(ty) => Some(nebula_codec::json_schema(ty)),
            Gives::Nothing | Gives::Payload => None,
        },
        error_schema: fails.as_ref().and_then(Option::as_ref).map(nebula_codec::json_schema),
        imports: Vec::new(),
        notes: Vec::new(),
    }
}
