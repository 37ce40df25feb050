//! The plan of the pipelines of a change: those that it deploys, and those that follow a name which
//! it changes.
//!
//! ```text
//! changed functions --> all pipelines, called ones first
//!   deployed by the change ------------------------------> a new version, or refused
//!   others that follow a changed name --(fits)-----------> a new version
//!                                     \-(doesn't fit)----> stays, or the change is refused
//! ```
//!
//! Invariants:
//! * Each pipeline is planned once, after all pipelines that it follows. So after one change it calls
//!   the newest versions, also where pipelines of the change and others call each other.
//! * This module changes nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use nebula_model::configuration::InvalidConfiguration;
use nebula_model::description::{Fuse, Pipeline};
use nebula_model::id::{Digest, FunctionName, ProjectName, Selector};
use nebula_model::record::{Composition, VersionRecord};
use nebula_model::settings::{Settings, SettingsUpdate};
use nebula_pipeline::{InvalidPipeline, Plan};
use nebula_store::{NewVersion, Publication, ResolveError};

use super::description::describe;
use super::error::{Broken, DeployError};
use super::followers::Followers;
use super::names::{Names, followed};
use super::order::{Cycle, Dependencies};
use super::{Deployer, SettingsChange};

/// A pipeline that a change deploys.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeployedPipeline<'a> {
    pub(super) name: &'a FunctionName,
    pub(super) pipeline: &'a Pipeline,
    pub(super) settings: &'a SettingsUpdate,
    pub(super) project: Option<&'a ProjectName>,
}

impl DeployedPipeline<'_> {
    /// Returns whether the pipeline is always to run as one component.
    pub(super) fn is_always_fused(&self) -> bool {
        self.pipeline.fuse == Fuse::Always
    }
}

/// A pipeline's version that a change publishes.
#[derive(Debug)]
pub(super) struct PlannedPipeline {
    /// The version that the name will stand for.
    pub(super) record: VersionRecord,
    pub(super) content: Vec<u8>,
    pub(super) plan: Plan,
    /// Notes for the deployer.
    pub(super) notes: Vec<String>,
    /// The change doesn't deploy the pipeline: it follows a name.
    pub(super) follows: bool,
    version: NewVersion,
}

impl PlannedPipeline {
    pub(super) fn publication(&self) -> Publication<'_> {
        let content = Cow::Borrowed(&*self.content);
        Publication { name: &self.record.name, content, version: self.version.clone() }
    }
}

/// Why the pipelines of a change can't be planned.
#[derive(Debug)]
pub(super) enum PlanError {
    /// A pipeline is refused.
    Pipeline {
        /// The pipeline.
        name: FunctionName,
        /// The reason.
        source: Box<DeployError>,
    },
    /// The change as a whole is refused.
    Change(DeployError),
}

impl PlanError {
    pub(super) fn of(name: &FunctionName, source: DeployError) -> Self {
        Self::Pipeline { name: name.clone(), source: Box::new(source) }
    }
}

impl From<DeployError> for PlanError {
    fn from(error: DeployError) -> Self {
        Self::Change(error)
    }
}

impl From<PlanError> for DeployError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Pipeline { name: _, source } => *source,
            PlanError::Change(source) => source,
        }
    }
}

impl Deployer {
    /// Plans the pipelines that a change deploys, and new versions of those that follow a name that
    /// it changes, in the order in which they call each other. Changes `names` accordingly. The
    /// other names of the change have been changed before.
    ///
    /// # Errors
    /// [`InvalidPipeline`] if a deployed pipeline doesn't fit, or follows itself through any others.
    /// [`DeployError::Breaks`] if a follower doesn't fit and `followers` requires it.
    /// [`DeployError::Routes`] if the changed names can't have their routes.
    pub(super) fn plan_pipelines(
        &self,
        names: &mut Names<'_>,
        deployed: &[DeployedPipeline<'_>],
        followers: Followers,
    ) -> Result<Vec<PlannedPipeline>, PlanError> {
        if deployed.is_empty() && !names.has_changes() {
            return Ok(Vec::new());
        }
        let deployed: BTreeMap<_, _> = deployed.iter().map(|pipeline| (pipeline.name, pipeline)).collect();
        let others = self.others(names, &deployed)?;
        let mut dependencies = Dependencies::default();
        for (name, pipeline) in &deployed {
            dependencies.add((*name).clone(), self.dependencies_of(pipeline)?);
        }
        for (name, OtherPipeline { composition, .. }) in &others {
            dependencies.add(name.clone(), followed(&composition.description));
        }
        let is_cause = |name: &FunctionName| deployed.contains_key(name) || names.has_changed(name);
        let order = dependencies.order().map_err(|cycle| refused_cycle(cycle, is_cause))?;
        let (mut planned, mut broken) = (Vec::new(), Vec::new());
        for name in order {
            if let Some(pipeline) = deployed.get(name) {
                match self.plan_deployed(names, pipeline) {
                    Ok(pipeline) => planned.push(pipeline),
                    // The pipeline may call one that stays behind: that is the reason to tell.
                    Err(DeployError::Pipeline(_)) if refuses(followers, &broken) => break,
                    Err(error) => return Err(PlanError::of(name, error)),
                }
            } else if let Some(other) = others.get(name)
                && other.follows_change(names)
            {
                match self.plan_follower(names, other) {
                    Ok(pipeline) => planned.extend(pipeline),
                    Err(DeployError::Pipeline(reason)) => {
                        // A pipeline that was behind already isn't broken by this change.
                        if names.was_up_to_date(&other.composition)? {
                            broken.push(Broken { pipeline: name.clone(), reason });
                        }
                    }
                    Err(error) => return Err(PlanError::Change(error)),
                }
            }
        }
        if refuses(followers, &broken) {
            return Err(PlanError::Change(DeployError::Breaks(broken)));
        }
        let following = planned.iter().filter(|pipeline| pipeline.follows);
        names.check_routes(&following.map(|pipeline| &pipeline.record.name).collect())?;
        Ok(planned)
    }

    /// Returns the current pipelines that the change doesn't deploy.
    fn others(
        &self,
        names: &Names<'_>,
        deployed: &BTreeMap<&FunctionName, &DeployedPipeline<'_>>,
    ) -> Result<BTreeMap<FunctionName, OtherPipeline>, DeployError> {
        let mut others = BTreeMap::new();
        for name in self.store.pipelines()? {
            if deployed.contains_key(&name) || names.is_removed(&name) {
                continue;
            }
            let Some(record) = names.current(&name)? else { continue };
            let Some(composition) = record.pipeline.clone() else { continue };
            let is_fixed = names.has_changed(&name);
            others.insert(name, OtherPipeline { record, composition, is_fixed });
        }
        Ok(others)
    }

    /// Returns the names that must be planned before a pipeline: those that it follows, and those of
    /// whose versions it calls one that doesn't exist yet.
    fn dependencies_of(
        &self,
        deployed: &DeployedPipeline<'_>,
    ) -> Result<BTreeSet<FunctionName>, DeployError> {
        let DeployedPipeline { name: own, pipeline, .. } = deployed;
        let mut on: BTreeSet<_> = followed(pipeline).into_iter().collect();
        for function in pipeline.steps.calls() {
            if matches!(function.selector, Selector::Version(_)) && function.name != **own {
                match self.store.resolve(function) {
                    Ok(_) => {}
                    Err(ResolveError::Store(error)) => return Err(error.into()),
                    Err(
                        ResolveError::UnknownFunction { .. }
                        | ResolveError::UnknownVersion { .. }
                        | ResolveError::NoEarlierVersion { .. },
                    ) => _ = on.insert(function.name.clone()),
                }
            }
        }
        Ok(on)
    }

    fn plan_deployed(
        &self,
        names: &mut Names<'_>,
        deployed: &DeployedPipeline<'_>,
    ) -> Result<PlannedPipeline, DeployError> {
        let DeployedPipeline { name, pipeline, settings, project } = *deployed;
        if settings.sets_config() {
            return Err(InvalidConfiguration::OfPipeline.into());
        }
        // The version before may be a component with one.
        let change = self.change_settings(name, &settings.clone().without_config())?;
        let SettingsChange { settings, notes } = change;
        let planned = self.plan_version(names, name, pipeline, settings, project.cloned())?;
        Ok(PlannedPipeline { notes, ..planned })
    }

    /// Plans the new version of a follower; `None` if it calls the same versions as before.
    fn plan_follower(
        &self,
        names: &mut Names<'_>,
        other: &OtherPipeline,
    ) -> Result<Option<PlannedPipeline>, DeployError> {
        let OtherPipeline { record, composition, is_fixed: _ } = other;
        let settings = Settings::of(record.clone());
        let planned = self.plan_version(names, &record.name, &composition.description, settings, None)?;
        let is_new = names.has_changed(&record.name);
        Ok(is_new.then_some(PlannedPipeline { follows: true, ..planned }))
    }

    /// Plans a version against the versions that names stand for, and makes it its name's.
    fn plan_version(
        &self,
        names: &mut Names<'_>,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: Settings,
        project: Option<ProjectName>,
    ) -> Result<PlannedPipeline, DeployError> {
        let (composition, plan) = names.plan(pipeline)?;
        let content = composition.content();
        let Settings { limits, cache, config, cors, routes, hosts } = settings;
        let version = NewVersion {
            digest: Digest::of(&content),
            size_bytes: content.len() as u64,
            limits,
            cache,
            config,
            project,
            cors,
            routes,
            hosts,
            description: describe(&plan),
            pipeline: Some(composition),
            linked: Vec::new(),
        };
        let record = self.store.prospect(name, &version)?;
        names.change(record.clone())?;
        Ok(PlannedPipeline { record, content, plan, notes: Vec::new(), follows: false, version })
    }
}

/// A pipeline that the change doesn't deploy.
struct OtherPipeline {
    record: VersionRecord,
    composition: Composition,
    /// The version is the change, as in a rollback: it calls what it has always called.
    is_fixed: bool,
}

impl OtherPipeline {
    fn follows_change(&self, names: &Names<'_>) -> bool {
        !self.is_fixed && followed(&self.composition.description).iter().any(|name| names.has_changed(name))
    }
}

fn refuses(followers: Followers, broken: &[Broken]) -> bool {
    match followers {
        Followers::MustFit => !broken.is_empty(),
        Followers::MayStay => false,
    }
}

/// Returns the refusal of the pipeline that closes a cycle, because updates would never end. Current
/// versions alone have no cycle, so one of its names is a cause: a name that the change changes.
fn refused_cycle(cycle: Cycle<FunctionName>, is_cause: impl Fn(&FunctionName) -> bool) -> PlanError {
    let names = cycle.from(is_cause);
    let source = InvalidPipeline::Cycle { names: names.iter().map(ToString::to_string).collect() }.into();
    match names.first() {
        Some(name) => PlanError::of(name, source),
        None => PlanError::Change(source),
    }
}

#[cfg(test)]
mod tests;
