//! Documents: the input of a call as bytes that can be stored, hashed, and used to repeat the call.
//!
//! Invariant: a document and its kind of request recreate the same call, byte for byte.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use nebula_model::id::Digest;
use nebula_model::request::Request;

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
            document.extend(b"\r\n");
            document.extend(request.body());
            Cow::Owned(document)
        }
    }
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
    let wrong = |error: &dyn std::fmt::Display| DocumentError::Http(error.to_string());
    let mut rest = document;
    let mut line = || {
        let end = rest
            .windows(2)
            .position(|bytes| bytes == b"\r\n")
            .ok_or_else(|| wrong(&"its head doesn't end"))?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        Ok(line)
    };
    let first = std::str::from_utf8(line()?).map_err(|error| wrong(&error))?;
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong(&"its first line isn't one"));
    };
    let mut request = http::Request::builder().method(method).uri(path);
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let colon = line.windows(2).position(|bytes| bytes == b": ");
        let colon = colon.ok_or_else(|| wrong(&"a line of its head has no name"))?;
        request = request.header(&line[..colon], &line[colon + 2..]);
    }
    request.body(Bytes::copy_from_slice(rest)).map_err(|error| wrong(&error))
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

    proptest! {
        #[test]
        fn a_document_makes_the_same_call(
            media_type: Option<String>,
            body: Vec<u8>,
            pairs: Vec<(String, String)>,
            method in "GET|HEAD|POST|QUERY|PURGE",
            path in "/[a-z0-9%/]{0,20}(\\?[a-z0-9=&]{0,10})?",
            headers in proptest::collection::vec(("[a-z][a-z-]{0,10}", "[ -~\u{80}-\u{ff}]{0,10}"), 0..10),
        ) {
            let mut http = http::Request::builder().method(method.as_str()).uri(path);
            for (name, value) in headers {
                http = http.header(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let http = http.body(Bytes::from(body.clone())).unwrap();
            for asked in [
                Request::Payload { media_type, body: body.into() },
                Request::Query(pairs),
                Request::Http(Arc::new(http)),
            ] {
                prop_assert_eq!(format!("{:?}", again(&asked)), format!("{asked:?}"));
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
