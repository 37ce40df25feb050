//! Answers from memory as they go out, head and body, by the [key](crate::request_key) of the request: where that comes
//! again, hyper doesn't read it.
//!
//! Reading a request and writing the head of its answer takes longer than finding the answer. Both come to the same
//! for the same key, but for the answer's `Age` and `Date`, which are put in anew.
//!
//! Invariants:
//! * An answer is here only if hyper has written it, just so, for a request of this key ([`Exchange`](crate::exchange)), and
//!   one of that had come before; for a function that sees headers, two with the same head. A request that never comes again
//!   is hashed, and nothing of it is kept.
//! * It is given only while it is what the call would find ([`Shard::give_again`]).
//! * The table of a thread takes [`TABLE_BYTES_MAX`] at most, and is begun anew when the thread has forgotten its functions.

mod entry;

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use nebula_runtime::{Given, Shard};
use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

pub(crate) use self::entry::Entry;
use self::entry::{DATE_BYTES, Date};
use crate::problem::Reply;
use crate::request_key::{self, Extent, Key, Sought};
use crate::socket::Outgoing;

/// What requests and answers of one thread may take here, bytes.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What an entry takes besides, about, bytes.
const ENTRY_BYTES: usize = 320;

/// How many the table is laid out for at first. It grows.
const EXPECTED: usize = 64;

/// Requests that have come once, of which the last are known by a number each. A power of two.
const SEEN: usize = 1024;

/// What one serving thread has answered before. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rendered(Arc<Inner>);

struct Inner {
    shard: Shard,
    table: Mutex<Table>,
}

struct Table {
    entries: Cache<Key<'static>, Slot, ByBytes>,
    seen: Seen,
    hashes: DefaultHashBuilder,
    /// What decides of the last request. Kept for the next.
    deciding: Vec<u8>,
    /// Of the shard, when the table was begun.
    forgotten: u64,
    date: Date,
    /// When that was, seconds since the Unix epoch.
    dated_at: u64,
}

/// What is known by a key.
#[derive(Clone)]
enum Slot {
    Answer(Arc<Entry>),
    /// The function sees the request's headers: its answer is known by the key with the head.
    ByCaller,
}

/// What comes of looking for an answer.
pub(crate) enum Found {
    /// It.
    Answer,
    /// None.
    Nothing(Measured),
    /// This is the beginning of a request of so many bytes.
    Part { whole: usize },
    /// It can't be told whether this is one whole request, and which.
    Unclear,
}

/// A request that hyper is to read, or has read.
pub(crate) struct Measured {
    pub(crate) extent: Extent,
    /// If one of the same key had come before.
    pub(crate) key: Option<Key<'static>>,
}

/// What hyper is going to write, and the key by which that is known after it.
pub(crate) type Expected = (Key<'static>, Arc<Entry>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key<'static>, Slot> for ByBytes {
    fn weight(&self, key: &Key<'static>, known: &Slot) -> u64 {
        let answer = match known {
            Slot::Answer(entry) => entry.bytes(),
            Slot::ByCaller => 0,
        };
        (key.bytes() + answer + ENTRY_BYTES) as u64
    }
}

impl Rendered {
    pub(crate) fn new(shard: Shard) -> Self {
        let forgotten = shard.forgotten();
        Self(Arc::new(Inner { shard, table: Mutex::new(Table::new(forgotten)) }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the answer to a request, which is counted as a call if it is here.
    pub(crate) fn find(&self, request: &[u8], answer: &mut Outgoing) -> Found {
        let mut table = self.lock();
        let Table { entries, seen, deciding, hashes, .. } = &mut *table;
        let Some(extent) = request_key::read(request, deciding) else { return Found::Unclear };
        match extent.whole() {
            Some(whole) if whole == request.len() => {}
            Some(whole) if whole > request.len() => return Found::Part { whole },
            Some(_) | None => return Found::Unclear,
        }
        let (head, body) = request.split_at(extent.head);
        let key = Key::new(deciding, body, hashes);
        let mut sought = key.clone();
        let mut known = entries.get(&Sought(&sought)).cloned();
        let was_known = known.is_some();
        if matches!(known, Some(Slot::ByCaller)) {
            sought = sought.with_head(head);
            known = entries.get(&Sought(&sought)).cloned();
        }
        if let Some(Slot::Answer(entry)) = known {
            if let Some(age_s) = self.0.shard.give_again(entry.given()) {
                entry.put(age_s, table.date(), answer);
                return Found::Answer;
            }
            // Read, it says what it comes to now, and may be here again after that.
            entries.remove(&Sought(&sought));
        }
        let came_before = seen.came_before(&key, hashes) || was_known;
        Found::Nothing(Measured { extent, key: came_before.then(|| key.into_owned()) })
    }

    /// Takes note of a request that hyper has read, or of the first bytes of one. `None` if it isn't clear how long it is.
    pub(crate) fn measure(&self, request: &[u8]) -> Option<Measured> {
        let mut table = self.lock();
        let Table { seen, deciding, hashes, .. } = &mut *table;
        let extent = request_key::read(request, deciding)?;
        let is_whole = extent.whole() == Some(request.len());
        let key = is_whole.then(|| Key::new(deciding, &request[extent.head..], hashes));
        let key = key.filter(|key| seen.came_before(key, hashes)).map(Key::into_owned);
        Some(Measured { extent, key })
    }

    /// What hyper is going to write for a request that it has read, of this key and head: known, or to be learned.
    pub(crate) fn expected(
        &self,
        key: Key<'static>,
        head: &[u8],
        reply: &Reply,
        given: Given,
    ) -> Option<Expected> {
        let mut table = self.lock();
        let Table { entries, seen, hashes, .. } = &mut *table;
        let key = if given.sees_headers() { key.with_head(head.to_vec()) } else { key };
        if let Some(Slot::Answer(entry)) = entries.get(&Sought(&key))
            && *entry.given() == given
        {
            return Some((key, Arc::clone(entry)));
        }
        // Another caller's had come before, maybe.
        if given.sees_headers() && !seen.came_before(&key, hashes) {
            return None;
        }
        Some((key, Arc::new(Entry::new(reply, given)?)))
    }

    /// Has this answer given to requests of the key that it was expected for.
    pub(crate) fn learn(&self, (key, entry): Expected) {
        let entries = &mut self.lock().entries;
        if entry.given().sees_headers() {
            let all = key.without_head();
            if !matches!(entries.get(&Sought(&all)), Some(Slot::ByCaller)) {
                entries.insert(all.into_owned(), Slot::ByCaller);
            }
        }
        if !matches!(entries.get(&Sought(&key)), Some(Slot::Answer(known)) if Arc::ptr_eq(known, &entry)) {
            entries.insert(key, Slot::Answer(entry));
        }
    }

    /// Before the thread sleeps: nothing is kept of what it has forgotten.
    pub(crate) fn tidy(&self) {
        let forgotten = self.0.shard.forgotten();
        let mut table = self.lock();
        if table.forgotten != forgotten {
            // A key of before may be kept yet.
            let hashes = table.hashes.clone();
            *table = Table { hashes, ..Table::new(forgotten) };
        }
    }
}

impl Table {
    fn new(forgotten: u64) -> Self {
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(EXPECTED).weight_capacity(TABLE_BYTES_MAX);
        #[expect(clippy::expect_used, reason = "it fails where one of the two capacities isn't given")]
        let options = options.build().expect("both capacities are given");
        let entries = Cache::with_options(options, ByBytes, Default::default(), Default::default());
        Self {
            entries,
            seen: Seen(vec![0; SEEN].into()),
            hashes: DefaultHashBuilder::default(),
            deciding: Vec::new(),
            forgotten,
            date: [b' '; DATE_BYTES],
            dated_at: 0,
        }
    }

    /// Now, to the second.
    fn date(&mut self) -> &Date {
        let now = SystemTime::now();
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        if now_s != self.dated_at {
            let date = httpdate::fmt_http_date(now);
            if let Ok(date) = date.as_bytes().try_into() {
                (self.date, self.dated_at) = (date, now_s);
            }
        }
        &self.date
    }
}

/// The last keys, a number each. One that differs each time isn't worth an entry: the second time is.
struct Seen(Box<[u64]>);

impl Seen {
    /// Whether it had come before, as it has now.
    fn came_before(&mut self, key: &Key<'_>, hashes: &impl BuildHasher) -> bool {
        let hash = hashes.hash_one(key);
        std::mem::replace(&mut self.0[hash as usize % SEEN], hash) == hash
    }
}

#[cfg(test)]
mod tests;
