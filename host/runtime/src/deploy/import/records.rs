//! The version records of an import.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nebula_model::configuration::InvalidConfiguration;
use nebula_model::id::{Digest, FunctionName, Selector, Version};
use nebula_model::record::{Composition, Description, Linked, VersionRecord};
use nebula_model::settings::Settings;
use nebula_pipeline::InvalidPipeline;
use nebula_store::ResolveError;

use super::error::{ImportError, Inconsistency};
use super::{ComponentId, Components, NewFunctions};
use crate::deploy::component::description_of;
use crate::deploy::description::describe;
use crate::deploy::export::{Export, ExportedVersion};
use crate::deploy::names::{Names, followed};
use crate::deploy::order::Dependencies;
use crate::deploy::{DeployError, Deployer, routes};

/// Checks the numbers of versions.
pub(super) fn check_numbers(export: &Export) -> Result<(), ImportError> {
    for (name, function) in &export.functions {
        if !function.versions.contains_key(&function.current) {
            return Err(inconsistent(name, function.current)(Inconsistency::NoCurrent));
        }
        if let Some(last) = function.versions.keys().find(|version| version.next().is_none()) {
            return Err(inconsistent(name, *last)(Inconsistency::LastNumber));
        }
    }
    Ok(())
}

/// Returns the error for a version that is refused.
pub(super) fn refused(name: &FunctionName, version: Version) -> impl FnOnce(DeployError) -> ImportError {
    move |source| ImportError::Refused { name: name.clone(), version, source: Box::new(source) }
}

pub(super) fn inconsistent(
    name: &FunctionName,
    version: Version,
) -> impl FnOnce(Inconsistency) -> ImportError {
    move |source| ImportError::Inconsistent { name: name.clone(), version, source }
}

impl Deployer {
    /// Returns the functions with their version records, ordered by name. The names will stand for
    /// the current ones.
    pub(super) fn imported_records(
        &self,
        names: &mut Names<'_>,
        new: &NewFunctions<'_>,
        components: &Components<'_>,
    ) -> Result<Vec<nebula_store::ImportedFunction>, ImportError> {
        let mut records: BTreeMap<&FunctionName, BTreeMap<Version, VersionRecord>> = BTreeMap::new();
        let mut add = |names: &mut Names<'_>, name, record: VersionRecord| {
            self.check_settings(&record).map_err(refused(name, record.version))?;
            names.import(record.clone());
            records.entry(name).or_default().insert(record.version, record);
            Ok::<_, ImportError>(())
        };
        for (name, function) in new {
            for (number, version) in &function.versions {
                if version.pipeline.is_some() {
                    continue;
                }
                let component = components.components.get(&ComponentId::of(version));
                let component = component.ok_or(ImportError::Missing(vec![version.digest]))?;
                check_size(version, component.size_bytes).map_err(inconsistent(name, *number))?;
                names.add(version.digest, &component.described);
                add(names, *name, record(name, *number, version, description_of(&component.described)))?;
            }
        }
        for PipelineVersion { name, number, version, composition } in called_first(new)? {
            check_content(version, composition).map_err(inconsistent(name, number))?;
            composition
                .description
                .check()
                .map_err(|error| refused(name, number)(InvalidPipeline::from(error).into()))?;
            check_calls(names, name, number, composition)?;
            // A version with `"fuse": "always"` that followed a name needn't be fusible: it runs step
            // by step, as it did.
            let plan = names.pinned_plan(composition).map_err(refused(name, number))?;
            add(names, name, record(name, number, version, describe(&plan)))?;
        }
        let mut imported = Vec::new();
        for (name, versions) in records {
            let Some(function) = new.get(name) else { continue };
            imported.push(nebula_store::ImportedFunction {
                current: function.current,
                versions: versions.into_values().collect(),
            });
        }
        refuse_cycles(names, &imported)?;
        Ok(imported)
    }

    /// Checks the settings of a version against the host's limits.
    fn check_settings(&self, record: &VersionRecord) -> Result<(), DeployError> {
        self.functions.limits().with(&record.limits)?;
        record.config.check()?;
        if record.pipeline.is_some() && !record.config.is_empty() {
            return Err(InvalidConfiguration::OfPipeline.into());
        }
        routes::check_own(record)?;
        Ok(())
    }
}

/// Makes the current versions those that their names stand for, and refuses cycles between them.
fn refuse_cycles(
    names: &mut Names<'_>,
    imported: &[nebula_store::ImportedFunction],
) -> Result<(), ImportError> {
    let current: Vec<_> = imported
        .iter()
        .filter_map(|function| function.versions.iter().find(|it| it.version == function.current))
        .collect();
    for record in &current {
        names.change((*record).clone())?;
    }
    // No pipeline of the host follows a new name, so every cycle is among the new ones.
    let mut following = Dependencies::default();
    for VersionRecord { name, version, linked, pipeline, .. } in &current {
        names.refuse_import_cycles(name, linked).map_err(refused(name, *version))?;
        if let Some(composition) = pipeline {
            following.add(name.clone(), followed(&composition.description));
        }
    }
    let Err(cycle) = following.order() else { return Ok(()) };
    let in_cycle = |record: &&&VersionRecord| record.name == *cycle.first();
    let Some(VersionRecord { name, version, .. }) = current.iter().find(in_cycle) else { return Ok(()) };
    let names = cycle.clone().from(|_| true).iter().map(ToString::to_string).collect();
    Err(refused(name, *version)(InvalidPipeline::Cycle { names }.into()))
}

fn record(
    name: &FunctionName,
    version: Version,
    exported: &ExportedVersion,
    description: Description,
) -> VersionRecord {
    let ExportedVersion { digest, size_bytes, deployed_at_unix_s, project, settings, pipeline, linked } =
        exported.clone();
    let Settings { limits, cache, config, cors, routes, hosts } = settings;
    VersionRecord {
        name: name.clone(),
        version,
        digest,
        size_bytes,
        deployed_at_unix_s,
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
    }
}

fn check_size(version: &ExportedVersion, found: u64) -> Result<(), Inconsistency> {
    if version.size_bytes == found { Ok(()) } else { Err(Inconsistency::OtherSize { found }) }
}

/// Checks that a component has exactly these functions linked in, each with those linked into it.
///
/// The numbers of their versions can't be told from it. A component that is linked needn't say so: it
/// may have been deployed as it is.
pub(super) fn check_linked(component: &[u8], linked: &[Linked]) -> Result<(), Inconsistency> {
    if linked.is_empty() {
        return Ok(());
    }
    let parts = nebula_linker::components_in(component);
    let importer = nebula_linker::importer_of(component).unwrap_or_default();
    if !nebula_linker::imported_functions(importer).iter().eq(linked.iter().map(|function| &function.name)) {
        return Err(Inconsistency::OtherLinked);
    }
    let parts: HashMap<_, _> = parts.into_iter().map(|part| (Digest::of(part), part)).collect();
    for function in linked {
        let part = parts.get(&function.digest).ok_or(Inconsistency::OtherLinked)?;
        check_linked(part, &function.linked)?;
    }
    Ok(())
}

/// Checks a pipeline's digest, which identifies all that it calls.
fn check_content(version: &ExportedVersion, composition: &Composition) -> Result<(), Inconsistency> {
    if !version.linked.is_empty() {
        return Err(Inconsistency::LinkedPipeline);
    }
    let content = composition.content();
    let found = Digest::of(&content);
    if version.digest != found {
        return Err(Inconsistency::OtherDigest { found });
    }
    check_size(version, content.len() as u64)
}

/// Checks that the versions that a pipeline calls are what it says.
fn check_calls(
    names: &Names<'_>,
    name: &FunctionName,
    number: Version,
    composition: &Composition,
) -> Result<(), ImportError> {
    let wrong = |reason| Err(inconsistent(name, number)(reason));
    let calls = composition.description.steps.calls();
    let texts: BTreeSet<_> = calls.iter().map(ToString::to_string).collect();
    if !texts.iter().eq(composition.pinned.keys()) {
        return wrong(Inconsistency::OtherCalls);
    }
    for call in calls {
        let pinned = composition.pinned.get(&call.to_string());
        let (Some(pinned), Some(function)) = (pinned, composition.version_of(call)) else {
            return wrong(Inconsistency::OtherCalls);
        };
        let is_called = match call.selector {
            Selector::Current => true,
            Selector::Version(version) => version == pinned.version,
            Selector::Digest(digest) => digest == pinned.digest,
        };
        if !is_called {
            return wrong(Inconsistency::OtherCalls);
        }
        let called = function.to_string();
        match names.resolve(&function) {
            Ok(found) if found.digest == pinned.digest && found.config.digest() == pinned.config => {}
            Ok(_) => return wrong(Inconsistency::OtherCalled { called }),
            Err(ResolveError::Store(error)) => return Err(error.into()),
            Err(
                ResolveError::UnknownFunction { .. }
                | ResolveError::UnknownVersion { .. }
                | ResolveError::NoEarlierVersion { .. },
            ) => return wrong(Inconsistency::Unknown { called }),
        }
    }
    Ok(())
}

/// A version of a new function that is a pipeline.
#[derive(Clone, Copy)]
struct PipelineVersion<'a> {
    name: &'a FunctionName,
    number: Version,
    version: &'a ExportedVersion,
    composition: &'a Composition,
}

/// Orders the pipelines of an import so that each comes after those that it calls.
fn called_first<'a>(new: &NewFunctions<'a>) -> Result<Vec<PipelineVersion<'a>>, ImportError> {
    let mut pipelines = BTreeMap::new();
    let mut dependencies = Dependencies::default();
    for (name, function) in new {
        for (number, version) in &function.versions {
            let Some(composition) = &version.pipeline else { continue };
            let called = composition.description.steps.calls().into_iter();
            let called = called.filter_map(|call| {
                Some((call.name.clone(), composition.pinned.get(&call.to_string())?.version))
            });
            dependencies.add(((*name).clone(), *number), called);
            let pipeline = PipelineVersion { name, number: *number, version, composition };
            pipelines.insert(((*name).clone(), *number), pipeline);
        }
    }
    let ordered = dependencies.order().map_err(|cycle| {
        let (name, number) = cycle.first();
        inconsistent(name, *number)(Inconsistency::Cycle)
    })?;
    Ok(ordered.into_iter().filter_map(|version| pipelines.get(version).copied()).collect())
}
