//! Answers from memory as they go out, head and body, by the [key](crate::request_key) of the request: where that comes
//! again, hyper doesn't read it.
//!
//! Reading a request and writing the head of its answer takes longer than finding the answer. Both come to the same
//! for the same key, but for the answer's `Age` and `Date`, which are put in anew.
//!
//! Invariants:
//! * An answer is here only if hyper has written it, just so, for a request of this key ([`Exchange`](crate::exchange)), and
//!   one of that had come before.
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
use crate::request_key::{self, Extent, Key};
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
    entries: Cache<Box<[u8]>, Slot, ByBytes>,
    /// One that differs each time isn't worth an entry: the second time is.
    seen: Box<[u64]>,
    hashes: DefaultHashBuilder,
    /// The last known request's. Kept for the next.
    key: Key,
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
    /// None; and how long the request is, and its key.
    Nothing(Extent, Key),
    /// It can't be told whether this is one whole request, and which.
    Unclear,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<[u8]>, Slot> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, known: &Slot) -> u64 {
        let answer = match known {
            Slot::Answer(entry) => entry.bytes(),
            Slot::ByCaller => 0,
        };
        (key.len() + answer + ENTRY_BYTES) as u64
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
        let Table { entries, key, .. } = &mut *table;
        let Some(extent) =
            request_key::read(request, key).filter(|extent| extent.whole() == Some(request.len()))
        else {
            return Found::Unclear;
        };
        let mut known = entries.get(key.without_head()).cloned();
        if matches!(known, Some(Slot::ByCaller)) {
            key.add_head(&request[..extent.head]);
            known = entries.get(key.bytes()).cloned();
        }
        if let Some(Slot::Answer(entry)) = known {
            if let Some(age_s) = self.0.shard.give_again(entry.given()) {
                entry.put(age_s, table.date(), answer);
                return Found::Answer;
            }
            // Read, it says what it comes to now, and may be here again after that.
            entries.remove(key.bytes());
        }
        // What isn't known isn't kept here.
        Found::Nothing(extent, std::mem::take(key))
    }

    /// What hyper is going to write for a request that it has read, of this key and head: known, or to be learned, if that came
    /// before.
    pub(crate) fn expected(
        &self,
        key: &mut Key,
        head: &[u8],
        reply: &Reply,
        given: Given,
    ) -> Option<Arc<Entry>> {
        let mut table = self.lock();
        if given.sees_headers() {
            key.add_head(head);
        }
        if let Some(Slot::Answer(entry)) = table.entries.get(key.bytes())
            && *entry.given() == given
        {
            return Some(Arc::clone(entry));
        }
        let hash = table.hashes.hash_one(key.bytes());
        let seen = &mut table.seen[hash as usize % SEEN];
        let came_before = std::mem::replace(seen, hash) == hash;
        if came_before { Entry::new(reply, given).map(Arc::new) } else { None }
    }

    /// Has this answer given to requests of the key that it was expected for.
    pub(crate) fn learn(&self, key: &Key, entry: &Arc<Entry>) {
        let entries = &mut self.lock().entries;
        let all = key.without_head();
        if entry.given().sees_headers() && !matches!(entries.get(all), Some(Slot::ByCaller)) {
            entries.insert(all.into(), Slot::ByCaller);
        }
        let bytes = key.bytes();
        if !matches!(entries.get(bytes), Some(Slot::Answer(known)) if Arc::ptr_eq(known, entry)) {
            entries.insert(bytes.into(), Slot::Answer(Arc::clone(entry)));
        }
    }

    /// Before the thread sleeps: nothing is kept of what it has forgotten.
    pub(crate) fn tidy(&self) {
        let forgotten = self.0.shard.forgotten();
        let mut table = self.lock();
        if table.forgotten != forgotten {
            *table = Table::new(forgotten);
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
        let seen = vec![0; SEEN].into();
        let hashes = DefaultHashBuilder::default();
        Self { entries, seen, hashes, key: Key::default(), forgotten, date: [b' '; DATE_BYTES], dated_at: 0 }
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

#[cfg(test)]
mod tests;
