//! What is on its way on a connection: whether it is at rest, between two requests.
//!
//! ```text
//! start --> request --(whole, answered from memory)--> answer --(written in one piece)--> rest
//!             ^  \-(anything else that can be told)--> request                              |
//!             +--------------------------(a request that hyper has to read)-----------------+
//! whatever can't be told --> lost, for good
//! ```
//!
//! hyper may hold bytes that it was given and hasn't used, or that it was told to write and hasn't. That it holds
//! neither is told here by counting: the requests that were answered, read to their ends, are as long as what it was given, and it
//! has flushed what it wrote.
//!
//! Invariant: at rest hyper holds nothing of any request or answer. Where that isn't certain the connection isn't at rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;
use http::{Method, Version, header};
use nebula_runtime::Given;

use crate::problem::Reply;
use crate::verbatim::{Entry, Verbatim};

/// A request of which more has come isn't kept, bytes.
const REQUEST_BYTES_MAX: usize = 6 * 1024;

/// What a connection holds of memory for them between two requests, bytes.
const BYTES_HELD_MAX: usize = 512;

/// One connection's. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Inner>);

struct Inner {
    verbatim: Verbatim,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at: At,
    /// How much was read since the last request's end.
    read: usize,
    /// That, as far as it is kept.
    bytes: Vec<u8>,
    /// There is something to be written since hyper said last that it has no more.
    is_unflushed: bool,
}

/// Where it is.
#[derive(Default)]
enum At {
    /// In a request, or before one. The answer before may be on its way.
    #[default]
    Request,
    /// After a request that was answered from memory. What is written next is this answer.
    Answer(Arc<Entry>),
    /// Nothing is on its way.
    Rest,
    /// It can't be told.
    Lost,
}

impl Exchange {
    pub(crate) fn new(verbatim: Verbatim) -> Self {
        Self(Arc::new(Inner { verbatim, state: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the answer to a request that was read into `answer`, if the connection is at rest and it is known.
    pub(crate) fn answer(&self, request: &[u8], answer: &mut Vec<u8>) -> bool {
        matches!(self.lock().at, At::Rest) && self.0.verbatim.answer(request, answer)
    }

    /// hyper is given this to read.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        match state.at {
            _ if bytes.is_empty() => return,
            At::Request => {}
            At::Rest => state.at = At::Request,
            At::Answer(_) | At::Lost => return state.lose(),
        }
        state.read = state.read.saturating_add(bytes.len());
        let room = REQUEST_BYTES_MAX - state.bytes.len();
        state.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A request that was read, to its end if `is_read`, gets this answer: from memory, if it was given so. hyper has it
    /// next.
    pub(crate) fn answered(&self, request: &Parts, is_read: bool, reply: &Reply, given: Option<Given>) {
        let mut state = self.lock();
        // hyper has this answer in a moment, and says so when it has none of it any more.
        let was_unflushed = std::mem::replace(&mut state.is_unflushed, true);
        let length = if is_read { length(request, &state.bytes) } else { None };
        if !matches!(state.at, At::Request) || length != Some(state.read) {
            return state.lose();
        }
        let is_kept = state.read == state.bytes.len() && !was_unflushed && is_anybodys(request);
        let given = given.filter(|_| is_kept);
        match given.and_then(|given| self.0.verbatim.expected(&state.bytes, reply, given)) {
            Some(entry) => state.at = At::Answer(entry),
            None => state.end(At::Request),
        }
    }

    /// hyper has had the first `accepted` of these bytes written.
    pub(crate) fn written(&self, bytes: &[u8], accepted: usize) {
        let mut state = self.lock();
        state.is_unflushed = true;
        match &state.at {
            At::Request | At::Lost => {}
            At::Rest => state.lose(),
            At::Answer(entry) => {
                let is_whole = accepted == bytes.len() && entry.is(bytes);
                if is_whole {
                    self.0.verbatim.learn(&state.bytes, entry);
                }
                state.end(if is_whole { At::Rest } else { At::Request });
            }
        }
    }

    /// hyper has no more to write.
    pub(crate) fn flushed(&self) {
        self.lock().is_unflushed = false;
    }
}

impl State {
    fn end(&mut self, at: At) {
        (self.at, self.read) = (at, 0);
        self.bytes.clear();
        // What one large request took isn't held by a connection that idles.
        self.bytes.shrink_to(BYTES_HELD_MAX);
    }

    fn lose(&mut self) {
        (self.at, self.bytes) = (At::Lost, Vec::new());
    }
}

/// How long a request is, head and body, that begins with `bytes`. `None` where that can't be told, or where the
/// connection has a part in its answer (RFC 9110 §7.6.1, §10.1.1).
fn length(request: &Parts, bytes: &[u8]) -> Option<usize> {
    if request.version != Version::HTTP_11 || request.method == Method::CONNECT {
        return None;
    }
    let mut body = None;
    for (name, value) in &request.headers {
        match *name {
            header::UPGRADE | header::TRANSFER_ENCODING | header::EXPECT => return None,
            // That it stays is what HTTP/1.1 says by itself.
            header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") => {}
            header::CONNECTION => return None,
            // `5, 5` and `+5` are none.
            header::CONTENT_LENGTH => {
                let digits = Some(value.as_bytes()).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
                let length = std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?;
                if body.replace(length).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    head_length(bytes)?.checked_add(body.unwrap_or(0))
}

/// Whether it says nothing of who asks, which isn't kept.
fn is_anybodys(request: &Parts) -> bool {
    ![header::AUTHORIZATION, header::COOKIE].iter().any(|name| request.headers.contains_key(name))
}

/// How long a head is, with the empty line that ends it. `None` where a line ends without a carriage return: some read
/// that as an end, some don't; and where it begins with an empty line, which is left out when it is read (RFC 9112 §2.2).
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut begin = 0;
    loop {
        let end = begin + memchr::memchr(b'\n', &bytes[begin..])?;
        let line = bytes[begin..end].strip_suffix(b"\r")?;
        match (line.is_empty(), begin) {
            (true, 0) => return None,
            (true, _) => return Some(end + 1),
            (false, _) => begin = end + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    #[test]
    fn a_request_is_as_long_as_its_head_and_its_body() {
        let length = |text: &str, headers: &[(&str, &str)]| {
            let mut request = Request::post("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            super::length(&request.body(()).unwrap().into_parts().0, text.as_bytes())
        };
        let text = "POST / HTTP/1.1\r\nhost: a\r\n\r\nbody";
        assert_eq!(length(text, &[("host", "a")]), Some(text.len() - 4));
        assert_eq!(length(text, &[("content-length", "4")]), Some(text.len()));
        for ambiguous in ["+4", "4, 4", "-1", "", "99999999999999999999"] {
            assert_eq!(length(text, &[("content-length", ambiguous)]), None, "{ambiguous}");
        }
        assert_eq!(length(text, &[("content-length", "4"), ("content-length", "4")]), None);
        for (name, value) in [
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("expect", "100-continue"),
            ("upgrade", "x"),
        ] {
            assert_eq!(length(text, &[(name, value)]), None, "{name}");
        }
        assert_eq!(length("POST / HTTP/1.1\r\nhost: a\r\n", &[]), None);
        assert_eq!(length("POST / HTTP/1.1\nhost: a\n\n\r\n\r\n", &[]), None);
        assert_eq!(length("\r\nPOST / HTTP/1.1\r\n\r\n", &[]), None);
        assert_eq!(length(text, &[("connection", "Keep-Alive")]), Some(text.len() - 4));
    }
}
