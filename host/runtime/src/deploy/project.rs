//! Deploys of a project: several functions and pipelines in one change.
//!
//! ```text
//! upload each component (by its digest)
//! deploy --prepare components, imported ones first--> --plan functions, removals, then pipelines and
//!        followers, called ones first--> --fuse those that must be--> --plan again, under the lock-->
//!        --publish all or nothing--> what changed
//! ```
//!
//! A version records the project that deployed it. Only those functions can a later deploy of the
//! project remove.

mod error;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nebula_linker::InvalidImport;
use nebula_model::description::Pipeline;
use nebula_model::id::{Digest, FunctionName, ProjectName, Version};
use nebula_model::record::{Linked, VersionRecord};
use nebula_model::settings::SettingsUpdate;
use nebula_store::Publication;

pub use self::error::{ProjectError, UploadError};
use super::component::PreparedComponent;
use super::error::DeployError;
use super::followers::Followers;
use super::names::{Names, calls};
use super::naming::list;
use super::order::Dependencies;
use super::outcomes::DeployKind;
use super::pipelines::{DeployedPipeline, PlannedPipeline};
use super::{Deployer, SettingsChange};

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

impl ProjectPipeline {
    fn of<'a>(&'a self, project: &'a ProjectName) -> DeployedPipeline<'a> {
        let Self { name, pipeline, settings } = self;
        DeployedPipeline { name, pipeline, settings, project: Some(project) }
    }
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

/// A function that is ready to be published.
struct PreparedFunction<'a> {
    function: &'a ProjectFunction,
    component: PreparedComponent<'a>,
}

/// A function's version that a deploy publishes.
struct PlannedFunction<'a> {
    publication: Publication<'a>,
    /// Notes for the deployer.
    notes: Vec<String>,
}

/// Everything that a deploy changes.
struct ProjectPlan<'a> {
    functions: Vec<PlannedFunction<'a>>,
    /// Those of the project, and those that follow a name.
    pipelines: Vec<PlannedPipeline>,
    pruned: Pruned,
}

/// The functions that a deploy removes, and those that it would remove if nothing called them.
#[derive(Default)]
struct Pruned {
    removed: Vec<FunctionName>,
    kept: Vec<KeptFunction>,
}

/// A function that would be removed, but versions of these pipelines call it.
struct KeptFunction {
    name: FunctionName,
    by: Vec<FunctionName>,
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
            match deploy.dry_run {
                true => changes,
                false => this.outcomes.count(DeployKind::Project, changes),
            }
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
        let pipelines: Vec<_> =
            deploy.pipelines.iter().map(|pipeline| pipeline.of(&deploy.project)).collect();
        let _fused = self.fuse_always(&pipelines, |names| {
            Ok::<_, ProjectError>(self.plan_project(names, deploy, &prepared)?.pipelines)
        })?;
        self.with_names(|names| {
            let naming = self.lock_naming();
            let plan = self.plan_project(names, deploy, &prepared)?;
            let ProjectPlan { functions, pipelines, pruned: Pruned { removed, kept } } = plan;
            let (mut publications, mut notes): (Vec<_>, Vec<_>) = functions
                .into_iter()
                .map(|PlannedFunction { publication, notes }| (publication, notes))
                .unzip();
            publications.extend(pipelines.iter().map(PlannedPipeline::publication));
            notes.extend(pipelines.iter().map(|pipeline| pipeline.notes.clone()));
            let follows = |name: &FunctionName| {
                pipelines.iter().any(|pipeline| pipeline.follows && pipeline.record.name == *name)
            };
            let before = publications.iter().map(|publication| self.functions.current(publication.name));
            let before = before.collect::<Result<Vec<_>, _>>()?;
            // One that is kept and follows a change has one entry: that of its new version.
            let (following, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|kept| follows(&kept.name));
            let mut records = if deploy.dry_run {
                let prospects = publications
                    .iter()
                    .map(|Publication { name, version, .. }| self.store.prospect(name, version));
                prospects.collect::<Result<_, _>>()?
            } else {
                self.publish_all(&naming, &publications, &removed)?
            };
            for (record, notes) in records.iter_mut().zip(notes) {
                record.description.notes.extend(notes);
            }
            for (record, before) in records.iter_mut().zip(&before) {
                let other = before.as_ref().and_then(|before| before.project.as_ref());
                if let Some(other) = other.filter(|other| record.project.as_ref() != Some(*other)) {
                    record.description.notes.push(format!("moves here from the project `{other}`"));
                }
                if let Some(KeptFunction { by, .. }) = following.iter().find(|kept| kept.name == record.name)
                {
                    record
                        .description
                        .notes
                        .push(format!("isn't listed and is kept, because it is called by {}", list(by)));
                }
            }
            let published = records.into_iter().zip(before).map(|(record, before)| {
                let (record, before) = (Box::new(record), before.map(|before| before.version));
                match before {
                    Some(before) if before == record.version => ProjectChange::Unchanged(record),
                    before => ProjectChange::Published { follows: follows(&record.name), record, before },
                }
            });
            let mut changes: Vec<_> = published.collect();
            changes.extend(removed.into_iter().map(ProjectChange::Removed));
            changes
                .extend(kept.into_iter().map(|KeptFunction { name, by }| ProjectChange::Kept { name, by }));
            Ok(changes)
        })
    }

    /// Plans the whole change.
    fn plan_project<'a>(
        &self,
        names: &mut Names<'_>,
        deploy: &'a ProjectDeploy,
        prepared: &'a [PreparedFunction<'a>],
    ) -> Result<ProjectPlan<'a>, ProjectError> {
        let mut functions = Vec::new();
        for PreparedFunction { function, component } in prepared {
            names.add(component.digest, &component.described);
            let name = &function.name;
            let refused = || ProjectError::of(name);
            let linked = names.relink(&component.linked).map_err(refused())?;
            names.refuse_import_cycles(name, &linked).map_err(refused())?;
            let change = self.change_settings(name, &function.settings).map_err(refused())?;
            let mut version = component.version(change.settings, Some(deploy.project.clone()));
            version.linked = linked;
            names.change(self.store.prospect(name, &version)?)?;
            let content = Cow::Borrowed(&*component.content);
            let publication = Publication { name, content, version };
            functions.push(PlannedFunction { publication, notes: change.notes });
        }
        let pruned = if deploy.prune { self.prune(deploy)? } else { Pruned::default() };
        names.remove(pruned.removed.iter().cloned());
        let pipelines: Vec<_> =
            deploy.pipelines.iter().map(|pipeline| pipeline.of(&deploy.project)).collect();
        let pipelines = self.plan_pipelines(names, &pipelines, deploy.followers)?;
        Ok(ProjectPlan { functions, pipelines, pruned })
    }

    /// Links, compiles and describes the functions, imported ones first.
    fn prepare_functions<'a>(
        &'a self,
        deploy: &'a ProjectDeploy,
    ) -> Result<Vec<PreparedFunction<'a>>, ProjectError> {
        let mut names = Names::new(self, HashMap::new());
        let mut prepared = Vec::new();
        for UploadedFunction { function, component, .. } in imported_first(self.uploaded(deploy)?)? {
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
    fn prune(&self, deploy: &ProjectDeploy) -> Result<Pruned, ProjectError> {
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
        let mut calls_of: HashMap<_, HashSet<_>> = HashMap::new();
        for pipeline in self.store.pipelines()? {
            let versions = self.store.versions(&pipeline)?;
            let called = versions.iter().flat_map(calls).map(|function| function.name.clone());
            calls_of.insert(pipeline, called.collect());
        }
        for ProjectPipeline { name, pipeline, .. } in &deploy.pipelines {
            let called = pipeline.steps.calls().into_iter().map(|function| function.name.clone());
            calls_of.entry(name.clone()).or_default().extend(called);
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
            kept.push(KeptFunction { name: removed.remove(at), by });
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

/// Orders functions so that each comes after those that it imports.
fn imported_first(functions: Vec<UploadedFunction<'_>>) -> Result<Vec<UploadedFunction<'_>>, ProjectError> {
    let mut dependencies = Dependencies::default();
    for UploadedFunction { function, imports, .. } in &functions {
        dependencies.add(function.name.clone(), imports.iter().cloned());
    }
    let mut functions: HashMap<_, _> =
        functions.into_iter().map(|uploaded| (&uploaded.function.name, uploaded)).collect();
    match dependencies.order() {
        Ok(order) => Ok(order.into_iter().filter_map(|name| functions.remove(name)).collect()),
        Err(cycle) => {
            let names = cycle.from(|_| true);
            let source = InvalidImport::Cycle { names: names.iter().map(ToString::to_string).collect() };
            let error = DeployError::from(source);
            Err(match names.first() {
                Some(name) => ProjectError::of(name)(error),
                None => error.into(),
            })
        }
    }
}
