//! The span of a request that got a cached response. Runs only for requests that are traced.
//!
//! The request is parsed here a second time: its key doesn't have what a span shows.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use nebula_telemetry::trace::{SpanStart, Tracer};

use super::cached_responses::Hit;
use crate::spans::{RequestFacts, RequestSpan, TRACESTATE};
use crate::status::HEADERS_MAX;

/// Records the span of `request`, which is about to be answered with `hit`.
pub(super) fn record(tracer: &Tracer, start: SpanStart, request: &[u8], hit: &mut Hit) {
    let Some(request) = ParsedRequest::of(request) else { return };
    let ParsedRequest { method, uri, headers } = &request;
    let facts = RequestFacts { method, uri, version: Version::HTTP_11, headers };
    let span = RequestSpan::new(tracer, start, &facts);
    let request_id = String::from_utf8_lossy(hit.request_id()).into_owned();
    let response = hit.response();
    span.end_hit(response.status(), response.result().version(), &request_id);
}

/// The parts of a request that its span shows.
struct ParsedRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl ParsedRequest {
    /// Parses a request that the fast path has parsed before, so that it succeeds.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        request.parse_with_uninit_headers(bytes, &mut headers).ok()?;
        let mut shown = HeaderMap::new();
        for line in &*request.headers {
            let is_called = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str());
            if let Some(name) = [header::USER_AGENT, TRACESTATE].into_iter().find(is_called)
                && let Ok(value) = HeaderValue::from_bytes(line.value)
            {
                shown.append(name, value);
            }
        }
        Some(Self {
            method: Method::from_bytes(request.method?.as_bytes()).ok()?,
            uri: request.path?.parse().ok()?,
            headers: shown,
        })
    }
}
