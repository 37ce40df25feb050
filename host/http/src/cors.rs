//! Calls by pages of other origins (CORS, the Fetch standard): the headers that let a browser show
//! the answer to the page, and the answers to preflights, for which no function runs.
//!
//! A function's own policy takes precedence over the server's. Without either, no header is added,
//! and functions of the http form may answer CORS themselves.
//!
//! Invariant: an answer that depends on `Origin` says so in `Vary`, also to requests without it.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use nebula_runtime::{Cors, Form};

use crate::input;
use crate::problem::Reply;

/// The headers of answers that Nebula makes and that a page may read. Those of the Fetch standard's
/// safelist need no mention.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "age, allow, cache-status, etag, nebula-failed-step, nebula-function, nebula-receipt, preference-applied, \
     retry-after, server-timing, x-request-id",
);

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The request headers that decide the answer to a preflight, besides `Origin`.
const PREFLIGHT_VARIES: HeaderValue =
    HeaderValue::from_static("access-control-request-method, access-control-request-headers");

/// Returns the methods that a preflight allows.
pub(crate) fn methods(form: Form, requested: &HeaderValue) -> HeaderValue {
    match form {
        // A function of the http form sees every method.
        Form::Http => requested.clone(),
        Form::Typed | Form::Raw => HeaderValue::from_static(input::methods(form)),
    }
}

/// Returns the method of the request that a preflight asks about; `None` if this isn't a preflight.
pub(crate) fn preflight_method(parts: &Parts) -> Option<&HeaderValue> {
    let is_preflight = parts.method == Method::OPTIONS && parts.headers.contains_key(header::ORIGIN);
    is_preflight.then(|| parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)).flatten()
}

/// Answers a preflight. [`add_headers`] adds the allowed origin.
pub(crate) fn preflight(cors: &Cors, parts: &Parts, methods: HeaderValue) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::VARY, PREFLIGHT_VARIES);
    let is_allowed = parts.headers.get(header::ORIGIN).is_some_and(|origin| cors.allows(origin.as_bytes()));
    if is_allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        for requested in parts.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.preflight_max_age_s().into());
    }
    reply
}

/// Adds the headers of an answer under this policy to a request with this `Origin`, in place of
/// those that a function has set.
pub(crate) fn add_headers(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    // A cache may give this answer to a page later, so it doesn't depend on the origin.
    if cors.allows_all() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.filter(|origin| cors.allows(origin.as_bytes())) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
