//! The results and records that the host keeps of calls: cached results, executions in flight,
//! logs, stored inputs and counts.
//!
//! They cover all functions. This module reports them, clears them, and drops them by name or by
//! component.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nebula_cache::result_store::Removal;
use nebula_cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport, ResultStoreError, Usage};
use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName};
use nebula_model::limits::HostLimits;
use nebula_model::record::VersionRecord;
use nebula_store::{Inputs, LogEntry, Logs, Store, StoreError, now_unix_us};

use crate::cache::{Cache, Flights, ResultStore};
use crate::call::events::{CallIds, log_failure, log_output};
use crate::call::function::Function;
use crate::call::invoke::CallOutcome;
use crate::call::tally::CallCounts;
use crate::error::Fault;
use crate::tallies::Tallies;

/// Called with each entry of a function's log.
pub type LogObserver = Box<dyn Fn(&FunctionName, &LogEntry) + Send + Sync>;

/// The results of one host.
pub(crate) struct Results {
    store: Arc<Store>,
    cache: Cache,
    result_store: Arc<ResultStore>,
    flights: Arc<Flights>,
    inputs: Inputs,
    logs: Logs,
    log_observer: OnceLock<LogObserver>,
    /// Components whose results aren't cached; `None` until the store was read.
    distrusted: Mutex<Option<HashMap<Digest, Disagreement>>>,
    tallies: Tallies,
}

/// The cached results at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultsUsage {
    /// Results in memory.
    pub memory: Usage,
    /// Limit on memory, bytes.
    pub memory_bytes_max: u64,
    /// Results on disk.
    pub disk: Usage,
    /// Limit on disk, bytes.
    pub disk_bytes_max: u64,
}

/// The longest wait for the store of results to write or remove results.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);

impl Results {
    pub(crate) fn new(
        store: Arc<Store>,
        result_store: Arc<ResultStore>,
        data_dir: &Path,
        host_limits: &HostLimits,
    ) -> Self {
        let HostLimits {
            cache_bytes_max,
            inputs_bytes_max,
            // The store of results has its own bound.
            cache_disk_bytes_max: _,
            // These bound calls and code.
            calls_max: _,
            queue_max: _,
            instances_max: _,
            loaded_bytes_max: _,
        } = *host_limits;
        Self {
            store,
            cache: Cache::new(cache_bytes_max),
            result_store,
            flights: Arc::default(),
            inputs: Inputs::new(data_dir, inputs_bytes_max),
            logs: Logs::new(data_dir),
            log_observer: OnceLock::new(),
            distrusted: Mutex::default(),
            tallies: Tallies::default(),
        }
    }

    /// Returns the memory tier of the cache.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the store of results behind the memory tier.
    pub(crate) fn result_store(&self) -> &ResultStore {
        &*self.result_store
    }

    /// Returns the executions in flight.
    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// Returns the counts of calls.
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Returns the inputs that callers asked to store.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Returns the output of recent calls.
    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Tells `observer` of every entry from now on, unless there is an observer already.
    pub(crate) fn observe_logs(&self, observer: LogObserver) {
        let _ = self.log_observer.set(observer);
    }

    /// Records a call's output and failure, with the ids of its request if it came with one.
    pub(crate) fn record_log(&self, function: &Function, called: &CallOutcome, ids: CallIds<'_>) {
        if let Err(error) = &called.result {
            log_failure(&function.record, error, ids);
        }
        let outcome = match &called.result {
            Ok(_) if called.log.is_empty() => return,
            Ok(_) => "ok".to_owned(),
            Err(error) if matches!(error.fault(), Fault::Caller | Fault::Load) => return,
            Err(error) => error.to_string(),
        };
        log_output(&function.record, &called.log, ids);
        let entry = LogEntry {
            function: function.record.name.clone(),
            at_unix_us: now_unix_us(),
            version: function.record.version,
            outcome,
            duration_us: u64::try_from(called.cost.total().as_micros()).unwrap_or(u64::MAX),
            output: called.log.text(),
            request_id: ids.request_id.map(str::to_owned),
            backtrace: called.result.as_ref().err().map(|error| error.backtrace()).unwrap_or_default(),
        };
        if let Some(observer) = self.log_observer.get() {
            observer(&function.record.name, &entry);
        }
        self.logs.push(entry);
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
            none => none.insert(self.store.disagreements()?),
        };
        Ok(use_them(distrusted))
    }

    /// Distrusts a component from now on, also over a restart. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. The distrust then lasts only until the next start.
    pub(crate) fn distrust(&self, disagreement: &Disagreement) -> Result<(), StoreError> {
        self.with_distrusted(|distrusted| distrusted.insert(disagreement.component, disagreement.clone()))?;
        self.store.distrust(disagreement)
    }

    /// Trusts components again; returns whether one of them was distrusted. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn trust(&self, components: &HashSet<Digest>) -> Result<bool, StoreError> {
        let is_distrusted =
            self.with_distrusted(|distrusted| components.iter().any(|it| distrusted.contains_key(it)))?;
        if is_distrusted {
            self.store.trust(components)?;
            self.with_distrusted(|distrusted| {
                distrusted.retain(|component, _| !components.contains(component));
            })?;
        }
        Ok(is_distrusted)
    }

    /// Removes the results of these components, from memory and from the store. May wait.
    ///
    /// # Errors
    /// [`ResultStoreError`]. Stored results may be found again then.
    pub(crate) fn remove(&self, components: HashSet<Digest>) -> Result<(), ResultStoreError> {
        self.cache.evict(&components);
        self.result_store.remove(Removal::Components(components), write_deadline())
    }

    /// Removes all results. May wait.
    ///
    /// # Errors
    /// [`ResultStoreError`]. Stored results may be found again then.
    pub(crate) fn clear(&self) -> Result<(), ResultStoreError> {
        self.cache.clear();
        self.result_store.remove(Removal::All, write_deadline())
    }

    /// Writes the logs, and waits until the results that wait to be stored are stored, or until that
    /// takes too long.
    pub(crate) fn flush(&self) {
        self.logs.flush();
        self.flush_within(WRITE_WAIT_MAX);
    }

    /// Waits until the results that wait to be stored are stored, at most this long.
    pub(crate) fn flush_within(&self, wait_max: Duration) {
        // A result that isn't stored is computed again.
        let _ = self.result_store.flush(Instant::now() + wait_max);
    }

    /// Drops the logs and counts of a function that was removed.
    pub(crate) fn drop_function(&self, name: &FunctionName) {
        self.logs.remove(name);
        self.tallies.remove(name);
    }

    /// Returns the use of memory and disk. Blocks on the disk.
    pub(crate) fn usage(&self) -> ResultsUsage {
        let components = self.result_store.usage().into_values();
        let disk = components.fold(Usage::default(), |sum, Usage { entries, bytes }| Usage {
            entries: sum.entries + entries,
            bytes: sum.bytes.saturating_add(bytes),
        });
        ResultsUsage {
            memory: self.cache.total(),
            memory_bytes_max: self.cache.bytes_max(),
            disk,
            disk_bytes_max: self.result_store.bytes_max(),
        }
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
        let counts = self.tallies.of_functions(&functions.iter().map(|function| &function.name).collect());
        let in_memory = self.cache.usage();
        let stored = self.result_store.usage();
        let mut reports = Vec::new();
        for VersionRecord { name, digest, .. } in functions {
            let Usage { entries, bytes } = in_memory.get(&digest).copied().unwrap_or_default();
            let counts = counts.get(&name).map(CallCounts::cache).unwrap_or_default();
            let Usage { entries: disk_entries, bytes: disk_bytes } =
                stored.get(&digest).copied().unwrap_or_default();
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
        Ok(CacheReport {
            bytes: self.cache.bytes(),
            bytes_max: self.cache.bytes_max(),
            disk_bytes: stored.values().fold(0, |sum: u64, usage| sum.saturating_add(usage.bytes)),
            disk_bytes_max: self.result_store.bytes_max(),
            loaded,
            functions: reports,
        })
    }
}

fn write_deadline() -> Instant {
    Instant::now() + WRITE_WAIT_MAX
}
