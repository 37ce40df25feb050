//! Hosts of one process, for tests: the plainest implementation of the contract.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nebula_cache::Key;
use tokio::sync::watch;

use super::{Answerer, Lease, LeaseGuard, PeerAnswer, PeerCall, PeerFuture, Peers};

/// The hosts of one process.
#[derive(Default)]
pub struct MemoryNetwork {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The leases that are held. The end of a lease drops its sender, which wakes the hosts that
    /// wait for it.
    leases: HashMap<Key, watch::Sender<()>>,
    /// The hosts that answer calls, by number.
    hosts: HashMap<usize, Answerer>,
    offered: Vec<PeerCall>,
}

impl MemoryNetwork {
    /// Returns host `number`'s view of the others.
    pub fn host(self: &Arc<Self>, number: usize) -> MemoryPeers {
        MemoryPeers { network: Arc::clone(self), number }
    }

    /// Answers forwarded calls on host `number` with `answer` from now on.
    pub fn serve(&self, number: usize, answer: Answerer) {
        self.state().hosts.insert(number, answer);
    }

    /// Takes the calls that were offered and that no host has taken yet.
    pub fn take_offered(&self) -> Vec<PeerCall> {
        std::mem::take(&mut self.state().offered)
    }

    /// Returns the number of questions that wait for the lease of `key`.
    pub fn lease_waiters(&self, key: &Key) -> usize {
        self.state().leases.get(key).map_or(0, watch::Sender::receiver_count)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One host's view of the others.
pub struct MemoryPeers {
    network: Arc<MemoryNetwork>,
    number: usize,
}

impl MemoryPeers {
    /// Takes the lease, or returns what tells when its holder is done.
    fn try_lease(&self, key: Key) -> Result<LeaseGuard, watch::Receiver<()>> {
        let mut state = self.network.state();
        if let Some(held) = state.leases.get(&key) {
            return Err(held.subscribe());
        }
        state.leases.insert(key, watch::Sender::new(()));
        let network = Arc::clone(&self.network);
        Ok(LeaseGuard::new(move || {
            network.state().leases.remove(&key);
        }))
    }
}

impl Peers for MemoryPeers {
    fn has_peers(&self) -> bool {
        true
    }

    fn lease(&self, key: Key, deadline: Instant) -> PeerFuture<'_, Lease> {
        Box::pin(async move {
            let mut held = match self.try_lease(key) {
                Ok(guard) => return Lease::Granted(guard),
                Err(held) => held,
            };
            match tokio::time::timeout_at(deadline.into(), held.changed()).await {
                // The holder has dropped the lease.
                Ok(_) => Lease::Released,
                Err(_) => Lease::Granted(LeaseGuard::local()),
            }
        })
    }

    fn offer(&self, calls: Vec<PeerCall>) {
        self.network.state().offered.extend(calls);
    }

    fn forward(&self, call: PeerCall, deadline: Instant) -> PeerFuture<'_, Option<PeerAnswer>> {
        Box::pin(async move {
            let hosts: Vec<_> = {
                let state = self.network.state();
                let others = state.hosts.iter().filter(|(number, _)| **number != self.number);
                others.map(|(_, answer)| Arc::clone(answer)).collect()
            };
            for answer in hosts {
                match tokio::time::timeout_at(deadline.into(), answer(call.clone())).await {
                    Ok(Some(outcome)) => return Some(outcome),
                    Ok(None) => {}
                    Err(_) => return None,
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct InProcess(Arc<MemoryNetwork>);

    impl crate::testing::peers::Fixture for InProcess {
        fn new() -> Self {
            Self(Arc::default())
        }

        fn host(&self) -> Arc<dyn Peers> {
            Arc::new(self.0.host(0))
        }

        fn other_host(&self) -> Option<Arc<dyn Peers>> {
            Some(Arc::new(self.0.host(1)))
        }

        fn serve_other(&self, answer: Answerer) {
            self.0.serve(1, answer);
        }
    }

    crate::peers_conformance!(InProcess);
}
