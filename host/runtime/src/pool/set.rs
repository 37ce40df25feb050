//! What all engines have loaded, under one budget of bytes.
//!
//! wasmtime finds code by its address, so one mapping can't serve two engines: each maps the sealed
//! copy of the compiled code for itself, and the pages of memory behind the mappings are the same.
//! Code counts once, and each engine's component a little.
//!
//! Eviction is CLOCK: a component goes to the end of the queue, once for each of its last uses, up to
//! [`USES_MAX`], before it is evicted. What was called once is evicted before what is called often.
//! Uses are counted in the component of the engine that uses it, so that a hit touches nothing here.
//!
//! Invariants:
//! * The component loaded last stays, even if it is larger than the budget.
//! * What is evicted is dropped, and so unmapped, without the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_engine::{Loaded, USES_MAX};
use nebula_model::id::Digest;
use nebula_store::Compiled;

/// What an engine's component takes besides its code, bytes: types, tables of functions, tables of pages.
const LOADED_BYTES_BESIDES: u64 = 128 * 1024;

/// Tells the pools of a set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolId(u64);

pub(crate) struct LoadedSet {
    bytes_max: u64,
    pools: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next candidate for eviction first.
    queue: VecDeque<Entry>,
    reads: u64,
    loads: u64,
    evictions: u64,
}

/// A component, with all that engines have of it.
struct Entry {
    digest: Digest,
    compiled: Arc<Compiled>,
    loaded: Vec<(PoolId, Arc<Loaded>)>,
}

/// What is loaded, and what that has taken since the set was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadedCounts {
    pub(crate) components: u64,
    pub(crate) bytes: u64,
    /// Compiled code that was read and authenticated, times.
    pub(crate) reads: u64,
    /// Compiled code that was mapped by an engine, times.
    pub(crate) loads: u64,
    /// Components that were evicted.
    pub(crate) evictions: u64,
}

impl LoadedSet {
    /// Keeps at most `bytes_max` bytes loaded, or one component.
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, pools: AtomicU64::new(0), state: Mutex::default() })
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(crate) fn counts(&self) -> LoadedCounts {
        let state = self.lock();
        LoadedCounts {
            components: state.queue.len() as u64,
            bytes: state.bytes(),
            reads: state.reads,
            loads: state.loads,
            evictions: state.evictions,
        }
    }

    pub(super) fn new_pool(&self) -> PoolId {
        PoolId(self.pools.fetch_add(1, Ordering::Relaxed))
    }

    /// The compiled code of a component that another engine has loaded.
    pub(super) fn compiled(&self, digest: &Digest) -> Option<Arc<Compiled>> {
        let state = self.lock();
        state.queue.iter().find(|entry| entry.digest == *digest).map(|entry| Arc::clone(&entry.compiled))
    }

    /// Adds code that was read and is about to be loaded. Returns the one to load: another thread's, if that was
    /// faster.
    pub(super) fn add_compiled(&self, digest: Digest, compiled: Compiled) -> Arc<Compiled> {
        // Declared first, so that it is dropped without the lock.
        let compiled = Arc::new(compiled);
        let mut state = self.lock();
        state.reads += 1;
        Arc::clone(&state.entry(digest, &compiled).compiled)
    }

    /// Keeps `loaded`, which `pool` has mapped from `compiled`, and evicts others where there isn't room for all.
    /// Returns what the pool has loaded now: another of its threads may have been faster.
    pub(super) fn admit(
        &self,
        pool: PoolId,
        digest: Digest,
        compiled: Arc<Compiled>,
        loaded: Arc<Loaded>,
    ) -> Arc<Loaded> {
        let mut state = self.lock();
        state.loads += 1;
        let entry = state.entry(digest, &compiled);
        let faster =
            entry.loaded.iter().find(|(other, _)| *other == pool).map(|(_, loaded)| Arc::clone(loaded));
        if let Some(faster) = faster {
            return faster;
        }
        entry.loaded.push((pool, Arc::clone(&loaded)));
        let evicted = state.evict(self.bytes_max, &digest);
        drop(state);
        drop(evicted);
        loaded
    }

    /// Drops all that `pool` has loaded, and code that no other has.
    pub(super) fn clear_pool(&self, pool: PoolId) {
        let mut dropped = Vec::new();
        let mut state = self.lock();
        for entry in &mut state.queue {
            dropped.extend(entry.loaded.extract_if(.., |(other, _)| *other == pool));
        }
        let queue = std::mem::take(&mut state.queue);
        let (kept, unloaded): (VecDeque<_>, VecDeque<_>) =
            queue.into_iter().partition(|entry| !entry.loaded.is_empty());
        state.queue = kept;
        drop(state);
        drop((dropped, unloaded));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The component's entry, made of `compiled` if there isn't one.
    fn entry(&mut self, digest: Digest, compiled: &Arc<Compiled>) -> &mut Entry {
        let at = self.queue.iter().position(|entry| entry.digest == digest).unwrap_or_else(|| {
            self.queue.push_back(Entry { digest, compiled: Arc::clone(compiled), loaded: Vec::new() });
            self.queue.len() - 1
        });
        &mut self.queue[at]
    }

    fn bytes(&self) -> u64 {
        self.queue.iter().map(Entry::bytes).sum()
    }

    /// Takes out what is to be dropped for all to fit, but never `newest`.
    fn evict(&mut self, bytes_max: u64, newest: &Digest) -> Vec<Entry> {
        let mut evicted = Vec::new();
        let mut bytes = self.bytes();
        // Bounded, as other threads go on using them.
        let mut chances = self.queue.len() * usize::from(USES_MAX);
        while bytes > bytes_max && self.queue.len() > 1 {
            let Some(entry) = self.queue.pop_front() else { break };
            if entry.digest == *newest {
                self.queue.push_back(entry);
            } else if chances > 0 && entry.take_use() {
                chances -= 1;
                self.queue.push_back(entry);
            } else {
                bytes -= entry.bytes();
                evicted.push(entry);
            }
        }
        self.evictions += evicted.len() as u64;
        evicted
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.compiled.bytes() + self.loaded.len() as u64 * LOADED_BYTES_BESIDES
    }

    /// Takes one of the uses that each engine has counted; whether there was one.
    fn take_use(&self) -> bool {
        self.loaded.iter().fold(false, |taken, (_, loaded)| loaded.take_use() || taken)
    }
}
