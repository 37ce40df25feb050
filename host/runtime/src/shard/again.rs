//! An answer from memory, given once more to a call that is known to be the same: without its being read.
//!
//! Invariant: what is given is what the call would find if it were read and looked up. Where that can't be told it is.

use std::sync::{Arc, Weak};

use super::{Met, Shard};
use crate::cache::Remembered;
use crate::key::Key;
use crate::runtime::Runtime;

/// By what an answer is given again.
#[derive(Clone, Debug)]
pub struct Given {
    key: Key,
    /// Says whether it is the same yet. It holds no more of it than its place.
    remembered: Weak<Remembered>,
    /// What names stood for.
    generation: u64,
}

impl Given {
    pub(super) fn new(runtime: &Runtime, key: Key, remembered: &Arc<Remembered>) -> Self {
        Self { key, remembered: Arc::downgrade(remembered), generation: runtime.generation() }
    }
}

impl Shard {
    /// Counts a call of `met` that is answered again as [`given`](Given), and says how old the answer is, seconds. `None`
    /// where the call is to be made: something may have changed, or this one is to be checked.
    pub fn give_again(&self, met: &Met, given: &Given) -> Option<u64> {
        let runtime = &self.0.runtime;
        if runtime.generation() != given.generation {
            return None;
        }
        let remembered = runtime.cache().get(&given.key, None)?;
        let is_same = std::ptr::eq(Arc::as_ptr(&remembered), given.remembered.as_ptr());
        if !is_same || runtime.verification().samples(met.sampled_from.wrapping_add(met.tally.hits())) {
            return None;
        }
        self.begin();
        met.tally.hit(remembered.cost);
        Some(remembered.age_s())
    }

    /// Whether anything is remembered at all.
    pub fn remembers(&self) -> bool {
        self.0.runtime.cache().is_on()
    }

    /// Goes up whenever this thread forgets what it knows of functions, so that others do.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }
}
