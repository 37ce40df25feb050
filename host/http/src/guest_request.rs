//! The headers and trailers of a request that a function of the http form sees.
//!
//! A call is identified by everything that its function sees. So headers that name the journey of a
//! request rather than its content are hidden: those of the connection, of proxies and of traces.
//! Two requests that differ in them are the same call. The cookie of a session of the console is an
//! operator's, and hidden too.

use http::{HeaderMap, HeaderValue, header};

use crate::compression::Compression;
use crate::etag;
use crate::preference::{self, PREFER};
use crate::session_cookie;
use crate::trailers;

/// Headers that belong to the connection (RFC 9110 §7.6.1). wasi:http hides them too.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that proxies and tracing add on the way. So do all that begin with [`FORWARDED_PREFIX`].
const OF_JOURNEY: [&str; 8] = [
    "baggage",
    "forwarded",
    "traceparent",
    "tracestate",
    "via",
    "x-correlation-id",
    "x-real-ip",
    "x-request-id",
];

const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Returns whether functions see a header of this name.
fn is_hidden(name: &str) -> bool {
    OF_CONNECTION.contains(&name) || OF_JOURNEY.contains(&name) || name.starts_with(FORWARDED_PREFIX)
}

/// Returns the headers that a guest sees, in their order. Removing entries from the map would
/// reorder others, and so make it a different call.
pub(crate) fn visible_headers(headers: &HeaderMap, compression: Compression) -> HeaderMap {
    let mut visible = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if is_hidden(name.as_str()) {
            continue;
        }
        match *name {
            // HTTP/2 may split the field (RFC 9113 §8.2.3).
            header::COOKIE if visible.contains_key(name) => {}
            header::COOKIE => {
                if let Some(cookies) = joined_cookies(headers) {
                    visible.append(name, cookies);
                }
            }
            // A transfer coding belongs to the connection. Trailers go end to end.
            header::TE => {
                if !visible.contains_key(name) && trailers::are_accepted(headers) {
                    visible.append(name, HeaderValue::from_static("trailers"));
                }
            }
            // The host chooses the coding, and the call is the same in each.
            header::ACCEPT_ENCODING if compression == Compression::On => {}
            header::IF_NONE_MATCH | header::IF_MATCH if compression == Compression::On => {
                visible.append(name, etag::without_codings(value).into_owned());
            }
            ref name if name == PREFER => {
                if let Some(value) = preference::without_receipt(value) {
                    visible.append(name, value);
                }
            }
            ref name => drop(visible.append(name, value.clone())),
        }
    }
    visible
}

/// Returns the trailers that a guest sees, in their order.
pub(crate) fn visible_trailers(fields: HeaderMap) -> HeaderMap {
    let mut visible = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| !is_hidden(name.as_str())) {
        visible.append(name, value.clone());
    }
    visible
}

/// Returns all lines of `Cookie` as one, or `None` if only a session of the console is there.
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let lines: Vec<_> = lines.filter_map(session_cookie::without).collect();
    let joined = (!lines.is_empty()).then(|| lines.join(&b"; "[..]));
    // Parts of valid values, with valid characters between them, are valid.
    joined.map(|joined| HeaderValue::try_from(joined).unwrap_or(HeaderValue::from_static("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(lines: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        visible_headers(&headers, Compression::Off)
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn headers_of_the_journey_are_hidden() {
        for name in OF_CONNECTION.into_iter().chain(OF_JOURNEY).chain(["x-forwarded-for", "x-forwarded-x"]) {
            assert!(visible(&[(name, "a")]).is_empty(), "{name}");
        }
        for name in ["x-forwardedness", "x-trace", "x-own", "authorization", "host", "trailer"] {
            assert_eq!(visible(&[(name, "a")]), [(name.to_owned(), "a".to_owned())], "{name}");
        }
    }

    #[test]
    fn cookies_are_one_field() {
        let found = visible(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let expected = [("cookie", "a=1; b=2; c=3"), ("x", "y")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// A function could answer with it, and so show an operator's session to a page.
    #[test]
    fn the_session_of_the_console_is_hidden() {
        let found = visible(&[("cookie", "nebula_session=x; a=1"), ("cookie", "nebula_session=y")]);
        assert_eq!(found, [("cookie".to_owned(), "a=1".to_owned())]);
        assert!(visible(&[("cookie", "nebula_session=x"), ("cookie", "nebula_session=y")]).is_empty());
    }

    #[test]
    fn of_te_only_trailers_remain() {
        let trailers = [("te".to_owned(), "trailers".to_owned())];
        assert_eq!(visible(&[("te", "gzip, trailers")]), trailers);
        assert_eq!(visible(&[("te", "gzip"), ("te", "trailers")]), trailers);
        assert!(visible(&[("te", "gzip")]).is_empty());
    }
}
