//! What every answer of a function carries.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use nebula_meter::CallCost;
use nebula_runtime::id::Selector;
use nebula_runtime::{Content, Function};

use crate::body::text;
use crate::problem::Reply;

const NEBULA_FUNCTION: HeaderName = HeaderName::from_static("nebula-function");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Headers that belong to a connection and are never a function's to set (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What of the request decides how its answer is sent.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) selector: Selector,
    if_none_match: Option<String>,
}

impl Asked {
    pub(crate) fn new(method: Method, selector: Selector, headers: &HeaderMap) -> Self {
        let if_none_match = text(headers, header::IF_NONE_MATCH).map(str::to_owned);
        Self { method, selector, if_none_match }
    }

    fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "QUERY")
    }
}

/// A value, or the function's own error, with status `status`.
pub(crate) fn content(
    asked: &Asked,
    function: &Function,
    cost: &CallCost,
    status: StatusCode,
    content: Content,
) -> Reply {
    let mut response = Response::new(content.body);
    *response.status_mut() = status;
    // A guest's media type may be any text; what can't stand in a header is bytes.
    let media_type = HeaderValue::try_from(content.media_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    finish(asked, function, cost, response)
}

/// A response of a function of the http form.
pub(crate) fn response(
    asked: &Asked,
    function: &Function,
    cost: &CallCost,
    mut response: Response<Bytes>,
) -> Reply {
    let headers = response.headers_mut();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_LENGTH);
    finish(asked, function, cost, response)
}

fn finish(asked: &Asked, function: &Function, cost: &CallCost, response: Response<Bytes>) -> Reply {
    let (mut parts, body) = response.into_parts();
    let cacheable = parts.status == StatusCode::OK || parts.status == StatusCode::UNPROCESSABLE_ENTITY;
    let headers = &mut parts.headers;
    provenance(headers, function, cost);
    if cacheable {
        let policy = match asked.selector {
            Selector::Digest(_) => "public, max-age=31536000, immutable",
            Selector::Current | Selector::Version(_) => "public, no-cache",
        };
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(policy));
        if !headers.contains_key(header::ETAG) {
            let etag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
            let matches = asked.is_safe()
                && asked.if_none_match.as_deref().is_some_and(|candidates| names(candidates, &etag));
            if let Ok(etag) = HeaderValue::try_from(etag) {
                headers.insert(header::ETAG, etag);
            }
            if matches && parts.status == StatusCode::OK {
                parts.status = StatusCode::NOT_MODIFIED;
                headers.remove(header::CONTENT_TYPE);
                return Response::from_parts(parts, Full::default());
            }
        }
    }
    Response::from_parts(parts, Full::new(body))
}

/// Which function answered, and how long it took; also on errors.
pub(crate) fn provenance(headers: &mut HeaderMap, function: &Function, cost: &CallCost) {
    let record = &function.record;
    let which = format!("{}@{}; digest={}", record.name, record.version, record.digest);
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let timing = format!(
        "queue;dur={:.3}, start;dur={:.3}, run;dur={:.3}",
        ms(cost.queue),
        ms(cost.start),
        ms(cost.run)
    );
    for (name, value) in [(NEBULA_FUNCTION, which), (SERVER_TIMING, timing)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    // Nothing is remembered here: every answer was forwarded to the function (RFC 9211 §2.2).
    headers.insert(CACHE_STATUS, HeaderValue::from_static("nebula; fwd=bypass"));
}

/// Whether an `If-None-Match` names `etag`; compared weakly, as RFC 9110 §13.1.2 says.
fn names(candidates: &str, etag: &str) -> bool {
    candidates
        .split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn entity_tags_are_compared_weakly() {
        assert!(names("\"a\", W/\"b\"", "\"b\""));
        assert!(names("*", "\"b\""));
        assert!(!names("\"a\"", "\"b\""));
        assert!(!names("b", "\"b\""));
    }
}
