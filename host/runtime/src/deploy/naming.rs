//! Deploys of pipelines, rollbacks and removals, and the updates of pipelines that follow a name.
//!
//! ```text
//! description --check--> pinned (each name to its current version) --publish--> version
//! new version of a name --check each follower--> fits: a new version of the pipeline, at once
//!                                            \-> doesn't fit: refused, or the pipeline stays
//! ```
//!
//! Invariants:
//! * A pipeline's version calls the same versions for ever: its digest identifies one function.
//! * A name and the pipelines that follow it change in one transaction.
//! * No version that a pipeline calls is removed.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use nebula_linker::InvalidImport;
use nebula_model::description::Pipeline;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Version};
use nebula_model::record::VersionRecord;
use nebula_model::settings::SettingsUpdate;
use nebula_pipeline::{InvalidPipeline, View};
use nebula_store::{MayConflict, Publication, ResolveError, Sequence, StoreError, retry_conflicts};

use super::Deployer;
use super::error::{Broken, DeployError, InvalidRoutes, broken};
use super::followers::Followers;
use super::names::{Names, calls};
use super::pipelines::{DeployedPipeline, PlannedPipeline};
use super::precondition::{Precondition, UnmetPrecondition};
use crate::error::LoadError;

/// Why a change of a name was refused. Nothing has changed then, except perhaps if the store was
/// late or failed.
#[derive(Debug, thiserror::Error)]
pub enum NamingError {
    /// The function or version doesn't exist, or the store failed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Pipelines that follow it would be broken.
    #[error("it would break {}", broken(.0))]
    Breaks(Vec<Broken>),
    /// Another function has its routes by now.
    #[error(transparent)]
    Routes(InvalidRoutes),
    /// Pipelines call the function.
    #[error("`{name}` is called by {}", list(by))]
    InUse {
        /// The function.
        name: FunctionName,
        /// The pipelines that call it.
        by: Vec<FunctionName>,
    },
    /// The name has another state than the client's condition says.
    #[error(transparent)]
    Unmet(#[from] UnmetPrecondition),
    /// The version is a pipeline that isn't valid any more.
    #[error(transparent)]
    Pipeline(InvalidPipeline),
    /// The version would import itself, because functions that it imports have changed.
    #[error(transparent)]
    Import(InvalidImport),
    /// The types of a function couldn't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl MayConflict for NamingError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Resolve(ResolveError::Store(error)) if error.is_conflict())
    }
}

impl From<DeployError> for NamingError {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Breaks(broken) => Self::Breaks(broken),
            DeployError::Store(error) => error.into(),
            DeployError::Load(error) => Self::Load(error),
            DeployError::Pipeline(error) => Self::Pipeline(error),
            DeployError::Import(error) => Self::Import(error),
            DeployError::Unmet(error) => Self::Unmet(error),
            DeployError::Routes(error) => Self::Routes(error),
            // Unexpected, because the version was deployed before.
            error @ (DeployError::Admission(_)
            | DeployError::Refused(_)
            | DeployError::Compile(_)
            | DeployError::Limit(_)
            | DeployError::Config(_)
            | DeployError::Internal(_)) => Self::Load(LoadError::Engine(error.to_string())),
        }
    }
}

impl From<StoreError> for NamingError {
    fn from(error: StoreError) -> Self {
        Self::Resolve(error.into())
    }
}

/// Returns pipelines as text.
pub(super) fn list(names: &[FunctionName]) -> String {
    let pipelines = if names.len() == 1 { "the pipeline" } else { "the pipelines" };
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{pipelines} {}", names.join(", "))
}

/// The right to change names on this host. Other hosts may change them all the same: then a change
/// at `base` conflicts.
pub(super) struct Naming<'a> {
    /// The last change that the holder sees.
    base: Sequence,
    _lock: MutexGuard<'a, ()>,
}

impl Naming<'_> {
    /// Returns the last change that the holder sees.
    pub(super) fn base(&self) -> Sequence {
        self.base
    }
}

impl Deployer {
    /// Checks a pipeline as a deploy would, and returns its view.
    ///
    /// # Errors
    /// [`DeployError`].
    pub(crate) fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> Result<View, DeployError> {
        let deployed = [DeployedPipeline { name, pipeline, settings, project: None }];
        let plan = |names: &mut Names<'_>| {
            self.plan_pipelines(names, &deployed, followers).map_err(DeployError::from)
        };
        pipeline.check().map_err(InvalidPipeline::from)?;
        let planned = self.with_names(plan)?.into_iter().find(|planned| !planned.follows);
        let planned = planned.ok_or_else(|| DeployError::Internal("nothing was planned".to_owned()))?;
        self.fuse_always(&deployed, plan)?;
        Ok(planned.plan.view)
    }

    /// Returns the version that `reference` names, with its view; `None` if it isn't a pipeline.
    ///
    /// # Errors
    /// [`NamingError`].
    pub(crate) fn view_pipeline(
        &self,
        reference: &FunctionRef,
    ) -> Result<Option<(VersionRecord, View)>, NamingError> {
        let record = self.store.resolve(reference)?;
        let Some(composition) = &record.pipeline else { return Ok(None) };
        let view = self.with_names(|names| names.pinned_plan(composition))?.view;
        Ok(Some((record, view)))
    }

    /// Checks a pipeline and publishes it. Durable when it returns. Blocks on the disk.
    ///
    /// # Errors
    /// [`DeployError`].
    pub(crate) fn deploy_pipeline(
        self: &Arc<Self>,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        // Checked without the lock first, so that other changes don't wait for it.
        pipeline.check().map_err(InvalidPipeline::from)?;
        let deployed = [DeployedPipeline { name, pipeline, settings, project: None }];
        let plan = |names: &mut Names<'_>| {
            self.plan_pipelines(names, &deployed, followers).map_err(DeployError::from)
        };
        let _fused = self.fuse_always(&deployed, plan)?;
        self.with_names(|names| {
            let naming = self.lock_naming();
            precondition.check(self.functions.current(name)?.as_ref())?;
            let mut planned = plan(names)?;
            // The pipeline itself comes first.
            planned.sort_by_key(|pipeline| pipeline.follows);
            let publications: Vec<_> = planned.iter().map(PlannedPipeline::publication).collect();
            let mut record = self.publish_first(&naming, &publications)?;
            let notes = planned.into_iter().next().map(|pipeline| pipeline.notes);
            record.description.notes.extend(notes.unwrap_or_default());
            Ok(record)
        })
    }

    /// Publishes versions. Returns the record of the first one.
    pub(super) fn publish_first(
        self: &Arc<Self>,
        naming: &Naming<'_>,
        publications: &[Publication<'_>],
    ) -> Result<VersionRecord, DeployError> {
        // One record for each publication, in order.
        let record = self.publish_all(naming, publications, &[])?.into_iter().next();
        record.ok_or_else(|| DeployError::Internal("nothing was published".to_owned()))
    }

    /// Publishes versions and removes functions, all at once. Returns one record for each
    /// publication, in order, with notes for the deployer.
    pub(super) fn publish_all(
        self: &Arc<Self>,
        naming: &Naming<'_>,
        publications: &[Publication<'_>],
        removed: &[FunctionName],
    ) -> Result<Vec<VersionRecord>, DeployError> {
        let published = self.store.publish(naming.base, publications, removed);
        // Also after an error: the change may be on disk all the same.
        self.uncache_named(publications);
        for name in removed {
            self.functions.uncache(name);
        }
        let mut records = published?;
        for name in removed {
            // Under the lock, so that a deploy of the same name keeps its logs.
            self.results.drop_function(name);
        }
        self.fuse_later(&records);
        for record in &mut records {
            let notes = self.note_of_importers(record);
            record.description.notes.extend(notes);
        }
        Ok(records)
    }

    /// Drops what is cached under the names of these publications.
    fn uncache_named(&self, publications: &[Publication<'_>]) {
        for publication in publications {
            self.functions.uncache(publication.name);
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
            let naming = self.lock_naming();
            let target = self.store.earlier(name, to)?;
            names.refuse_import_cycles(name, &target.linked)?;
            names.change(target.clone())?;
            let others = self.plan_pipelines(names, &[], followers).map_err(DeployError::from)?;
            let others: Vec<_> = others.iter().map(PlannedPipeline::publication).collect();
            let rolled_back = self.store.roll_back(naming.base, &target, &others);
            // Also after an error: the change may be on disk all the same.
            self.uncache_named(&others);
            self.functions.uncache(name);
            self.fuse_later(&rolled_back?);
            Ok(target)
        })
    }

    /// Removes a function with its versions, and the files that nothing else needs.
    ///
    /// # Errors
    /// [`NamingError`].
    pub(crate) fn remove(&self, name: &FunctionName, precondition: Precondition) -> Result<(), NamingError> {
        retry_conflicts(|| self.remove_unused(name, precondition))?;
        self.collect_garbage()?;
        Ok(())
    }

    /// Removes a function that no pipeline calls.
    fn remove_unused(&self, name: &FunctionName, precondition: Precondition) -> Result<(), NamingError> {
        let naming = self.lock_naming();
        precondition.check(self.functions.current(name)?.as_ref())?;
        let mut by = Vec::new();
        for pipeline in self.store.pipelines()? {
            let calls = |record: &VersionRecord| calls(record).any(|function| function.name == *name);
            if pipeline != *name && self.store.versions(&pipeline)?.iter().any(calls) {
                by.push(pipeline);
            }
        }
        if !by.is_empty() {
            return Err(NamingError::InUse { name: name.clone(), by });
        }
        let removed = self.store.remove(naming.base, name);
        // Also after an error: the change may be on disk all the same.
        self.functions.uncache(name);
        if !removed? {
            return Err(self.store.unknown(name).into());
        }
        // Under the lock, so that a deploy of the same name keeps its logs.
        self.results.drop_function(name);
        Ok(())
    }

    /// Returns the digests of the pipelines that call this component, directly or through others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn pipelines_of(&self, component: &Digest) -> Result<HashSet<Digest>, StoreError> {
        let mut records = Vec::new();
        for pipeline in self.store.pipelines()? {
            records.extend(self.store.versions(&pipeline)?);
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

    pub(super) fn lock_naming(&self) -> Naming<'_> {
        let lock = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before the names, so that a change by another host in between conflicts.
        Naming { base: self.store.applied(), _lock: lock }
    }
}
