//! Imports: functions with all their versions, from another host's export.
//!
//! ```text
//! upload each component (by its digest)
//! export --names and routes that are here--> --components: admit, compile, describe-->
//!        --pipelines, called ones first--> version records --import all or nothing-->
//! ```
//!
//! Invariants:
//! * An import adds names. A name that is here must be the same in the export, so no name changes
//!   its meaning.
//! * A version has the number, the digest and the settings that it has in the export, so it gives
//!   the same answers under the same cache keys. What follows from its component is derived here.
//! * An export is checked like a deploy. Versions that only follow a name are valid as followers.

mod error;
mod records;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use nebula_engine::Described;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::{Linked, VersionRecord};
use nebula_model::settings::Settings;

pub use self::error::{Difference, ImportConflict, ImportError, Inconsistency};
use super::component::Deploying;
use super::error::InvalidRoutes;
use super::export::{Export, ExportedFunction, ExportedVersion};
use super::outcomes::DeployKind;
use super::routes::TakenRoutes;
use super::{DeployError, Deployer};

/// An import of an export.
#[derive(Clone, Debug)]
pub struct Import {
    /// The functions.
    pub export: Export,
    /// Checks everything and changes nothing.
    pub dry_run: bool,
}

/// A function of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFunction {
    /// The function or pipeline.
    pub name: FunctionName,
    /// It wasn't here before.
    pub is_new: bool,
    /// The number of its current version.
    pub current: Version,
    /// The numbers of its versions in the export, oldest first.
    pub versions: Vec<Version>,
}

/// The functions of an export that aren't on this host.
type NewFunctions<'a> = BTreeMap<&'a FunctionName, &'a ExportedFunction>;

/// The components of an import: checked, compiled and described.
struct Components<'a> {
    components: HashMap<ComponentId<'a>, Component>,
    /// Keeps them while this lives.
    _deploying: Vec<Deploying<'a>>,
}

/// A component's use. A linked component has the documentation of its importer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ComponentId<'a> {
    digest: Digest,
    /// The functions that are linked into it, as the export says.
    linked: &'a [Linked],
}

struct Component {
    size_bytes: u64,
    described: Described,
}

impl<'a> ComponentId<'a> {
    fn of(version: &'a ExportedVersion) -> Self {
        Self { digest: version.digest, linked: &version.linked }
    }
}

impl Deployer {
    /// Imports functions. Durable when it returns; the next calls find them.
    ///
    /// # Errors
    /// [`ImportError`].
    ///
    /// # Cancel safety
    /// An import that has started completes even if the future is dropped.
    pub(crate) async fn import(
        self: &Arc<Self>,
        import: Import,
    ) -> Result<Vec<ImportedFunction>, ImportError> {
        self.run_alone(move |this| {
            let imported = this.import_blocking(&import);
            if import.dry_run { imported } else { this.outcomes.count(DeployKind::Import, imported) }
        })
        .await
    }

    fn import_blocking(self: &Arc<Self>, import: &Import) -> Result<Vec<ImportedFunction>, ImportError> {
        let Import { export, dry_run } = import;
        records::check_numbers(export)?;
        // Before anything is compiled, and again under the lock.
        let components = self.describe_components(&self.new_functions(export)?)?;
        self.with_names(|names| {
            let naming = self.lock_naming();
            let new = self.new_functions(export)?;
            let functions = self.imported_records(names, &new, &components)?;
            if !dry_run && !functions.is_empty() {
                let imported = self.store.import(naming.base(), &functions);
                // Also after an error: the change may be on disk all the same.
                new.keys().for_each(|name| self.functions.uncache(name));
                imported?;
                self.fuse_later(functions.iter().flat_map(|function| {
                    function.versions.iter().filter(|record| record.version == function.current)
                }));
            }
            let imported = |(name, function): (&FunctionName, &ExportedFunction)| ImportedFunction {
                name: name.clone(),
                is_new: new.contains_key(name),
                current: function.current,
                versions: function.versions.keys().copied().collect(),
            };
            Ok(export.functions.iter().map(imported).collect())
        })
    }

    /// Returns the functions that aren't here.
    ///
    /// # Errors
    /// [`ImportError::Conflicts`] with everything in the export that isn't as it is here.
    fn new_functions<'a>(&self, export: &'a Export) -> Result<NewFunctions<'a>, ImportError> {
        let (mut new, mut conflicts) = (NewFunctions::new(), Vec::new());
        for (name, function) in &export.functions {
            match self.functions.current(name)? {
                Some(current) => {
                    let differences = differences(function, &self.store.versions(name)?, current.version);
                    conflicts.extend(differences.into_iter().map(|difference| conflict(name, difference)));
                }
                None => _ = new.insert(name, function),
            }
        }
        let mut routed = Vec::new();
        for name in self.store.routed()? {
            routed.extend(self.functions.current(&name)?);
        }
        let mut taken = TakenRoutes::of(&routed);
        for (name, function) in &new {
            let Some(current) = function.versions.get(&function.current) else { continue };
            let Settings { routes, hosts, .. } = &current.settings;
            match taken.take(name, routes, hosts) {
                Err(InvalidRoutes::Taken { route, by, .. }) => {
                    conflicts.push(conflict(name, Difference::Route { route, by }));
                }
                // The checks of each version report the others.
                Err(
                    InvalidRoutes::Below { .. }
                    | InvalidRoutes::HostAlone { .. }
                    | InvalidRoutes::TooMany { .. },
                )
                | Ok(()) => {}
            }
        }
        if conflicts.is_empty() { Ok(new) } else { Err(ImportError::Conflicts(conflicts)) }
    }

    /// Reads, admits, compiles and describes the components. Holds one of them in memory at a time.
    fn describe_components<'a>(&'a self, new: &NewFunctions<'a>) -> Result<Components<'a>, ImportError> {
        let (mut components, mut deploying, mut missing) = (HashMap::new(), Vec::new(), Vec::new());
        let versions = new.iter().flat_map(|(name, function)| {
            function.versions.iter().map(move |(number, version)| (*name, *number, version))
        });
        for (name, number, version) in versions.filter(|(_, _, version)| version.pipeline.is_none()) {
            let (id, digest) = (ComponentId::of(version), version.digest);
            if components.contains_key(&id) || missing.contains(&digest) {
                continue;
            }
            deploying.push(Deploying::begin(self, digest));
            let content = match self.store.read_component(&digest) {
                Ok(content) => content,
                Err(error) if error.is_absence() => {
                    missing.push(digest);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // An import that takes long doesn't lose its components.
            self.uploads.renew(&digest, Instant::now());
            if missing.is_empty() {
                let described = self.describe_imported(id, &content);
                let described = described.map_err(records::refused(name, number))?;
                records::check_linked(&content, id.linked).map_err(records::inconsistent(name, number))?;
                components.insert(id, Component { size_bytes: content.len() as u64, described });
            }
        }
        if missing.is_empty() {
            Ok(Components { components, _deploying: deploying })
        } else {
            Err(ImportError::Missing(missing))
        }
    }

    fn describe_imported(&self, id: ComponentId<'_>, content: &[u8]) -> Result<Described, DeployError> {
        nebula_engine::admit(content)?;
        let is_linked = !id.linked.is_empty();
        let mut described = self.describe_new(&id.digest, content, is_linked)?;
        let own = if is_linked { nebula_linker::importer_of(content) } else { None };
        described.document(own.unwrap_or(content));
        Ok(described)
    }
}

fn conflict(name: &FunctionName, difference: Difference) -> ImportConflict {
    ImportConflict { name: name.clone(), difference }
}

/// Returns how a function of an export differs from the one here.
fn differences(exported: &ExportedFunction, here: &[VersionRecord], current: Version) -> Vec<Difference> {
    let here: HashMap<_, _> = here.iter().map(|record| (record.version, record)).collect();
    let mut found = Vec::new();
    for (version, exported) in &exported.versions {
        match here.get(version) {
            Some(record) => {
                let parts = different_parts(exported, record);
                if !parts.is_empty() {
                    found.push(Difference::Version { version: *version, parts });
                }
            }
            None => found.push(Difference::MissingVersion(*version)),
        }
    }
    if current != exported.current {
        found.push(Difference::Current { here: current, exported: exported.current });
    }
    found
}

/// Returns the parts in which two versions differ. The times of their deploys don't matter.
fn different_parts(exported: &ExportedVersion, here: &VersionRecord) -> Vec<&'static str> {
    // Names every field, so that a new one doesn't compile until it is decided whether it matters.
    let ExportedVersion { digest, settings, project, pipeline, linked, size_bytes: _, deployed_at_unix_s: _ } =
        exported;
    let Settings { limits, cache, config, cors, routes, hosts } = settings;
    let parts = [
        ("component", here.pipeline.is_none() && here.digest != *digest),
        ("pipeline", here.pipeline != *pipeline || here.pipeline.is_some() && here.digest != *digest),
        ("linked", here.linked != *linked),
        ("limits", here.limits != *limits),
        ("cache", here.cache != *cache),
        ("config", here.config != *config),
        ("cors", here.cors != *cors),
        ("route", here.routes != *routes),
        ("host", here.hosts != *hosts),
        ("project", here.project != *project),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
