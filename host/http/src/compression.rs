//! The compression of answers: whether an answer is worth it, and where it happens.
//!
//! Answers up to [`INLINE_BYTES_MAX`] are compressed on the serving thread, in less than a
//! millisecond, like a call on the fast lane. Longer ones are compressed beside the compute lane.
//! `accept_encoding` chooses the coding.
//!
//! The compressed content of a cached result is kept (`compressed_contents`), and sent again.
//!
//! Invariants:
//! * Whether an answer should be compressed depends on the request and on the answer's own head and
//!   length alone. So `answer` can tell the entity tag of the compressed content without compressing
//!   it.
//! * Compression is an optimisation: an answer that finds no thread in [`PATIENCE`] is sent as it is,
//!   with the head of that. The cached fast path doesn't keep such an answer.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use nebula_runtime::{NotRun, Shard};

use crate::coding::Coding;
use crate::compressed_contents::{CompressedContents, ContentKey};
use crate::etag::EntityTag;
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

/// The longest time for which an answer waits for a thread that compresses it. On most networks it
/// arrives sooner as it is.
const PATIENCE: Duration = Duration::from_millis(100);

/// A response to send in a coding, or as it is.
pub(crate) struct Encodable {
    pub(crate) response: Response<Bytes>,
    pub(crate) encoding: Option<Encoding>,
}

/// The coding of a response, which its head has already.
pub(crate) struct Encoding {
    pub(crate) coding: Coding,
    /// The tag of the content without the coding.
    pub(crate) plain_etag: Option<EntityTag>,
    /// The hash of the content, if it is that of a cached result.
    pub(crate) cached_hash: Option<[u8; 32]>,
}

/// A reply, encoded.
pub(crate) struct EncodedReply {
    pub(crate) reply: Reply,
    /// Set if the coding is missing only because the host is busy.
    pub(crate) is_makeshift: bool,
}

impl Encodable {
    /// Encodes the response.
    pub(crate) async fn encode(self, shard: &Shard, contents: &CompressedContents) -> EncodedReply {
        let Self { response, encoding } = self;
        match encoding {
            None => EncodedReply { reply: response.map(Full::new), is_makeshift: false },
            // Boxed, because few answers are compressed here: most are on the cached fast path.
            Some(encoding) => Box::pin(encode(shard, contents, response, encoding)).await,
        }
    }
}

async fn encode(
    shard: &Shard,
    contents: &CompressedContents,
    response: Response<Bytes>,
    Encoding { coding, plain_etag, cached_hash }: Encoding,
) -> EncodedReply {
    let (mut parts, body) = response.into_parts();
    let key = cached_hash.map(|hash| ContentKey { hash, coding });
    let kept = key.as_ref().and_then(|key| contents.get(key));
    let sends = |parts, content| EncodedReply {
        reply: Response::from_parts(parts, Full::new(content)),
        is_makeshift: false,
    };
    if let Some(kept) = kept {
        return sends(parts, kept);
    }
    let coded = if body.len() <= INLINE_BYTES_MAX {
        Ok(coding.encode(&body))
    } else {
        let body = body.clone();
        shard.run_aside(PATIENCE, move || coding.encode(&body)).await
    };
    match coded {
        Ok(Ok(coded)) => {
            let coded = Bytes::from(coded);
            if let Some(key) = key {
                contents.insert(key, &coded);
            }
            sends(parts, coded)
        }
        Ok(Err(error)) => EncodedReply { reply: status::internal(&error).into_reply(), is_makeshift: false },
        Err(NotRun::Overloaded | NotRun::Failed) => {
            parts.headers.remove(header::CONTENT_ENCODING);
            if let Some(etag) = plain_etag {
                parts.headers.insert(header::ETAG, etag.into());
            }
            EncodedReply { is_makeshift: true, ..sends(parts, body) }
        }
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
