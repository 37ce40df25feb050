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

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use nebula_model::configuration::InvalidConfiguration;
use nebula_model::description::{Fuse, Pipeline};
use nebula_model::id::{Digest, FunctionName, FunctionRef, ProjectName, Version};
use nebula_model::record::VersionRecord;
use nebula_model::settings::SettingsUpdate;
use nebula_pipeline::{InvalidPipeline, Plan, View};
use nebula_store::{
    MayConflict, NewVersion, Publication, ResolveError, Sequence, StoreError, retry_conflicts,
};

use super::component::Deploying;
use super::description::describe;
use super::error::{Broken, DeployError, InvalidRoutes, broken};
use super::followers::{FollowerVersion, Followers};
use super::names::{Names, calls};
use super::precondition::{Precondition, UnmetPrecondition};
use super::{Deployer, SettingsChange};
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
            DeployError::Unmet(error) => Self::Unmet(error),
            DeployError::Routes(error) => Self::Routes(error),
            // Unexpected, because the version was deployed before.
            error @ (DeployError::Admission(_)
            | DeployError::Import(_)
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

fn list(names: &[FunctionName]) -> String {
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

/// A pipeline that has been checked.
pub(super) struct PlannedPipeline {
    pub(super) version: NewVersion,
    pub(super) content: Vec<u8>,
    pub(super) plan: Plan,
    /// Notes for the deployer.
    pub(super) notes: Vec<String>,
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
        let view = self.with_names(|names| {
            let PlannedPipeline { version, plan, .. } =
                self.plan_pipeline(names, name, pipeline, settings, None)?;
            names.follow(self.store.prospect(name, &version)?, followers)?;
            Ok::<_, DeployError>(plan.view)
        })?;
        self.fuse_if_always(name, pipeline, settings)?;
        Ok(view)
    }

    /// Links and compiles a chain that is always to run as one component, so that a deploy is
    /// refused if it can't. Its code is kept while the returned guard lives.
    ///
    /// # Errors
    /// [`DeployError`].
    fn fuse_if_always(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
    ) -> Result<Option<Deploying<'_>>, DeployError> {
        if pipeline.fuse != Fuse::Always {
            return Ok(None);
        }
        let record = self.with_names(|names| {
            let planned = self.plan_pipeline(names, name, pipeline, settings, None)?;
            Ok::<_, DeployError>(self.store.prospect(name, &planned.version)?)
        })?;
        self.fuse_now(record).map(Some)
    }

    /// Checks a pipeline against the versions that names stand for.
    pub(super) fn plan_pipeline(
        &self,
        names: &mut Names<'_>,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        project: Option<&ProjectName>,
    ) -> Result<PlannedPipeline, DeployError> {
        if settings.sets_config() {
            return Err(InvalidConfiguration::OfPipeline.into());
        }
        // The version before may be a component with one.
        let SettingsChange { settings, notes } =
            self.change_settings(name, &settings.clone().without_config())?;
        let (composition, plan) = names.plan(name, pipeline)?;
        if pipeline.fuse == Fuse::Always {
            plan.links().map_err(|reason| InvalidPipeline::CannotFuse { reason: reason.to_string() })?;
        }
        let content = composition.content();
        let version = NewVersion {
            digest: Digest::of(&content),
            size_bytes: content.len() as u64,
            limits: settings.limits,
            cache: settings.cache,
            config: settings.config,
            project: project.cloned(),
            cors: settings.cors,
            routes: settings.routes,
            hosts: settings.hosts,
            description: describe(&plan),
            pipeline: Some(composition),
            linked: Vec::new(),
        };
        Ok(PlannedPipeline { version, content, plan, notes })
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
        let _fused = self.fuse_if_always(name, pipeline, settings)?;
        self.with_names(|names| {
            let naming = self.lock_naming();
            precondition.check(self.functions.current(name)?.as_ref())?;
            let PlannedPipeline { version, content, notes, .. } =
                self.plan_pipeline(names, name, pipeline, settings, None)?;
            let others = names.follow(self.store.prospect(name, &version)?, followers)?;
            let publication = Publication { name, content: Cow::Owned(content), version };
            let mut record = self.publish(&naming, publication, &others)?;
            record.description.notes.extend(notes);
            Ok(record)
        })
    }

    /// Publishes a version, and those of the pipelines that follow its name.
    pub(super) fn publish(
        self: &Arc<Self>,
        naming: &Naming<'_>,
        publication: Publication<'_>,
        followers: &[FollowerVersion],
    ) -> Result<VersionRecord, DeployError> {
        let mut publications = vec![publication];
        publications.extend(followers.iter().map(as_publication));
        let records = self.publish_all(naming, &publications, &[])?;
        // One record for each publication, in order.
        let record = records.into_iter().next();
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
            if let Some(composition) = &target.pipeline {
                names.refuse_cycles(name, &composition.description)?;
            }
            let others = names.follow(target.clone(), followers)?;
            let others: Vec<_> = others.iter().map(as_publication).collect();
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

pub(super) fn as_publication(follower: &FollowerVersion) -> Publication<'_> {
    let FollowerVersion { record, content } = follower;
    let VersionRecord {
        name,
        digest,
        size_bytes,
        limits,
        cache,
        config,
        project,
        cors,
        routes,
        hosts,
        pipeline,
        linked,
        description,
        // The store assigns a new number and time.
        version: _,
        deployed_at_unix_s: _,
    } = record;
    let version = NewVersion {
        digest: *digest,
        size_bytes: *size_bytes,
        limits: limits.clone(),
        cache: cache.clone(),
        config: config.clone(),
        project: project.clone(),
        cors: cors.clone(),
        routes: routes.clone(),
        hosts: hosts.clone(),
        description: description.clone(),
        pipeline: pipeline.clone(),
        linked: linked.clone(),
    };
    Publication { name, content: Cow::Borrowed(content), version }
}
