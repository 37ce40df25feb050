//! The memory tier: results and the spellings of their calls, bounded in bytes.
//!
//! ```text
//! spelling (the call's bytes) --> key (its hash) --> result
//! ```
//!
//! Invariants:
//! * The tier takes at most the configured bytes, except for answers being sent and the
//!   doorkeeper's 128 KiB.
//! * Expensive and cheap results have separate parts, so that no number of cheap ones evicts an
//!   expensive one.
//!
//! While there is room, every result is admitted. After that only keys that were requested before
//! are admitted (`doorkeeper`), so that a scan or a flood of inputs that never recur doesn't
//! displace popular results. quick_cache's S3-FIFO chooses what to evict.

mod doorkeeper;
mod spelling;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nebula_model::id::Digest;
use quick_cache::sync::{Cache as Bounded, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use self::doorkeeper::Doorkeeper;
use self::spelling::BorrowedSpelling;
pub use self::spelling::Spelling;
use crate::key::Key;
use crate::result::{CachedResult, ENTRY_BYTES, EXPENSIVE_FROM, FailureBytes};
use crate::usage::Usage;

/// Initial capacity of the tables, entries. They grow.
const ENTRIES_INITIAL: usize = 1024;

/// Number of independently locked parts of each table. An entry is at most as large as one part.
const SHARDS: usize = 8;

#[derive(Clone)]
struct ByBytes;

impl<E: FailureBytes> Weighter<Key, Arc<CachedResult<E>>> for ByBytes {
    fn weight(&self, _: &Key, cached: &Arc<CachedResult<E>>) -> u64 {
        cached.bytes()
    }
}

impl Weighter<Spelling<'static>, Key> for ByBytes {
    fn weight(&self, spelling: &Spelling<'static>, _: &Key) -> u64 {
        (spelling.bytes() + ENTRY_BYTES) as u64
    }
}

/// The answers of one part, cheap or expensive.
struct Answers<E: FailureBytes> {
    table: Bounded<Key, Arc<CachedResult<E>>, ByBytes>,
    /// Copied from the table, because reading it there takes each shard's lock.
    bytes_max: u64,
    shard_bytes_max: u64,
}

impl<E: FailureBytes> Answers<E> {
    fn new(bytes_max: u64) -> Self {
        let table: Bounded<Key, _, _> = bounded(bytes_max);
        Self { bytes_max: table.capacity(), shard_bytes_max: table.shard_capacity(), table }
    }

    /// Returns whether this many bytes fit, in any of the shards.
    ///
    /// The shards fill unevenly, and the space left in one may be too small; for large entries this
    /// is more likely.
    fn has_room_for(&self, bytes: u64) -> bool {
        let is_large = bytes > self.shard_bytes_max / 8;
        let room = self.bytes_max.saturating_sub(self.table.weight());
        room >= self.bytes_max / 4 * if is_large { 3 } else { 1 }
    }
}

/// The memory tier.
pub struct Cache<E: FailureBytes> {
    bytes_max: u64,
    /// Keys by the raw bytes of calls: one eighth of the bytes.
    spellings: Bounded<Spelling<'static>, Key, ByBytes>,
    /// Cheap answers: three eighths of the bytes.
    cheap: Answers<E>,
    /// Expensive answers: half of the bytes.
    expensive: Answers<E>,
    doorkeeper: Doorkeeper,
}

impl<E: FailureBytes> Cache<E> {
    /// Creates a cache of at most `bytes_max`; 0 turns it off.
    pub fn new(bytes_max: u64) -> Self {
        let eighths = |count: u64| bytes_max / 8 * count;
        Self {
            bytes_max,
            spellings: bounded(eighths(1)),
            cheap: Answers::new(eighths(3)),
            expensive: Answers::new(eighths(4)),
            doorkeeper: Doorkeeper::default(),
        }
    }

    /// Returns whether caching is on.
    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Returns the result cached under `key`, unless it is older than `ttl`.
    pub fn get(&self, key: &Key, ttl: Option<Duration>) -> Option<Arc<CachedResult<E>>> {
        let fresh = |answers: &Answers<E>| answers.table.get(key).filter(|found| found.is_fresh(ttl));
        fresh(&self.expensive).or_else(|| fresh(&self.cheap))
    }

    /// Returns the key and the cached result of a call by its raw bytes, unless older than `ttl`.
    pub fn get_spelled(
        &self,
        spelling: &Spelling<'_>,
        ttl: Option<Duration>,
    ) -> Option<(Key, Arc<CachedResult<E>>)> {
        let key = self.spellings.get(&BorrowedSpelling(spelling))?;
        Some((key, self.get(&key, ttl)?))
    }

    /// Caches a result and returns whether it was admitted. Results that are too large are refused,
    /// and, when the cache is full, results whose key wasn't requested before.
    pub fn insert(&self, key: Key, cached: Arc<CachedResult<E>>) -> bool {
        let (answers, other) = match cached.cost {
            cost if cost < EXPENSIVE_FROM => (&self.cheap, &self.expensive),
            _ => (&self.expensive, &self.cheap),
        };
        let bytes = cached.bytes();
        if bytes > answers.shard_bytes_max / 8 * 7 {
            return false;
        }
        let may_enter =
            answers.has_room_for(bytes) || answers.table.contains_key(&key) || self.doorkeeper.has_seen(&key);
        if may_enter {
            // A recomputed result may have taken another time and so belong to the other part.
            other.table.remove(&key);
            answers.table.insert(key, cached);
        }
        may_enter
    }

    /// Caches the key of a call's raw bytes.
    pub fn insert_spelling(&self, spelling: Spelling<'_>, key: Key) {
        self.spellings.insert(spelling.into_owned(), key);
    }

    /// Evicts the results of these components.
    pub fn evict(&self, components: &HashSet<Digest>) {
        self.cheap.table.retain(|_, cached| !components.contains(&cached.component()));
        self.expensive.table.retain(|_, cached| !components.contains(&cached.component()));
    }

    /// Evicts everything.
    pub fn clear(&self) {
        self.expensive.table.clear();
        self.evict_cheap();
    }

    /// Evicts everything that is cheap to recompute.
    pub fn evict_cheap(&self) {
        self.cheap.table.clear();
        self.spellings.clear();
        self.doorkeeper.clear();
    }

    /// Returns the bytes that the memory tier may take.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the bytes in use.
    pub fn bytes(&self) -> u64 {
        self.spellings.weight() + self.cheap.table.weight() + self.expensive.table.weight()
    }

    /// Returns the number of results, and the bytes in use. Visits no result.
    pub fn total(&self) -> Usage {
        Usage { entries: (self.cheap.table.len() + self.expensive.table.len()) as u64, bytes: self.bytes() }
    }

    /// Returns the usage of each component that has results. Visits every result.
    pub fn usage(&self) -> HashMap<Digest, Usage> {
        let mut usage: HashMap<_, Usage> = HashMap::new();
        for (_, cached) in self.cheap.table.iter().chain(self.expensive.table.iter()) {
            usage.entry(cached.component()).or_default().add(cached.bytes());
        }
        usage
    }
}

fn bounded<K, V>(bytes_max: u64) -> Bounded<K, V, ByBytes>
where
    K: Eq + std::hash::Hash,
    V: Clone,
    ByBytes: Weighter<K, V>,
{
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(ENTRIES_INITIAL).weight_capacity(bytes_max).shards(SHARDS);
    #[expect(clippy::expect_used, reason = "it fails where one of the two capacities isn't given")]
    let options = options.build().expect("both capacities are given");
    Bounded::with_options(options, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

#[cfg(test)]
mod tests;
