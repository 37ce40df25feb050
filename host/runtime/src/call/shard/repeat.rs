//! A cached answer, repeated for a call that is known to be the same without parsing it.
//!
//! Invariant: the repeated answer is the one that the call would find if it were parsed and looked
//! up. A call for which this isn't certain is parsed.

use std::sync::{Arc, Weak};

use nebula_cache::Key;
use nebula_model::form::Form;
use nebula_model::record::VersionRecord;

use super::{RoutedFunction, Shard};
use crate::cache::CachedResult;
use crate::call::invoke::CallOutcome;

/// An answer that can be repeated.
#[derive(Clone)]
pub struct RepeatableAnswer {
    /// The function that was called, as it was resolved then.
    routed: Arc<RoutedFunction>,
    key: Key,
    /// Tells whether the cached result is still the same one. It keeps only the allocation alive.
    cached: Weak<CachedResult>,
    input_bytes: u64,
    output_bytes: u64,
}

impl PartialEq for RepeatableAnswer {
    /// Returns whether both are the same result of the same function.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.routed, &other.routed) && self.cached.ptr_eq(&other.cached)
    }
}

impl RepeatableAnswer {
    /// Returns whether the function sees the request's headers.
    pub fn sees_headers(&self) -> bool {
        self.routed.record.description.form == Form::Http
    }

    /// Returns the version that was called.
    pub fn version(&self) -> &VersionRecord {
        &self.routed.record
    }

    /// Returns the repeatable answer of a call whose result was in memory. `None` for a failure,
    /// which is logged each time, for `no-store`, and for a result with a time to live, whose age
    /// must be checked.
    pub(super) fn of(
        routed: &Arc<RoutedFunction>,
        key: Key,
        cached: &Arc<CachedResult>,
        called: &CallOutcome,
        no_store: bool,
        input_bytes: u64,
    ) -> Option<Self> {
        let answer = called.result.as_ref().ok()?;
        let may_be = routed.record.cache.ttl().is_none() && !no_store;
        may_be.then(|| Self {
            routed: Arc::clone(routed),
            key,
            cached: Arc::downgrade(cached),
            input_bytes,
            output_bytes: answer.body().len() as u64,
        })
    }
}

impl Shard {
    /// Counts a call that is answered with `answer`, and returns the answer's age, seconds. `None`
    /// if the call has to be made: something may have changed, or this hit is due for verification.
    pub fn repeat(&self, answer: &RepeatableAnswer) -> Option<u64> {
        let runtime = &self.0.runtime;
        let RepeatableAnswer { routed, key, cached, input_bytes, output_bytes } = answer;
        if runtime.functions().generation() != routed.generation || routed.lock().retired {
            return None;
        }
        let found = runtime.results().cache().get(key, None)?;
        let is_same = std::ptr::eq(Arc::as_ptr(&found), cached.as_ptr());
        if !is_same || runtime.verification().samples(routed.sampled_from.wrapping_add(routed.tally.hits())) {
            return None;
        }
        self.begin();
        routed.tally.repeat(found.cost, *input_bytes, *output_bytes);
        Some(found.age_s())
    }

    /// Returns whether results are cached at all.
    pub fn caches_results(&self) -> bool {
        self.0.runtime.results().cache().is_on()
    }

    /// Returns how often this thread has dropped its routes. Caches that depend on them are dropped
    /// with them.
    pub fn route_drops(&self) -> u64 {
        self.lock().route_drops
    }
}
