//! The code that all engines have loaded, under one budget of bytes.
//!
//! wasmtime finds code by its address, so one mapping can't serve two engines. Each engine maps the
//! sealed copy of the compiled code for itself, and the mappings share their pages of memory. The
//! code counts once; each engine's component adds a little.
//!
//! Eviction is CLOCK: before a component is evicted, it goes to the end of the queue once for each
//! of its last uses, up to [`USES_MAX`]. So components that were called once are evicted before
//! those called often. Uses are counted in each engine's component, so a hit writes nothing here.
//!
//! Although there is room, each minute takes a use of every component, and unloads those that have
//! none left and that no call holds: a component called once is unloaded after one to two minutes, one
//! called often after up to four. Calls of others don't keep it.
//!
//! Invariants:
//! * The component loaded last stays, even if it is larger than the budget.
//! * An evicted or unused component is dropped, and so unmapped, after the lock is released.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_engine::{Loaded, USES_MAX};
use nebula_model::id::Digest;
use nebula_store::Compiled;

/// Memory of an engine's component besides its code, bytes: types, function tables, page tables.
const LOADED_BYTES_BESIDES: u64 = 128 * 1024;

/// The time after which each component loses a use, or is unloaded.
const UNUSED_PERIOD: Duration = Duration::from_secs(60);

/// Identifies a pool of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolId(u64);

pub(crate) struct LoadedSet {
    bytes_max: u64,
    pools: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next candidate for eviction is first.
    queue: VecDeque<Entry>,
    /// The end of the last period whose unused components were unloaded.
    swept_at: Option<Instant>,
    reads: u64,
    loads: u64,
    evictions: u64,
}

/// Components that were removed because nobody used them. Dropping it unmaps them, which takes a
/// while.
pub(crate) struct Unused {
    _entries: VecDeque<Entry>,
}

/// A component, with everything that engines have loaded of it.
struct Entry {
    digest: Digest,
    compiled: Arc<Compiled>,
    loaded: Vec<(PoolId, Arc<Loaded>)>,
}

/// The loaded code, and the counts since the set was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadedCounts {
    pub(crate) components: u64,
    pub(crate) bytes: u64,
    /// Number of times that compiled code was read and authenticated.
    pub(crate) reads: u64,
    /// Number of times that an engine mapped compiled code.
    pub(crate) loads: u64,
    /// Number of components that were evicted.
    pub(crate) evictions: u64,
}

impl LoadedSet {
    /// Creates a set that keeps at most `bytes_max` bytes loaded, or one component.
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

    /// Returns the compiled code of a component that another engine has loaded.
    pub(super) fn compiled(&self, digest: &Digest) -> Option<Arc<Compiled>> {
        let state = self.lock();
        state.queue.iter().find(|entry| entry.digest == *digest).map(|entry| Arc::clone(&entry.compiled))
    }

    /// Adds code that was read and is about to be loaded. Returns the code to load: another
    /// thread's, if that thread was faster.
    pub(super) fn add_compiled(&self, digest: Digest, compiled: Compiled) -> Arc<Compiled> {
        // Declared first, so that it is dropped without the lock.
        let compiled = Arc::new(compiled);
        let mut state = self.lock();
        state.reads += 1;
        Arc::clone(&state.entry(digest, &compiled).compiled)
    }

    /// Drops code that was read and that no engine has loaded, because loading it failed.
    pub(super) fn drop_unused(&self, digest: &Digest) {
        let mut state = self.lock();
        let unused = state.queue.iter().position(|entry| entry.digest == *digest && entry.loaded.is_empty());
        let dropped = unused.and_then(|at| state.queue.remove(at));
        drop(state);
        drop(dropped);
    }

    /// Adds `loaded`, which `pool` has mapped from `compiled`, and evicts others if the budget is
    /// exceeded. Returns the component that the pool has loaded now: another of its threads may
    /// have been faster.
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

    /// Drops everything that `pool` has loaded, and code that no other pool has loaded.
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

    /// Removes the components that weren't used in the period that ends now; `None` if there are none
    /// or the period isn't over.
    pub(crate) fn take_unused(&self, now: Instant) -> Option<Unused> {
        let mut state = self.lock();
        if now.saturating_duration_since(*state.swept_at.get_or_insert(now)) < UNUSED_PERIOD {
            return None;
        }
        state.swept_at = Some(now);
        let queue = std::mem::take(&mut state.queue);
        let (used, unused): (VecDeque<_>, VecDeque<_>) = queue.into_iter().partition(Entry::stays);
        state.queue = used;
        (!unused.is_empty()).then_some(Unused { _entries: unused })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the component's entry. Creates it from `compiled` if it doesn't exist.
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

    /// Removes and returns the entries to drop so that the rest fits, but never `newest`.
    fn evict(&mut self, bytes_max: u64, newest: &Digest) -> Vec<Entry> {
        let mut evicted = Vec::new();
        let mut bytes = self.bytes();
        // Bounded, because other threads go on using the components.
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

    /// Takes a use. Returns whether there was one, or whether something holds the component: a call, or
    /// an engine that is about to load it.
    fn stays(&self) -> bool {
        let is_held = self.loaded.iter().any(|(_, loaded)| Arc::strong_count(loaded) > 1);
        self.take_use() || is_held || self.loaded.is_empty()
    }

    /// Takes one of the uses that each engine has counted. Returns whether there was one.
    fn take_use(&self) -> bool {
        self.loaded.iter().fold(false, |taken, (_, loaded)| loaded.take_use() || taken)
    }
}
