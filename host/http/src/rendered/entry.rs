//! An answer as hyper writes it, without what is another each time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Body;
use nebula_runtime::Given;

use crate::problem::Reply;
use crate::socket::Outgoing;

/// The longest head, bytes. Those that functions make themselves may be longer.
const HEAD_BYTES_MAX: usize = 2 * 1024;

/// The longest body, bytes. Where it is longer, reading the request is a small part of what a hit takes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An HTTP date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) type Date = [u8; DATE_BYTES];

pub(super) const DATE_BYTES: usize = 29;

/// An answer.
pub(crate) struct Entry {
    given: Given,
    /// From the status to `age: `.
    before_age: Box<[u8]>,
    /// From the end of that line to `date: `.
    before_date: Box<[u8]>,
    /// Shared with what is remembered, while it is.
    body: Bytes,
}

impl Entry {
    /// Of an answer as hyper writes it: its headers in their order, then the length of its body, where that isn't said yet and
    /// the status has one (RFC 9110 §8.6), then the date. `None` of one that has no age, has a date of its own, or is too long.
    pub(super) fn new(reply: &Reply, given: Given) -> Option<Self> {
        // hyper takes over a date that a function gives.
        if !reply.headers().contains_key(header::AGE) || reply.headers().contains_key(header::DATE) {
            return None;
        }
        let status = reply.status();
        let mut lines =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).into_bytes();
        let mut before_age = None;
        for (name, value) in reply.headers() {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            match *name {
                header::AGE => before_age = Some(std::mem::take(&mut lines)),
                _ => lines.extend_from_slice(value.as_bytes()),
            }
            lines.extend_from_slice(b"\r\n");
        }
        let (before_age, body) = (before_age?, body(reply)?);
        let is_lengthless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !is_lengthless && !reply.headers().contains_key(header::CONTENT_LENGTH) {
            lines.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        lines.extend_from_slice(b"date: ");
        if before_age.len() + lines.len() > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
            return None;
        }
        Some(Self { given, before_age: before_age.into(), before_date: lines.into(), body })
    }

    /// By what it is given again.
    pub(super) fn given(&self) -> &Given {
        &self.given
    }

    /// About what it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.before_age.len() + self.before_date.len() + self.body.len()
    }

    /// Puts it into `outgoing`, of this age and date.
    pub(super) fn put(&self, age_s: u64, date: &Date, outgoing: &mut Outgoing) {
        let mut digits = itoa::Buffer::new();
        let age = digits.format(age_s).as_bytes();
        outgoing.put(&[&self.before_age, age, &self.before_date, date, b"\r\n\r\n"], self.body.clone());
    }

    /// Whether `head` and `body` are this one, of whatever age and date.
    pub(crate) fn is(&self, head: &[u8], body: &[u8]) -> bool {
        let after_age = head.strip_prefix(&self.before_age[..]).map(|rest| {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[digits..]
        });
        let date = after_age.and_then(|rest| rest.strip_prefix(&self.before_date[..]));
        date.and_then(|date| date.get(DATE_BYTES..)) == Some(b"\r\n\r\n") && body == self.body
    }
}

/// The body of an answer, which is there already.
fn body(reply: &Reply) -> Option<Bytes> {
    let mut body = reply.body().clone();
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        Poll::Ready(None) => Some(Bytes::new()),
        Poll::Ready(Some(Err(_))) | Poll::Pending => None,
    }
}
