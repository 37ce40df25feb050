//! The lookup of a result: in memory, in flight, in the store of results, on another host.
//!
//! ```text
//! look_up --(in memory)-----> Hit
//!    |----(not in flight)---> Lead --find_stored--> Hit
//!    |                           \--(miss)--> Peers::lease --> run --> keep
//!    \----(in flight)-------> Wait --> the leader's result
//! ```
//!
//! Calls and the steps of pipelines look up here. They differ in what they do with
//! [`Lookup::Wait`]: a call of this host's clients waits. A step runs, because the leader may wait for
//! the lane's slot that the step's thread holds, and so does a call of another host. For the same reason a step asks no other host for a lease.
//!
//! Invariant: a result that lands is in memory before its flight ends, so a lookup finds the one or
//! the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::{Key, Spelling};

use crate::cache::{CachedResult, FlightRole, Lead, Waiter};
use crate::call::function::Function;
use crate::results::Results;

/// The longest wait for a stored result.
pub(crate) const FIND_WAIT_MAX: Duration = Duration::from_millis(25);

/// The place of a call's result in the cache.
pub(crate) struct CacheSlot<'a> {
    pub(crate) key: Key,
    /// The spelling to cache, if it isn't cached yet.
    pub(crate) spelling: Option<Spelling<'a>>,
    /// The request said `no-store`: the result isn't stored.
    pub(crate) no_store: bool,
}

/// The outcome of a lookup.
pub(crate) enum Lookup {
    /// The result, in memory.
    Hit(Arc<CachedResult>),
    /// Nothing: the caller leads, and later callers wait for it.
    Lead(Lead),
    /// An execution of the same call.
    Wait(Waiter),
}

impl Results {
    /// Looks a result up in memory and among the executions in flight.
    pub(crate) fn look_up(&self, function: &Function, slot: &mut CacheSlot<'_>) -> Lookup {
        let ttl = function.record.cache.ttl();
        // A step finds most hits here, without a flight.
        if slot.spelling.is_none()
            && let Some(found) = self.cache().get(&slot.key, ttl)
        {
            return Lookup::Hit(found);
        }
        let role = self.flights().join(slot.key);
        // Memory is read after joining the flight, so that a result that has just landed is found.
        if let Some(found) = self.cache().get(&slot.key, ttl) {
            if let Some(spelling) = slot.spelling.take() {
                self.cache().insert_spelling(spelling, slot.key);
            }
            return Lookup::Hit(found);
        }
        match role {
            FlightRole::Lead(lead) => Lookup::Lead(lead),
            FlightRole::Wait(waiter) => Lookup::Wait(waiter),
        }
    }

    /// Returns whether the store may contain results of this function.
    pub(crate) fn may_have_stored(&self, function: &Function) -> bool {
        self.result_store().may_contain(&function.record.digest)
    }

    /// Returns the stored result, if it isn't older than `ttl`. May wait for a disk or a network,
    /// but never so long that the call could have run instead.
    pub(crate) fn find_stored(
        &self,
        key: &Key,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Option<Arc<CachedResult>> {
        let deadline = deadline.min(Instant::now() + FIND_WAIT_MAX);
        self.result_store().find(key, deadline).filter(|found| found.is_fresh(ttl)).map(Arc::new)
    }

    /// Puts a result that was stored into memory, unless the call said `no-store`.
    pub(crate) fn promote(&self, slot: &mut CacheSlot<'_>, found: &Arc<CachedResult>) {
        if !slot.no_store {
            self.insert(slot, Arc::clone(found));
        }
    }

    /// Puts a result into memory and returns whether it is there now.
    pub(crate) fn insert(&self, slot: &mut CacheSlot<'_>, cached: Arc<CachedResult>) -> bool {
        let is_there = self.cache().insert(slot.key, cached);
        if is_there && let Some(spelling) = slot.spelling.take() {
            self.cache().insert_spelling(spelling, slot.key);
        }
        is_there
    }
}
