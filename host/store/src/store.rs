//! Functions with their versions, components and compiled code: a catalog and blobs behind one
//! type.
//!
//! ```text
//! publish, import --> Blobs (contents, durable) --> Catalog (names) --> resolve, list, versions
//! ```
//!
//! Invariants:
//! * A version that [`Store::publish`] has returned survives a crash: its content is durable before
//!   the change that names it is appended, and an appended change is durable.
//! * Content that is stored and not yet named isn't collected as garbage.
//!
//! All methods but [`Store::applied`] and [`Store::key_for`] may wait for the catalog or the blobs:
//! call them on a thread that may wait.

mod conflict;
mod error;
mod publish;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::record::VersionRecord;
use nebula_model::similar::most_similar;

pub use self::conflict::{MayConflict, retry_conflicts};
pub use self::error::{ResolveError, StoreError, StoreErrorKind};
use self::publish::Draft;
pub use self::publish::{ImportedFunction, NewVersion, Publication};
#[cfg(any(test, feature = "testing"))]
use crate::blobs::MemoryBlobs;
use crate::blobs::{Blobs, Collected, Compiled, CompiledId, FileBlobs};
use crate::catalog::{Catalog, Change, RedbCatalog, Sequence};
#[cfg(any(test, feature = "testing"))]
use crate::catalog::{LogKey, MemoryCatalog};
use crate::directory::{Directory, OpenError, Secret};

/// The longest wait for blobs to be read or written.
const BLOBS_WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest wait for a change to be appended.
const APPEND_WAIT_MAX: Duration = Duration::from_secs(30);

/// Most names that are read to find one similar to a name that doesn't exist.
const SIMILAR_NAMES_MAX: usize = 1_000;

/// The open store.
pub struct Store {
    catalog: Arc<dyn Catalog>,
    blobs: Arc<dyn Blobs>,
    secret: Secret,
    /// Held from storing content to naming it, and while garbage is collected.
    storing: Mutex<()>,
}

impl Store {
    /// Opens the store in a directory, or creates it. Writes nothing to an existing one but its
    /// lock.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::open(path)?);
        let blobs = FileBlobs::open(Arc::clone(&directory))
            .map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
        let catalog = RedbCatalog::open(Arc::clone(&directory))
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        Ok(Self::new(Arc::new(catalog), Arc::new(blobs), directory.secret().clone()))
    }

    /// Returns the store of a catalog and blobs. `secret` is for [`key_for`](Self::key_for).
    pub fn new(catalog: Arc<dyn Catalog>, blobs: Arc<dyn Blobs>, secret: Secret) -> Self {
        Self { catalog, blobs, secret, storing: Mutex::new(()) }
    }

    /// Returns an empty store in memory.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory() -> Self {
        let secret = Secret::new([1; 32]);
        let catalog = MemoryCatalog::new(LogKey::new(&secret));
        Self::new(Arc::new(catalog), Arc::new(MemoryBlobs::new(&secret)), secret)
    }

    /// Derives the key for one purpose, which `context` names, from the store's secret.
    pub fn key_for(&self, context: &str) -> [u8; 32] {
        self.secret.key_for(context)
    }

    /// Returns the last change that lookups see. Doesn't wait. A lookup that gave nothing gives
    /// nothing until this is another one.
    pub fn applied(&self) -> Sequence {
        self.catalog.applied()
    }

    /// Stores contents and publishes them, and removes functions, all at once. The contents are
    /// durable when it returns. The next [`collect_garbage`](Self::collect_garbage) deletes the
    /// files of removed functions.
    ///
    /// The same content with the same settings as the current version is that version.
    ///
    /// `base` is the [last change](Self::applied) that the caller saw when it decided to publish.
    ///
    /// # Errors
    /// [`StoreError`]. Then all of the names have changed, or none. Nothing has changed after a
    /// [conflict](StoreErrorKind::Conflict): there are changes after `base`.
    pub fn publish(
        &self,
        base: Sequence,
        new: &[Publication<'_>],
        removed: &[FunctionName],
    ) -> Result<Vec<VersionRecord>, StoreError> {
        let _storing = self.put_contents(new)?;
        self.change(base, |draft| {
            draft.changes.extend(removed.iter().cloned().map(Change::Remove));
            publish_all(draft, new)
        })
    }

    /// Stores a component that no version names yet. The next
    /// [`collect_garbage`](Self::collect_garbage) deletes it unless it is named or in use then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_component(&self, digest: &Digest, content: &[u8]) -> Result<(), StoreError> {
        let _storing = self.storing();
        Ok(self.blobs.put_component(digest, content, blobs_deadline())?)
    }

    /// Makes a version current and publishes `new`, all at once, like [`publish`](Self::publish).
    /// Deletes nothing.
    ///
    /// # Errors
    /// [`StoreError`]. Then all of the names have changed, or none.
    pub fn roll_back(
        &self,
        base: Sequence,
        target: &VersionRecord,
        new: &[Publication<'_>],
    ) -> Result<Vec<VersionRecord>, StoreError> {
        let _storing = self.put_contents(new)?;
        self.change(base, |draft| {
            draft.set_current(target);
            publish_all(draft, new)
        })
    }

    /// Adds functions with all their versions, all at once. The components of the versions are
    /// stored already; the contents of pipelines are stored here. The names must be new.
    ///
    /// `base` is the same as for [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`StoreError`]: also if a component [isn't there](StoreError::is_absence). Then all of the
    /// functions were added, or none.
    pub fn import(&self, base: Sequence, functions: &[ImportedFunction]) -> Result<(), StoreError> {
        let _storing = self.storing();
        let mut stored = HashSet::new();
        for record in functions.iter().flat_map(|function| &function.versions) {
            if !stored.insert(record.digest) {
                continue;
            }
            match &record.pipeline {
                Some(composition) => {
                    self.blobs.put_component(&record.digest, &composition.content(), blobs_deadline())?;
                }
                // Garbage may have been collected since it was stored.
                None => drop(self.blobs.component(&record.digest, blobs_deadline())?),
            }
        }
        self.change(base, |draft| {
            functions.iter().for_each(|function| draft.import(function));
            Ok(())
        })
    }

    /// Returns the lock under which the contents were stored. Name them before it is dropped.
    fn put_contents(&self, new: &[Publication<'_>]) -> Result<MutexGuard<'_, ()>, StoreError> {
        let storing = self.storing();
        for new in new {
            self.blobs.put_component(&new.version.digest, &new.content, blobs_deadline())?;
        }
        Ok(storing)
    }

    fn storing(&self) -> MutexGuard<'_, ()> {
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the changes that `collect` puts into a draft.
    fn change<T>(
        &self,
        base: Sequence,
        collect: impl FnOnce(&mut Draft<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut draft = Draft::new(&*self.catalog);
        let collected = collect(&mut draft)?;
        if !draft.changes.is_empty() {
            self.catalog.append(base, &draft.changes, Instant::now() + APPEND_WAIT_MAX)?;
        }
        Ok(collected)
    }

    /// Returns the version that publishing `new` would give.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prospect(&self, name: &FunctionName, new: &NewVersion) -> Result<VersionRecord, StoreError> {
        Draft::new(&*self.catalog).publish(name, new)
    }

    /// Removes a function with all its versions, like [`publish`](Self::publish). Returns whether
    /// it was there. The next [`collect_garbage`](Self::collect_garbage) deletes its files.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, base: Sequence, name: &FunctionName) -> Result<bool, StoreError> {
        self.change(base, |draft| {
            let is_there = self.catalog.current(name)?.is_some();
            if is_there {
                draft.changes.push(Change::Remove(name.clone()));
            }
            Ok(is_there)
        })
    }

    /// Resolves a reference to a version.
    ///
    /// Several versions may have one digest. A digest stands for the latest without a configuration:
    /// proxies cache answers by digest for ever, so a deploy that adds one doesn't change them. If
    /// all have one, it stands for the latest.
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
                let of_digest = versions.into_iter().filter(|record| record.digest == *digest);
                let found = of_digest.max_by_key(|record| (record.config.is_empty(), record.version));
                (found, digest.to_string())
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
        match self.catalog.current(name)? {
            Some(record) => Ok(record),
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the error for a name without a function, with a similar name among those with the
    /// same first character. Few names are read, because callers choose how often this happens.
    pub fn unknown(&self, name: &FunctionName) -> ResolveError {
        let first = name.as_str().get(..1).unwrap_or_default();
        // The name is unknown all the same if the others can't be read.
        let others = self.catalog.names(first, SIMILAR_NAMES_MAX).unwrap_or_default();
        let similar = most_similar(name.as_str(), others.iter().map(FunctionName::as_str));
        let similar = similar.and_then(|similar| similar.parse().ok());
        ResolveError::UnknownFunction { name: name.clone(), similar }
    }

    /// Returns the current version of every function, ordered by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<VersionRecord>, StoreError> {
        Ok(self.catalog.list()?)
    }

    /// Returns every version of a function, oldest first: empty if the function doesn't exist.
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

    /// Returns the names that have a version with routes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn routed(&self) -> Result<Vec<FunctionName>, StoreError> {
        Ok(self.catalog.routed()?)
    }

    /// Returns version `to`, or the one before the current one.
    ///
    /// # Errors
    /// [`ResolveError`]: also when no version is earlier.
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
        retry_conflicts(|| {
            self.change(self.catalog.applied(), |draft| {
                draft.changes.push(Change::Distrust(disagreement.clone()));
                Ok(())
            })
        })
    }

    /// Trusts components again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trust(&self, components: &HashSet<Digest>) -> Result<(), StoreError> {
        retry_conflicts(|| {
            // Read before the names, so that a change between the two conflicts.
            self.change(self.catalog.applied(), |draft| {
                let distrusted = self.catalog.disagreements()?;
                let trusted = components.iter().filter(|component| distrusted.contains_key(component));
                draft.changes.extend(trusted.copied().map(Change::Trust));
                Ok(())
            })
        })
    }

    /// Returns a component's bytes, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read_component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        Ok(self.blobs.component(digest, blobs_deadline())?)
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
        let id = CompiledId { digest, compatibility };
        Ok(self.blobs.put_compiled(id, code, blobs_deadline())?)
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
        let id = CompiledId { digest, compatibility };
        Ok(self.blobs.compiled(id, blobs_deadline())?)
    }

    /// Deletes components that no version names, and compiled code of them or of other engines,
    /// except those that `in_use` returns. That is called after the names are read, so a call that
    /// found a component by its name has it named or in use.
    ///
    /// # Errors
    /// [`StoreError`]. The blobs deleted until then were garbage.
    pub fn collect_garbage(
        &self,
        compatibility: &str,
        in_use: impl FnOnce() -> HashSet<Digest>,
    ) -> Result<Collected, StoreError> {
        let _storing = self.storing();
        let mut kept = self.catalog.digests()?;
        kept.extend(in_use());
        Ok(self.blobs.collect(&kept, compatibility)?)
    }
}

fn blobs_deadline() -> Instant {
    Instant::now() + BLOBS_WAIT_MAX
}

fn publish_all(draft: &mut Draft<'_>, new: &[Publication<'_>]) -> Result<Vec<VersionRecord>, StoreError> {
    new.iter().map(|new| draft.publish(new.name, &new.version)).collect()
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod tests;
