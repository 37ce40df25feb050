//! Tells the observers of a request that got a cached response. Runs only on a server that has some.
//!
//! The request is parsed here a second time: the key doesn't have what an access log shows.

use std::mem::MaybeUninit;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use super::cached_responses::Hit;
use crate::observe::{ConnectionObserver, ObservedAnswer, ObservedFunction, ObservedRequest, ObservedSource};
use crate::status::HEADERS_MAX;
use crate::trace_context::{self, TRACEPARENT};

/// Tells the observers of `request`, which arrived at this time and is about to be answered with
/// `hit`.
pub(super) fn tell(observer: &ConnectionObserver, request: &[u8], hit: &mut Hit, arrived: Instant) {
    let (status, took) = (hit.response().status(), arrived.elapsed());
    observer.tell(|| parse(request), took, Some(status), || Some(answer(hit)));
}

/// Parses a request that the fast path has parsed before, so that it succeeds.
fn parse(bytes: &[u8]) -> Option<ObservedRequest> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers).ok()?;
    let httparse::Status::Complete(head_bytes) = parsed else { return None };
    let mut shown = HeaderMap::new();
    for parsed in &*request.headers {
        let wanted = [header::USER_AGENT, header::REFERER, TRACEPARENT];
        let is_called = |name: &HeaderName| parsed.name.eq_ignore_ascii_case(name.as_str());
        if let Some(name) = wanted.into_iter().find(is_called)
            && let Ok(value) = HeaderValue::from_bytes(parsed.value)
        {
            shown.append(name, value);
        }
    }
    let target = request.path.and_then(|target| target.parse::<Uri>().ok());
    Some(ObservedRequest {
        method: Method::from_bytes(request.method?.as_bytes()).ok()?,
        target: target.and_then(|target| target.path_and_query().cloned()),
        version: Version::HTTP_11,
        bytes: Some((bytes.len() - head_bytes) as u64),
        user_agent: shown.get(header::USER_AGENT).cloned(),
        referer: shown.get(header::REFERER).cloned(),
        trace: trace_context::of(&shown),
    })
}

fn answer(hit: &mut Hit) -> ObservedAnswer {
    let request_id = HeaderValue::from_bytes(hit.request_id()).ok();
    let response = hit.response();
    let version = response.result().version();
    ObservedAnswer {
        status: response.status(),
        bytes: Some(response.body().len() as u64),
        request_id,
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
