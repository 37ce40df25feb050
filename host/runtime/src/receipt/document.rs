//! An input as bytes that can be kept, hashed, and called with again.
//!
//! Invariant: a document and how it came make the same call again, byte for byte.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use nebula_model::id::Digest;
use nebula_model::request::Request;

use super::InputKind;

/// Why a document is no input.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its digest isn't the receipt's.
    #[error("this input is {found}, and the receipt is of {expected}")]
    Another {
        /// The receipt's.
        expected: Digest,
        /// Its own.
        found: Digest,
    },
    /// It isn't an array of pairs.
    #[error("the input is no list of query parameters")]
    Query(#[source] serde_json::Error),
    /// It isn't `message/http`.
    #[error("the input is no HTTP request: {0}")]
    Http(String),
}

/// A call's input as bytes.
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

/// `name: value` and CRLF each, in the order in which they are there.
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

/// The call that a document is the input of.
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

/// Line by line, as [`document`] writes it: a parser of HTTP would take away the blanks around a value, which HTTP/2 lets through.
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
