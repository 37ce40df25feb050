//! The compression of answers: whether an answer is worth it, and where it happens.
//!
//! Answers up to [`INLINE_BYTES_MAX`] are compressed on the serving thread, in less than a
//! millisecond, like a call on the fast lane. Longer ones are compressed beside the compute lane.
//! `accept_encoding` chooses the coding.
//!
//! Invariant: whether an answer is compressed depends on the request and on the answer's own head and
//! length, never on load. So the same request always gets the same bytes, and `answer` can tell the
//! entity tag of the compressed content without compressing it.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use nebula_runtime::Shard;

use crate::coding::Coding;
use crate::problem::Reply;
use crate::status;

/// The operator's switch for the compression of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    On,
    Off,
}

/// The shortest body that is compressed, bytes. A shorter one fits a packet as it is.
const BYTES_MIN: usize = 1024;

/// The longest body that is compressed on a serving thread, bytes.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// A response that is sent in `coding`, which its head has already, or as it is.
pub(crate) struct Encodable {
    pub(crate) response: Response<Bytes>,
    pub(crate) coding: Option<Coding>,
}

impl Encodable {
    /// Encodes the response.
    pub(crate) async fn encode(self, shard: &Shard) -> Reply {
        let Self { response, coding } = self;
        match coding {
            None => response.map(Full::new),
            // Boxed, because few answers are compressed here: most are on the cached fast path.
            Some(coding) => Box::pin(encode(shard, response, coding)).await,
        }
    }
}

async fn encode(shard: &Shard, response: Response<Bytes>, coding: Coding) -> Reply {
    let (parts, body) = response.into_parts();
    let coded = if body.len() <= INLINE_BYTES_MAX {
        coding.encode(&body)
    } else {
        let aside = shard.run_aside(move || coding.encode(&body)).await;
        aside.unwrap_or_else(|| Err(std::io::Error::other("compressing the answer failed")))
    };
    match coded {
        Ok(coded) => Response::from_parts(parts, Full::new(coded.into())),
        Err(error) => status::internal(&error).into_reply(),
    }
}

/// Returns whether clients that ask for it get this response, with a body of this length,
/// compressed.
pub(crate) fn is_worth_it(parts: &Parts, bytes: usize) -> bool {
    let headers = &parts.headers;
    bytes >= BYTES_MIN
        && headers.get(header::CONTENT_TYPE).is_some_and(is_compressible)
        // The response of a function of the http form may be encoded already, or be a part of
        // content, whose position refers to the whole.
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && parts.status != StatusCode::PARTIAL_CONTENT
        && !forbids_transform(headers)
}

/// Returns whether the function said `no-transform` (RFC 9111 §5.2.2.6).
fn forbids_transform(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case("no-transform"))
}

/// Returns whether content of this media type is usually text. Images, archives and the like are
/// compressed already.
fn is_compressible(media_type: &HeaderValue) -> bool {
    let text = media_type.as_bytes();
    let essence = text.split(|byte| *byte == b';').next().unwrap_or(text).trim_ascii();
    let begins = |start: &[u8]| essence.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    let ends = |end: &[u8]| {
        essence.len().checked_sub(end.len()).is_some_and(|at| essence[at..].eq_ignore_ascii_case(end))
    };
    let other = [
        "application/json",
        "application/javascript",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "application/wasm",
    ];
    begins(b"text/")
        || [&b"+json"[..], b"+xml", b"+yaml", b"+text"].into_iter().any(ends)
        || other.iter().any(|other| essence.eq_ignore_ascii_case(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(bytes: usize, status: u16, headers: &[(&'static str, &'static str)]) -> bool {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (parts, body) = response.body(Bytes::from(vec![b'x'; bytes])).unwrap().into_parts();
        is_worth_it(&parts, body.len())
    }

    #[test]
    fn long_text_is_worth_compressing() {
        for (media_type, expected) in [
            ("text/plain; charset=utf-8", true),
            ("Text/HTML", true),
            ("application/json", true),
            ("application/JSON;x=y", true),
            ("application/geo+json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("application/octet-stream", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/gzip", false),
            ("application/jsonlike", false),
            ("textual/plain", false),
            ("", false),
        ] {
            assert_eq!(worth(BYTES_MIN, 200, &[("content-type", media_type)]), expected, "{media_type}");
        }
        assert!(!worth(BYTES_MIN - 1, 200, &[("content-type", "text/plain")]));
        assert!(!worth(BYTES_MIN, 200, &[]));
        assert!(worth(BYTES_MIN, 422, &[("content-type", "application/json")]));
    }

    #[test]
    fn responses_of_functions_stay_as_they_have_to_be() {
        for (status, name, value) in [
            (200, "content-encoding", "gzip"),
            (200, "content-encoding", "identity"),
            (200, "cache-control", "public, No-Transform"),
            (200, "content-range", "bytes 0-9/10"),
            (206, "x", "y"),
        ] {
            assert!(
                !worth(9999, status, &[("content-type", "text/plain"), (name, value)]),
                "{name}: {value}"
            );
        }
        assert!(worth(9999, 200, &[("content-type", "text/plain"), ("cache-control", "no-cache")]));
    }
}
