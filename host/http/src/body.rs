//! Checks of a request's head, and the reading of its body.
//!
//! hyper accepts requests that a public server should refuse: a missing, repeated or malformed
//! `Host` (RFC 9112 §3.2), headers of any size, a body that never arrives. This module refuses
//! them. hyper itself drops a `Content-Length` beside a `Transfer-Encoding`, and closes the
//! connection after the answer (§6.1). `bodies` bounds the memory for all bodies.

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
use crate::request_id::X_REQUEST_ID;
use crate::status::{self, HEADER_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use crate::trace_context::TRACEPARENT;

/// The longest time from the end of the headers to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is read of an unwanted body, bytes. A client that is still sending when the
/// connection closes gets a broken pipe instead of the answer.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The longest time for which an unwanted body is read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells which of the headers that affect the answer a request has. All headers that this module,
/// `data` or `answer` reads are part of the request's key (`fast_path/request_key`).
///
/// Most requests have few headers, so one pass over them is faster than a lookup of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PresentHeaders {
    pub(crate) accept: bool,
    pub(crate) accept_encoding: bool,
    pub(crate) cache_control: bool,
    pub(crate) content_encoding: bool,
    /// `If-Match` or `If-None-Match`.
    pub(crate) conditions: bool,
    pub(crate) prefer: bool,
    /// Affects no answer, only logs.
    pub(crate) request_id: bool,
    /// Affects no answer, only logs.
    pub(crate) traceparent: bool,
}

/// Checks what HTTP requires of every request, and finds the headers that affect the answer.
///
/// # Errors
/// The problem to answer with.
pub(crate) fn check(parts: &request::Parts) -> Result<PresentHeaders, Problem> {
    let headers = &parts.headers;
    if parts.method == Method::CONNECT {
        // A successful answer to CONNECT would end HTTP on this connection.
        return Err(status::method_not_allowed("GET, HEAD, POST, QUERY, OPTIONS"));
    }
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(status::target_too_long());
    }
    let mut present = PresentHeaders::default();
    let (mut host, mut has_several_hosts, mut bytes) = (None, false, 0);
    let (mut has_chunks, mut is_coded, mut has_endless_body) = (false, false, false);
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len();
        match *name {
            header::HOST => has_several_hosts |= host.replace(value).is_some(),
            header::ACCEPT => present.accept = true,
            header::ACCEPT_ENCODING => present.accept_encoding = true,
            header::CACHE_CONTROL => present.cache_control = true,
            header::CONTENT_ENCODING => present.content_encoding = true,
            header::IF_MATCH | header::IF_NONE_MATCH => present.conditions = true,
            header::TRANSFER_ENCODING => {
                is_coded |= has_chunks || !is_chunked(value.as_bytes());
                has_chunks = true;
            }
            header::CONTENT_LENGTH => has_endless_body |= is_endless(value.as_bytes()),
            ref name => {
                present.prefer |= name == PREFER;
                present.request_id |= name == X_REQUEST_ID;
                present.traceparent |= name == TRACEPARENT;
            }
        }
    }
    if has_several_hosts || (host.is_none() && parts.version == Version::HTTP_11) {
        return Err(status::bad_request("bad-host", "the request needs exactly one `Host` header"));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.map(HeaderValue::as_bytes);
    if !host.into_iter().chain(authority).all(is_host) {
        let detail = "the request's host isn't valid: give a name or an address, and optionally a port";
        return Err(status::bad_request("bad-host", detail));
    }
    // With two names for one host it is ambiguous which one applies (RFC 9113 §8.3.1).
    let differ = matches!((host, authority), (Some(host), Some(uri)) if !host.eq_ignore_ascii_case(uri));
    if parts.version == Version::HTTP_2 && differ {
        return Err(status::bad_request("bad-host", "`Host` and `:authority` name different hosts"));
    }
    if bytes > HEADER_BYTES_MAX || headers.len() > HEADERS_MAX {
        return Err(status::headers_too_large());
    }
    if is_coded {
        return Err(status::unsupported_transfer_coding());
    }
    if has_endless_body {
        return Err(status::endless_body());
    }
    Ok(present)
}

/// Returns whether a line of `Transfer-Encoding` is `chunked` alone. hyper decodes no other coding,
/// but accepts `gzip, chunked` (RFC 9112 §6.1).
pub(crate) fn is_chunked(line: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Returns whether a `Content-Length` is longer than hyper counts.
pub(crate) fn is_endless(length: &[u8]) -> bool {
    /// hyper reserves the last two values.
    const COUNTED_MAX: u64 = u64::MAX - 2;
    /// The digits of the largest number.
    const DIGITS: usize = 20;
    let length = length.trim_ascii();
    length.len() >= DIGITS
        && length.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(length)
            .is_ok_and(|digits| digits.parse().map_or(true, |it: u64| it > COUNTED_MAX))
}

/// Returns whether `text` is `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2) and not
/// empty.
fn is_host(text: &[u8]) -> bool {
    is_plain_host(text) || is_any_host(text)
}

/// Returns whether `text` is letters, digits, dots and hyphens, with an optional port. Nearly every
/// request has such a host, and this check doesn't parse it.
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

/// Like [`is_host`], by parsing any form of host.
fn is_any_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let host = authority.host();
    let valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    // User information before the host is invalid. A port may be empty.
    let port = authority.as_str().strip_prefix(host);
    let valid_port = |port: &str| match port.strip_prefix(':') {
        Some("") => true,
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    valid && port.is_some_and(valid_port)
}

/// Reads a whole body of at most `bytes_max`, within [`BODY_TIMEOUT`].
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
    // Most bodies arrive together with their head and need no timer.
    if let Poll::Ready(read) = poll_fn(|context| Poll::Ready(collecting.as_mut().poll(context))).await {
        return read;
    }
    // A timer is large and aligned to a cache line. Boxed, it doesn't enlarge every request's
    // future.
    Box::pin(timeout(BODY_TIMEOUT, collecting)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
        ))
    })
}

/// Collects the frames of a body. A body in a single frame, like most small ones, isn't copied.
async fn collect<B>(body: &mut B, bytes_max: u64) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let mut only = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| status::bad_request("broken-body", format!("the body broke off: {error}")))?;
        // Functions don't get trailers.
        let Ok(data) = frame.into_data() else { continue };
        if (only.len() + pieces.len() + data.len()) as u64 > bytes_max {
            return Err(status::too_large(bytes_max));
        }
        match (only.is_empty(), pieces.is_empty()) {
            (true, true) => only = data,
            (_, false) => pieces.extend_from_slice(&data),
            (false, true) => {
                // Reserve the announced length, so that the body is copied once.
                let more = body.size_hint().lower().min(bytes_max);
                pieces.reserve(only.len() + data.len() + usize::try_from(more).unwrap_or(0));
                pieces.extend_from_slice(&std::mem::take(&mut only));
                pieces.extend_from_slice(&data);
            }
        }
    }
    Ok(if pieces.is_empty() { only } else { pieces.freeze() })
}

/// Reads and drops the rest of a body, so that the answer arrives and the connection stays usable.
/// Returns whether the body has been read to its end. Otherwise a task reads the rest: the answer
/// doesn't wait for it.
///
/// Leaves the body of a client that waits for `100 Continue` before it sends, and a body that
/// announces more than [`DISCARD_BYTES_MAX`].
pub(crate) async fn discard<B>(headers: &HeaderMap, mut body: B) -> bool
where
    B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    let rest = body.size_hint().lower();
    if body.is_end_stream() {
        return true;
    }
    if headers.contains_key(header::EXPECT) || rest > DISCARD_BYTES_MAX {
        return false;
    }
    // Most bodies have arrived already, and need neither a timer nor a task.
    let mut discarding = Box::pin(async move {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len) as u64;
            if discarded > DISCARD_BYTES_MAX {
                break;
            }
        }
        body.is_end_stream()
    });
    if let Poll::Ready(is_read) = poll_fn(|context| Poll::Ready(discarding.as_mut().poll(context))).await {
        return is_read;
    }
    // A client that takes longer than this is cut off.
    tokio::spawn(timeout(DISCARD_TIMEOUT, discarding));
    false
}

/// Returns a header as text, if it is present and ASCII. It then has no control characters but
/// tabs.
pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let value = headers.get(name)?.as_bytes();
    // Faster than `to_str`, which checks byte by byte.
    if value.is_ascii() { std::str::from_utf8(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_above_the_largest_number_are_endless() {
        for endless in [
            "18446744073709551614",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert!(is_endless(endless.as_bytes()), "{endless}");
        }
        for other in
            ["", "0", "18446744073709551613", "000000000000000000000005", "1844674407370955161x", "-1"]
        {
            assert!(!is_endless(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_only_transfer_coding_is_chunked() {
        for coding in ["chunked", "Chunked", " chunked\t"] {
            assert!(is_chunked(coding.as_bytes()), "{coding}");
        }
        for other in ["", "gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "identity", "xchunked"]
        {
            assert!(!is_chunked(other.as_bytes()), "{other}");
        }
    }

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
