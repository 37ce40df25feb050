//! An answer from memory, given once more to a call that is known to be the same: without its being read.
//!
//! Invariant: what is given is what the call would find if it were read and looked up. Where that can't be told it is.

use std::sync::{Arc, Weak};

use nebula_cache::Key;
use nebula_model::form::Form;

use super::{Met, Shard};
use crate::cached::Remembered;
use crate::call::invoke::Called;

/// By what an answer is given again.
#[derive(Clone)]
pub struct Given {
    /// The function that was called, as it was found then.
    met: Arc<Met>,
    key: Key,
    /// Says whether it is the same yet. It holds no more of it than its place.
    remembered: Weak<Remembered>,
}

impl PartialEq for Given {
    /// Whether both are the same result, for the same function.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.met, &other.met) && self.remembered.ptr_eq(&other.remembered)
    }
}

impl Given {
    /// Whether the function sees the request's headers.
    pub fn sees_headers(&self) -> bool {
        self.met.record.description.form == Form::Http
    }

    /// For what came of a call that found this in memory, if it may be given again: a failure is written down each time,
    /// what isn't to be stored is nowhere, and what gets too old has to be looked at.
    pub(super) fn of(
        met: &Arc<Met>,
        key: Key,
        remembered: &Arc<Remembered>,
        called: &Called,
        no_store: bool,
    ) -> Option<Self> {
        let may_be = called.result.is_ok() && met.record.remember.ttl().is_none() && !no_store;
        may_be.then(|| Self { met: Arc::clone(met), key, remembered: Arc::downgrade(remembered) })
    }
}

impl Shard {
    /// Counts a call that is answered again as [`given`](Given), and says how old the answer is, seconds. `None` where the
    /// call is to be made: something may have changed, or this one is to be checked.
    pub fn give_again(&self, given: &Given) -> Option<u64> {
        let (runtime, Given { met, key, remembered }) = (&self.0.runtime, given);
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

    /// Whether anything is remembered at all.
    pub fn remembers(&self) -> bool {
        self.0.runtime.results().cache().is_on()
    }

    /// Goes up whenever this thread forgets what it knows of functions, so that others do.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }
}
