//! Other hosts that run the same functions, and what this host may ask of them.
//!
//! ```text
//! lease    (a long call misses)       one host computes, the others wait for its result
//! offer    (a pipeline has many parts) idle hosts compute results before they are needed
//! forward  (the compute lane is full)  another host answers the call
//! ```
//!
//! A host without others has [`NoPeers`]. The tests' `MemoryPeers` connects the hosts of one process.
//! `testing::peers` has the tests that every implementation passes.

#[cfg(any(test, feature = "testing"))]
mod memory;

use std::pin::Pin;
use std::time::Instant;

use nebula_cache::Key;
use nebula_model::id::FunctionRef;
use nebula_model::remember::CacheDirectives;
use nebula_model::request::{Prefer, Request};

#[cfg(any(test, feature = "testing"))]
pub use self::memory::{MemoryNetwork, MemoryPeers};
use crate::call::invoke::CallOutcome;

/// The answer of a peer, when it comes.
pub type PeerFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Other hosts that run the same functions and share a [store of results](nebula_cache::ResultStore).
///
/// Calls are pure, so any host may run any call, and running one twice does no harm. That makes all
/// of this best effort:
///
/// * **Failures.** Without peers, or if they fail or are late, this host does the work itself. No
///   method fails a call.
/// * **Threads.** No method blocks its thread. The futures are polled on an event loop.
/// * **Deadlines.** A future completes when its deadline has passed, soon after.
/// * **Cancellation.** Dropping a future withdraws the question.
pub trait Peers: Send + Sync {
    /// Returns whether there may be other hosts. Calls do without peers while it is false.
    fn are_there(&self) -> bool;

    /// Asks for the lease of a key: the right to compute its result.
    ///
    /// At most one host holds the lease of a key, except while peers fail. If another host holds
    /// it, the future waits until that host has computed the result or has gone.
    fn lease(&self, key: Key, deadline: Instant) -> PeerFuture<'_, Lease>;

    /// Offers calls that this host is about to make. Idle hosts may run them and keep their results
    /// in the shared store, where this host finds them. Doesn't wait.
    fn offer(&self, calls: Vec<PeerCall>);

    /// Asks another host to answer a call for which this host has no room. This host may hold the
    /// lease of the call's key meanwhile, so the other one runs the call without it. Returns `None`
    /// if no host has room.
    fn forward(&self, call: PeerCall, deadline: Instant) -> PeerFuture<'_, Option<CallOutcome>>;
}

/// The outcome of asking for a lease.
#[derive(Debug)]
pub enum Lease {
    /// This host computes the result.
    Granted(LeaseGuard),
    /// Another host has computed it. If it may be stored, the shared store has it now.
    Computed,
}

/// A lease that was granted. Drop it when the result has been kept, or the call has failed.
pub struct LeaseGuard(Option<Box<dyn FnOnce() + Send>>);

impl LeaseGuard {
    /// Creates a lease that ends with `release`.
    pub fn new(release: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(release)))
    }

    /// Creates a lease that no other host knows of.
    pub fn local() -> Self {
        Self(None)
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

impl std::fmt::Debug for LeaseGuard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LeaseGuard")
    }
}

/// A call that another host may run.
#[derive(Clone, Debug)]
pub struct PeerCall {
    /// The function, by digest or version, so that every host runs the same component.
    pub function: FunctionRef,
    /// The request.
    pub request: Request,
    /// The form of answer that it asked for.
    pub prefer: Prefer,
    /// The caller's cache directives.
    pub directives: CacheDirectives,
}

/// No other hosts: every lease is granted, and this host does all work itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn are_there(&self) -> bool {
        false
    }

    fn lease(&self, _: Key, _: Instant) -> PeerFuture<'_, Lease> {
        Box::pin(std::future::ready(Lease::Granted(LeaseGuard::local())))
    }

    fn offer(&self, _: Vec<PeerCall>) {}

    fn forward(&self, _: PeerCall, _: Instant) -> PeerFuture<'_, Option<CallOutcome>> {
        Box::pin(std::future::ready(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Alone;

    impl crate::testing::peers::Fixture for Alone {
        fn new() -> Self {
            Self
        }

        fn host(&self) -> std::sync::Arc<dyn Peers> {
            std::sync::Arc::new(NoPeers)
        }
    }

    crate::peers_conformance!(Alone);
}
