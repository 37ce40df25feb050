//! Answers from memory as they go out, head and body, by the [key](crate::request_key) of the request: where that comes
//! again, hyper doesn't read it.
//!
//! Reading a request and writing the head of its answer takes longer than finding the answer. Both come to the same
//! for the same key, but for the answer's `Age` and `Date`, which are put in anew.
//!
//! Invariants:
//! * An answer is here only if hyper has written it, just so, for a request of this key ([`Exchange`](crate::exchange)), and
//!   one of that had come before.
//! * That of a function which sees the request's headers is given only where these are the same, byte for byte.
//! * It is given only while it is what the call would find ([`Shard::give_again`]).
//! * The table of a thread takes [`TABLE_BYTES_MAX`] at most, and is begun anew when the thread has forgotten its functions.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use http_body::Body;
use nebula_runtime::{Form, Given, Shard};
use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::problem::Reply;
use crate::request_key::{self, Extent};

/// What requests and answers of one thread may take here, bytes.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What an entry takes besides, about, bytes.
const ENTRY_BYTES: usize = 320;

/// How many the table is laid out for at first. It grows.
const EXPECTED: usize = 64;

/// Requests that have come once, of which the last are known by a number each. A power of two.
const SEEN: usize = 1024;

/// The longest answer, bytes: it has to be written in one piece.
pub(crate) const ANSWER_BYTES_MAX: usize = 2048;

/// An HTTP date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// What one serving thread has answered before. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rendered(Arc<Inner>);

struct Inner {
    shard: Shard,
    table: Mutex<Table>,
}

struct Table {
    entries: Cache<Box<[u8]>, Arc<Entry>, ByBytes>,
    /// One that differs each time isn't worth an entry: the second time is.
    seen: Box<[u64]>,
    hashes: DefaultHashBuilder,
    /// The last request's. Kept for the next.
    key: Vec<u8>,
    /// Of the shard, when the table was begun.
    forgotten: u64,
    date: [u8; DATE_BYTES],
    /// When that was, seconds since the Unix epoch.
    dated_at: u64,
}

/// An answer, without what is another each time.
pub(crate) struct Entry {
    given: Given,
    /// Of the request, if the function sees its headers.
    head: Option<Box<[u8]>>,
    /// From the status to `age: `.
    before_age: Box<[u8]>,
    /// From the end of that line to `date: `.
    before_date: Box<[u8]>,
    /// From the end of that line; the body with it.
    after: Box<[u8]>,
}

/// What comes of looking for an answer.
pub(crate) enum Found {
    /// It.
    Answer,
    /// None; and how long the request is, and its key.
    Nothing(Extent, Vec<u8>),
    /// It can't be told whether this is one whole request, and which.
    Unclear,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<[u8]>, Arc<Entry>> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        let Entry { head, before_age, before_date, after, .. } = &**entry;
        let request = key.len() + head.as_ref().map_or(0, |head| head.len());
        (request + before_age.len() + before_date.len() + after.len() + ENTRY_BYTES) as u64
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
    pub(crate) fn find(&self, request: &[u8], answer: &mut Vec<u8>) -> Found {
        let mut table = self.lock();
        let Table { entries, key, .. } = &mut *table;
        let Some(extent) =
            request_key::read(request, key).filter(|extent| extent.whole() == Some(request.len()))
        else {
            return Found::Unclear;
        };
        let head = &request[..extent.head];
        if let Some(entry) = entries.get(&key[..]).filter(|entry| entry.is_for(head)).cloned() {
            if let Some(age_s) = self.0.shard.give_again(&entry.given) {
                entry.write(age_s, table.date(), answer);
                return Found::Answer;
            }
            // Read, it says what it comes to now, and may be here again after that.
            entries.remove(&key[..]);
        }
        Found::Nothing(extent, key.clone())
    }

    /// What hyper is going to write for a request that it has read: known, or to be learned, if that came before.
    pub(crate) fn expected(
        &self,
        key: &[u8],
        head: &[u8],
        reply: &Reply,
        given: Given,
    ) -> Option<Arc<Entry>> {
        let mut table = self.lock();
        let known = table.entries.get(key).filter(|entry| entry.given == given && entry.is_for(head));
        if let Some(entry) = known {
            return Some(Arc::clone(entry));
        }
        let head = (given.form() == Form::Http).then_some(head);
        let hash = table.hashes.hash_one((key, head));
        let seen = &mut table.seen[hash as usize % SEEN];
        let came_before = std::mem::replace(seen, hash) == hash;
        if came_before { Entry::new(head, reply, given).map(Arc::new) } else { None }
    }

    /// Has this answer given to requests of this key.
    pub(crate) fn learn(&self, key: &[u8], entry: &Arc<Entry>) {
        let mut table = self.lock();
        if table.entries.get(key).is_none_or(|known| !Arc::ptr_eq(known, entry)) {
            table.entries.insert(key.into(), Arc::clone(entry));
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
        Self { entries, seen, hashes, key: Vec::new(), forgotten, date: [b' '; DATE_BYTES], dated_at: 0 }
    }

    /// Now, to the second.
    fn date(&mut self) -> &[u8; DATE_BYTES] {
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

impl Entry {
    /// Of an answer as hyper writes it: its headers in their order, then the length of its body, where that isn't said yet and
    /// the status has one (RFC 9110 §8.6), then the date. `None` of one that has no age, or is too long.
    fn new(head: Option<&[u8]>, reply: &Reply, given: Given) -> Option<Self> {
        let body_bytes = reply.body().size_hint().exact()?;
        if body_bytes > ANSWER_BYTES_MAX as u64 {
            return None;
        }
        let status = reply.status();
        let mut lines =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).into_bytes();
        let mut before_age = None;
        for (name, value) in reply.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            if *name == header::AGE && before_age.replace(std::mem::take(&mut lines)).is_none() {
                lines.extend_from_slice(b"\r\n");
                continue;
            }
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        let body = content(reply)?;
        let is_lengthless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !is_lengthless && !reply.headers().contains_key(header::CONTENT_LENGTH) {
            lines.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        lines.extend_from_slice(b"date: ");
        let after = [b"\r\n\r\n", &body[..]].concat();
        Some(Self {
            given,
            head: head.map(Into::into),
            before_age: before_age?.into(),
            before_date: lines.into(),
            after: after.into(),
        })
    }

    /// Whether it answers a request of its key that has this head.
    fn is_for(&self, head: &[u8]) -> bool {
        self.head.as_deref().is_none_or(|own| own == head)
    }

    fn write(&self, age_s: u64, date: &[u8; DATE_BYTES], to: &mut Vec<u8>) {
        to.clear();
        to.extend_from_slice(&self.before_age);
        to.extend_from_slice(itoa::Buffer::new().format(age_s).as_bytes());
        to.extend_from_slice(&self.before_date);
        to.extend_from_slice(date);
        to.extend_from_slice(&self.after);
    }

    /// Whether `answer` is this one, of whatever age and date.
    pub(crate) fn is(&self, answer: &[u8]) -> bool {
        let rest = answer.strip_prefix(&self.before_age[..]).map(|rest| {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[digits..]
        });
        let dated = rest.and_then(|rest| rest.strip_prefix(&self.before_date[..]));
        dated.and_then(|dated| dated.get(DATE_BYTES..)) == Some(&self.after[..])
    }
}

/// The body of an answer, which is there already.
fn content(reply: &Reply) -> Option<bytes::Bytes> {
    let mut body = reply.body().clone();
    match std::pin::Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        Poll::Ready(None) => Some(bytes::Bytes::new()),
        Poll::Ready(Some(Err(_))) | Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests;
