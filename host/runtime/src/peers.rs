//! Other hosts that run the same functions, and what this host may ask of them.
//!
//! ```text
//! lease    (a long call misses)         one host computes, the others wait for its result
//! offer    (a pipeline has many parts)  idle hosts compute results before they are needed
//! forward  (the compute lane is full)   another host answers the call
//! ```
//!
//! A host without others has [`NoPeers`]. The tests' `MemoryPeers` connects the hosts of one
//! process. `testing::peers` has the tests that every implementation passes.

#[cfg(any(test, feature = "testing"))]
mod memory;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use nebula_cache::{FunctionKey, Key};
use nebula_model::answer::Answer;
use nebula_model::caching::{CacheDirectives, Source};
use nebula_model::cost::CallCost;
use nebula_model::id::FunctionRef;
use nebula_model::request::{Prefer, Request};

#[cfg(any(test, feature = "testing"))]
pub use self::memory::{MemoryNetwork, MemoryPeers};
use crate::error::CallError;

/// A host, as this one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// This host.
    This,
    /// Another host that runs the same functions.
    Peer,
}

/// The answer of a peer, when it comes.
pub type PeerFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers a call on one host. Returns `None` if the host declines it or has no room.
#[cfg(any(test, feature = "testing"))]
pub type Answerer = Arc<dyn Fn(PeerCall) -> PeerFuture<'static, Option<PeerAnswer>> + Send + Sync>;

/// Other hosts that run the same functions and share a [store of
/// results](nebula_cache::ResultStore).
///
/// Calls are pure, so any host may run any call, and running one twice does no harm. So every method
/// is best effort:
///
/// * **Failures.** Without peers, or if they fail or are late, this host does the work itself. No
///   method fails a call.
/// * **Identity.** A host runs a [`PeerCall`] only if its own function has the same key: another
///   component, limits or engine semantics would give another result.
/// * **Threads.** No method blocks its thread, nor does the end of a lease. The futures are polled
///   on an event loop.
/// * **Deadlines.** A future completes when its deadline has passed, soon after.
/// * **Cancellation.** Dropping a future withdraws the question.
pub trait Peers: Send + Sync {
    /// Returns whether this host may have peers. While it has none, no other method is called.
    fn has_peers(&self) -> bool;

    /// Asks for the lease of a key: the right to compute its result.
    ///
    /// At most one host holds the lease of a key, except while peers fail. If another host holds
    /// it, the future waits until that host has released it. If none does until the deadline, this
    /// host is granted a lease that the others don't see.
    fn lease(&self, key: Key, deadline: Instant) -> PeerFuture<'_, Lease>;

    /// Offers calls that this host is about to make. Idle hosts may run them
    /// ([`Shard::answer_peer`](crate::Shard::answer_peer)) and keep their results in the shared
    /// store, where this host finds them. Doesn't wait.
    fn offer(&self, calls: Vec<PeerCall>);

    /// Asks another host to answer a call for which this host has no room. This host may hold the
    /// lease of the call's key meanwhile, so the other one runs the call without it. Returns `None`
    /// if no host has room.
    fn forward(&self, call: PeerCall, deadline: Instant) -> PeerFuture<'_, Option<PeerAnswer>>;
}

/// The outcome of asking for a lease.
#[derive(Debug)]
pub enum Lease {
    /// This host computes the result.
    Granted(LeaseGuard),
    /// Another host had the lease and has released it. If it computed a result that may be stored,
    /// the shared store has it now.
    Released,
}

/// A lease that was granted. Drop it when the result has been stored, or the call has failed.
pub struct LeaseGuard(Option<Box<dyn FnOnce() + Send>>);

impl LeaseGuard {
    /// Creates a lease that ends with `release`, which must not block.
    pub fn new(release: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(release)))
    }

    /// Creates a lease that no other host sees.
    pub fn local() -> Self {
        Self(None)
    }

    /// Returns whether other hosts may wait for the lease.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.is_some()
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
    /// The function.
    pub function: FunctionRef,
    /// The function's key on the host that asks. A host whose function has another key declines.
    pub key: FunctionKey,
    /// The request.
    pub request: Request,
    /// The form of answer that it asked for.
    pub prefer: Prefer,
    /// The caller's cache directives.
    pub directives: CacheDirectives,
}

/// Another host's answer to a call.
#[derive(Clone, Debug)]
pub struct PeerAnswer {
    /// The answer, or the reason for its absence.
    pub result: Result<Answer, Arc<CallError>>,
    /// The call's time on that host, by phase.
    pub cost: CallCost,
    /// The source of the answer on that host.
    pub source: Source,
    /// BLAKE3 hash of the answer's body, if it has been computed.
    pub content_hash: Option<[u8; 32]>,
    /// The engine that computed the answer.
    pub engine: Cow<'static, str>,
}

/// No other hosts: every lease is granted, and this host does all work itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn has_peers(&self) -> bool {
        false
    }

    fn lease(&self, _: Key, _: Instant) -> PeerFuture<'_, Lease> {
        Box::pin(std::future::ready(Lease::Granted(LeaseGuard::local())))
    }

    fn offer(&self, _: Vec<PeerCall>) {}

    fn forward(&self, _: PeerCall, _: Instant) -> PeerFuture<'_, Option<PeerAnswer>> {
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

        fn host(&self) -> Arc<dyn Peers> {
            Arc::new(NoPeers)
        }
    }

    crate::peers_conformance!(Alone);
}
