//! The span of a request that got a cached response. Runs only for requests that are traced.

use http::Version;
use nebula_telemetry::trace::{SpanStart, Tracer};

use super::cached_responses::Hit;
use super::parsed_request::ParsedRequest;
use crate::spans::{RequestFacts, RequestSpan};

/// Records the span of `request`, which is about to be answered with `hit`.
pub(super) fn record(tracer: &Tracer, start: SpanStart, request: &[u8], hit: &mut Hit) {
    let Some(request) = ParsedRequest::of(request) else { return };
    let ParsedRequest { method, uri, headers, body_bytes: _ } = &request;
    let facts = RequestFacts { method, uri, version: Version::HTTP_11, headers };
    let span = RequestSpan::new(tracer, start, &facts);
    let request_id = String::from_utf8_lossy(hit.request_id()).into_owned();
    let response = hit.response();
    span.end_hit(response.status(), response.result().version(), &request_id);
}
