//! Exports: functions with all their versions, as another host imports them.
//!
//! Invariants:
//! * An export is of one moment: no name changes while it is read.
//! * An export is complete: the versions that its pipelines call are in it. Functions that are
//!   linked into a component are part of that component, and aren't added.

use std::collections::BTreeMap;

use nebula_model::id::{Digest, FunctionName, FunctionRef, ProjectName, Selector, Version};
use nebula_model::record::{Composition, Linked, VersionRecord};
use nebula_model::settings::Settings;
use nebula_store::catalog::AppendError;
use nebula_store::{StoreError, retry_conflicts};

use super::Deployer;
use super::names::calls;
use super::naming::NamingError;

/// Functions with all their versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    /// The functions and pipelines, by name.
    pub functions: BTreeMap<FunctionName, ExportedFunction>,
}

/// A function with all its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedFunction {
    /// The number of the current version.
    pub current: Version,
    /// The versions.
    pub versions: BTreeMap<Version, ExportedVersion>,
}

/// A version, without what follows from its component.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedVersion {
    /// The digest of the component, or of [`Composition::content`].
    pub digest: Digest,
    /// The length of the component or content, bytes.
    pub size_bytes: u64,
    /// The time of its first deploy, seconds since the Unix epoch.
    pub deployed_at_unix_s: u64,
    /// The project that deployed it, if one did.
    pub project: Option<ProjectName>,
    /// The settings.
    pub settings: Settings,
    /// The pipeline, if it is one.
    pub pipeline: Option<Composition>,
    /// The functions that are linked into the component.
    pub linked: Vec<Linked>,
}

impl From<VersionRecord> for ExportedVersion {
    fn from(record: VersionRecord) -> Self {
        // Names every field, so that a new one doesn't compile until it is exported or left out.
        let VersionRecord {
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
            // The keys of the export.
            name: _,
            version: _,
            // The importing host derives it from the component.
            description: _,
        } = record;
        let settings = Settings { limits, cache, config, cors, routes, hosts };
        Self { digest, size_bytes, deployed_at_unix_s, project, settings, pipeline, linked }
    }
}

impl Deployer {
    /// Returns functions and those that they call: the given ones, or all if there are none. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub(crate) fn export(&self, names: &[FunctionName]) -> Result<Export, NamingError> {
        retry_conflicts(|| {
            let naming = self.lock_naming();
            let export = self.read_export(names)?;
            let last = self.store.applied();
            if last != naming.base() {
                // Another host has changed names meanwhile.
                return Err(StoreError::from(AppendError::Conflict { last }).into());
            }
            Ok(export)
        })
    }

    fn read_export(&self, names: &[FunctionName]) -> Result<Export, NamingError> {
        let mut export = Export::default();
        let mut waiting = match names {
            [] => self.store.list()?.into_iter().map(|record| record.name).collect(),
            names => names.to_vec(),
        };
        while let Some(name) = waiting.pop() {
            if export.functions.contains_key(&name) {
                continue;
            }
            let current = FunctionRef { name: name.clone(), selector: Selector::Current };
            let current = self.store.resolve(&current)?.version;
            let records = self.store.versions(&name)?;
            waiting.extend(records.iter().flat_map(calls).map(|function| function.name.clone()));
            let versions = records.into_iter().map(|record| (record.version, record.into())).collect();
            export.functions.insert(name, ExportedFunction { current, versions });
        }
        Ok(export)
    }
}
