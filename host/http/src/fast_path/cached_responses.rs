//! The responses that one serving thread can send again, by [`RequestKey`].
//!
//! Parsing a request and rendering the head of its response costs more than looking the result up.
//! Both give the same bytes for the same key, except for `Age`, `X-Request-Id` and `Date`.
//!
//! Invariants:
//! * A response is cached only after hyper has written exactly these bytes for a request with its
//!   key, and only if an earlier request had the same key (for a function that sees headers: two,
//!   with the same head). The table keeps a hash of a request that comes once, and no copy.
//! * A hit is what the call would return: [`Shard::repeat`] checks each one.
//! * The table takes at most [`TABLE_BYTES_MAX`]. It is emptied when the thread unloads its
//!   functions.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use nebula_runtime::{RepeatableAnswer, Shard, TraceContext};
use nebula_telemetry::trace::{SpanStart, Tracer};
use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::cached_response::{CachedResponse, HTTP_DATE_BYTES, HttpDate, WrittenResponse};
use super::request_key::{HeadParser, KeyRef, RequestKey, RequestLength};
use crate::problem::Reply;
use crate::request_id;

/// The memory that the requests and responses of one thread may take, bytes.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The overhead of an entry, about, bytes.
const ENTRY_BYTES: usize = 320;

/// The number of entries that a new table has room for. It grows.
const ENTRIES_AT_FIRST: usize = 64;

/// The number of hashes of recent requests. A power of two.
const RECENT_KEYS: usize = 1024;

/// The cached responses of one serving thread. Cheap to clone.
#[derive(Clone)]
pub(super) struct CachedResponses(Arc<Inner>);

struct Inner {
    shard: Shard,
    tracer: Option<Tracer>,
    table: Mutex<Table>,
}

struct Table {
    entries: Cache<RequestKey<'static>, Entry, BytesWeighter>,
    recent: RecentKeys,
    hashes: DefaultHashBuilder,
    head_parser: HeadParser,
    /// The value of [`Shard::route_drops`] when the table was made.
    unload_count: u64,
    date: DateHeader,
}

/// The entry for a key.
#[derive(Clone)]
enum Entry {
    Response(Arc<CachedResponse>),
    /// The function sees the request's headers: look the key up again with the whole head.
    KeyedByHead,
}

/// The outcome of a lookup.
pub(super) enum Lookup {
    Hit(Hit),
    Miss(ParsedRequest),
    /// The bytes are the beginning of a request of `total` bytes.
    Partial {
        total: usize,
    },
    /// The bytes aren't exactly one request, or it is one that only hyper can handle.
    Unsupported,
}

/// A response to send now.
pub(super) struct Hit {
    response: Arc<CachedResponse>,
    age_s: u64,
    /// The client's id of the request, if it sent one.
    request_id: Option<Box<[u8]>>,
    date: HttpDate,
    /// The beginning of its span, if the request is traced.
    span: Option<SpanStart>,
}

/// A request that hyper parses.
pub(super) struct ParsedRequest {
    pub(super) length: RequestLength,
    /// The key, if an earlier request had the same one.
    pub(super) key: Option<RequestKey<'static>>,
}

/// A reply that hyper is about to write, for [`CachedResponses::expect`].
pub(super) struct ReplyToCache<'a> {
    /// The head of the request.
    pub(super) request_head: &'a [u8],
    pub(super) reply: &'a Reply,
    /// The result that the reply was made from.
    pub(super) result: RepeatableAnswer,
}

/// A response that hyper is about to write, and the key to cache it under if it does.
pub(super) struct ExpectedResponse {
    key: RequestKey<'static>,
    response: Arc<CachedResponse>,
}

#[derive(Clone)]
struct BytesWeighter;

impl Weighter<RequestKey<'static>, Entry> for BytesWeighter {
    fn weight(&self, key: &RequestKey<'static>, entry: &Entry) -> u64 {
        let response = match entry {
            Entry::Response(response) => response.bytes(),
            Entry::KeyedByHead => 0,
        };
        (key.bytes() + response + ENTRY_BYTES) as u64
    }
}

impl Hit {
    /// Returns the response.
    pub(super) fn response(&self) -> &CachedResponse {
        &self.response
    }

    /// Returns the beginning of its span, if the request is traced.
    pub(super) fn span(&self) -> Option<SpanStart> {
        self.span
    }

    /// Returns the id of the request. Makes it now, if the client sent none.
    pub(super) fn request_id(&mut self) -> &[u8] {
        self.request_id.get_or_insert_with(|| Box::new(request_id::new()))
    }

    /// Appends the head to `head` and returns the body.
    pub(super) fn write(self, head: &mut Vec<u8>) -> Bytes {
        let Self { response, age_s, request_id, date, span: _ } = self;
        match request_id {
            Some(id) => response.write_head(age_s, &id, &date, head),
            None => response.write_head(age_s, &request_id::new(), &date, head),
        }
        response.body()
    }
}

impl ExpectedResponse {
    /// Returns whether this response was written.
    pub(super) fn matches(&self, written: WrittenResponse<'_>) -> bool {
        self.response.matches(written)
    }
}

impl CachedResponses {
    pub(super) fn new(shard: Shard, tracer: Option<Tracer>) -> Self {
        let unload_count = shard.route_drops();
        Self(Arc::new(Inner { shard, tracer, table: Mutex::new(Table::new(unload_count)) }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tracer, if requests are traced.
    pub(super) fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.as_ref()
    }

    /// Looks up the response to `request`. A hit counts as a call of the function.
    pub(super) fn lookup(&self, request: &[u8]) -> Lookup {
        let mut table = self.lock();
        let Table { entries, recent, head_parser, hashes, date, .. } = &mut *table;
        let Some(head) = head_parser.parse(request) else { return Lookup::Unsupported };
        let length = head.length;
        match length.total() {
            Some(total) if total == request.len() => {}
            Some(total) if total > request.len() => return Lookup::Partial { total },
            Some(_) | None => return Lookup::Unsupported,
        }
        let key = head.key(request, hashes);
        let mut lookup_key = key.clone();
        let mut entry = entries.get(&KeyRef(&lookup_key)).cloned();
        let was_cached = entry.is_some();
        if matches!(entry, Some(Entry::KeyedByHead)) {
            lookup_key = lookup_key.with_head(&request[..length.head]);
            entry = entries.get(&KeyRef(&lookup_key)).cloned();
        }
        if let Some(Entry::Response(response)) = entry {
            if let Some(age_s) = self.0.shard.repeat(response.result()) {
                let request_id = head.request_id.map(Into::into);
                let context = || head.traceparent.and_then(TraceContext::parse);
                let span = self.0.tracer.as_ref().and_then(|tracer| tracer.begin(context()));
                return Lookup::Hit(Hit { response, age_s, request_id, date: date.now(), span });
            }
            // Stale. The response that hyper writes next may be cached in its place.
            entries.remove(&KeyRef(&lookup_key));
        }
        let came_before = recent.insert(&key, hashes) || was_cached;
        Lookup::Miss(ParsedRequest { length, key: came_before.then(|| key.into_owned()) })
    }

    /// Parses the first bytes of a request that hyper has read. Returns `None` if its length is
    /// unclear.
    pub(super) fn parse(&self, request: &[u8]) -> Option<ParsedRequest> {
        let mut table = self.lock();
        let Table { recent, head_parser, hashes, .. } = &mut *table;
        let head = head_parser.parse(request)?;
        let length = head.length;
        let is_whole = length.total() == Some(request.len());
        let key = is_whole.then(|| head.key(request, hashes));
        let key = key.filter(|key| recent.insert(key, hashes)).map(RequestKey::into_owned);
        Some(ParsedRequest { length, key })
    }

    /// Returns the response that hyper will write to a request with this key. `None` if it can't be
    /// cached, or shouldn't be yet.
    pub(super) fn expect(
        &self,
        key: RequestKey<'static>,
        ReplyToCache { request_head, reply, result }: ReplyToCache<'_>,
    ) -> Option<ExpectedResponse> {
        let mut table = self.lock();
        let Table { entries, recent, hashes, .. } = &mut *table;
        let key = if result.sees_headers() { key.with_head(request_head.to_vec()) } else { key };
        if let Some(Entry::Response(response)) = entries.get(&KeyRef(&key))
            && *response.result() == result
        {
            let response = Arc::clone(response);
            return Some(ExpectedResponse { key, response });
        }
        // The earlier request with this key may have had other headers.
        if result.sees_headers() && !recent.insert(&key, hashes) {
            return None;
        }
        Some(ExpectedResponse { key, response: Arc::new(CachedResponse::new(reply, result)?) })
    }

    /// Caches a response that hyper has written.
    pub(super) fn insert(&self, ExpectedResponse { key, response }: ExpectedResponse) {
        let entries = &mut self.lock().entries;
        if response.result().sees_headers() {
            let shared = key.without_head();
            if !matches!(entries.get(&KeyRef(&shared)), Some(Entry::KeyedByHead)) {
                entries.insert(shared.into_owned(), Entry::KeyedByHead);
            }
        }
        let is_cached = |entry: Option<&Entry>| matches!(entry, Some(Entry::Response(cached)) if Arc::ptr_eq(cached, &response));
        if !is_cached(entries.get(&KeyRef(&key))) {
            entries.insert(key, Entry::Response(response));
        }
    }

    /// Empties the table if the thread has unloaded its functions since the last time.
    pub(super) fn evict_stale(&self) {
        let unload_count = self.0.shard.route_drops();
        let mut table = self.lock();
        if table.unload_count != unload_count {
            // A connection may still hold a key with a hash of the old table.
            let hashes = table.hashes.clone();
            *table = Table { hashes, ..Table::new(unload_count) };
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().entries.len() == 0
    }
}

impl Table {
    fn new(unload_count: u64) -> Self {
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(ENTRIES_AT_FIRST).weight_capacity(TABLE_BYTES_MAX);
        #[expect(clippy::expect_used, reason = "it fails only if one of the two capacities is missing")]
        let options = options.build().expect("both capacities are given");
        let entries = Cache::with_options(options, BytesWeighter, Default::default(), Default::default());
        Self {
            entries,
            recent: RecentKeys(vec![0; RECENT_KEYS].into()),
            hashes: DefaultHashBuilder::default(),
            head_parser: HeadParser::default(),
            unload_count,
            date: DateHeader { text: [b' '; HTTP_DATE_BYTES], unix_s: 0 },
        }
    }
}

/// The value of the `Date` header, formatted once a second.
struct DateHeader {
    text: HttpDate,
    unix_s: u64,
}

impl DateHeader {
    fn now(&mut self) -> HttpDate {
        let now = SystemTime::now();
        let unix_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        if unix_s != self.unix_s {
            let date = httpdate::fmt_http_date(now);
            if let Ok(text) = date.as_bytes().try_into() {
                *self = Self { text, unix_s };
            }
        }
        self.text
    }
}

/// Hashes of recent keys. A key gets an entry only when it comes a second time.
struct RecentKeys(Box<[u64]>);

impl RecentKeys {
    /// Inserts the key, and returns whether it was there.
    fn insert(&mut self, key: &RequestKey<'_>, hashes: &impl BuildHasher) -> bool {
        let hash = hashes.hash_one(key);
        std::mem::replace(&mut self.0[hash as usize % RECENT_KEYS], hash) == hash
    }
}
