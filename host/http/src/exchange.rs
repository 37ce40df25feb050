//! What is on its way on a connection: whether it is at rest, between two requests.
//!
//! ```text
//! start --> request --(whole, and answered)--> answer --(written to its end)--> rest --(known, or a part)--> rest
//!             ^                                                                  |
//!             +-----------------------(a request that hyper has to read)---------+
//! whatever can't be told --> lost, for good
//! ```
//!
//! hyper may hold bytes that it was given and hasn't used, or that it was told to write and hasn't. That it holds
//! neither is told here by counting: a request that it has answered, read to its end, is as long as what it was given, and it has
//! written the answer's head, to the empty line, and as much as the answer's body has.
//!
//! Invariant: at rest hyper holds nothing of any request or answer. Where that isn't certain the connection isn't at rest.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, header};
use http_body::Body;
use nebula_runtime::Given;

use crate::problem::Reply;
use crate::rendered::{Entry, Expected, Found, Measured, Rendered};
use crate::socket::{KNOWN_BYTES_MAX, Outgoing};

/// A request that comes in parts isn't kept if it is longer, bytes.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// What a connection holds of memory for a request's bytes between two of them.
const BYTES_HELD_MAX: usize = 512;

/// One connection's. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Inner>);

struct Inner {
    rendered: Rendered,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at: At,
    /// How much hyper was given since the last request's end.
    taken: usize,
    /// That, as far as it is kept; of a request that was whole before hyper had it its head at most.
    bytes: Vec<u8>,
    /// The request, where it was.
    measured: Option<Measured>,
}

/// What came at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// A request whose answer is known, and is in `answer`.
    Known,
    /// A part of a request of so many bytes, which may be known. Nothing of it is taken.
    Part { whole: usize },
    /// hyper is to read it.
    Unknown,
}

/// Where it is.
#[derive(Default)]
enum At {
    /// In a request, or before the first.
    #[default]
    Request,
    /// After a request. What is written next is its answer.
    Answer(Answer),
    /// Nothing is on its way.
    Rest,
    /// It can't be told.
    Lost,
}

/// An answer that hyper is to write.
struct Answer {
    /// What it is to be, where it may be given again.
    expected: Option<Expected>,
    /// Its body, bytes.
    body: usize,
    /// What is to come of it, bytes; not known before its head is there.
    left: Option<usize>,
}

impl Exchange {
    pub(crate) fn new(rendered: Rendered) -> Self {
        Self(Arc::new(Inner { rendered, state: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what comes next begins a request.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.lock().at, At::Rest)
    }

    /// Takes what came at rest. Where no request `may_be_known` hyper is to read it.
    pub(crate) fn begin(&self, bytes: &[u8], may_be_known: bool, answer: &mut Outgoing) -> Begun {
        let mut state = self.lock();
        // That nothing more comes is hyper's to see.
        if bytes.is_empty() || !matches!(state.at, At::Rest) {
            state.take(bytes);
            return Begun::Unknown;
        }
        let found = if may_be_known { self.0.rendered.find(bytes, answer) } else { Found::Unclear };
        match found {
            Found::Answer => return Begun::Known,
            Found::Part { whole } if whole <= KNOWN_BYTES_MAX => return Begun::Part { whole },
            Found::Nothing(measured) => {
                if measured.key.is_some() {
                    state.bytes.extend_from_slice(&bytes[..measured.extent.head]);
                }
                state.measured = Some(measured);
            }
            Found::Part { .. } | Found::Unclear => state.keep(bytes),
        }
        (state.at, state.taken) = (At::Request, bytes.len());
        Begun::Unknown
    }

    /// hyper is to read this too.
    pub(crate) fn take(&self, bytes: &[u8]) {
        self.lock().take(bytes);
    }

    /// A request that was read, to its end if `is_read`, gets this answer: from memory, if it was `given` so. hyper has it
    /// next.
    pub(crate) fn answered(&self, request: &HeaderMap, is_read: bool, reply: &Reply, given: Option<Given>) {
        let mut state = self.lock();
        let is_clear = is_read && matches!(state.at, At::Request);
        let measured = if is_clear { self.measured(&mut state) } else { None };
        let measured = measured.filter(|measured| measured.extent.whole() == Some(state.taken));
        let body = reply.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let (Some(Measured { extent, key }), Some(body)) = (measured, body) else { return state.lose() };
        let given = given.filter(|given| !given.sees_headers() || is_anybodys(request));
        let expected = key.zip(given).and_then(|(key, given)| {
            self.0.rendered.expected(key, &state.bytes[..extent.head], reply, given)
        });
        state.at = At::Answer(Answer { expected, body, left: None });
    }

    /// The request that was read.
    fn measured(&self, state: &mut State) -> Option<Measured> {
        state.measured.take().or_else(|| self.0.rendered.measure(&state.bytes))
    }

    /// hyper has had the first `accepted` bytes of these pieces written. Of an answer that begins with them the first is the
    /// head.
    pub(crate) fn written(&self, pieces: &[IoSlice<'_>], accepted: usize) {
        let mut state = self.lock();
        match &mut state.at {
            At::Request | At::Lost => {}
            At::Rest => state.lose(),
            At::Answer(answer) => match answer.left_after(pieces, accepted) {
                Some(0) => {
                    if let Some(expected) = answer.expected.take_if(|(_, entry)| is(entry, pieces)) {
                        self.0.rendered.learn(expected);
                    }
                    state.end();
                }
                Some(left) => answer.left = Some(left),
                None => state.lose(),
            },
        }
    }
}

impl Answer {
    /// What is left when the first `accepted` bytes of these pieces are written. `None` if that is more than there is.
    fn left_after(&self, pieces: &[IoSlice<'_>], accepted: usize) -> Option<usize> {
        let begin = || Some(memchr::memmem::find(pieces.first()?, b"\r\n\r\n")? + 4 + self.body);
        self.left.or_else(begin)?.checked_sub(accepted)
    }
}

/// Whether these pieces are that answer: its head, and its body if it has one.
fn is(entry: &Entry, pieces: &[IoSlice<'_>]) -> bool {
    match pieces {
        [head] => entry.is(head, b""),
        [head, body] => entry.is(head, body),
        _ => false,
    }
}

impl State {
    fn take(&mut self, bytes: &[u8]) {
        match self.at {
            _ if bytes.is_empty() => {}
            At::Request => {
                self.taken = self.taken.saturating_add(bytes.len());
                self.keep(bytes);
            }
            At::Rest | At::Answer(_) | At::Lost => self.lose(),
        }
    }

    /// Keeps these bytes of a request that comes in parts.
    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The answer is written.
    fn end(&mut self) {
        (self.at, self.taken, self.measured) = (At::Rest, 0, None);
        self.bytes.clear();
        // What one large request took isn't held by a connection that idles.
        self.bytes.shrink_to(BYTES_HELD_MAX);
    }

    fn lose(&mut self) {
        (self.at, self.bytes, self.measured) = (At::Lost, Vec::new(), None);
    }
}

/// Whether it says nothing of who asks, which isn't kept.
fn is_anybodys(request: &HeaderMap) -> bool {
    let says_who = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    !says_who.iter().any(|name| request.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_body() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let (short, long) = (head.len(), head.len() + 9);
        let left = |answer: &mut Answer, pieces: &[&[u8]], accepted| {
            let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            answer.left = answer.left_after(&pieces, accepted);
            answer.left
        };
        let answer = |body| Answer { expected: None, body, left: None };
        assert_eq!(left(&mut answer(0), &[head], short), Some(0));
        assert_eq!(left(&mut answer(9), &[head, b"a\r\n\r\nbody"], long), Some(0));
        assert_eq!(left(&mut answer(0), &[head, b"more"], short + 1), None);
        assert_eq!(left(&mut answer(0), &[b"HTTP/1.1 200 OK"], 3), None);
        assert_eq!(left(&mut answer(0), &[], 0), None);
        let mut parts = answer(9);
        assert_eq!(left(&mut parts, &[head, b"a\r\n\r\nbody"], 4), Some(long - 4));
        assert_eq!(left(&mut parts, &[&head[4..], b"a\r\n\r\nbody"], short), Some(5));
        assert_eq!(left(&mut parts, &[b"body"], 4), Some(1));
        assert_eq!(left(&mut parts, &[b"too much"], 2), None);
    }
}
