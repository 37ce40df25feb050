//! Deploys of a project: several functions and pipelines in one change.
//!
//! ```text
//! upload each component (by its digest)
//! deploy --prepare components, imported ones first--> --plan pipelines, called ones first-->
//!        --plan followers and removals--> --publish all or nothing--> what changed
//! ```
//!
//! A version records the project that deployed it. Only those functions can a later deploy of the
//! project remove.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nebula_model::description::Pipeline;
use nebula_model::id::{Digest, FunctionName, ProjectName, Version};
use nebula_model::record::{Linked, VersionRecord};
use nebula_model::settings::SettingsUpdate;
use nebula_store::{MayConflict, Publication, StoreError};

use super::component::PreparedComponent;
use super::error::DeployError;
use super::followers::Followers;
use super::names::{Names, calls};
use super::naming::{PlannedPipeline, as_publication};
use super::{Deployer, SettingsChange};
use crate::error::LoadError;

/// The most functions and pipelines of one deploy.
const NAMES_MAX: usize = 256;

/// The most bytes of all components of one deploy, as uploaded.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A deploy of a project.
#[derive(Clone, Debug)]
pub struct ProjectDeploy {
    /// The project.
    pub project: ProjectName,
    /// Its functions.
    pub functions: Vec<ProjectFunction>,
    /// Its pipelines.
    pub pipelines: Vec<ProjectPipeline>,
    /// Removes the functions that the project deployed earlier and that aren't listed.
    pub prune: bool,
    /// The treatment of other pipelines that follow its functions.
    pub followers: Followers,
    /// Checks everything and changes nothing.
    pub dry_run: bool,
}

/// A function of a project.
#[derive(Clone, Debug)]
pub struct ProjectFunction {
    /// The name.
    pub name: FunctionName,
    /// The digest of its component, which was uploaded.
    pub digest: Digest,
    /// The settings.
    pub settings: SettingsUpdate,
}

/// A pipeline of a project.
#[derive(Clone, Debug)]
pub struct ProjectPipeline {
    /// The name.
    pub name: FunctionName,
    /// The description.
    pub pipeline: Pipeline,
    /// The settings.
    pub settings: SettingsUpdate,
}

/// One name's part in the deploy of a project.
#[derive(Clone, Debug)]
pub enum ProjectChange {
    /// The name gets this version.
    Published {
        /// The version.
        record: Box<VersionRecord>,
        /// The version before; `None` for a new function.
        before: Option<Version>,
        /// The project doesn't list it: it is a pipeline that follows one of its functions.
        follows: bool,
    },
    /// The current version is what the project describes.
    Unchanged(Box<VersionRecord>),
    /// The function is removed.
    Removed(FunctionName),
    /// The function would be removed, but versions of these pipelines call it.
    Kept {
        /// The function.
        name: FunctionName,
        /// The pipelines.
        by: Vec<FunctionName>,
    },
}

/// Why a project wasn't deployed. Nothing has changed then, except perhaps if the store was late or
/// failed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Components aren't on this host.
    #[error("the host doesn't have {} of the components: upload them first", .0.len())]
    Missing(Vec<Digest>),
    /// A name is listed twice.
    #[error("`{0}` is listed twice")]
    Twice(FunctionName),
    /// The project has too many functions.
    #[error("the project has {found} functions and pipelines; the limit is {NAMES_MAX}")]
    TooMany {
        /// Their number.
        found: usize,
    },
    /// The components are too large together.
    #[error("the components of the project are over {BYTES_MAX} bytes together: deploy it in parts")]
    TooLarge,
    /// A function or pipeline was refused.
    #[error("`{name}`: {source}")]
    Refused {
        /// The function or pipeline.
        name: FunctionName,
        /// The reason.
        source: Box<DeployError>,
    },
    /// The change as a whole was refused.
    #[error(transparent)]
    Deploy(#[from] DeployError),
}

impl ProjectError {
    fn of(name: &FunctionName) -> impl FnOnce(DeployError) -> Self {
        |source| Self::Refused { name: name.clone(), source: Box::new(source) }
    }
}

impl MayConflict for ProjectError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.is_conflict(),
            Self::Deploy(source) => source.is_conflict(),
            Self::Missing(_) | Self::Twice(_) | Self::TooMany { .. } | Self::TooLarge => false,
        }
    }
}

impl From<LoadError> for ProjectError {
    fn from(error: LoadError) -> Self {
        Self::Deploy(error.into())
    }
}

impl From<StoreError> for ProjectError {
    fn from(error: StoreError) -> Self {
        Self::Deploy(error.into())
    }
}

/// Why a component wasn't stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The content has another digest.
    #[error("the content has the digest {found}")]
    Digest {
        /// The content's digest.
        found: Digest,
    },
    /// The component was refused.
    #[error(transparent)]
    Deploy(#[from] DeployError),
}

/// A function that is ready to be published.
struct PreparedFunction<'a> {
    function: &'a ProjectFunction,
    component: PreparedComponent<'a>,
}

/// The functions that a deploy removes, and those that it would remove if nothing called them.
#[derive(Default)]
struct Pruned {
    removed: Vec<FunctionName>,
    kept: Vec<ProjectChange>,
}

impl Deployer {
    /// Stores a component for a later deploy. Checks and compiles it, unless it imports functions
    /// that the deploy brings.
    ///
    /// # Errors
    /// [`UploadError`].
    pub(crate) async fn upload(
        self: &Arc<Self>,
        digest: Digest,
        component: Bytes,
    ) -> Result<(), UploadError> {
        self.run_compiling(move |this| {
            let found = Digest::of(&component);
            if found != digest {
                return Err(UploadError::Digest { found });
            }
            nebula_engine::admit(&component).map_err(DeployError::from)?;
            let has_garbage = this.uploads.add(digest, component.len() as u64, Instant::now());
            if nebula_linker::Importer::read(&component).map_err(DeployError::from)?.is_none() {
                this.describe_new(&digest, &component, false)?;
            }
            this.store.put_component(&digest, &component).map_err(DeployError::from)?;
            if has_garbage {
                this.collect_garbage().map_err(DeployError::from)?;
            }
            Ok(())
        })
        .await
    }

    /// Deploys a project. Durable when it returns; the next calls use the new versions.
    ///
    /// # Errors
    /// [`ProjectError`].
    ///
    /// # Cancel safety
    /// A deploy that has started completes even if the future is dropped.
    pub(crate) async fn deploy_project(
        self: &Arc<Self>,
        deploy: ProjectDeploy,
    ) -> Result<Vec<ProjectChange>, ProjectError> {
        self.run_alone(move |this| {
            let changes = this.deploy_project_blocking(&deploy);
            let is_removal = |change: &ProjectChange| matches!(change, ProjectChange::Removed(_));
            // A dry run and a refused deploy may leave components that were linked.
            if deploy.dry_run || changes.as_ref().map_or(true, |changes| changes.iter().any(is_removal)) {
                this.collect_garbage()?;
            }
            changes
        })
        .await
    }

    fn deploy_project_blocking(
        self: &Arc<Self>,
        deploy: &ProjectDeploy,
    ) -> Result<Vec<ProjectChange>, ProjectError> {
        check_names(deploy)?;
        for pipeline in &deploy.pipelines {
            pipeline.pipeline.check().map_err(|error| ProjectError::Refused {
                name: pipeline.name.clone(),
                source: Box::new(DeployError::Pipeline(error.into())),
            })?;
        }
        let prepared = self.prepare_functions(deploy)?;
        self.with_names(|names| {
            for PreparedFunction { component, .. } in &prepared {
                names.add(component.digest, &component.described);
            }
            let naming = self.lock_naming();
            let (mut publications, mut notes) = (Vec::new(), Vec::new());
            for PreparedFunction { function, component } in &prepared {
                let name = &function.name;
                let refused = || ProjectError::of(name);
                let linked = names.relink(&component.linked).map_err(refused())?;
                names.refuse_import_cycles(name, &linked).map_err(refused())?;
                let change = self.change_settings(name, &function.settings).map_err(refused())?;
                let mut version = component.version(change.settings, Some(deploy.project.clone()));
                version.linked = linked;
                names.change(self.store.prospect(name, &version)?)?;
                let content = Cow::Borrowed(&*component.content);
                publications.push(Publication { name, content, version });
                notes.push(change.notes);
            }
            for ProjectPipeline { name, pipeline, settings } in called_first(&deploy.pipelines) {
                let planned = self.plan_pipeline(names, name, pipeline, settings, Some(&deploy.project));
                let PlannedPipeline { version, content, notes: noted, .. } =
                    planned.map_err(ProjectError::of(name))?;
                names.change(self.store.prospect(name, &version)?)?;
                publications.push(Publication { name, content: Cow::Owned(content), version });
                notes.push(noted);
            }
            let Pruned { removed, kept } =
                if deploy.prune { self.prune(deploy, names)? } else { Pruned::default() };
            names.remove(removed.iter().cloned());
            let followers = names.followers(deploy.followers)?;
            let listed = publications.len();
            publications.extend(followers.iter().map(as_publication));
            let before = publications.iter().map(|publication| self.functions.current(publication.name));
            let before = before.collect::<Result<Vec<_>, _>>()?;
            let mut records = if deploy.dry_run {
                let prospects = publications
                    .iter()
                    .map(|Publication { name, version, .. }| self.store.prospect(name, version));
                prospects.collect::<Result<_, _>>()?
            } else {
                self.publish_all(&naming, &publications, &removed)?
            };
            for (record, notes) in records.iter_mut().zip(&notes) {
                record.description.notes.extend_from_slice(notes);
            }
            for (record, before) in records.iter_mut().zip(&before) {
                let other = before.as_ref().and_then(|before| before.project.as_ref());
                if let Some(other) = other.filter(|other| record.project.as_ref() != Some(*other)) {
                    record.description.notes.push(format!("moves here from the project `{other}`"));
                }
            }
            let published = records.into_iter().zip(before).enumerate().map(|(index, (record, before))| {
                let (record, before) = (Box::new(record), before.map(|before| before.version));
                match before {
                    Some(before) if before == record.version => ProjectChange::Unchanged(record),
                    before => ProjectChange::Published { record, before, follows: index >= listed },
                }
            });
            let mut changes: Vec<_> = published.collect();
            changes.extend(removed.into_iter().map(ProjectChange::Removed));
            changes.extend(kept);
            Ok(changes)
        })
    }

    /// Links, compiles and describes the functions, imported ones first.
    fn prepare_functions<'a>(
        &'a self,
        deploy: &'a ProjectDeploy,
    ) -> Result<Vec<PreparedFunction<'a>>, ProjectError> {
        let mut names = Names::new(self, HashMap::new());
        let mut prepared = Vec::new();
        for UploadedFunction { function, component, .. } in imported_first(self.uploaded(deploy)?) {
            let name = &function.name;
            let settings = self.change_settings(name, &function.settings).map_err(ProjectError::of(name))?;
            let component = self.prepare(&names, name, component).map_err(ProjectError::of(name))?;
            if !component.linked.is_empty() {
                // A function that imports this one reads it from there.
                self.store.put_component(&component.digest, &component.content)?;
            }
            let SettingsChange { settings, .. } = settings;
            names.change(self.store.prospect(name, &component.version(settings, None))?)?;
            prepared.push(PreparedFunction { function, component });
        }
        Ok(prepared)
    }

    /// Reads the components of a project.
    fn uploaded<'a>(&self, deploy: &'a ProjectDeploy) -> Result<Vec<UploadedFunction<'a>>, ProjectError> {
        let (mut uploaded, mut missing, mut bytes) = (Vec::new(), Vec::new(), 0);
        for function in &deploy.functions {
            match self.store.read_component(&function.digest) {
                Ok(component) => {
                    bytes += component.len() as u64;
                    if bytes > BYTES_MAX {
                        return Err(ProjectError::TooLarge);
                    }
                    // A deploy that takes long doesn't lose its components.
                    self.uploads.renew(&function.digest, Instant::now());
                    let imports = nebula_linker::imported_functions(&component);
                    uploaded.push(UploadedFunction { function, component: component.into(), imports });
                }
                Err(error) if error.is_absence() => missing.push(function.digest),
                Err(error) => return Err(error.into()),
            }
        }
        if missing.is_empty() { Ok(uploaded) } else { Err(ProjectError::Missing(missing)) }
    }

    /// Returns the functions that the project deployed and that it doesn't list: those that no
    /// version of a remaining pipeline calls are removed.
    fn prune(&self, deploy: &ProjectDeploy, names: &Names<'_>) -> Result<Pruned, ProjectError> {
        let functions = deploy.functions.iter().map(|function| &function.name);
        let listed: HashSet<_> =
            functions.chain(deploy.pipelines.iter().map(|pipeline| &pipeline.name)).collect();
        let mut removed: Vec<_> = self
            .store
            .list()?
            .into_iter()
            .filter(|record| record.project.as_ref() == Some(&deploy.project))
            .map(|record| record.name)
            .filter(|name| !listed.contains(name))
            .collect();
        let mut pipelines = self.store.pipelines()?;
        pipelines.extend(deploy.pipelines.iter().map(|pipeline| pipeline.name.clone()));
        pipelines.sort_unstable();
        pipelines.dedup();
        let mut calls_of = HashMap::new();
        for pipeline in pipelines {
            let mut called = HashSet::new();
            for record in self.store.versions(&pipeline)?.iter().chain(&names.current(&pipeline)?) {
                called.extend(calls(record).map(|function| function.name.clone()));
            }
            calls_of.insert(pipeline, called);
        }
        let mut kept = Vec::new();
        // A pipeline that is kept keeps the functions that it calls.
        while let Some((at, by)) = removed.iter().enumerate().find_map(|(at, name)| {
            let is_caller = |pipeline: &&FunctionName| {
                *pipeline != name && !removed.contains(pipeline) && calls_of[*pipeline].contains(name)
            };
            let mut by: Vec<_> = calls_of.keys().filter(is_caller).cloned().collect();
            by.sort_unstable();
            (!by.is_empty()).then_some((at, by))
        }) {
            kept.push(ProjectChange::Kept { name: removed.remove(at), by });
        }
        Ok(Pruned { removed, kept })
    }
}

/// A function with its component.
struct UploadedFunction<'a> {
    function: &'a ProjectFunction,
    component: Bytes,
    imports: Vec<FunctionName>,
}

impl Names<'_> {
    /// Returns linked functions with the versions that the names of the same components stand for.
    /// A version's number is certain only under the naming lock.
    fn relink(&self, linked: &[Linked]) -> Result<Vec<Linked>, DeployError> {
        let relink = |function: &Linked| {
            Ok(match self.current(&function.name)? {
                Some(VersionRecord { name, version, digest, linked, .. }) if digest == function.digest => {
                    Linked { name, version, digest, linked }
                }
                // Another deploy came in between. The component has what was linked into it.
                Some(_) | None => function.clone(),
            })
        };
        linked.iter().map(relink).collect()
    }
}

fn check_names(deploy: &ProjectDeploy) -> Result<(), ProjectError> {
    let found = deploy.functions.len() + deploy.pipelines.len();
    if found > NAMES_MAX {
        return Err(ProjectError::TooMany { found });
    }
    let functions = deploy.functions.iter().map(|function| &function.name);
    let mut seen = HashSet::new();
    for name in functions.chain(deploy.pipelines.iter().map(|pipeline| &pipeline.name)) {
        if !seen.insert(name) {
            return Err(ProjectError::Twice(name.clone()));
        }
    }
    Ok(())
}

/// Orders functions so that each comes after those that it imports. In a cycle the order doesn't
/// matter: linking refuses it.
fn imported_first(mut waiting: Vec<UploadedFunction<'_>>) -> Vec<UploadedFunction<'_>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_waiting = |name: &FunctionName| waiting.iter().any(|other| other.function.name == *name);
        let is_free = |function: &UploadedFunction<'_>| !function.imports.iter().any(is_waiting);
        let at = waiting.iter().position(is_free).unwrap_or(0);
        ordered.push(waiting.remove(at));
    }
    ordered
}

/// Orders pipelines so that each comes after those that it calls. In a cycle the order doesn't
/// matter: planning refuses it.
fn called_first(pipelines: &[ProjectPipeline]) -> Vec<&ProjectPipeline> {
    let mut waiting: Vec<_> = pipelines.iter().collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_waiting = |name: &FunctionName| waiting.iter().any(|other| other.name == *name);
        let is_free = |pipeline: &&ProjectPipeline| {
            !pipeline.pipeline.steps.calls().iter().any(|function| is_waiting(&function.name))
        };
        let at = waiting.iter().position(is_free).unwrap_or(0);
        ordered.push(waiting.remove(at));
    }
    ordered
}
