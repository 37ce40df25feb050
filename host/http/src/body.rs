//! Requests, checked and read whole.
//!
//! hyper lets through what a server that others build on shouldn't: a missing, doubled or malformed `Host`
//! (RFC 9112 §3.2), headers of any size, and a body that never comes. A `Content-Length` beside a
//! `Transfer-Encoding` it drops itself, and ends the connection after the answer (§6.1).

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::net::Ipv6Addr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::timeout;

use crate::preference::PREFER;
use crate::problem::Problem;
use crate::status;

/// Names and values of all headers, bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 32 * 1024;

/// How many headers.
pub(crate) const HEADERS_MAX: usize = 100;

/// From the end of the headers to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is still read of a body that nobody wants, bytes and time: a client that is still sending when
/// the connection closes sees a broken pipe instead of the answer.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Which headers a request has, of those that say how it wants to be answered. Whatever is read here or by `data` is a part of
/// [the request's key](crate::request_key). Most have few: going through them once
/// takes less than looking for each of these.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Present {
    pub(crate) accept: bool,
    pub(crate) cache_control: bool,
    pub(crate) if_none_match: bool,
    pub(crate) prefer: bool,
}

/// Checks what HTTP says of every request.
///
/// # Errors
/// The problem to answer with.
pub(crate) fn check(parts: &request::Parts) -> Result<Present, Problem> {
    let headers = &parts.headers;
    if parts.method == Method::CONNECT {
        // Answering it with success would end HTTP on this connection.
        return Err(status::method_not_allowed("GET, HEAD, POST, QUERY, OPTIONS"));
    }
    let mut present = Present::default();
    let (mut host, mut another, mut bytes) = (None, false, 0);
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len();
        match *name {
            header::HOST => another |= host.replace(value).is_some(),
            header::ACCEPT => present.accept = true,
            header::CACHE_CONTROL => present.cache_control = true,
            header::IF_NONE_MATCH => present.if_none_match = true,
            ref name => present.prefer |= name == PREFER,
        }
    }
    if another || (host.is_none() && parts.version == Version::HTTP_11) {
        return Err(status::bad_request("bad-host", "the request needs exactly one `Host` header"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.map(HeaderValue::as_bytes);
    if !host.into_iter().chain(authority).all(is_host) {
        let detail = "the request's host is none: it takes a name or an address, and maybe a port";
        return Err(status::bad_request("bad-host", detail));
    }
    // Two names for one request: which of them holds is anyone's guess (RFC 9113 §8.3.1).
    let differ = matches!((host, authority), (Some(host), Some(uri)) if !host.eq_ignore_ascii_case(uri));
    if parts.version == Version::HTTP_2 && differ {
        return Err(status::bad_request("bad-host", "`Host` and `:authority` name different hosts"));
    }
    if bytes > HEADER_BYTES_MAX || headers.len() > HEADERS_MAX {
        let detail = format!("at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes in all are taken");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Problem::new(status, "headers-too-large", detail));
    }
    Ok(present)
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), and not empty.
fn is_host(text: &[u8]) -> bool {
    is_plain_host(text) || is_any_host(text)
}

/// Letters, digits, dots and hyphens, and maybe a port: what nearly every request has, told without taking it apart.
fn is_plain_host(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let name = text.iter().take_while(|byte| plain(byte)).count();
    let port = match &text[name..] {
        [] => return name > 0,
        [b':', port @ ..] => port,
        _ => return false,
    };
    let number = || port.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    name > 0
        && (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && number() <= u32::from(u16::MAX)
}

fn is_any_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let host = authority.host();
    let valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    // There is no userinfo before it, and a port may be empty.
    let port = authority.as_str().strip_prefix(host);
    let valid_port = |port: &str| match port.strip_prefix(':') {
        Some("") => true,
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    valid && port.is_some_and(valid_port)
}

/// Reads a body of at most `bytes_max`, within [`BODY_TIMEOUT`].
///
/// # Errors
/// The problem to answer with.
pub(crate) async fn read<B>(body: &mut B, bytes_max: u64) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > bytes_max {
        return Err(status::too_large(bytes_max));
    }
    let mut collecting = pin!(collect(body, bytes_max));
    // Most come together with their head: no timer is made for these.
    if let Poll::Ready(read) = poll_fn(|context| Poll::Ready(collecting.as_mut().poll(context))).await {
        return read;
    }
    // A timer is large and wants a cache line of its own: apart, it isn't part of every request.
    Box::pin(timeout(BODY_TIMEOUT, collecting)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
        ))
    })
}

/// Gathers a body. One that comes in a single piece, as small ones do, is that piece.
async fn collect<B>(body: &mut B, bytes_max: u64) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let mut only = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| status::bad_request("broken-body", format!("the body broke off: {error}")))?;
        // Trailers say nothing that a function is told.
        let Ok(data) = frame.into_data() else { continue };
        if (only.len() + pieces.len() + data.len()) as u64 > bytes_max {
            return Err(status::too_large(bytes_max));
        }
        match (only.is_empty(), pieces.is_empty()) {
            (true, true) => only = data,
            (_, false) => pieces.extend_from_slice(&data),
            (false, true) => {
                // As long as it has announced to be: it is copied once.
                let more = body.size_hint().lower().min(bytes_max);
                pieces.reserve(only.len() + data.len() + usize::try_from(more).unwrap_or(0));
                pieces.extend_from_slice(&std::mem::take(&mut only));
                pieces.extend_from_slice(&data);
            }
        }
    }
    Ok(if pieces.is_empty() { only } else { pieces.freeze() })
}

/// Reads what is left of a body and forgets it, so that the answer arrives and the connection can go on.
///
/// Not for a client that waits to be told to send it, nor for one that has announced too much.
pub(crate) async fn discard<B: Body<Data = Bytes> + Unpin>(headers: &HeaderMap, body: &mut B) {
    let rest = body.size_hint().lower();
    if body.is_end_stream() || headers.contains_key(header::EXPECT) || rest > DISCARD_BYTES_MAX {
        return;
    }
    let discarding = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len) as u64;
            if discarded > DISCARD_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever is slower than this is cut off.
    let _ = Box::pin(timeout(DISCARD_TIMEOUT, discarding)).await;
}

/// A header as text, if it is there and is text: ASCII, in which a header has no control characters but tabs.
pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let value = headers.get(name)?.as_bytes();
    // `to_str` looks at each byte by itself.
    if value.is_ascii() { std::str::from_utf8(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in [
            "a",
            "example.org",
            "example.org:80",
            "a:",
            "127.0.0.1:8080",
            "127.0.0.1:54321",
            "[::1]",
            "[::1]:80",
            "x_y.~z",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
            assert!(is_any_host(host.as_bytes()), "{host}");
        }
        for wrong in [
            &b""[..],
            b" ",
            b"a b",
            b"\xff",
            b"a/b",
            b"a?b",
            b"a#b",
            b"http://a",
            b":80",
            b"a:b",
            b"a:65536",
            b"a:+1",
            b"a:1:2",
            b"me@a",
            b"me:pass@a:1",
            b"[::1",
            b"::1",
            b"[]",
            b"[a]",
            b"a[::1]",
            b"a\\b",
            b"a%zz",
        ] {
            assert!(!is_host(wrong), "{:?}", String::from_utf8_lossy(wrong));
        }
    }
}
