//! Documents: the input of a call as bytes that can be stored, hashed, and used to repeat the call.
//!
//! Invariant: a document and its kind of request recreate the same call, byte for byte.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use nebula_model::id::Digest;
use nebula_model::request::Request;
use nebula_model::trailers;

use super::InputKind;

/// Why a document isn't the input of a call.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The digest of the document isn't the receipt's.
    #[error("this input is {found}, and the receipt is of {expected}")]
    Another {
        /// The digest in the receipt.
        expected: Digest,
        /// The digest of the document.
        found: Digest,
    },
    /// The document isn't an array of pairs.
    #[error("the input is not a list of query parameters")]
    Query(#[source] serde_json::Error),
    /// The document isn't `message/http`.
    #[error("the input is not an HTTP request: {0}")]
    Http(String),
}

/// Returns the document of a call's input.
pub fn document(request: &Request) -> Cow<'_, [u8]> {
    match request {
        Request::Payload { body, .. } => Cow::Borrowed(body),
        #[expect(clippy::expect_used, reason = "strings: there is nothing to refuse")]
        Request::Query(pairs) => Cow::Owned(serde_json::to_vec(pairs).expect("strings serialize")),
        Request::Http(request) => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let mut document = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
            document.extend(header_lines(request.headers()));
            match trailers::of(request.extensions()) {
                None => {
                    document.extend(b"\r\n");
                    document.extend(request.body());
                }
                Some(trailers) => {
                    document.extend(CHUNKED);
                    document.extend(b"\r\n");
                    document.extend(chunks(request.body()));
                    document.extend(header_lines(trailers));
                    document.extend(b"\r\n");
                }
            }
            Cow::Owned(document)
        }
    }
}

/// The header of a document with trailers (RFC 9112 §7.1). A function never sees one of this name,
/// so no other document has it.
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// Returns a body as one chunk, if it isn't empty, and the last chunk.
fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::with_capacity(body.len() + 32);
    if !body.is_empty() {
        chunks.extend(format!("{:x}\r\n", body.len()).as_bytes());
        chunks.extend(body);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n");
    chunks
}

/// Returns the header lines, `name: value` and CRLF each, in their order.
pub(super) fn header_lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.extend(name.as_str().as_bytes());
        lines.extend(b": ");
        lines.extend(value.as_bytes());
        lines.extend(b"\r\n");
    }
    lines
}

/// Recreates the call from the document of its input.
pub(super) fn request(
    kind: InputKind,
    media_type: Option<String>,
    document: &[u8],
) -> Result<Request, DocumentError> {
    match kind {
        InputKind::Payload => Ok(Request::Payload { media_type, body: Bytes::copy_from_slice(document) }),
        InputKind::Query => {
            serde_json::from_slice(document).map(Request::Query).map_err(DocumentError::Query)
        }
        InputKind::Http => http_request(document).map(|request| Request::Http(Arc::new(request))),
    }
}

/// Parses line by line, as [`document`] writes: an HTTP parser would strip blanks around a value,
/// which HTTP/2 permits.
fn http_request(document: &[u8]) -> Result<http::Request<Bytes>, DocumentError> {
    let mut rest = Lines(document);
    let first = std::str::from_utf8(rest.line()?).map_err(|error| wrong(&error))?;
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong(&"its first line isn't one"));
    };
    let request = http::Request::builder().method(method).uri(path);
    let mut headers = rest.fields()?;
    let mut trailers = HeaderMap::new();
    let body = match headers.remove(header::TRANSFER_ENCODING) {
        None => rest.0,
        Some(_) => {
            let body = rest.chunks()?;
            trailers = rest.fields()?;
            body
        }
    };
    let mut request = request.body(Bytes::copy_from_slice(body)).map_err(|error| wrong(&error))?;
    *request.headers_mut() = headers;
    trailers::attach(request.extensions_mut(), trailers);
    Ok(request)
}

fn wrong(error: &dyn std::fmt::Display) -> DocumentError {
    DocumentError::Http(error.to_string())
}

/// The rest of a document.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// Returns the next line, without its end.
    fn line(&mut self) -> Result<&'a [u8], DocumentError> {
        let end = self.0.windows(2).position(|bytes| bytes == b"\r\n");
        let end = end.ok_or_else(|| wrong(&"its head doesn't end"))?;
        let (line, rest) = self.0.split_at(end);
        self.0 = &rest[2..];
        Ok(line)
    }

    /// Returns the fields up to an empty line.
    fn fields(&mut self) -> Result<HeaderMap, DocumentError> {
        let mut fields = HeaderMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.windows(2).position(|bytes| bytes == b": ");
            let colon = colon.ok_or_else(|| wrong(&"a line of its head has no name"))?;
            let name = HeaderName::from_bytes(&line[..colon]).map_err(|error| wrong(&error))?;
            let value = HeaderValue::from_bytes(&line[colon + 2..]).map_err(|error| wrong(&error))?;
            fields.try_append(name, value).map_err(|error| wrong(&error))?;
        }
    }

    /// Returns the body, which [`chunks`] has written.
    fn chunks(&mut self) -> Result<&'a [u8], DocumentError> {
        let size = |line: &[u8]| {
            let digits = std::str::from_utf8(line).ok()?;
            usize::from_str_radix(digits, 16).ok()
        };
        let no_chunk = || wrong(&"its body isn't one chunk");
        let length = size(self.line()?).ok_or_else(no_chunk)?;
        if length == 0 {
            return Ok(&[]);
        }
        let (body, rest) = self.0.split_at_checked(length).ok_or_else(no_chunk)?;
        self.0 = rest.strip_prefix(b"\r\n0\r\n").ok_or_else(no_chunk)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(asked: &Request) -> Request {
        let (kind, media_type) = match asked {
            Request::Payload { media_type, .. } => (InputKind::Payload, media_type.clone()),
            Request::Query(_) => (InputKind::Query, None),
            Request::Http(_) => (InputKind::Http, None),
        };
        request(kind, media_type, &document(asked)).unwrap()
    }

    fn trailers_of(request: &Request) -> Option<&HeaderMap> {
        match request {
            Request::Http(request) => trailers::of(request.extensions()),
            Request::Payload { .. } | Request::Query(_) => None,
        }
    }

    proptest! {
        #[test]
        fn a_document_makes_the_same_call(
            media_type: Option<String>,
            body: Vec<u8>,
            pairs: Vec<(String, String)>,
            method in "GET|HEAD|POST|QUERY|PURGE",
            path in "/[a-z0-9%/]{0,20}(\\?[a-z0-9=&]{0,10})?",
            headers in proptest::collection::vec(("[a-z][a-z-]{0,10}", "[ -~\u{80}-\u{ff}]{0,10}"), 0..10),
            trailers in proptest::collection::vec(("[a-z][a-z-]{0,10}", "[ -~\u{80}-\u{ff}]{0,10}"), 0..4),
        ) {
            let mut http = http::Request::builder().method(method.as_str()).uri(path);
            for (name, value) in headers {
                http = http.header(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let mut http = http.body(Bytes::from(body.clone())).unwrap();
            let mut fields = HeaderMap::new();
            for (name, value) in trailers {
                let name = HeaderName::try_from(name).unwrap();
                fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            trailers::attach(http.extensions_mut(), fields);
            for asked in [
                Request::Payload { media_type, body: body.into() },
                Request::Query(pairs),
                Request::Http(Arc::new(http)),
            ] {
                let again = again(&asked);
                prop_assert_eq!(format!("{again:?}"), format!("{asked:?}"));
                prop_assert_eq!(trailers_of(&again), trailers_of(&asked));
            }
        }

        #[test]
        fn any_bytes_are_an_input_or_an_error(document: Vec<u8>, text: String) {
            for document in [document, text.into_bytes()] {
                for kind in [InputKind::Payload, InputKind::Query, InputKind::Http] {
                    let _ = request(kind, None, &document);
                }
            }
        }
    }
}
