//! Requests that hyper refuses by itself, before a service sees them: answered with a problem
//! document.
//!
//! ```text
//! socket -> fast_path -> RefusalStream -> hyper
//!                        (its refusal) <---/
//! ```
//!
//! hyper answers a head that it can't parse with a bare 400, 414 or 431 and closes the connection.
//! The stream recognizes these bytes, which no service writes, and writes a problem document in
//! their place. It copies the beginning of the head that hyper is about to parse, because the status
//! alone doesn't tell what is wrong.
//!
//! Invariants:
//! * Any other bytes pass unchanged: only the beginning of a message is looked at, never the rest of
//!   one that was written in part.
//! * HTTP/2 passes as it is.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker, ready};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body;
use crate::connections::RequestCounter;
use crate::problem::Problem;
use crate::request_id::{self, X_REQUEST_ID};
use crate::status;

/// The most bytes of a head that are copied. What is wrong may come later: then the document tells
/// no more than the status.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The memory for a head that a connection keeps between two requests, bytes.
const HEAD_BYTES_KEPT: usize = 4 * 1024;

/// The longest method of a head, bytes.
const METHOD_BYTES_MAX: usize = 32;

/// The most headers of a copied head.
const HEADERS_MAX: usize = 256;

/// The headers of hyper's refusals.
const HEADERS_OF_HYPER: [&str; 3] = ["connection", "content-length", "date"];

/// The end of a request line, without the minor version. Made once: every request is searched.
static VERSION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" HTTP/1."));

/// The protocol of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Nothing has been read.
    Unknown,
    Http1,
    Http2,
}

impl Protocol {
    /// Returns the protocol of a connection that begins with these bytes. No method of HTTP/1.1
    /// begins like the preface of HTTP/2 (RFC 9113 §3.4).
    fn of(first: &[u8]) -> Self {
        if first.starts_with(b"PRI") { Self::Http2 } else { Self::Http1 }
    }
}

/// A connection as hyper reads and writes it.
pub(crate) struct RefusalStream<S> {
    stream: S,
    requests: RequestCounter,
    /// The beginning of the head that hyper is reading.
    head: Vec<u8>,
    protocol: Protocol,
    /// The last write was accepted in part, so the next one begins within a message.
    is_within_message: bool,
    /// The rest of an answer in place of hyper's.
    pending: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RefusalStream<S> {
    pub(crate) fn new(stream: S, requests: RequestCounter) -> Self {
        Self {
            stream,
            requests,
            head: Vec::new(),
            protocol: Protocol::Unknown,
            is_within_message: false,
            pending: Vec::new(),
            written: 0,
        }
    }

    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let rest = &self.pending[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the answer in place of these bytes, if they are hyper's refusal.
    fn replacement(&self, pieces: &[IoSlice<'_>]) -> Option<Vec<u8>> {
        if self.is_within_message || self.protocol == Protocol::Http2 {
            return None;
        }
        let [first, rest @ ..] = pieces else { return None };
        if !first.starts_with(b"HTTP/1.1 4") || rest.iter().any(|piece| !piece.is_empty()) {
            return None;
        }
        let problem = problem(refused_with(first)?, &self.head);
        self.requests.tally().refused(problem.status());
        Some(render(problem, self.head.starts_with(b"HEAD ")))
    }
}

/// Returns the status of hyper's own refusal; `None` for any other response.
fn refused_with(response: &[u8]) -> Option<StatusCode> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_OF_HYPER.len()];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let complete = config.parse_response_with_uninit_headers(&mut parsed, response, &mut headers);
    let is_whole = matches!(complete, Ok(httparse::Status::Complete(bytes)) if bytes == response.len());
    let is_of_hyper = |header: &httparse::Header<'_>| {
        HEADERS_OF_HYPER.iter().any(|name| header.name.eq_ignore_ascii_case(name))
    };
    (is_whole && parsed.headers.iter().all(is_of_hyper))
        .then_some(parsed.code?)
        .and_then(|code| StatusCode::from_u16(code).ok())
}

/// Returns where the second request in these bytes begins, if they have a second one.
fn pipelined(copy: &[u8]) -> Option<usize> {
    let after_line = memchr::memchr(b'\n', copy)? + 1;
    // Most often no other request follows, and the head isn't parsed. A long one may not be whole.
    if copy.len() < HEAD_BYTES_MAX && VERSION.find(&copy[after_line..]).is_none() {
        return None;
    }
    let end = memchr::memmem::find(copy, b"\r\n\r\n")? + 4;
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    request.parse_with_uninit_headers(&copy[..end], &mut headers).ok()?;
    let mut length = 0;
    for header in &*request.headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
        }
    }
    end.checked_add(length).filter(|begin| *begin < copy.len())
}

/// Returns the problem for a head that hyper refused with this status.
fn problem(status: StatusCode, head: &[u8]) -> Problem {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, &mut headers);
    let headers = if matches!(parsed, Ok(httparse::Status::Complete(_))) { &*request.headers } else { &[] };
    let lines = |name: &'static str| {
        headers.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    };
    // hyper gives up on a target that doesn't end within its buffer. The copy may begin with the rest
    // of a body that nobody has read, which has no method.
    let has_method = head.iter().position(|byte| *byte == b' ').is_some_and(|bytes| bytes < METHOD_BYTES_MAX);
    let is_target_endless = head.len() == HEAD_BYTES_MAX && has_method && !head.contains(&b'\n');
    match status {
        StatusCode::URI_TOO_LONG => status::target_too_long(),
        _ if is_target_endless => status::target_too_long(),
        _ if lines("transfer-encoding").any(|coding| !body::is_chunked(coding)) => {
            status::unsupported_transfer_coding()
        }
        _ if lines("content-length").any(body::is_endless) => status::endless_body(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => status::headers_too_large(),
        _ => status::bad_request("malformed-request", "the request isn't valid HTTP/1.1"),
    }
}

/// Renders a problem as hyper would, for a connection that it closes. The answer to `HEAD` has no
/// body.
fn render(problem: Problem, is_head: bool) -> Vec<u8> {
    let (mut parts, body) = problem.into_reply().into_parts();
    let body = whole(body);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.headers.insert(X_REQUEST_ID, request_id::new_value());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        parts.headers.insert(header::DATE, date);
    }
    let reason = parts.status.canonical_reason().unwrap_or("Error");
    let mut answer = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).into_bytes();
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            answer.extend_from_slice(part);
        }
    }
    answer.extend_from_slice(b"\r\n");
    if !is_head {
        answer.extend_from_slice(&body);
    }
    answer
}

/// Returns a body that is complete already.
fn whole(body: Full<Bytes>) -> Bytes {
    let mut collecting = pin!(body.collect());
    match collecting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(body)) => body.to_bytes(),
        Poll::Pending => Bytes::new(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for RefusalStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        if this.protocol == Protocol::Unknown && !bytes.is_empty() {
            this.protocol = Protocol::of(bytes);
        }
        // While a request is in flight, hyper reads its body.
        if this.protocol == Protocol::Http1 && !this.requests.has_request() {
            let room = HEAD_BYTES_MAX - this.head.len();
            this.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for RefusalStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        let replacement = this.replacement(pieces);
        let begins = pieces.first().is_some_and(|piece| piece.starts_with(b"HTTP/1.1 "));
        match begins.then(|| pipelined(&this.head)).flatten() {
            Some(answered) => drop(this.head.drain(..answered)),
            None => this.head.clear(),
        }
        this.head.shrink_to(HEAD_BYTES_KEPT);
        match replacement {
            Some(answer) => {
                (this.pending, this.written) = (answer, 0);
                // `poll_flush` waits until it is written.
                let _ = this.poll_pending(context)?;
                Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
            }
            None => {
                let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, pieces))?;
                this.is_within_message = written < pieces.iter().map(|piece| piece.len()).sum();
                Poll::Ready(Ok(written))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_hyper_are_replaced() {
        let of = |response: &str| refused_with(response.as_bytes()).map(|status| status.as_u16());
        let end = "content-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(of(&format!("HTTP/1.1 414 URI Too Long\r\nconnection: close\r\n{end}")), Some(414));
        assert_eq!(of(&format!("HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\n{end}")), None);
        assert_eq!(of(&format!("HTTP/1.1 400 Bad Request\r\n{end}body")), None);
        assert_eq!(of("HTTP/1.1 400 Bad Request\r\n"), None);
    }

    #[test]
    fn the_head_tells_what_hyper_refused() {
        let endless = &format!("GET /{}", "x".repeat(HEAD_BYTES_MAX))[..HEAD_BYTES_MAX];
        let body = "x".repeat(HEAD_BYTES_MAX);
        let of = |status: u16, head: &str| {
            let problem = problem(StatusCode::from_u16(status).unwrap(), head.as_bytes());
            problem.into_reply().status().as_u16()
        };
        let with = |header: &str| format!("POST /f/a HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n");
        for (status, head, expected) in [
            (414, "", 414),
            (431, "", 431),
            (431, endless, 414),
            (431, &body, 431),
            (400, &body, 400),
            (400, "", 400),
            (400, &with("x: y"), 400),
            (400, &with("content-length: 4x"), 400),
            (400, &with("content-length: -1"), 400),
            (431, &with("content-length: 18446744073709551615"), 413),
            (400, &with("Content-Length: 99999999999999999999"), 413),
            (400, &with("transfer-encoding: gzip"), 501),
            (400, &with("transfer-encoding: chunked, gzip"), 501),
        ] {
            assert_eq!(of(status, head), expected, "{status} {head}");
        }
    }

    #[test]
    fn a_second_request_begins_after_the_first() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        for (copy, begins) in [
            (get.to_owned(), None),
            (format!("{get}{get}"), Some(get.len())),
            (format!("{post}abc{get}"), Some(post.len() + 3)),
            (format!("{post}abc"), None),
            (format!("{post}ab"), None),
            (format!("{chunked}{get}"), None),
            (format!("nonsense\r\n\r\n{get}"), None),
            (String::new(), None),
        ] {
            assert_eq!(pipelined(copy.as_bytes()), begins, "{copy}");
        }
    }

    /// A stream that accepts some bytes at a time.
    struct Narrow {
        written: Vec<u8>,
        accepts: usize,
    }

    impl AsyncRead for Narrow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.put_slice(b"GET / HTTP/1.1\r\n");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let accepted = bytes.len().min(self.accepts);
            self.written.extend_from_slice(&bytes[..accepted]);
            Poll::Ready(Ok(accepted))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A body that looks like a refusal passes unchanged, also if a write begins with it.
    #[tokio::test]
    async fn bodies_that_look_like_refusals_pass() {
        use tokio::io::AsyncWriteExt;

        let body = b"HTTP/1.1 400 Bad Request\r\ndate: a\r\n\r\n";
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        let narrow = Narrow { written: Vec::new(), accepts: head.len() };
        let mut stream = RefusalStream::new(narrow, RequestCounter::default());
        stream.write_all(&answer).await.unwrap();
        assert_eq!(stream.stream.written, answer);
        stream.stream.accepts = usize::MAX;
        stream.stream.written.clear();
        stream.write_all(body).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.stream.written.ends_with(b"}"), "a refusal itself is replaced");
    }
}
