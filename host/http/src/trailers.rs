//! Trailers of calls of the http form: the fields after a body (RFC 9110 §6.5).
//!
//! A function sees the trailers of a request and may answer with its own. They reach the client if
//! it says `TE: trailers`; otherwise the answer has none.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use nebula_model::trailers;

use crate::problem::Reply;

/// Fields that may not come after the body, because they frame, route or describe it (RFC 9110
/// §6.5.1).
const NOT_AFTER_BODY: [HeaderName; 16] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Only the host issues receipts and reports that it did.
    HeaderName::from_static("nebula-receipt"),
    HeaderName::from_static("preference-applied"),
];

/// Returns the fields that may come after a body.
pub(crate) fn allowed(fields: HeaderMap) -> HeaderMap {
    // A map from which a field is removed is in another order.
    let mut allowed = HeaderMap::with_capacity(fields.len());
    for (name, value) in &fields {
        if !NOT_AFTER_BODY.contains(name) {
            allowed.append(name, value.clone());
        }
    }
    allowed
}

/// Returns whether a client takes trailers: `TE` has `trailers` (RFC 9110 §10.1.4).
pub(crate) fn are_accepted(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// A request's body that keeps the trailers aside when they come.
pub(crate) struct TrailedBody<'a, B> {
    body: &'a mut B,
    fields: HeaderMap,
}

impl<'a, B> TrailedBody<'a, B> {
    pub(crate) fn new(body: &'a mut B) -> Self {
        Self { body, fields: HeaderMap::new() }
    }

    /// Returns the trailers that have come, which may come after a body.
    pub(crate) fn into_trailers(self) -> HeaderMap {
        allowed(self.fields)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TrailedBody<'_, B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        loop {
            let frame = match ready!(Pin::new(&mut *this.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_trailers() {
                Ok(fields) => this.fields.extend(fields),
                Err(data) => return Poll::Ready(Some(Ok(data))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer as hyper sends it.
pub(crate) struct SentBody {
    content: Full<Bytes>,
    /// Boxed, because few answers have trailers.
    trailers: Option<Box<HeaderMap>>,
}

impl SentBody {
    /// Returns the content.
    pub(crate) fn content(&self) -> &Full<Bytes> {
        &self.content
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut this.content).poll_frame(context)) {
            Some(content) => Poll::Ready(Some(content)),
            None => Poll::Ready(this.trailers.take().map(|fields| Ok(Frame::trailers(*fields)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none() && self.content.is_end_stream()
    }

    /// Without trailers, the exact length. HTTP/1.1 sends trailers after chunks only, so with
    /// trailers the length stays open.
    fn size_hint(&self) -> SizeHint {
        if self.trailers.is_none() { self.content.size_hint() } else { SizeHint::default() }
    }
}

impl From<Full<Bytes>> for SentBody {
    fn from(content: Full<Bytes>) -> Self {
        Self { content, trailers: None }
    }
}

/// Removes an answer's trailers and returns those to send. They are announced in its head.
pub(crate) fn announce(
    reply: &mut Reply,
    request_headers: &HeaderMap,
    is_head: bool,
) -> Option<Box<HeaderMap>> {
    let fields = trailers::detach(reply.extensions_mut())?;
    let has_content =
        !is_head && !matches!(reply.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_content || !are_accepted(request_headers) {
        return None;
    }
    // In one order, so that equal answers have equal heads.
    let names: BTreeSet<_> = fields.keys().map(HeaderName::as_str).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    reply.headers_mut().insert(header::TRAILER, HeaderValue::try_from(names).ok()?);
    Some(Box::new(fields))
}

/// Makes the response that hyper sends.
pub(crate) fn send(reply: Reply, trailers: Option<Box<HeaderMap>>) -> http::Response<SentBody> {
    reply.map(|content| SentBody { content, trailers })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn fields(names: &[&'static str]) -> HeaderMap {
        let field = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        names.iter().map(field).collect()
    }

    #[test]
    fn fields_that_frame_a_message_are_not_trailers() {
        let found = allowed(fields(&["x-a", "content-length", "te", "grpc-status", "host"]));
        assert_eq!(found, fields(&["x-a", "grpc-status"]));
    }

    #[test]
    fn clients_accept_trailers_in_te() {
        for (te, expected) in [
            (&["trailers"][..], true),
            (&["gzip;q=0.5, Trailers"], true),
            (&["gzip", "trailers"], true),
            (&["gzip"], false),
            (&[], false),
        ] {
            let headers = te.iter().map(|line| (header::TE, HeaderValue::from_static(line))).collect();
            assert_eq!(are_accepted(&headers), expected, "{te:?}");
        }
    }

    #[tokio::test]
    async fn trailers_come_after_the_content() {
        let whole = |trailers| SentBody { content: Full::from("content"), trailers };
        assert_eq!(whole(None).size_hint().exact(), Some(7));
        let trailed = whole(Some(Box::new(fields(&["x-a"]))));
        assert_eq!(trailed.size_hint().exact(), None);
        let collected = trailed.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&fields(&["x-a"])));
        assert_eq!(collected.to_bytes(), "content");
        // A request's trailers are kept aside.
        let mut sent = whole(Some(Box::new(fields(&["x-a", "te"]))));
        let mut body = TrailedBody::new(&mut sent);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "content");
        assert!(body.frame().await.is_none());
        assert_eq!(body.into_trailers(), fields(&["x-a"]));
    }
}
