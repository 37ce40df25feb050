//! Results in memory, for tests: the plainest implementation of the contract.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nebula_model::id::Digest;

use super::{RecordSeal, Removal, ResultStore, ResultStoreError};
use crate::key::Key;
use crate::result::CachedResult;
use crate::usage::Usage;

/// Results in memory. They are gone with the value. The oldest is evicted first.
pub struct MemoryResults {
    seal: RecordSeal,
    bytes_max: u64,
    /// Results wait in the queue until they are flushed.
    waits_for_flush: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Results to be stored.
    queue: Vec<(Key, Stored)>,
    records: HashMap<Key, Stored>,
    /// Keys in order of arrival.
    order: VecDeque<Key>,
    bytes: u64,
}

struct Stored {
    component: Digest,
    record: Vec<u8>,
}

impl MemoryResults {
    /// Creates a store of at most `bytes_max`.
    pub fn new(seal: RecordSeal, bytes_max: u64) -> Self {
        Self { seal, bytes_max, waits_for_flush: false, state: Mutex::default() }
    }

    /// Creates a store that stores results only when it is flushed: the latest that the contract
    /// allows.
    pub fn slow(seal: RecordSeal, bytes_max: u64) -> Self {
        Self { waits_for_flush: true, ..Self::new(seal, bytes_max) }
    }

    fn store_queued(&self, state: &mut State) {
        for (key, stored) in std::mem::take(&mut state.queue) {
            state.remove(&key);
            let bytes = stored.record.len() as u64;
            while state.bytes + bytes > self.bytes_max {
                let Some(oldest) = state.order.front().copied() else { break };
                state.remove(&oldest);
            }
            state.bytes += bytes;
            state.order.push_back(key);
            state.records.insert(key, stored);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the stored bytes of every record.
    #[cfg(test)]
    pub(super) fn change_records(&self, change: impl Fn(&mut Vec<u8>)) {
        self.state().records.values_mut().for_each(|stored| change(&mut stored.record));
    }
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some(stored) = self.records.remove(key) {
            self.bytes -= stored.record.len() as u64;
            self.order.retain(|other| other != key);
        }
    }
}

impl<E: Send + Sync> ResultStore<E> for MemoryResults {
    fn may_contain(&self, component: &Digest) -> bool {
        self.state().records.values().any(|stored| stored.component == *component)
    }

    fn find(&self, key: &Key, deadline: Instant) -> Option<CachedResult<E>> {
        if deadline <= Instant::now() {
            return None;
        }
        self.seal.open(key, &self.state().records.get(key)?.record)
    }

    fn keep(&self, key: Key, cached: Arc<CachedResult<E>>) {
        let Some(record) = self.seal.seal(&key, &cached) else { return };
        if record.len() as u64 > self.bytes_max {
            return;
        }
        let mut state = self.state();
        let queued: usize = state.queue.iter().map(|(_, stored)| stored.record.len()).sum();
        if (queued + record.len()) as u64 > self.bytes_max {
            return;
        }
        state.queue.push((key, Stored { component: cached.component(), record }));
        if !self.waits_for_flush {
            self.store_queued(&mut state);
        }
    }

    fn remove(&self, which: Removal, deadline: Instant) -> Result<(), ResultStoreError> {
        if deadline <= Instant::now() {
            return Err(ResultStoreError::DeadlineExceeded);
        }
        let mut state = self.state();
        self.store_queued(&mut state);
        let is_meant = |stored: &Stored| match &which {
            Removal::All => true,
            Removal::Components(components) => components.contains(&stored.component),
        };
        let keys: Vec<_> =
            state.records.iter().filter(|(_, stored)| is_meant(stored)).map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| state.remove(key));
        Ok(())
    }

    fn flush(&self, deadline: Instant) -> Result<(), ResultStoreError> {
        if deadline <= Instant::now() {
            return Err(ResultStoreError::DeadlineExceeded);
        }
        self.store_queued(&mut self.state());
        Ok(())
    }

    fn rest(&self) {}

    fn usage(&self) -> HashMap<Digest, Usage> {
        let mut usage: HashMap<_, Usage> = HashMap::new();
        for stored in self.state().records.values() {
            usage.entry(stored.component).or_default().add(stored.record.len() as u64);
        }
        usage
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::result_store::Fixture;
    use crate::testing::{BYTES_MAX, ENGINE, Results};

    struct InMemory(Arc<MemoryResults>);

    impl Fixture for InMemory {
        fn new() -> Self {
            Self(Arc::new(MemoryResults::new(RecordSeal::new([7; 32], ENGINE), BYTES_MAX)))
        }

        fn store(&self) -> Results {
            Arc::clone(&self.0) as Results
        }

        fn change_records(self, change: impl Fn(&mut Vec<u8>)) -> Self {
            self.0.change_records(change);
            self
        }

        fn restart(self) -> Option<Self> {
            None
        }
    }

    mod immediate {
        use super::*;

        crate::result_store_conformance!(InMemory);
    }

    /// The same, with results that are stored as late as the contract allows.
    mod slow {
        use super::*;

        struct Slow(InMemory);

        impl Fixture for Slow {
            fn new() -> Self {
                Self(InMemory(Arc::new(MemoryResults::slow(RecordSeal::new([7; 32], ENGINE), BYTES_MAX))))
            }

            fn store(&self) -> Results {
                self.0.store()
            }

            fn change_records(self, change: impl Fn(&mut Vec<u8>)) -> Self {
                Self(self.0.change_records(change))
            }

            fn restart(self) -> Option<Self> {
                None
            }
        }

        crate::result_store_conformance!(Slow);
    }
}
