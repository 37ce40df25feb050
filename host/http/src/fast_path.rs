//! The cached fast path: repeated requests get their cached response below hyper, without being
//! parsed by it.
//!
//! ```text
//! serve -> FastPath (one a thread) -> FastPathConnection -> stream, between the socket and hyper
//!                                                       \-> RequestInFlight -> data, which hands over the reply
//!
//! stream -> tracker (is the connection idle?) -> cached_responses -> request_key, cached_response
//!      \-> observed_hit (for the access log), traced_hit (the span of a sampled request) -> parsed_request
//!      \-> busy_poll (may the thread sleep after a response?)
//! ```
//!
//! Parsing a request and rendering the head of its response is most of the cost of a cache hit. So
//! each thread keeps responses as hyper has written them, and sends them again to requests with the
//! same key, on connections where hyper holds nothing.
//!
//! Invariants:
//! * The client gets the bytes that hyper would write, except for `Age`, `X-Request-Id` and `Date`.
//!   Where that is uncertain, hyper handles the request.
//! * Where the fast path is off, the stream passes every read and write on to the socket, and
//!   nothing is allocated for it.

mod busy_poll;
mod cached_response;
mod cached_responses;
mod observed_hit;
mod parsed_request;
mod pending_write;
mod request_key;
mod stream;
#[cfg(test)]
mod tests;
mod traced_hit;
mod tracker;

use std::time::Duration;

use http::StatusCode;
use nebula_runtime::Shard;
use nebula_telemetry::trace::Tracer;
use tokio::io::{AsyncRead, AsyncWrite};

use self::busy_poll::BusyPoll;
use self::cached_responses::CachedResponses;
use self::stream::{FastPathStream, Lookups};
pub(crate) use self::tracker::Exchange;
use self::tracker::ExchangeTracker;
use crate::connections::{RequestCounter, RequestGuard};
use crate::observe::ConnectionObserver;

/// The time that the first part of a request waits for the last: some round trips.
const PARTIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The fast path of one serving thread, or `None` where it is off. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FastPath(Option<Inner>);

#[derive(Clone)]
struct Inner {
    responses: CachedResponses,
    busy_poll: BusyPoll,
    partial_timeout: Duration,
    observer: Option<ConnectionObserver>,
}

/// The fast path of one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FastPathConnection {
    requests: RequestCounter,
    lookups: Option<Lookups>,
}

/// A request that hyper has parsed, until it has a reply.
pub(crate) struct RequestInFlight {
    tracker: Option<ExchangeTracker>,
    /// Counts the request among those of its connection.
    guard: RequestGuard,
}

impl FastPath {
    /// Sends the cached results of `shard`. It is off if the shard caches no results.
    pub(crate) fn on(shard: &Shard, tracer: Option<Tracer>) -> Self {
        Self(shard.caches_results().then(|| Inner {
            responses: CachedResponses::new(shard.clone(), tracer),
            busy_poll: BusyPoll::default(),
            partial_timeout: PARTIAL_TIMEOUT,
            observer: None,
        }))
    }

    /// hyper handles every request.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Returns the fast path of a connection whose requests are observed.
    pub(crate) fn observed_by(&self, observer: Option<ConnectionObserver>) -> Self {
        Self(self.0.clone().map(|inner| Inner { observer, ..inner }))
    }

    /// Frees the memory of responses that the shard has no use for any more. Call it before the
    /// thread sleeps.
    pub(crate) fn tidy(&self) {
        if let Some(Inner { responses, .. }) = &self.0 {
            responses.evict_stale();
        }
    }

    /// Keeps the thread from sleeping while cached responses follow each other quickly. Runs on the
    /// serving thread, until dropped. `tidy` is called when the thread has nothing else to do.
    pub(crate) async fn busy_poll(self, tidy: impl Fn()) {
        if let Some(Inner { busy_poll, .. }) = self.0 {
            busy_poll.run(tidy).await;
        }
    }

    /// Creates the fast path of a connection, whose requests `requests` counts.
    pub(crate) fn connection(&self, requests: RequestCounter) -> FastPathConnection {
        let lookups =
            self.0.clone().map(|Inner { responses, busy_poll, partial_timeout, observer }| Lookups {
                tracker: ExchangeTracker::new(responses),
                busy_poll,
                requests: requests.clone(),
                partial_timeout,
                observer,
            });
        FastPathConnection { requests, lookups }
    }
}

impl FastPathConnection {
    /// Wraps the connection's socket, for hyper to read and write.
    pub(crate) fn stream<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> FastPathStream<S> {
        FastPathStream::new(socket, self.lookups.clone())
    }

    /// Begins a request that hyper has parsed the head of.
    pub(crate) fn begin_request(&self) -> RequestInFlight {
        let tracker = self.lookups.as_ref().map(|lookups| lookups.tracker.clone());
        RequestInFlight { tracker, guard: self.requests.begin_request() }
    }
}

impl RequestInFlight {
    /// Ends the request: hyper gets the reply next.
    pub(crate) fn end(self, exchange: Exchange<'_>) {
        self.guard.end(exchange.reply.status());
        if let Some(tracker) = self.tracker {
            tracker.record_reply(exchange);
        }
    }

    /// Ends a request whose reply, of this status, is never repeated.
    pub(crate) fn end_unrepeatable(self, status: StatusCode) {
        self.guard.end(status);
    }
}
