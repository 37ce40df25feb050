//! The parts of a runtime that a cluster replaces: where functions and results are, and who else
//! runs them.

use std::path::Path;
use std::sync::Arc;

use nebula_model::limits::HostLimits;
use nebula_store::{OpenError, Store};

use crate::cache::ResultStore;
use crate::peers::{NoPeers, Peers};
use crate::results::open_result_store;

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
        let results = open_result_store(&store, data_dir, host_limits);
        Ok(Self { store, results, peers: Arc::new(NoPeers) })
    }

    /// Returns empty stores in memory, without peers.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(host_limits: &HostLimits) -> Self {
        use nebula_cache::result_store::{MemoryResults, RecordSeal};

        let seal = RecordSeal::new([1; 32], nebula_engine::identity());
        let results = MemoryResults::new(seal, host_limits.remembered_disk_bytes_max);
        Self { store: Arc::new(Store::in_memory()), results: Arc::new(results), peers: Arc::new(NoPeers) }
    }
}
