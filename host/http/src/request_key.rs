//! The key of a request: what of its bytes decides its answer.
//!
//! Of most headers nothing depends on: who asks, with which program, over which proxies, by which trace. They differ where
//! the answer doesn't, so they are no part of the key. What is: the request line, the headers that [`DECIDING`] names, the body.
//! A function of the http form sees every header: for it the whole head is.
//!
//! The head is read by the parser that hyper reads it with, and ends where hyper takes it to end.
//!
//! Invariant: two requests with the same key get the same answer, but for its age and date, as long as the same functions are deployed.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::MaybeUninit;

use httparse::Status;
use quick_cache::Equivalent;

use crate::body::{HEADER_BYTES_MAX, HEADERS_MAX};

/// The headers that Nebula itself reads of a call: in `body::check`, `data` and `answer`. (Those that say how long it is are
/// read for that alone.)
const DECIDING: [&str; 6] = ["host", "accept", "cache-control", "content-type", "if-none-match", "prefer"];

/// The key. Looked for as it lies in the request, of which nothing is copied but what is few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    /// Of the next two. A body may be long: it is gone through once.
    hash: u64,
    /// The request line, and the headers that decide.
    deciding: Cow<'a, [u8]>,
    body: Cow<'a, [u8]>,
    /// All headers, for a function that sees them.
    head: Option<Cow<'a, [u8]>>,
}

impl<'a> Key<'a> {
    /// Of what [`read`] has found to decide, and the body.
    pub(crate) fn new(deciding: &'a [u8], body: &'a [u8], hashes: &impl BuildHasher) -> Self {
        let hash = hashes.hash_one((deciding, body));
        Self { hash, deciding: deciding.into(), body: body.into(), head: None }
    }

    /// For a function that sees the request's headers.
    pub(crate) fn with_head(self, head: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { head: Some(head.into()), ..self }
    }

    /// The same of every caller.
    pub(crate) fn without_head(&self) -> Key<'_> {
        let [deciding, body] = [&self.deciding, &self.body].map(|part| Cow::Borrowed(&part[..]));
        Key { hash: self.hash, deciding, body, head: None }
    }

    /// The same, to be kept.
    pub(crate) fn into_owned(self) -> Key<'static> {
        let owned = |part: Cow<'_, [u8]>| Cow::Owned(part.into_owned());
        let Self { hash, deciding, body, head } = self;
        Key { hash, deciding: owned(deciding), body: owned(body), head: head.map(owned) }
    }

    /// What it takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.deciding.len() + self.body.len() + self.head.as_ref().map_or(0, |head| head.len())
    }
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
        self.head.hash(state);
    }
}

/// A key to look for, which lives shorter than what is kept.
#[derive(Hash)]
pub(crate) struct Sought<'a>(pub(crate) &'a Key<'a>);

impl Equivalent<Key<'static>> for Sought<'_> {
    fn equivalent(&self, key: &Key<'static>) -> bool {
        self.0 == key
    }
}

/// How long a request is, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// To the empty line, which is a part of it.
    pub(crate) head: usize,
    /// As its length says.
    pub(crate) body: usize,
}

impl Extent {
    /// Head and body.
    pub(crate) fn whole(self) -> Option<usize> {
        self.head.checked_add(self.body)
    }
}

/// Reads the head that `bytes` begin with. What of it decides is in `deciding` after that.
///
/// `None` where there is no whole head, or more of it than is taken, where it can't be told how long the request is, and where
/// the connection has a part in its answer (RFC 9110 §7.6.1, §10.1.1).
pub(crate) fn read(bytes: &[u8], deciding: &mut Vec<u8>) -> Option<Extent> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let Ok(Status::Complete(head)) = request.parse_with_uninit_headers(bytes, &mut headers) else {
        return None;
    };
    let (method, target) = (request.method?, request.path?);
    if request.version != Some(1) || method == "CONNECT" {
        return None;
    }
    deciding.clear();
    for part in [method, " ", target, "\n"] {
        deciding.extend_from_slice(part.as_bytes());
    }
    let (mut body, mut header_bytes) = (None, 0);
    for header in &*request.headers {
        header_bytes += header.name.len() + header.value.len();
        match Bearing::of(header.name) {
            Bearing::None => {}
            Bearing::Answer(name) => {
                // Neither a value nor a name has a line feed in it.
                for part in [name.as_bytes(), b":", header.value, b"\n"] {
                    deciding.extend_from_slice(part);
                }
            }
            Bearing::Length => {
                // `5, 5` and `+5` are none.
                let digits = Some(header.value).filter(|value| value.iter().all(u8::is_ascii_digit))?;
                let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
                if body.replace(length).is_some() {
                    return None;
                }
            }
            // That it stays is what HTTP/1.1 says by itself.
            Bearing::Connection if header.value.eq_ignore_ascii_case(b"keep-alive") => {}
            Bearing::Connection | Bearing::Unclear => return None,
        }
    }
    (header_bytes <= HEADER_BYTES_MAX).then_some(Extent { head, body: body.unwrap_or(0) })
}

/// What depends on a header.
enum Bearing {
    None,
    Answer(&'static str),
    Length,
    Connection,
    /// The connection, in ways that aren't told apart here.
    Unclear,
}

impl Bearing {
    fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(deciding) = DECIDING.into_iter().find(|deciding| is(deciding)) {
            return Self::Answer(deciding);
        }
        match () {
            () if is("content-length") => Self::Length,
            () if is("connection") => Self::Connection,
            () if ["upgrade", "transfer-encoding", "expect"].into_iter().any(is) => Self::Unclear,
            () => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;

    use super::*;

    fn extent(text: &str) -> Option<Extent> {
        read(text.as_bytes(), &mut Vec::new())
    }

    fn key(text: &str) -> Key<'static> {
        // It may be in use since another request.
        let mut deciding = b"what was there before".to_vec();
        let extent = read(text.as_bytes(), &mut deciding).unwrap();
        assert_eq!(extent.whole(), Some(text.len()));
        Key::new(&deciding, &text.as_bytes()[extent.head..], &BuildHasherDefault::<Same>::default())
            .into_owned()
    }

    /// Says the same of all: keys are told apart by what is in them.
    #[derive(Default)]
    struct Same;

    impl Hasher for Same {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, _: &[u8]) {}
    }

    fn with_head(text: &str) -> Key<'static> {
        let head = extent(text).unwrap().head;
        key(text).with_head(text.as_bytes()[..head].to_vec())
    }

    fn get(headers: &str) -> String {
        format!("GET /f/a HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
    }

    #[test]
    fn a_request_is_as_long_as_its_head_and_its_body() {
        let (head, text) =
            ("POST / HTTP/1.1\r\nhost: a\r\n\r\n".len(), "POST / HTTP/1.1\r\nhost: a\r\n\r\nbody");
        assert_eq!(extent(text), Some(Extent { head, body: 0 }));
        assert_eq!(extent(&get("content-length: 4\r\n")).unwrap().body, 4);
        assert_eq!(extent(&get("Content-Length:  4 \r\n")).unwrap().body, 4);
        for ambiguous in ["+4", "4, 4", "-1", "", "99999999999999999999"] {
            assert_eq!(extent(&get(&format!("content-length: {ambiguous}\r\n"))), None, "{ambiguous}");
        }
        assert_eq!(extent(&get("content-length: 4\r\ncontent-length: 4\r\n")), None);
        for other in ["transfer-encoding: chunked", "connection: close", "expect: 100-continue", "upgrade: x"]
        {
            assert_eq!(extent(&get(&format!("{other}\r\n"))), None, "{other}");
        }
        assert_eq!(extent("POST / HTTP/1.1\r\nhost: a\r\n"), None);
        assert_eq!(extent("GET / HTTP/1.0\r\nhost: a\r\n\r\n"), None);
        assert_eq!(extent("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(extent("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), None);
        assert_eq!(extent(&get("x: \0\r\n")), None);
        assert_eq!(extent(&get(&"x: y\r\n".repeat(HEADERS_MAX))), None);
        let long = |bytes: usize| get(&format!("x: {}\r\n", "y".repeat(bytes - "hostax".len())));
        assert!(extent(&long(HEADER_BYTES_MAX)).is_some());
        assert_eq!(extent(&long(HEADER_BYTES_MAX + 1)), None);
        assert!(extent(&get("connection: Keep-Alive\r\n")).is_some());
    }

    #[test]
    fn headers_that_decide_nothing_are_no_part_of_the_key() {
        let plain = key(&get(""));
        for other in
            ["Authorization: Bearer x", "cookie: a=b", "traceparent: 00-1", "x:", "connection: keep-alive"]
        {
            let other = get(&format!("{other}\r\n"));
            assert_eq!(key(&other), plain, "{other}");
            assert_ne!(with_head(&other), with_head(&get("")), "{other}");
        }
        for name in DECIDING {
            let with = |value| key(&get(&format!("{name}: {value}\r\n")));
            assert_ne!(with("x"), plain, "{name}");
            assert_ne!(with("x"), with("y"), "{name}");
            assert_eq!(with("x"), key(&get(&format!("{}:  x \r\n", name.to_uppercase()))), "{name}");
        }
    }

    #[test]
    fn what_stands_in_one_part_is_not_another() {
        let post = |headers: &str, body: &str| {
            let length = body.len();
            key(&format!("POST /f/a HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n{body}"))
        };
        let keys = [
            post("", ""),
            post("", "\n"),
            post("", "accept:x\n\n"),
            post("accept: x\r\n", ""),
            post("accept: x\r\naccept: y\r\n", ""),
            post("accept: y\r\naccept: x\r\n", ""),
            post("accept: x\r\n", "accept:y\n\n"),
            post("accept: x, accept:y\r\n", ""),
            key("GET /f/a HTTP/1.1\r\nhost: a\r\n\r\n"),
            key("GET http://a/f/a HTTP/1.1\r\nhost: a\r\n\r\n"),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| one != other), "{one:?}");
        }
    }

    #[test]
    fn a_head_makes_another_key() {
        let (request, other) = (get("cookie: a\r\n"), get("cookie: b\r\n"));
        assert_eq!(key(&request), key(&other));
        assert_ne!(with_head(&request), with_head(&other));
        assert_ne!(with_head(&request), key(&request));
        assert_eq!(with_head(&request).without_head(), key(&request));
        assert_eq!(with_head(&request).bytes(), key(&request).bytes() + request.len());
    }
}
