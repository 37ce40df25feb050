//! A response in the bytes that hyper writes, except for its age and date.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Body;
use nebula_runtime::RepeatableAnswer;

use crate::problem::Reply;

/// The longest head, bytes. Only the heads that functions make themselves can be longer.
const HEAD_BYTES_MAX: usize = 2 * 1024;

/// The longest body, bytes. For longer ones, parsing the request is a small part of the cost of a
/// hit.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An HTTP date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) type HttpDate = [u8; HTTP_DATE_BYTES];

pub(super) const HTTP_DATE_BYTES: usize = 29;

/// A response that can be sent again with a new age and date.
pub(super) struct CachedResponse {
    /// The result that the response was made from. The runtime decides whether it is still valid.
    result: RepeatableAnswer,
    /// From the status line to `age: `.
    head_before_age: Box<[u8]>,
    /// From the end of the age to `date: `.
    head_before_date: Box<[u8]>,
    /// Shared with the result cache as long as the result is there.
    body: Bytes,
}

/// A response that hyper has written.
#[derive(Clone, Copy)]
pub(super) struct WrittenResponse<'a> {
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
}

impl CachedResponse {
    /// Renders a reply as hyper does: the headers in their order; then `Content-Length`, if the
    /// reply has none and the status allows it (RFC 9110 §8.6); then `Date`.
    ///
    /// Returns `None` if the reply has no `Age`, if it has a `Date` of its own, or if it is too
    /// long.
    pub(super) fn new(reply: &Reply, result: RepeatableAnswer) -> Option<Self> {
        // hyper doesn't replace a date that a function sets.
        if !reply.headers().contains_key(header::AGE) || reply.headers().contains_key(header::DATE) {
            return None;
        }
        let status = reply.status();
        let mut lines =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).into_bytes();
        let mut head_before_age = None;
        for (name, value) in reply.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            match *name {
                header::AGE => head_before_age = Some(std::mem::take(&mut lines)),
                _ => lines.extend_from_slice(value.as_bytes()),
            }
            lines.extend_from_slice(b"\r\n");
        }
        let (head_before_age, body) = (head_before_age?, body(reply)?);
        let has_no_length = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !has_no_length && !reply.headers().contains_key(header::CONTENT_LENGTH) {
            lines.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        lines.extend_from_slice(b"date: ");
        if head_before_age.len() + lines.len() > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
            return None;
        }
        Some(Self { result, head_before_age: head_before_age.into(), head_before_date: lines.into(), body })
    }

    /// Returns the result that the response was made from.
    pub(super) fn result(&self) -> &RepeatableAnswer {
        &self.result
    }

    /// Returns the approximate memory that the response takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.head_before_age.len() + self.head_before_date.len() + self.body.len()
    }

    /// Returns the body. It shares memory with the response.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Appends the head with this age and date to `head`.
    pub(super) fn write_head(&self, age_s: u64, date: &HttpDate, head: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let age = digits.format(age_s).as_bytes();
        for part in [&self.head_before_age, age, &self.head_before_date, date, b"\r\n\r\n"] {
            head.extend_from_slice(part);
        }
    }

    /// Returns whether this response was written, at any age and date.
    pub(super) fn matches(&self, WrittenResponse { head, body }: WrittenResponse<'_>) -> bool {
        let after_age = head.strip_prefix(&self.head_before_age[..]).map(|rest| {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[digits..]
        });
        let date = after_age.and_then(|rest| rest.strip_prefix(&self.head_before_date[..]));
        date.and_then(|date| date.get(HTTP_DATE_BYTES..)) == Some(b"\r\n\r\n") && body == self.body
    }
}

/// Returns the body of a reply, if it is complete already.
fn body(reply: &Reply) -> Option<Bytes> {
    let mut body = reply.body().clone();
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        Poll::Ready(None) => Some(Bytes::new()),
        Poll::Ready(Some(Err(_))) | Poll::Pending => None,
    }
}
