//! The store of results behind the memory tier: what it promises, and its implementations.
//!
//! [`DiskResults`] keeps results in a file on this machine. The tests' `MemoryResults` keeps them
//! in memory. `testing::result_store` has the tests that every implementation passes. Both store
//! results as the bytes of [`record`].

mod disk;
#[cfg(any(test, feature = "testing"))]
mod memory;
pub mod record;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use nebula_model::id::Digest;

pub use self::disk::DiskResults;
#[cfg(any(test, feature = "testing"))]
pub use self::memory::MemoryResults;
pub use self::record::RecordSeal;
use crate::key::Key;
use crate::result::CachedResult;
use crate::usage::Usage;

/// Results that outlive the memory tier. `E` is a failure, which no store keeps.
///
/// * **Authenticity.** A lookup returns the result that was kept under its key, or nothing. Each
///   stored record is authenticated together with its key, so a damaged medium or an untrusted
///   service can lose results and can't change them.
/// * **Order.** A result is found soon after its `keep`, and at the latest when a
///   [`flush`](Self::flush) that began after it has returned, unless it was evicted. A `remove`
///   applies to every result whose `keep` returned before it began.
/// * **Durability.** None is promised: a result may be evicted or lost at any time, in a crash
///   among others, and is computed again. An implementation that restarts with its results keeps
///   those that were flushed, except for evicted ones.
/// * **Failures.** A store that fails finds nothing and keeps nothing. It never fails a call.
/// * **Bounds.** All results together take at most [`bytes_max`](Self::bytes_max). With 0 the store
///   keeps nothing. Results that wait
///   to be written are bounded, too: beyond the bound they are dropped.
/// * **Threads.** `may_contain`, `keep` and `bytes_max` don't wait: an event loop may call them.
///   All other methods may wait for a disk or a network. Call them on a thread that may wait. They
///   may be called from several threads at once.
/// * **Deadlines.** A method that takes a deadline returns when it has passed, soon after. A local
///   read or write that has begun is finished first.
pub trait ResultStore<E>: Send + Sync {
    /// Returns whether results of this component may be stored. Doesn't wait.
    fn may_contain(&self, component: &Digest) -> bool;

    /// Returns the result stored under `key`.
    fn find(&self, key: &Key, deadline: Instant) -> Option<CachedResult<E>>;

    /// Queues a result to be stored. Replaces the one under the same key. Doesn't wait.
    fn keep(&self, key: Key, cached: Arc<CachedResult<E>>);

    /// Removes results.
    ///
    /// # Errors
    /// [`ResultStoreError`]. Some of the results may still be found until a later `remove`
    /// succeeds.
    fn remove(&self, which: Removal, deadline: Instant) -> Result<(), ResultStoreError>;

    /// Waits until the queued results are stored.
    ///
    /// # Errors
    /// [`ResultStoreError`]. They may be stored all the same.
    fn flush(&self, deadline: Instant) -> Result<(), ResultStoreError>;

    /// Gives back what the store holds while it is idle, such as an open file. The next use takes
    /// it again.
    fn rest(&self);

    /// Returns the usage of each component that has results.
    fn usage(&self) -> HashMap<Digest, Usage>;

    /// Returns the bytes that all results together may take. Doesn't wait.
    fn bytes_max(&self) -> u64;
}

/// The results to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// All results.
    All,
    /// The results of these components.
    Components(HashSet<Digest>),
}

/// Why results couldn't be written or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultStoreError {
    /// The deadline passed.
    #[error("the store of results didn't answer in time")]
    DeadlineExceeded,
    /// The disk or the service that holds the results failed.
    #[error("the store of results failed")]
    Failed,
}
