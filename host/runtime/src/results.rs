//! The results and records that the host keeps of calls: cached results, executions in flight,
//! logs, stored inputs and counts.
//!
//! They cover all functions. This module reports them, clears them, and drops them by name or by
//! component.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nebula_cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName};
use nebula_model::limits::HostLimits;
use nebula_model::record::VersionRecord;
use nebula_store::{Inputs, LogEntry, Logs, Store, StoreError};

use crate::cached::{Cache, Disk, Flights};
use crate::call::function::Function;
use crate::call::invoke::CallOutcome;
use crate::error::Fault;

/// Domain separation of the key that authenticates results, a context string of BLAKE3's key
/// derivation.
const RESULTS_CONTEXT: &str = "nebula 2026-11 authentication of remembered results";

/// A serving thread that counts how its calls were answered.
pub(crate) trait Counting: Send + Sync {
    /// Adds its counts so far.
    fn add_counts(&self, counts: &mut BTreeMap<FunctionName, Counts>);
}

/// The results of one host.
pub(crate) struct Results {
    registry: Arc<Store>,
    cache: Cache,
    disk: Disk,
    flights: Arc<Flights>,
    inputs: Inputs,
    logs: Logs,
    /// Components whose results aren't cached; `None` until the store was read.
    distrusted: Mutex<Option<HashMap<Digest, Disagreement>>>,
    /// Counts of how calls were answered, without the counts that shards still hold.
    counts: Mutex<BTreeMap<FunctionName, Counts>>,
    shards: Mutex<Vec<Weak<dyn Counting>>>,
}

impl Results {
    pub(crate) fn new(registry: Arc<Store>, data_dir: &Path, host_limits: &HostLimits) -> Self {
        let HostLimits {
            remembered_bytes_max,
            remembered_disk_bytes_max,
            inputs_bytes_max,
            // These bound calls and code.
            calls_max: _,
            queue_max: _,
            instances_max: _,
            loaded_bytes_max: _,
        } = *host_limits;
        // The disk tier requires the memory tier.
        let disk_bytes_max = if remembered_bytes_max == 0 { 0 } else { remembered_disk_bytes_max };
        let mac_key = registry.key_for(RESULTS_CONTEXT);
        Self {
            registry,
            cache: Cache::new(remembered_bytes_max),
            disk: Disk::new(data_dir, disk_bytes_max, mac_key, nebula_engine::identity()),
            flights: Arc::default(),
            inputs: Inputs::new(data_dir, inputs_bytes_max),
            logs: Logs::default(),
            distrusted: Mutex::default(),
            counts: Mutex::default(),
            shards: Mutex::default(),
        }
    }

    /// Returns the memory tier of the cache.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the disk tier of the cache.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Returns the executions in flight.
    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// Returns the inputs that callers asked to store.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Returns the output of recent calls.
    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Records a call's output and failure.
    pub(crate) fn record_log(&self, function: &Function, called: &CallOutcome) {
        let outcome = match &called.result {
            Ok(_) if called.log.is_empty() => return,
            Ok(_) => "ok".to_owned(),
            Err(error) if matches!(error.fault(), Fault::Caller | Fault::Load) => return,
            Err(error) => error.to_string(),
        };
        let entry = LogEntry {
            at_unix_s: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            version: function.record.version,
            outcome,
            duration_us: u64::try_from(called.cost.total().as_micros()).unwrap_or(u64::MAX),
            output: called.log.text(),
        };
        self.logs.push(function.record.name.clone(), entry);
    }

    /// Returns the disagreement because of which a component's results aren't cached, if there is
    /// one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn disagreement(&self, component: &Digest) -> Result<Option<Disagreement>, StoreError> {
        self.with_distrusted(|distrusted| distrusted.get(component).cloned())
    }

    /// Calls `use_them` with the distrusted components, which are read from the store once.
    fn with_distrusted<T>(
        &self,
        use_them: impl FnOnce(&mut HashMap<Digest, Disagreement>) -> T,
    ) -> Result<T, StoreError> {
        let mut slot = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        let distrusted = match &mut *slot {
            Some(distrusted) => distrusted,
            none => none.insert(self.registry.disagreements()?),
        };
        Ok(use_them(distrusted))
    }

    /// Distrusts a component from now on, also over a restart. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. The distrust then lasts only until the next start.
    pub(crate) fn distrust(&self, disagreement: &Disagreement) -> Result<(), StoreError> {
        self.with_distrusted(|distrusted| distrusted.insert(disagreement.component, disagreement.clone()))?;
        self.registry.distrust(disagreement)
    }

    /// Trusts components again; returns whether one of them was distrusted. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn trust(&self, components: &HashSet<Digest>) -> Result<bool, StoreError> {
        let is_distrusted =
            self.with_distrusted(|distrusted| components.iter().any(|it| distrusted.contains_key(it)))?;
        if is_distrusted {
            self.registry.trust(components)?;
            self.with_distrusted(|distrusted| {
                distrusted.retain(|component, _| !components.contains(component));
            })?;
        }
        Ok(is_distrusted)
    }

    /// Drops the results of these components, in memory and on disk. Blocks on the disk.
    pub(crate) fn forget(&self, components: HashSet<Digest>) {
        self.cache.forget(&components);
        self.disk.forget(Some(components));
    }

    /// Drops all results. Blocks on the disk.
    pub(crate) fn clear(&self) {
        self.cache.clear();
        self.disk.forget(None);
    }

    /// Drops the logs and counts of a function that was removed.
    pub(crate) fn forget_function(&self, name: &FunctionName) {
        self.logs.forget(name);
        self.lock_counts().remove(name);
    }

    /// Reports the results cached for the functions in `functions`, and the calls answered from
    /// them since the start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn report(
        &self,
        functions: Vec<VersionRecord>,
        loaded: LoadedReport,
    ) -> Result<CacheReport, StoreError> {
        let shards: Vec<_> = self.lock_shards().iter().filter_map(Weak::upgrade).collect();
        let mut counts = self.lock_counts().clone();
        for shard in shards {
            shard.add_counts(&mut counts);
        }
        let by_component = self.cache.by_component();
        let by_component_on_disk = self.disk.by_component();
        let mut reports = Vec::new();
        for VersionRecord { name, digest, .. } in functions {
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
                reports.push(function);
            }
        }
        // Drops the counts of removed functions.
        self.lock_counts().retain(|name, _| !counts.contains_key(name));
        Ok(CacheReport {
            bytes: self.cache.bytes(),
            bytes_max: self.cache.bytes_max(),
            disk_bytes: by_component_on_disk
                .values()
                .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes)),
            disk_bytes_max: self.disk.bytes_max(),
            loaded,
            functions: reports,
        })
    }

    /// Adds the counts of a shard that no longer counts a function.
    pub(crate) fn count(&self, name: &FunctionName, counted: Counts) {
        if counted != Counts::default() {
            *self.lock_counts().entry(name.clone()).or_default() += counted;
        }
    }

    /// Adds the counts of `shard` to every report, while it lives.
    pub(crate) fn add_shard(&self, shard: Weak<dyn Counting>) {
        self.lock_shards().push(shard);
    }

    fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<FunctionName, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shards(&self) -> MutexGuard<'_, Vec<Weak<dyn Counting>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
