//! A response in the bytes that hyper writes, except for its age, the id of its request and its date.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Body;
use nebula_runtime::RepeatableAnswer;

use crate::problem::Reply;
use crate::request_id::X_REQUEST_ID;

/// The longest head, bytes. Only the heads that functions make themselves can be longer.
const HEAD_BYTES_MAX: usize = 2 * 1024;

/// The longest body, bytes. For longer ones, parsing the request is a small part of the cost of a
/// hit.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An HTTP date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) type HttpDate = [u8; HTTP_DATE_BYTES];

pub(super) const HTTP_DATE_BYTES: usize = 29;

/// A response that can be sent again with a new age, request id and date.
pub(super) struct CachedResponse {
    /// The result that the response was made from. The runtime decides whether it is still valid.
    result: RepeatableAnswer,
    status: StatusCode,
    /// From the status line to `age: `.
    head_before_age: Box<[u8]>,
    /// From the end of the age to `x-request-id: `.
    head_before_id: Box<[u8]>,
    /// From the end of the id to `date: `.
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
    /// Returns `None` if the reply has no `Age`, and no request id after it, or if it is too long.
    pub(super) fn new(reply: &Reply, result: RepeatableAnswer) -> Option<Self> {
        if !reply.headers().contains_key(header::AGE) {
            return None;
        }
        let status = reply.status();
        let mut lines =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).into_bytes();
        let (mut head_before_age, mut head_before_id) = (None, None);
        for (name, value) in reply.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            match *name {
                header::AGE => head_before_age = Some(std::mem::take(&mut lines)),
                ref name if name == X_REQUEST_ID && head_before_age.is_some() => {
                    head_before_id = Some(std::mem::take(&mut lines));
                }
                _ => lines.extend_from_slice(value.as_bytes()),
            }
            lines.extend_from_slice(b"\r\n");
        }
        let (head_before_age, head_before_id, body) = (head_before_age?, head_before_id?, body(reply)?);
        let has_no_length = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !has_no_length && !reply.headers().contains_key(header::CONTENT_LENGTH) {
            lines.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        lines.extend_from_slice(b"date: ");
        let head_bytes = head_before_age.len() + head_before_id.len() + lines.len();
        if head_bytes > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
            return None;
        }
        Some(Self {
            result,
            status,
            head_before_age: head_before_age.into(),
            head_before_id: head_before_id.into(),
            head_before_date: lines.into(),
            body,
        })
    }

    /// Returns the status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the result that the response was made from.
    pub(super) fn result(&self) -> &RepeatableAnswer {
        &self.result
    }

    /// Returns the approximate memory that the response takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        let heads = [&self.head_before_age, &self.head_before_id, &self.head_before_date];
        heads.map(|head| head.len()).iter().sum::<usize>() + self.body.len()
    }

    /// Returns the body. It shares memory with the response.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Appends the head with this age, request id and date to `head`.
    pub(super) fn write_head(&self, age_s: u64, request_id: &[u8], date: &HttpDate, head: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let age = digits.format(age_s).as_bytes();
        let Self { head_before_age, head_before_id, head_before_date, .. } = self;
        for part in [head_before_age, age, head_before_id, request_id, head_before_date, date, b"\r\n\r\n"] {
            head.extend_from_slice(part);
        }
    }

    /// Returns whether this response was written, at any age and date and for any request id.
    pub(super) fn matches(&self, WrittenResponse { head, body }: WrittenResponse<'_>) -> bool {
        let age = head.strip_prefix(&self.head_before_age[..]);
        let after_age = age.map(|age| skip(age, u8::is_ascii_digit));
        let id = after_age.and_then(|rest| rest.strip_prefix(&self.head_before_id[..]));
        let after_id = id.map(|id| skip(id, u8::is_ascii_graphic));
        let date = after_id.and_then(|rest| rest.strip_prefix(&self.head_before_date[..]));
        date.and_then(|date| date.get(HTTP_DATE_BYTES..)) == Some(b"\r\n\r\n") && body == self.body
    }
}

/// Returns `text` without its first bytes of a kind.
fn skip(text: &[u8], is_of_kind: fn(&u8) -> bool) -> &[u8] {
    &text[text.iter().take_while(|byte| is_of_kind(byte)).count()..]
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
