//! A cached answer, reused for a call that is known to be the same without parsing it.
//!
//! Invariant: the reused answer is the one that the call would find if it were parsed and looked
//! up. A call for which this isn't certain is parsed.

use std::sync::{Arc, Weak};

use nebula_cache::Key;
use nebula_model::form::Form;

use super::{RoutedFunction, Shard};
use crate::cached::Remembered;
use crate::call::invoke::CallOutcome;

/// An answer that can be reused.
#[derive(Clone)]
pub struct RepeatableAnswer {
    /// The function that was called, as it was resolved then.
    met: Arc<RoutedFunction>,
    key: Key,
    /// Tells whether the cached result is still the same one. It keeps only the allocation alive.
    remembered: Weak<Remembered>,
}

impl PartialEq for RepeatableAnswer {
    /// Returns whether both are the same result of the same function.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.met, &other.met) && self.remembered.ptr_eq(&other.remembered)
    }
}

impl RepeatableAnswer {
    /// Returns whether the function sees the request's headers.
    pub fn sees_headers(&self) -> bool {
        self.met.record.description.form == Form::Http
    }

    /// Returns the reusable answer of a call whose result was in memory. `None` for a failure,
    /// which is logged each time, for `no-store`, and for a result with a time to live, whose age
    /// must be checked.
    pub(super) fn of(
        met: &Arc<RoutedFunction>,
        key: Key,
        remembered: &Arc<Remembered>,
        called: &CallOutcome,
        no_store: bool,
    ) -> Option<Self> {
        let may_be = called.result.is_ok() && met.record.remember.ttl().is_none() && !no_store;
        may_be.then(|| Self { met: Arc::clone(met), key, remembered: Arc::downgrade(remembered) })
    }
}

impl Shard {
    /// Counts a call that is answered again as [`given`](RepeatableAnswer), and returns the
    /// answer's age, seconds. `None` if the call has to be made: something may have changed, or
    /// this hit is due for verification.
    pub fn give_again(&self, given: &RepeatableAnswer) -> Option<u64> {
        let (runtime, RepeatableAnswer { met, key, remembered }) = (&self.0.runtime, given);
        if runtime.functions().generation() != met.generation || met.lock().retired {
            return None;
        }
        let found = runtime.results().cache().get(key, None)?;
        let is_same = std::ptr::eq(Arc::as_ptr(&found), remembered.as_ptr());
        if !is_same || runtime.verification().samples(met.sampled_from.wrapping_add(met.tally.hits())) {
            return None;
        }
        self.begin();
        met.tally.hit(found.cost);
        Some(found.age_s())
    }

    /// Returns whether results are cached at all.
    pub fn remembers(&self) -> bool {
        self.0.runtime.results().cache().is_on()
    }

    /// Returns how often this thread has dropped its routes. Caches that depend on them follow it.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }
}
