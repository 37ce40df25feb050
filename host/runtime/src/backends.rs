//! The parts of a runtime that a cluster replaces: the stores of functions and results, and the
//! other hosts.
//!
//! The data directory stays: it holds the inputs that callers asked to keep. A cluster tells the
//! runtime about other hosts' changes of names with
//! [`Runtime::names_changed`](crate::Runtime::names_changed).

use std::path::Path;
use std::sync::Arc;

use nebula_cache::result_store::RecordSeal;
use nebula_model::limits::HostLimits;
use nebula_store::{OpenError, Store};

use crate::cache::{DiskResults, ResultStore};
use crate::peers::{NoPeers, Peers};

/// Domain separation of the key that authenticates results, a context string of BLAKE3's key
/// derivation.
const RESULTS_CONTEXT: &str = "nebula 2026-11 authentication of remembered results";

/// The stores and peers of a runtime.
#[derive(Clone)]
pub struct Backends {
    /// Functions with their versions, components and compiled code.
    pub store: Arc<Store>,
    /// Results that outlive the memory tier.
    pub results: Arc<ResultStore>,
    /// The other hosts.
    pub peers: Arc<dyn Peers>,
}

impl Backends {
    /// Opens the stores in a directory of this machine, without peers.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn local(data_dir: &Path, host_limits: &HostLimits) -> Result<Self, OpenError> {
        let store = Arc::new(Store::open(data_dir)?);
        let results = DiskResults::new(data_dir, stored_bytes_max(host_limits), Self::record_seal(&store));
        Ok(Self { store, results: Arc::new(results), peers: Arc::new(NoPeers) })
    }

    /// Returns the seal of the results of hosts that share the secret of `store`.
    pub fn record_seal(store: &Store) -> RecordSeal {
        RecordSeal::new(store.key_for(RESULTS_CONTEXT), nebula_engine::identity())
    }

    /// Returns empty stores in memory, without peers.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(host_limits: &HostLimits) -> Self {
        use nebula_cache::result_store::MemoryResults;

        let store = Arc::new(Store::in_memory());
        let results = MemoryResults::new(Self::record_seal(&store), stored_bytes_max(host_limits));
        Self { store, results: Arc::new(results), peers: Arc::new(NoPeers) }
    }
}

/// Returns the bytes that stored results may take. The store of results requires the memory tier.
fn stored_bytes_max(host_limits: &HostLimits) -> u64 {
    let HostLimits {
        cache_bytes_max,
        cache_disk_bytes_max,
        // These bound calls, code and inputs.
        calls_max: _,
        queue_max: _,
        instances_max: _,
        loaded_bytes_max: _,
        inputs_bytes_max: _,
    } = *host_limits;
    if cache_bytes_max == 0 { 0 } else { cache_disk_bytes_max }
}
