//! Results, logs and inputs of calls: what a host keeps, reports and removes.

use std::collections::HashSet;
use std::time::Duration;

use nebula_cache::{CacheReport, LoadedReport, ResultStoreError};
use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName};
use nebula_store::{LogEntry, ResolveError, StoreError};
use tokio::sync::oneshot;

use super::Runtime;
use crate::peers::LeaseGuard;
use crate::results::LogObserver;

/// The longest time for which other hosts wait while a result is being stored.
const SHARED_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Why cached results couldn't be removed.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The function doesn't exist, or the store of functions failed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store of results failed. Results may be left.
    #[error(transparent)]
    Results(#[from] ResultStoreError),
}

impl From<StoreError> for ClearError {
    fn from(error: StoreError) -> Self {
        Self::Resolve(error.into())
    }
}

impl Runtime {
    /// Returns the log of the recent calls after a time, of one function or of all: their output and
    /// failures, oldest first. Blocks on the disk.
    pub fn logs(&self, after_unix_us: u64, function: Option<&FunctionName>) -> Vec<LogEntry> {
        self.0.results.logs().after(after_unix_us, function)
    }

    /// Tells `observer` of every call that prints something or fails, pipeline steps included. It
    /// is called on the thread that ends the call and must not wait. Later observers are ignored.
    pub fn observe_logs(&self, observer: LogObserver) {
        self.0.results.observe_logs(observer);
    }

    /// Returns an input that a caller asked to store, by its digest. Blocks on the disk.
    pub fn input(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.results.inputs().get(digest)
    }

    /// Reports the cached results, and the calls answered from them since the start. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cache_report(&self) -> Result<CacheReport, StoreError> {
        self.0.results.report(self.list()?, self.loaded_report())
    }

    /// Reports the loaded compiled code, and how often code was loaded since the start.
    pub fn loaded_report(&self) -> LoadedReport {
        self.0.executor.loaded_report()
    }

    /// Returns the disagreement because of which a component's results aren't cached, if there is
    /// one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn disagreement(&self, component: &Digest) -> Result<Option<Disagreement>, StoreError> {
        self.0.results.disagreement(component)
    }

    /// Writes the results that survive a restart to the disk. Call it when a server shuts down.
    pub fn flush(&self) {
        self.0.results.flush();
    }

    /// Waits until the results kept so far are stored, or until that takes too long.
    pub(crate) async fn results_stored(&self) {
        let (stored, waiting) = oneshot::channel();
        // The caller may have gone.
        self.release_when_stored(LeaseGuard::new(move || _ = stored.send(())));
        // If the thread panicked, the results aren't stored: other hosts compute them again.
        let _ = waiting.await;
    }

    /// Ends a lease when the results kept so far are stored, or when that takes too long.
    pub(crate) fn release_when_stored(&self, lease: LeaseGuard) {
        if lease.is_shared() && self.0.ending_leases.add(lease) {
            let runtime = self.clone();
            tokio::task::spawn_blocking(move || {
                runtime.0.ending_leases.end_all(|| runtime.flush_for_peers());
            });
        }
    }

    /// Stores the results kept so far, unless that takes too long for other hosts to wait.
    fn flush_for_peers(&self) {
        self.0.results.flush_within(SHARED_FLUSH_MAX);
    }

    /// Removes all results. Blocks on the disk.
    ///
    /// # Errors
    /// [`ClearError`].
    pub fn clear_cache(&self) -> Result<(), ClearError> {
        self.0.verification.restart();
        Ok(self.0.results.clear()?)
    }

    /// Removes the results of all versions of a function. If they disagreed, they are trusted
    /// again. Blocks on the disk.
    ///
    /// # Errors
    /// [`ClearError`].
    pub fn clear_cache_of(&self, name: &FunctionName) -> Result<(), ClearError> {
        let components: HashSet<_> =
            self.versions(name)?.all.into_iter().map(|record| record.digest).collect();
        self.0.verification.restart();
        self.0.results.remove(components.clone())?;
        if self.0.results.trust(&components)? {
            self.0.functions.uncache_all();
            // Calls that started earlier may have cached results in the meantime.
            self.0.results.remove(components)?;
        }
        Ok(())
    }
}
