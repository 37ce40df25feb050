//! The parts of a request that the access log and a span show.
//!
//! A request that got a cached response is parsed here a second time, because its key doesn't have
//! them. That happens only on a server with an access log, and for a hit that is traced.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::spans::TRACESTATE;
use crate::status::HEADERS_MAX;
use crate::trace_context::TRACEPARENT;

/// The headers that are shown.
const SHOWN: [HeaderName; 4] = [header::USER_AGENT, header::REFERER, TRACEPARENT, TRACESTATE];

/// The parts of a request of HTTP/1.1.
pub(super) struct ParsedRequest {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// Those that are shown.
    pub(super) headers: HeaderMap,
    /// The length of the body.
    pub(super) body_bytes: usize,
}

impl ParsedRequest {
    /// Parses a request that the fast path has parsed before, so that it succeeds.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut headers).ok()?;
        let httparse::Status::Complete(head_bytes) = parsed else { return None };
        let mut shown = HeaderMap::new();
        for line in &*request.headers {
            let is_called = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str());
            if let Some(name) = SHOWN.into_iter().find(is_called)
                && let Ok(value) = HeaderValue::from_bytes(line.value)
            {
                shown.append(name, value);
            }
        }
        Some(Self {
            method: Method::from_bytes(request.method?.as_bytes()).ok()?,
            uri: request.path?.parse().ok()?,
            headers: shown,
            body_bytes: bytes.len() - head_bytes,
        })
    }
}
