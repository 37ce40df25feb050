//! The versions that names will stand for after a change, and the types of pipelines that call them.
//!
//! Invariant: this module changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use nebula_engine::Described;
use nebula_model::description::Pipeline;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::record::{Composition, Pinned, VersionRecord};
use nebula_pipeline as pipeline;
use nebula_pipeline::{Callee, InvalidPipeline, Plan};
use nebula_store::{MayConflict, ResolveError, retry_conflicts};

use super::Deployer;
use super::error::DeployError;
use super::routes;
use crate::error::LoadError;

impl Deployer {
    /// Calls `change` with the current names. Calls it again if other hosts changed names
    /// meanwhile, or if a component's types are missing because its code isn't compiled: compiles
    /// it without any lock first.
    ///
    /// # Errors
    /// The errors of `change`, which must not have changed anything then, and those of compiling.
    pub(super) fn with_names<T, E: From<LoadError> + MayConflict>(
        &self,
        mut change: impl FnMut(&mut Names<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut described = HashMap::new();
        retry_conflicts(|| {
            loop {
                // A component's types never change: the next pass doesn't read them again.
                let mut names = Names::new(self, std::mem::take(&mut described));
                let outcome = change(&mut names);
                let uncompiled = names.uncompiled();
                described = names.into_described();
                match uncompiled {
                    Some(digest) => self.executor.code().get_or_compile::<LoadError>(&digest)?,
                    None => return outcome,
                };
            }
        })
    }
}

/// The versions that names stand for, while a change is planned.
pub(super) struct Names<'a> {
    deployer: &'a Deployer,
    /// The versions that names will stand for.
    changed: HashMap<FunctionName, VersionRecord>,
    /// The versions that the changed names stand for now.
    before: HashMap<FunctionName, Version>,
    /// The functions that are to be removed.
    removed: HashSet<FunctionName>,
    /// Versions of new functions, which no name stands for yet.
    imported: HashMap<(FunctionName, Version), VersionRecord>,
    /// The signatures of components that have been described.
    described: HashMap<Digest, Callee>,
    plans: HashMap<(FunctionName, Version), Callee>,
    /// A component whose types were needed and whose compiled code is missing.
    uncompiled: Option<Digest>,
}

impl<'a> Names<'a> {
    /// Starts with the components that an earlier pass has described.
    pub(super) fn new(deployer: &'a Deployer, described: HashMap<Digest, Callee>) -> Self {
        Self {
            deployer,
            changed: HashMap::new(),
            before: HashMap::new(),
            removed: HashSet::new(),
            imported: HashMap::new(),
            described,
            plans: HashMap::new(),
            uncompiled: None,
        }
    }

    /// Returns the components that have been described.
    pub(super) fn into_described(self) -> HashMap<Digest, Callee> {
        self.described
    }

    /// Returns a component that must be compiled before the change can be planned.
    pub(super) fn uncompiled(&self) -> Option<Digest> {
        self.uncompiled
    }

    /// Adds the types of a component that no version names yet.
    pub(super) fn add(&mut self, digest: Digest, described: &Described) {
        if let Some(callee) = callee_of(described) {
            self.described.insert(digest, callee);
        }
    }

    /// Adds a version of a new function, under its number.
    pub(super) fn import(&mut self, record: VersionRecord) {
        self.imported.insert((record.name.clone(), record.version), record);
    }

    /// Makes `record` the current version of its name.
    ///
    /// # Errors
    /// [`StoreError`](nebula_store::StoreError).
    pub(super) fn change(&mut self, record: VersionRecord) -> Result<(), DeployError> {
        let current = self.deployer.functions.current(&record.name)?;
        if current.as_ref().is_none_or(|current| current.version != record.version) {
            self.before.extend(current.map(|current| (record.name.clone(), current.version)));
            self.changed.insert(record.name.clone(), record);
        }
        Ok(())
    }

    /// Removes functions that no pipeline calls.
    pub(super) fn remove(&mut self, removed: impl IntoIterator<Item = FunctionName>) {
        self.removed.extend(removed);
    }

    /// Returns the version that a name will stand for.
    ///
    /// # Errors
    /// [`StoreError`](nebula_store::StoreError).
    pub(super) fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, DeployError> {
        match self.changed.get(name) {
            Some(record) => Ok(Some(record.clone())),
            None => Ok(self.deployer.functions.current(name)?),
        }
    }

    /// Returns whether any name stands for another version.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Returns whether the name stands for another version.
    pub(super) fn has_changed(&self, name: &FunctionName) -> bool {
        self.changed.contains_key(name)
    }

    /// Returns whether the function is to be removed.
    pub(super) fn is_removed(&self, name: &FunctionName) -> bool {
        self.removed.contains(name)
    }

    /// Returns whether a pipeline calls the versions that the names it follows stood for before the
    /// change.
    ///
    /// # Errors
    /// [`StoreError`](nebula_store::StoreError).
    pub(super) fn was_up_to_date(&self, composition: &Composition) -> Result<bool, DeployError> {
        for name in followed(&composition.description) {
            let stood_for = match self.before.get(&name) {
                Some(version) => Some(*version),
                None => self.deployer.functions.current(&name)?.map(|found| found.version),
            };
            if stood_for != composition.pinned.get(name.as_str()).map(|pinned| pinned.version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks the routes of the changed names. Pipelines that follow a name keep theirs.
    ///
    /// # Errors
    /// [`DeployError::Routes`].
    pub(super) fn check_routes(&self, following: &HashSet<&FunctionName>) -> Result<(), DeployError> {
        let is_changed = |name: &FunctionName| self.changed.contains_key(name) && !following.contains(name);
        let mut changed: Vec<_> = self.changed.values().filter(|record| is_changed(&record.name)).collect();
        if changed.iter().all(|record| record.routes.is_empty() && record.hosts.is_empty()) {
            return Ok(());
        }
        changed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut others = Vec::new();
        for name in self.deployer.store.routed()? {
            if !is_changed(&name) && !self.removed.contains(&name) {
                others.extend(self.deployer.functions.current(&name)?);
            }
        }
        Ok(routes::check(&changed, &others)?)
    }

    /// Returns the version that a name stands for.
    pub(super) fn resolve(&self, function: &FunctionRef) -> Result<VersionRecord, ResolveError> {
        if let Selector::Version(version) = function.selector
            && let Some(record) = self.imported.get(&(function.name.clone(), version))
        {
            return Ok(record.clone());
        }
        match self.changed.get(&function.name) {
            Some(record)
                if function.selector == Selector::Current
                    || function.selector == Selector::Version(record.version) =>
            {
                Ok(record.clone())
            }
            Some(_) | None => self.deployer.store.resolve(function),
        }
    }

    /// Checks a pipeline against the versions that names stand for now.
    pub(super) fn plan(&mut self, pipeline: &Pipeline) -> Result<(Composition, Plan), DeployError> {
        pipeline.check().map_err(InvalidPipeline::from)?;
        let (mut pinned, mut failed) = (BTreeMap::new(), None);
        let plan = pipeline::check(pipeline, &mut |function| {
            let record = self.resolve(function).map_err(|error| {
                let reason = error.to_string();
                if let ResolveError::Store(error) = error {
                    failed = Some(DeployError::Store(error));
                }
                reason
            })?;
            let VersionRecord { version, digest, config, .. } = &record;
            let pin = Pinned { version: *version, digest: *digest, config: config.digest() };
            pinned.insert(function.to_string(), pin);
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

    /// Returns the signature of a version.
    ///
    /// Nested pipelines are resolved from the inside out with a stack, so that deep nesting causes
    /// no deep recursion.
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
        let Some(described) = self.deployer.executor.describe(&record.digest)? else {
            self.uncompiled = Some(record.digest);
            return Err(LoadError::NotCompiled { digest: record.digest }.into());
        };
        let callee = callee_of(&described).ok_or_else(|| unsuitable("its types can't be told"))?;
        self.described.insert(record.digest, callee.clone());
        Ok(callee)
    }

    /// Returns the plan of a pipeline with the versions that it was deployed with.
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

    /// Returns the versions that a pipeline calls, keyed by their names in the description.
    pub(super) fn steps(
        &self,
        composition: &Composition,
    ) -> Result<BTreeMap<String, VersionRecord>, DeployError> {
        let mut steps = BTreeMap::new();
        for function in composition.description.steps.calls() {
            if let Some(version) = composition.version_of(function) {
                steps.insert(function.to_string(), self.resolve(&version)?);
            }
        }
        Ok(steps)
    }
}

fn callee_of(described: &Described) -> Option<Callee> {
    match described.form {
        Form::Typed => described.types.as_ref().map(Callee::typed),
        Form::Raw => Some(Callee::raw()),
        Form::Http => None,
    }
}

/// Returns the functions that a version calls, if it is a pipeline.
pub(super) fn calls(record: &VersionRecord) -> impl Iterator<Item = &FunctionRef> {
    record.pipeline.iter().flat_map(|composition| composition.description.steps.calls())
}

/// Returns the names that a pipeline follows.
pub(super) fn followed(pipeline: &Pipeline) -> Vec<FunctionName> {
    let calls = pipeline.steps.calls().into_iter();
    calls.filter(|it| it.selector == Selector::Current).map(|it| it.name.clone()).collect()
}
