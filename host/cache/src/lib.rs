//! Results that are remembered, in memory and, if they took long to compute, on disk (`disk`).
//!
//! ```text
//! spelling (the call's bytes) --> key (its hash) --> answer, in memory --> on disk
//! ```
//!
//! Invariants:
//! * All of it together takes at most the bytes it was given, but for what is being answered right now and the
//!   doorkeeper's 128 KiB.
//! * What is here is what running the function again would give: nothing that depends on load or on the
//!   machine comes in.
//! * Answers that took long to compute and those that didn't have a part each: however many of the latter there
//!   are, none of the former goes for them.
//!
//! While there is room everything comes in. Then only what was asked for before does (`doorkeeper`), so that a scan or
//! a flood of inputs that never come again leaves alone what is asked for often; for what goes in its place
//! quick_cache's S3-FIFO decides.
//!
//! Knows bytes and digests; nothing of wasmtime or HTTP servers.

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

/// An answer that took this long to compute is dear: longer than a call may take where its connection lives, and many
/// times what reading it from disk takes.
pub const DEAR: Duration = Duration::from_millis(1);

/// What an entry takes besides its content, bytes: its key, its place in the table, what counts its uses, and the
/// allocations that hold the rest.
const ENTRY_BYTES: usize = 320;

/// How many entries the tables are laid out for at first. They grow.
const EXPECTED: usize = 1024;

/// Independently locked parts of each table. One entry is at most one of them.
const SHARDS: usize = 8;

/// The size of a failure that is kept like an answer.
pub trait FailureBytes {
    /// Returns about how many bytes it takes to keep.
    fn bytes(&self) -> usize;
}

/// A result that is kept: an answer, or the failure `E` that the function gives instead of one.
#[derive(Debug)]
pub struct Remembered<E> {
    /// The answer, or how the function fails instead of one.
    pub result: Result<Answer, Arc<E>>,
    /// BLAKE3 of the answer's body, if there is one.
    pub content_hash: Option<[u8; 32]>,
    /// How long computing it took, which is what each further use of it saves.
    pub cost: Duration,
    /// What computed it.
    pub engine: Cow<'static, str>,
    component: Digest,
    stored_at: SystemTime,
}

impl<E> Remembered<E> {
    /// Of the component `component`, just computed by `engine`.
    pub fn new(
        result: Result<Answer, Arc<E>>,
        component: Digest,
        cost: Duration,
        engine: Cow<'static, str>,
    ) -> Self {
        let content_hash = result.as_ref().ok().map(|answer| *blake3::hash(answer.body()).as_bytes());
        Self { result, content_hash, cost, engine, component, stored_at: SystemTime::now() }
    }

    /// Since it was computed, whole seconds.
    pub fn age_s(&self) -> u64 {
        // The coarse clock is the quickest to read, and every hit tells its age in whole seconds.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let now = u64::try_from(now.tv_sec).unwrap_or(0);
        let stored_at = self.stored_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // A clock that was set back makes it new.
        now.saturating_sub(stored_at.as_secs())
    }

    /// Whether it is of use yet, if it is for so long.
    pub fn is_fresh(&self, ttl: Option<Duration>) -> bool {
        ttl.is_none_or(|ttl| self.stored_at.elapsed().is_ok_and(|age| age < ttl))
    }

    /// Returns the component that computed the result.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// About what it takes to keep.
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

/// Answers of one kind.
struct Answers<E: FailureBytes> {
    table: Bounded<Key, Arc<Remembered<E>>, ByBytes>,
    /// As the table has it: asking it takes each shard's lock.
    bytes_max: u64,
    shard_bytes_max: u64,
}

impl<E: FailureBytes> Answers<E> {
    fn new(bytes_max: u64) -> Self {
        let table: Bounded<Key, _, _> = bounded(bytes_max);
        Self { bytes_max: table.capacity(), shard_bytes_max: table.shard_capacity(), table }
    }

    /// Whether there is room for this many bytes more in whichever shard they come to.
    ///
    /// The shards fill up unevenly, and what is left of each may be too small: the more so, the larger this is.
    fn has_room_for(&self, bytes: u64) -> bool {
        let is_large = bytes > self.shard_bytes_max / 8;
        let room = self.bytes_max.saturating_sub(self.table.weight());
        room >= self.bytes_max / 4 * if is_large { 3 } else { 1 }
    }
}

/// What is remembered, by what was asked.
pub struct Cache<E: FailureBytes> {
    bytes_max: u64,
    /// How calls were spelled: an eighth of the bytes.
    spellings: Bounded<Spelling<'static>, Key, ByBytes>,
    /// Three eighths.
    cheap: Answers<E>,
    /// The other half.
    dear: Answers<E>,
    doorkeeper: Doorkeeper,
}

impl<E: FailureBytes> Cache<E> {
    /// Takes `bytes_max` at most; nothing, if that is 0.
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

    /// Whether anything is remembered at all.
    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// What is remembered under `key`, if it isn't older than `ttl`.
    pub fn get(&self, key: &Key, ttl: Option<Duration>) -> Option<Arc<Remembered<E>>> {
        let fresh = |answers: &Answers<E>| answers.table.get(key).filter(|found| found.is_fresh(ttl));
        fresh(&self.dear).or_else(|| fresh(&self.cheap))
    }

    /// Likewise for a call as it came in.
    pub fn get_spelled(
        &self,
        spelling: &Spelling<'_>,
        ttl: Option<Duration>,
    ) -> Option<(Key, Arc<Remembered<E>>)> {
        let key = self.spellings.get(&Sought(spelling))?;
        Some((key, self.get(&key, ttl)?))
    }

    /// Keeps an answer. Whether it does is for the cache to say: one that is too large isn't kept, nor, where there is
    /// no room, one that wasn't asked for before.
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
            // Computed again it may have taken another time.
            other.table.remove(&key);
            answers.table.insert(key, remembered);
        }
        may_enter
    }

    /// Keeps that this spelling is of that key.
    pub fn learn(&self, spelling: Spelling<'_>, key: Key) {
        self.spellings.insert(spelling.into_owned(), key);
    }

    /// Forgets the results of these components.
    pub fn forget(&self, components: &HashSet<Digest>) {
        self.cheap.table.retain(|_, remembered| !components.contains(&remembered.component));
        self.dear.table.retain(|_, remembered| !components.contains(&remembered.component));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.dear.table.clear();
        self.forget_cheap();
    }

    /// Forgets what is soon computed again.
    pub fn forget_cheap(&self) {
        self.cheap.table.clear();
        self.spellings.clear();
        self.doorkeeper.clear();
    }

    /// Returns the bytes that the memory tier may take.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that are taken now.
    pub fn bytes(&self) -> u64 {
        self.spellings.weight() + self.cheap.table.weight() + self.dear.table.weight()
    }

    /// Entries and bytes of each component that has some.
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
