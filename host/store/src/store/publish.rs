//! Which changes a deploy makes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::cors::Cors;
use nebula_model::id::{Digest, FunctionName, ProjectName, Version};
use nebula_model::limits::LimitOverrides;
use nebula_model::record::{Composition, Description, Linked, VersionRecord};
use nebula_model::route::{RouteHost, RoutePath};

use super::error::StoreError;
use crate::catalog::{Catalog, Change};

/// A version that a deploy adds.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The digest of the content.
    pub digest: Digest,
    /// The content's length, bytes.
    pub size_bytes: u64,
    /// The function's own limits.
    pub limits: LimitOverrides,
    /// The settings of its cached results.
    pub cache: Caching,
    /// The constants that the function reads.
    pub config: Configuration,
    /// The project that deploys it. A deploy without a project leaves the function to the project
    /// of its current version.
    pub project: Option<ProjectName>,
    /// The pages that may call it, if that isn't the server's policy.
    pub cors: Option<Cors>,
    /// The paths under which it answers beside `/f/NAME`.
    pub routes: Vec<RoutePath>,
    /// The hosts of these paths: all if empty.
    pub hosts: Vec<RouteHost>,
    /// The pipeline, if it is one.
    pub pipeline: Option<Composition>,
    /// The functions that were linked into it.
    pub linked: Vec<Linked>,
    /// Its description, for listing it without loading it.
    pub description: Description,
}

/// A version with its name and content.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The name under which the version is published.
    pub name: &'a FunctionName,
    /// The bytes that the version's digest is of.
    pub content: Cow<'a, [u8]>,
    /// The version.
    pub version: NewVersion,
}

/// A function that moves here with all its versions.
#[derive(Clone, Debug)]
pub struct ImportedFunction {
    /// The number of the current version.
    pub current: Version,
    /// Every version, under its number and with the time of its deploy, oldest first.
    pub versions: Vec<VersionRecord>,
}

/// Changes that are collected, and not appended yet.
pub(super) struct Draft<'a> {
    catalog: &'a dyn Catalog,
    pub(super) changes: Vec<Change>,
    /// The versions that the changes make current.
    current: HashMap<FunctionName, VersionRecord>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(catalog: &'a dyn Catalog) -> Self {
        Self { catalog, changes: Vec::new(), current: HashMap::new() }
    }

    /// Makes an existing version current.
    pub(super) fn set_current(&mut self, target: &VersionRecord) {
        let (name, version) = (target.name.clone(), target.version);
        self.changes.push(Change::SetCurrent { name: name.clone(), version });
        self.current.insert(name, target.clone());
    }

    /// Adds a function with its versions.
    pub(super) fn import(&mut self, function: &ImportedFunction) {
        let ImportedFunction { current, versions } = function;
        // Each version becomes current as it is added.
        self.changes.extend(versions.iter().cloned().map(Box::new).map(Change::Publish));
        let is_current = |record: &&VersionRecord| record.version == *current;
        if let (Some(last), Some(current)) = (versions.last(), versions.iter().find(is_current))
            && last.version != current.version
        {
            self.set_current(current);
        }
    }

    /// Adds a version and makes it current. The same content with the same settings as the current
    /// version is that version, and no change.
    pub(super) fn publish(
        &mut self,
        name: &FunctionName,
        new: &NewVersion,
    ) -> Result<VersionRecord, StoreError> {
        let current = match self.current.get(name) {
            Some(current) => Some(current.clone()),
            None => self.catalog.current(name)?,
        };
        if let Some(current) = current.as_ref().filter(|current| is_made_of(current, new)) {
            return Ok(current.clone());
        }
        let drafted = self.changes.iter().filter_map(|change| match change {
            Change::Publish(record) if record.name == *name => Some(record.version),
            Change::Publish(_)
            | Change::SetCurrent { .. }
            | Change::Remove(_)
            | Change::Distrust(_)
            | Change::Trust(_)
            | Change::Unknown(_) => None,
        });
        let stored = self.catalog.latest(name)?;
        let version = match stored.into_iter().chain(drafted).max() {
            None => Version::FIRST,
            Some(latest) => {
                latest.next().ok_or_else(|| StoreError::LastVersion { name: name.clone(), latest })?
            }
        };
        let mut record = record_of(name.clone(), version, new.clone());
        record.project = record.project.or_else(|| current.and_then(|current| current.project));
        self.changes.push(Change::Publish(Box::new(record.clone())));
        self.current.insert(name.clone(), record.clone());
        Ok(record)
    }
}

/// Returns whether publishing `new` would give a version that is the same as this one.
fn is_made_of(version: &VersionRecord, new: &NewVersion) -> bool {
    // Names every field, so that a new field doesn't compile until it is decided whether it makes
    // another version.
    let NewVersion {
        digest,
        limits,
        cache,
        config,
        project,
        cors,
        routes,
        hosts,
        pipeline,
        linked,
        // Both follow from the content.
        size_bytes: _,
        description: _,
    } = new;
    version.digest == *digest
        && version.limits == *limits
        && version.cache == *cache
        && version.config == *config
        && (project.is_none() || version.project == *project)
        && version.cors == *cors
        && version.routes == *routes
        && version.hosts == *hosts
        && version.pipeline == *pipeline
        && version.linked == *linked
}

fn record_of(name: FunctionName, version: Version, new: NewVersion) -> VersionRecord {
    let NewVersion {
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
    } = new;
    let deployed_at_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    VersionRecord {
        name,
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
