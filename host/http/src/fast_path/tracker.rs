//! Tracks how much of each request and response hyper holds, to find when a connection is idle.
//!
//! ```text
//! start --> Request --(parsed, reply ready)--> Response --(written)--> Idle --(hit, or part of a request)--> Idle
//!              ^                                                        |
//!              +--------------(a request that hyper parses)-------------+
//! anything unclear --> Untracked, until the connection closes
//! ```
//!
//! hyper may hold bytes that it has read and not parsed, or has to write and hasn't. The tracker
//! counts them. A request is over when hyper has parsed it to its end and has read no more bytes
//! than its length. A response is over when hyper has written its head, up to the empty line, and
//! as many bytes as its body has.
//!
//! Invariant: in `Idle`, hyper holds no byte of any request or response. If that is uncertain, the
//! connection is `Untracked`.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, header};
use http_body::Body;
use nebula_runtime::RepeatableAnswer;
use nebula_telemetry::trace::Tracer;

use super::cached_response::WrittenResponse;
use super::cached_responses::{CachedResponses, ExpectedResponse, Hit, Lookup, ParsedRequest, ReplyToCache};
use crate::problem::Reply;

/// The longest request, head and body, that gets a cached response, bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 72 * 1024;

/// The longest request that is copied while hyper reads it in parts, bytes. Longer ones aren't
/// cached.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// The memory for a request's bytes that a connection keeps between two requests, bytes.
const BUFFER_BYTES_KEPT: usize = 512;

/// The tracker of one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct ExchangeTracker(Arc<Inner>);

struct Inner {
    responses: CachedResponses,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The number of bytes that hyper has read of the current request.
    request_bytes: usize,
    /// A copy of the first of them, up to [`COPY_BYTES_MAX`]; only the head, if the request came
    /// whole.
    copy: Vec<u8>,
    /// The current request, if it came whole.
    parsed: Option<ParsedRequest>,
}

/// The bytes that arrived on an idle connection.
pub(super) enum Arrival {
    /// A request with a cached response.
    Hit(Hit),
    /// The first part of a request of `total` bytes, which may have a cached response. The tracker
    /// is still idle.
    Partial { total: usize },
    /// Anything else. hyper has to read the bytes.
    ForHyper,
}

/// A request with its reply.
pub(crate) struct Exchange<'a> {
    pub(crate) request_headers: &'a HeaderMap,
    /// Set if hyper has parsed the request to its end.
    pub(crate) is_parsed: bool,
    pub(crate) reply: &'a Reply,
    /// The cached result that the reply was made from, if any.
    pub(crate) result: Option<RepeatableAnswer>,
}

#[derive(Default)]
enum Phase {
    /// hyper is reading a request, or the connection is new.
    #[default]
    Request,
    /// The request is over. The next bytes that hyper writes are its response.
    Response(PendingResponse),
    /// hyper holds nothing.
    Idle,
    /// hyper may hold any bytes.
    Untracked,
}

/// A response that hyper is about to write.
struct PendingResponse {
    /// The bytes that hyper should write, if they can be cached.
    expected: Option<ExpectedResponse>,
    body_bytes: usize,
    /// The bytes left to write. `None` until hyper has written the head.
    left: Option<usize>,
}

impl ExchangeTracker {
    pub(super) fn new(responses: CachedResponses) -> Self {
        Self(Arc::new(Inner { responses, state: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tracer, if requests are traced.
    pub(super) fn tracer(&self) -> Option<&Tracer> {
        self.0.responses.tracer()
    }

    /// Returns whether the next byte begins a request.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.lock().phase, Phase::Idle)
    }

    /// Records the bytes that arrived on an idle connection, and looks up the response if
    /// `may_hit`.
    pub(super) fn record_arrival(&self, bytes: &[u8], may_hit: bool) -> Arrival {
        let mut state = self.lock();
        // hyper handles the end of the stream.
        if bytes.is_empty() || !matches!(state.phase, Phase::Idle) {
            state.count_read(bytes);
            return Arrival::ForHyper;
        }
        let lookup = if may_hit { self.0.responses.lookup(bytes) } else { Lookup::Unsupported };
        match lookup {
            Lookup::Hit(hit) => return Arrival::Hit(hit),
            Lookup::Partial { total } if total <= REQUEST_BYTES_MAX => return Arrival::Partial { total },
            Lookup::Miss(parsed) => {
                if parsed.key.is_some() {
                    state.copy.extend_from_slice(&bytes[..parsed.length.head]);
                }
                state.parsed = Some(parsed);
            }
            Lookup::Partial { .. } | Lookup::Unsupported => state.copy(bytes),
        }
        (state.phase, state.request_bytes) = (Phase::Request, bytes.len());
        Arrival::ForHyper
    }

    /// Records bytes that hyper has read.
    pub(super) fn record_read(&self, bytes: &[u8]) {
        self.lock().count_read(bytes);
    }

    /// Records the reply that hyper gets next.
    pub(super) fn record_reply(&self, Exchange { request_headers, is_parsed, reply, result }: Exchange<'_>) {
        let mut state = self.lock();
        let is_clear = is_parsed && matches!(state.phase, Phase::Request);
        let parsed = if is_clear { self.parsed_request(&mut state) } else { None };
        let parsed = parsed.filter(|parsed| parsed.length.total() == Some(state.request_bytes));
        let body_bytes = reply.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let (Some(ParsedRequest { length, key }), Some(body_bytes)) = (parsed, body_bytes) else {
            return state.stop_tracking();
        };
        let result = result.filter(|result| !result.sees_headers() || !has_credentials(request_headers));
        let expected = key.zip(result).and_then(|(key, result)| {
            let head = &state.copy[..length.head];
            self.0.responses.expect(key, ReplyToCache { request_head: head, reply, result })
        });
        state.phase = Phase::Response(PendingResponse { expected, body_bytes, left: None });
    }

    fn parsed_request(&self, state: &mut State) -> Option<ParsedRequest> {
        state.parsed.take().or_else(|| self.0.responses.parse(&state.copy))
    }

    /// Records a write by hyper of the first `accepted` bytes of `pieces`. The first piece of a
    /// response is its head.
    pub(super) fn record_write(&self, pieces: &[IoSlice<'_>], accepted: usize) {
        let mut state = self.lock();
        match &mut state.phase {
            Phase::Request | Phase::Untracked => {}
            Phase::Idle => state.stop_tracking(),
            Phase::Response(response) => match response.left_after(pieces, accepted) {
                Some(0) => {
                    if let Some(expected) = response.expected.take_if(|expected| expected.is_in(pieces)) {
                        self.0.responses.insert(expected);
                    }
                    state.become_idle();
                }
                Some(left) => response.left = Some(left),
                None => state.stop_tracking(),
            },
        }
    }
}

impl PendingResponse {
    /// Returns the bytes left after a write of the first `accepted` bytes of `pieces`, or `None` if
    /// the write was longer than the response.
    fn left_after(&self, pieces: &[IoSlice<'_>], accepted: usize) -> Option<usize> {
        let total = || Some(memchr::memmem::find(pieces.first()?, b"\r\n\r\n")? + 4 + self.body_bytes);
        self.left.or_else(total)?.checked_sub(accepted)
    }
}

impl ExpectedResponse {
    /// Returns whether these pieces are the whole response: its head, and its body if it has one.
    fn is_in(&self, pieces: &[IoSlice<'_>]) -> bool {
        let written = match pieces {
            [head] => WrittenResponse { head, body: b"" },
            [head, body] => WrittenResponse { head, body },
            _ => return false,
        };
        self.matches(written)
    }
}

impl State {
    /// Counts bytes that hyper has read.
    fn count_read(&mut self, bytes: &[u8]) {
        match self.phase {
            _ if bytes.is_empty() => {}
            Phase::Request => {
                self.request_bytes = self.request_bytes.saturating_add(bytes.len());
                self.copy(bytes);
            }
            Phase::Idle | Phase::Response(_) | Phase::Untracked => self.stop_tracking(),
        }
    }

    /// Copies bytes of a request that comes in parts, as far as there is room.
    fn copy(&mut self, bytes: &[u8]) {
        let room = COPY_BYTES_MAX.saturating_sub(self.copy.len());
        self.copy.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn become_idle(&mut self) {
        (self.phase, self.request_bytes, self.parsed) = (Phase::Idle, 0, None);
        self.copy.clear();
        // An idle connection doesn't keep the memory of one large request.
        self.copy.shrink_to(BUFFER_BYTES_KEPT);
    }

    fn stop_tracking(&mut self) {
        (self.phase, self.copy, self.parsed) = (Phase::Untracked, Vec::new(), None);
    }
}

/// Returns whether the headers identify the client. A function that sees them may answer to the
/// client alone, and credentials aren't kept in memory.
fn has_credentials(headers: &HeaderMap) -> bool {
    let credentials = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    credentials.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_ends_with_its_body() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let (short, long) = (head.len(), head.len() + 9);
        let left = |response: &mut PendingResponse, pieces: &[&[u8]], accepted| {
            let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            response.left = response.left_after(&pieces, accepted);
            response.left
        };
        let response = |body_bytes| PendingResponse { expected: None, body_bytes, left: None };
        assert_eq!(left(&mut response(0), &[head], short), Some(0));
        assert_eq!(left(&mut response(9), &[head, b"a\r\n\r\nbody"], long), Some(0));
        assert_eq!(left(&mut response(0), &[head, b"more"], short + 1), None);
        assert_eq!(left(&mut response(0), &[b"HTTP/1.1 200 OK"], 3), None);
        assert_eq!(left(&mut response(0), &[], 0), None);
        let mut parts = response(9);
        assert_eq!(left(&mut parts, &[head, b"a\r\n\r\nbody"], 4), Some(long - 4));
        assert_eq!(left(&mut parts, &[&head[4..], b"a\r\n\r\nbody"], short), Some(5));
        assert_eq!(left(&mut parts, &[b"body"], 4), Some(1));
        assert_eq!(left(&mut parts, &[b"too much"], 2), None);
    }
}
