//! Functions with their versions, components and compiled code: a catalog and blobs behind one type.
//!
//! ```text
//! registry.redb                        the catalog: log of changes; names, versions, settings
//! components/<sha256>                  immutable, by digest; the content of a pipeline is its description
//! compiled/<compatibility>/<sha256>    derived from the component; with its MAC
//! ```
//!
//! Invariants:
//! * A version that [`Store::publish`] has returned survives a crash: its content is durable before
//!   the change that names it is appended, and an appended change is durable.
//! * Content that is stored and not yet named isn't collected as garbage.
//!
//! `catalog` and [`directory`](crate::Directory) describe the files. All methods but
//! [`Store::applied`] and [`Store::key_for`] may wait for the disk.

mod compiled;
mod error;
mod files;
mod publish;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::record::VersionRecord;

pub use self::compiled::Compiled;
pub use self::error::{ResolveError, StoreError};
use self::files::Files;
use self::publish::Draft;
pub use self::publish::{NewVersion, Publication};
use crate::catalog::{AppendError, Catalog, Change, RedbCatalog, Sequence};
use crate::directory::{Directory, OpenError};

/// The longest wait for a change to be appended.
const APPEND_WAIT_MAX: Duration = Duration::from_secs(30);

/// The attempts to append a change at the log's end, while others append too.
const APPEND_ATTEMPTS_MAX: u32 = 5;

/// The wait after a conflict, times the number of the attempt. Others that conflicted wait another time.
const CONFLICT_BACKOFF: Duration = Duration::from_millis(1);

/// Files that a garbage collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Their number.
    pub files: u64,
    /// Their length together, bytes.
    pub bytes: u64,
}

/// The open store.
pub struct Store {
    catalog: Arc<dyn Catalog>,
    files: Files,
    directory: Arc<Directory>,
    /// Held from storing content to naming it, and while garbage is collected.
    storing: Mutex<()>,
}

impl Store {
    /// Opens the store in a directory, or creates it. Writes nothing to an existing one but its lock.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::open(path)?);
        let files = Files::open(&directory)
            .map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
        let catalog = RedbCatalog::open(Arc::clone(&directory))
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        Ok(Self::new(directory, files, Arc::new(catalog)))
    }

    fn new(directory: Arc<Directory>, files: Files, catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, files, directory, storing: Mutex::new(()) }
    }

    /// Returns the catalog, for following its changes.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// Derives the key for one purpose, which `context` names, from the directory's secret.
    pub fn key_for(&self, context: &str) -> [u8; 32] {
        self.directory.key_for(context)
    }

    /// Returns the last change that lookups see. Doesn't wait. A lookup that gave nothing gives nothing
    /// until this is another one.
    pub fn applied(&self) -> Sequence {
        self.catalog.applied()
    }

    /// Stores contents and publishes them, all at once. They are durable when it returns.
    ///
    /// The same content with the same settings as the current version is that version.
    ///
    /// # Errors
    /// [`StoreError`]. Then all of the names have changed, or none.
    pub fn publish(&self, new: &[Publication<'_>]) -> Result<Vec<VersionRecord>, StoreError> {
        let _storing = self.put_contents(new)?;
        self.change(|draft| publish_all(draft, new))
    }

    /// Makes a version current and publishes `new`, all at once. Deletes nothing.
    ///
    /// # Errors
    /// [`StoreError`]. Then all of the names have changed, or none.
    pub fn roll_back(
        &self,
        target: &VersionRecord,
        new: &[Publication<'_>],
    ) -> Result<Vec<VersionRecord>, StoreError> {
        let _storing = self.put_contents(new)?;
        self.change(|draft| {
            draft.set_current(target);
            publish_all(draft, new)
        })
    }

    /// Returns the lock under which the contents were stored. Name them before it is dropped.
    fn put_contents(&self, new: &[Publication<'_>]) -> Result<MutexGuard<'_, ()>, StoreError> {
        let storing = self.storing();
        for new in new {
            self.files.put_component(&new.version.digest, &new.content)?;
        }
        Ok(storing)
    }

    fn storing(&self) -> MutexGuard<'_, ()> {
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the changes that `draft` collects. Collects them again if other changes came first.
    fn change<T>(
        &self,
        mut collect: impl FnMut(&mut Draft<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + APPEND_WAIT_MAX;
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Read before the names, so that a change between the two conflicts.
            let base = self.catalog.applied();
            let mut draft = Draft::new(&*self.catalog);
            let collected = collect(&mut draft)?;
            if draft.changes.is_empty() {
                return Ok(collected);
            }
            match self.catalog.append(base, &draft.changes, deadline) {
                Ok(_) => return Ok(collected),
                Err(AppendError::Conflict { .. }) if attempt < APPEND_ATTEMPTS_MAX => {
                    std::thread::sleep(CONFLICT_BACKOFF * attempt);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the version that publishing `new` would give.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prospect(&self, name: &FunctionName, new: &NewVersion) -> Result<VersionRecord, StoreError> {
        Ok(Draft::new(&*self.catalog).publish(name, new)?)
    }

    /// Removes a function with all its versions. Returns whether it was there. The next
    /// [`collect_garbage`](Self::collect_garbage) deletes its files.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, name: &FunctionName) -> Result<bool, StoreError> {
        self.change(|draft| {
            let is_there = self.catalog.current(name)?.is_some();
            if is_there {
                draft.changes.push(Change::Remove(name.clone()));
            }
            Ok(is_there)
        })
    }

    /// Resolves a reference to a version.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, reference: &FunctionRef) -> Result<VersionRecord, ResolveError> {
        let FunctionRef { name, selector } = reference;
        let (found, asked) = match selector {
            Selector::Current => return self.current(name),
            Selector::Version(version) => (self.catalog.version(name, *version)?, version.to_string()),
            Selector::Digest(digest) => {
                let versions = self.catalog.versions(name)?;
                (versions.into_iter().rev().find(|record| record.digest == *digest), digest.to_string())
            }
        };
        match found {
            Some(record) => Ok(record),
            None => {
                let current = self.current(name)?.version;
                Err(ResolveError::UnknownVersion { name: name.clone(), asked, current })
            }
        }
    }

    fn current(&self, name: &FunctionName) -> Result<VersionRecord, ResolveError> {
        self.catalog.current(name)?.ok_or_else(|| ResolveError::UnknownFunction(name.clone()))
    }

    /// Returns the current version of every function, ordered by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<VersionRecord>, StoreError> {
        Ok(self.catalog.list()?)
    }

    /// Returns every version of a function, oldest first: empty if there is no such function.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, StoreError> {
        Ok(self.catalog.versions(name)?)
    }

    /// Returns the names that have a version that is a pipeline.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pipelines(&self) -> Result<Vec<FunctionName>, StoreError> {
        Ok(self.catalog.pipelines()?)
    }

    /// Returns the names that have a version with functions linked into it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn importers(&self) -> Result<Vec<FunctionName>, StoreError> {
        Ok(self.catalog.importers()?)
    }

    /// Returns version `to`, or the one before the current one.
    ///
    /// # Errors
    /// [`ResolveError`]: also when there is no earlier version.
    pub fn earlier(&self, name: &FunctionName, to: Option<Version>) -> Result<VersionRecord, ResolveError> {
        let current = self.current(name)?.version;
        let versions = self.versions(name)?;
        let target = versions.into_iter().rev().find(|record| match to {
            Some(version) => record.version == version,
            None => record.version < current,
        });
        target.ok_or_else(|| match to {
            Some(asked) => {
                ResolveError::UnknownVersion { name: name.clone(), asked: asked.to_string(), current }
            }
            None => ResolveError::NoEarlierVersion { name: name.clone(), current },
        })
    }

    /// Returns the components that are distrusted, and why.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, StoreError> {
        Ok(self.catalog.disagreements()?)
    }

    /// Distrusts a component because two computations disagreed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn distrust(&self, disagreement: &Disagreement) -> Result<(), StoreError> {
        self.change(|draft| {
            draft.changes.push(Change::Distrust(disagreement.clone()));
            Ok(())
        })
    }

    /// Trusts components again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trust(&self, components: &HashSet<Digest>) -> Result<(), StoreError> {
        self.change(|draft| {
            let distrusted = self.catalog.disagreements()?;
            let trusted = components.iter().filter(|component| distrusted.contains_key(component));
            draft.changes.extend(trusted.copied().map(Change::Trust));
            Ok(())
        })
    }

    /// Returns a component's bytes, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read_component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.files.read_component(digest)
    }

    /// Stores compiled code with its MAC.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
        code: &[u8],
    ) -> Result<(), StoreError> {
        let _storing = self.storing();
        self.files.store_compiled(digest, compatibility, code)
    }

    /// Returns authentic compiled code. `None` means: compile it again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
    ) -> Result<Option<Compiled>, StoreError> {
        self.files.open_compiled(digest, compatibility)
    }

    /// Deletes components that no version names, and compiled code of them or of other engines, except
    /// those that `in_use` returns. That is called after the names are read, so a call that found a
    /// component by its name has it named or in use.
    ///
    /// # Errors
    /// [`StoreError`]. The files deleted until then were garbage.
    pub fn collect_garbage(
        &self,
        compatibility: &str,
        in_use: impl FnOnce() -> HashSet<Digest>,
    ) -> Result<Collected, StoreError> {
        let _storing = self.storing();
        let mut kept = self.catalog.digests()?;
        kept.extend(in_use());
        let kept = kept.iter().map(Digest::hex).collect();
        self.files.collect(&kept, compatibility)
    }
}

fn publish_all(draft: &mut Draft<'_>, new: &[Publication<'_>]) -> Result<Vec<VersionRecord>, StoreError> {
    new.iter().map(|new| Ok(draft.publish(new.name, &new.version)?)).collect()
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod tests;
