//! The lookup of a result: in memory, in flight, on disk.
//!
//! ```text
//! look_up --(in memory)--------> Hit
//!    |----(not in flight)------> Lead --find_on_disk--> Hit
//!    |                              \--(miss)--> [lease of the cluster] --> run --> keep
//!    \----(in flight)----------> Wait --> the leader's result
//! ```
//!
//! Calls and the steps of pipelines look up here. They differ in what they do with
//! [`Lookup::Wait`]: a call waits, and a step runs, because the leader may wait for the lane's slot
//! that the step's thread holds.
//!
//! Invariant: a result that lands is in memory before its flight ends, so a lookup finds the one or
//! the other.

use std::sync::Arc;
use std::time::Duration;

use nebula_cache::Key;

use crate::cached::{Interest, Joined, Lead, Remembered};
use crate::call::function::Function;
use crate::call::keep::CacheSlot;
use crate::results::Results;

/// The outcome of a lookup.
pub(crate) enum Lookup {
    /// The result, in memory.
    Hit(Arc<Remembered>),
    /// Nothing: the caller leads, and later callers wait for it.
    Lead(Lead),
    /// An execution of the same call.
    Wait(Interest),
}

impl Results {
    /// Looks a result up in memory and among the executions in flight.
    pub(crate) fn look_up(&self, function: &Function, place: &mut CacheSlot<'_>) -> Lookup {
        let ttl = function.record.remember.ttl();
        // A step finds most hits here, without a flight.
        if place.spelling.is_none()
            && let Some(found) = self.cache().get(&place.key, ttl)
        {
            return Lookup::Hit(found);
        }
        let joined = self.flights().join(place.key);
        // Memory is read after joining the flight, so that a result that has just landed is found.
        if let Some(found) = self.cache().get(&place.key, ttl) {
            if let Some(spelling) = place.spelling.take() {
                self.cache().learn(spelling, place.key);
            }
            return Lookup::Hit(found);
        }
        match joined {
            Joined::Lead(lead) => Lookup::Lead(lead),
            Joined::Waits(interest) => Lookup::Wait(interest),
        }
    }

    /// Returns whether the disk may have a result of this function.
    pub(crate) fn may_be_on_disk(&self, function: &Function) -> bool {
        self.disk().may_have(&function.record.digest)
    }

    /// Reads a result from the disk, if it isn't older than `ttl`. Blocks on the disk.
    pub(crate) fn find_on_disk(&self, key: &Key, ttl: Option<Duration>) -> Option<Arc<Remembered>> {
        self.disk().find(key).filter(|found| found.is_fresh(ttl)).map(Arc::new)
    }

    /// Puts a result that was on disk into memory, unless the call said `no-store`.
    pub(crate) fn promote(&self, place: &mut CacheSlot<'_>, found: &Arc<Remembered>) {
        let kept = !place.no_store && self.cache().insert(place.key, Arc::clone(found));
        if let (true, Some(spelling)) = (kept, place.spelling.take()) {
            self.cache().learn(spelling, place.key);
        }
    }
}
