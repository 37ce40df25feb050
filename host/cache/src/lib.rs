//! The cache: results in memory and, if they took long to compute, on disk (`disk`).
//!
//! ```text
//! spelling (the call's bytes) --> key (its hash) --> answer, in memory --> on disk
//! ```
//!
//! Invariants:
//! * The memory tier takes at most the configured bytes, except for answers being sent and the
//!   doorkeeper's 128 KiB.
//! * A cached result equals the result of running the function again: results that depend on load
//!   or on the machine are never cached.
//! * Expensive and cheap answers have separate parts, so that no number of cheap ones evicts an
//!   expensive one.
//!
//! While there is room, every result is admitted. After that only keys that were requested before
//! are admitted (`doorkeeper`), so that a scan or a flood of inputs that never recur doesn't
//! displace popular results. quick_cache's S3-FIFO chooses what to evict.
//!
//! This crate handles bytes and digests and doesn't depend on wasmtime's engine or on HTTP servers.

mod disk;
mod doorkeeper;
mod flight;
mod key;
mod record;
mod report;
mod spelling;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nebula_model::answer::Answer;
use nebula_model::id::Digest;
use quick_cache::sync::{Cache as Bounded, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use rustix::time::{ClockId, clock_gettime};

pub use self::disk::Disk;
use self::doorkeeper::Doorkeeper;
pub use self::flight::{Flights, Interest, Joined, Landed, Lead};
pub use self::key::{FunctionKey, Key, SEMANTICS};
pub use self::report::Tally;
pub use self::report::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
use self::spelling::Sought;
pub use self::spelling::Spelling;

/// Computation time from which an answer counts as expensive: longer than a call may take on the
/// fast lane, and many times the duration of a disk read.
pub const DEAR: Duration = Duration::from_millis(1);

/// Overhead of an entry, bytes: its key, its place in the table, its use counter, and the
/// allocations that hold the rest.
const ENTRY_BYTES: usize = 320;

/// Initial capacity of the tables, entries. They grow.
const EXPECTED: usize = 1024;

/// Number of independently locked parts of each table. An entry is at most as large as one part.
const SHARDS: usize = 8;

/// Gives the size of a failure that is cached like an answer.
pub trait FailureBytes {
    /// Returns the approximate memory that the failure takes, bytes.
    fn bytes(&self) -> usize;
}

/// A cached result: an answer, or the failure `E` of the function.
#[derive(Debug)]
pub struct Remembered<E> {
    /// The answer, or the failure of the function.
    pub result: Result<Answer, Arc<E>>,
    /// BLAKE3 hash of the answer's body; `None` for a failure.
    pub content_hash: Option<[u8; 32]>,
    /// Computation time, which every reuse saves.
    pub cost: Duration,
    /// The engine that computed the result.
    pub engine: Cow<'static, str>,
    component: Digest,
    stored_at: SystemTime,
}

impl<E> Remembered<E> {
    /// Creates the result of the component `component`, just computed by `engine`.
    pub fn new(
        result: Result<Answer, Arc<E>>,
        component: Digest,
        cost: Duration,
        engine: Cow<'static, str>,
    ) -> Self {
        let content_hash = result.as_ref().ok().map(|answer| *blake3::hash(answer.body()).as_bytes());
        Self { result, content_hash, cost, engine, component, stored_at: SystemTime::now() }
    }

    /// Returns the time since the computation, whole seconds.
    pub fn age_s(&self) -> u64 {
        // The coarse clock is the fastest to read, and every hit reports its age in whole seconds.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let now = u64::try_from(now.tv_sec).unwrap_or(0);
        let stored_at = self.stored_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // If the clock was set back, the result counts as new.
        now.saturating_sub(stored_at.as_secs())
    }

    /// Returns whether the result is younger than `ttl`. Without a `ttl` it never expires.
    pub fn is_fresh(&self, ttl: Option<Duration>) -> bool {
        ttl.is_none_or(|ttl| self.stored_at.elapsed().is_ok_and(|age| age < ttl))
    }

    /// Returns the component that computed the result.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// Returns the approximate memory that the result takes, bytes.
    pub fn bytes(&self) -> u64
    where
        E: FailureBytes,
    {
        let bytes = match &self.result {
            Ok(answer) => answer.bytes(),
            Err(error) => error.bytes(),
        };
        (bytes + ENTRY_BYTES) as u64
    }
}

#[derive(Clone)]
struct ByBytes;

impl<E: FailureBytes> Weighter<Key, Arc<Remembered<E>>> for ByBytes {
    fn weight(&self, _: &Key, remembered: &Arc<Remembered<E>>) -> u64 {
        remembered.bytes()
    }
}

impl Weighter<Spelling<'static>, Key> for ByBytes {
    fn weight(&self, spelling: &Spelling<'static>, _: &Key) -> u64 {
        (spelling.bytes() + ENTRY_BYTES) as u64
    }
}

/// The answers of one part, cheap or expensive.
struct Answers<E: FailureBytes> {
    table: Bounded<Key, Arc<Remembered<E>>, ByBytes>,
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
    dear: Answers<E>,
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
            dear: Answers::new(eighths(4)),
            doorkeeper: Doorkeeper::default(),
        }
    }

    /// Returns whether caching is on.
    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Returns the result cached under `key`, unless it is older than `ttl`.
    pub fn get(&self, key: &Key, ttl: Option<Duration>) -> Option<Arc<Remembered<E>>> {
        let fresh = |answers: &Answers<E>| answers.table.get(key).filter(|found| found.is_fresh(ttl));
        fresh(&self.dear).or_else(|| fresh(&self.cheap))
    }

    /// Returns the key and the cached result of a call by its raw bytes, unless older than `ttl`.
    pub fn get_spelled(
        &self,
        spelling: &Spelling<'_>,
        ttl: Option<Duration>,
    ) -> Option<(Key, Arc<Remembered<E>>)> {
        let key = self.spellings.get(&Sought(spelling))?;
        Some((key, self.get(&key, ttl)?))
    }

    /// Caches a result and returns whether it was admitted. Results that are too large are refused,
    /// and, when the cache is full, results whose key wasn't requested before.
    pub fn insert(&self, key: Key, remembered: Arc<Remembered<E>>) -> bool {
        let (answers, other) = match remembered.cost {
            cost if cost < DEAR => (&self.cheap, &self.dear),
            _ => (&self.dear, &self.cheap),
        };
        let bytes = remembered.bytes();
        if bytes > answers.shard_bytes_max / 8 * 7 {
            return false;
        }
        let may_enter =
            answers.has_room_for(bytes) || answers.table.contains_key(&key) || self.doorkeeper.has_seen(&key);
        if may_enter {
            // A recomputed result may have taken another time and so belong to the other part.
            other.table.remove(&key);
            answers.table.insert(key, remembered);
        }
        may_enter
    }

    /// Caches the key of a call's raw bytes.
    pub fn learn(&self, spelling: Spelling<'_>, key: Key) {
        self.spellings.insert(spelling.into_owned(), key);
    }

    /// Evicts the results of these components.
    pub fn forget(&self, components: &HashSet<Digest>) {
        self.cheap.table.retain(|_, remembered| !components.contains(&remembered.component));
        self.dear.table.retain(|_, remembered| !components.contains(&remembered.component));
    }

    /// Evicts everything.
    pub fn clear(&self) {
        self.dear.table.clear();
        self.forget_cheap();
    }

    /// Evicts everything that is cheap to recompute.
    pub fn forget_cheap(&self) {
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
        self.spellings.weight() + self.cheap.table.weight() + self.dear.table.weight()
    }

    /// Returns the entries and bytes of each component that has any.
    pub fn by_component(&self) -> HashMap<Digest, (u64, u64)> {
        let mut sums = HashMap::new();
        for (_, remembered) in self.cheap.table.iter().chain(self.dear.table.iter()) {
            let (entries, bytes) = sums.entry(remembered.component).or_insert((0, 0));
            *entries += 1;
            *bytes += remembered.bytes();
        }
        sums
    }
}

fn bounded<K, V>(bytes_max: u64) -> Bounded<K, V, ByBytes>
where
    K: Eq + std::hash::Hash,
    V: Clone,
    ByBytes: Weighter<K, V>,
{
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(EXPECTED).weight_capacity(bytes_max).shards(SHARDS);
    #[expect(clippy::expect_used, reason = "it fails where one of the two capacities isn't given")]
    let options = options.build().expect("both capacities are given");
    Bounded::with_options(options, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

#[cfg(test)]
mod tests;
