//! What is kept of calls, all functions together: shown, written down, forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::{MutexGuard, PoisonError, Weak};

use nebula_cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
use nebula_model::id::{Digest, FunctionName};
use nebula_model::record::VersionRecord;
use nebula_store::{ResolveError, StoreError};

use super::Runtime;
use crate::pool::LoadedCounts;

/// Somebody who counts how calls were answered.
pub(crate) trait Counting: Send + Sync {
    /// Adds what it has counted so far.
    fn add_counts(&self, counts: &mut BTreeMap<FunctionName, Counts>);
}

impl Runtime {
    /// What is remembered, and what that has saved since the server started.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cache_report(&self) -> Result<CacheReport, StoreError> {
        let shards: Vec<_> = self.lock_shards().iter().filter_map(Weak::upgrade).collect();
        let mut counts = self.lock_counts().clone();
        for shard in shards {
            shard.add_counts(&mut counts);
        }
        let by_component = self.0.cache.by_component();
        let by_component_on_disk = self.0.disk.by_component();
        let mut functions = Vec::new();
        for VersionRecord { name, digest, .. } in self.list()? {
            let (entries, bytes) = by_component.get(&digest).copied().unwrap_or_default();
            let counts = counts.remove(&name).unwrap_or_default();
            let (disk_entries, disk_bytes) = by_component_on_disk.get(&digest).copied().unwrap_or_default();
            let disagreement = self.disagreement(&digest)?;
            if entries + disk_entries > 0 || counts != Counts::default() || disagreement.is_some() {
                let function = FunctionCacheReport {
                    name,
                    entries,
                    bytes,
                    disk_entries,
                    disk_bytes,
                    disagreement,
                    counts,
                };
                functions.push(function);
            }
        }
        // Those of functions that are gone aren't anybody's.
        self.lock_counts().retain(|name, _| !counts.contains_key(name));
        Ok(CacheReport {
            bytes: self.0.cache.bytes(),
            bytes_max: self.0.cache.bytes_max(),
            disk_bytes: by_component_on_disk
                .values()
                .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes)),
            disk_bytes_max: self.0.disk.bytes_max(),
            loaded: self.loaded_report(),
            functions,
        })
    }

    /// What compiled code is loaded, and how often code was loaded since the runtime was opened.
    pub fn loaded_report(&self) -> LoadedReport {
        let LoadedCounts { components, bytes, reads, loads, evictions } = self.0.loaded.counts();
        LoadedReport { components, bytes, bytes_max: self.0.loaded.bytes_max(), reads, loads, evictions }
    }

    /// Waits until the results that are to survive are on disk: for the end of a server.
    pub fn flush(&self) {
        self.0.disk.flush();
    }

    /// Forgets all results. Waits for the disk.
    pub fn clear_cache(&self) {
        self.0.verification.begin_anew();
        self.0.cache.clear();
        self.0.disk.forget(None);
    }

    /// Forgets the results of a function, whichever version's, and what they disagreed in: they are remembered again from now.
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn clear_cache_of(&self, name: &FunctionName) -> Result<(), ResolveError> {
        let (_, versions) = self.versions(name)?;
        let components: HashSet<_> = versions.into_iter().map(|record| record.digest).collect();
        self.0.verification.begin_anew();
        self.0.cache.forget(&components);
        self.0.disk.forget(Some(components.clone()));
        let is_distrusted =
            self.with_distrusted(|distrusted| components.iter().any(|it| distrusted.contains_key(it)))?;
        if is_distrusted {
            self.0.registry.trust(&components)?;
            self.with_distrusted(|distrusted| {
                distrusted.retain(|component, _| !components.contains(component));
            })?;
            self.forget_all_resolved();
            // What calls that began before have kept meanwhile.
            self.0.cache.forget(&components);
            self.0.disk.forget(Some(components));
        }
        Ok(())
    }

    /// An input that a caller asked to have kept, by its digest. Waits for the disk.
    pub fn input(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.inputs.get(digest)
    }

    /// Adds what a shard has counted of a function, and counts no more.
    pub(crate) fn count(&self, name: &FunctionName, counted: Counts) {
        if counted != Counts::default() {
            *self.lock_counts().entry(name.clone()).or_default() += counted;
        }
    }

    /// Asks `shard` too when what was counted is asked for.
    pub(crate) fn ask_for_counts(&self, shard: Weak<dyn Counting>) {
        self.lock_shards().push(shard);
    }

    pub(super) fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<FunctionName, Counts>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shards(&self) -> MutexGuard<'_, Vec<Weak<dyn Counting>>> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
