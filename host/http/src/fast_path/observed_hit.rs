//! Tells the observers of a request that got a cached response. Runs only on a server that has some.

use std::time::Instant;

use http::{HeaderValue, Version, header};

use super::cached_responses::Hit;
use super::parsed_request::ParsedRequest;
use crate::observe::{ConnectionObserver, ObservedAnswer, ObservedFunction, ObservedRequest, ObservedSource};
use crate::trace_context;

/// Tells the observers of `request`, which arrived at this time and is about to be answered with
/// `hit`.
pub(super) fn tell(observer: &ConnectionObserver, request: &[u8], hit: &mut Hit, arrived: Instant) {
    let (status, took) = (hit.response().status(), arrived.elapsed());
    observer.tell(|| observed(request), took, Some(status), || Some(answer(hit)));
}

fn observed(bytes: &[u8]) -> Option<ObservedRequest> {
    let ParsedRequest { method, uri, headers, body_bytes } = ParsedRequest::of(bytes)?;
    Some(ObservedRequest {
        method,
        target: uri.path_and_query().cloned(),
        version: Version::HTTP_11,
        bytes: Some(body_bytes as u64),
        user_agent: headers.get(header::USER_AGENT).cloned(),
        referer: headers.get(header::REFERER).cloned(),
        trace_id: trace_context::of(&headers).map(|trace| trace.trace_id),
    })
}

fn answer(hit: &mut Hit) -> ObservedAnswer {
    let request_id = HeaderValue::from_bytes(hit.request_id()).ok();
    let trace_id = hit.span().map(|span| span.trace_id);
    let response = hit.response();
    let version = response.result().version();
    ObservedAnswer {
        status: response.status(),
        bytes: Some(response.body().len() as u64),
        request_id,
        trace_id,
        function: Some(ObservedFunction {
            name: version.name.to_string(),
            version: version.version.to_string(),
        }),
        source: Some(ObservedSource::Hit),
        phases: None,
        token: None,
        problem: None,
    }
}
