//! The key of a request: the bytes that decide its answer.
//!
//! Most headers don't affect the answer: credentials, the user agent, proxies, traces. They differ
//! between clients that get the same answer, so they aren't part of the key. The key holds the
//! request line, the headers in [`KEY_HEADERS`] and the body. A function of the http form sees
//! every header, so its key holds the whole head.
//!
//! `httparse`, the parser inside hyper, parses the head here too: both see the same head and the
//! same end.
//!
//! Invariant: two requests with the same key get the same answer, except for its age, date and
//! request id, as long as the same functions are deployed.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::MaybeUninit;

use httparse::Status;
use quick_cache::Equivalent;

use crate::request_id;
use crate::status::{HEADER_BYTES_MAX, HEADERS_MAX};

/// The headers of a call that Nebula reads, in `body::check`, `data`, `payload` and `answer`.
/// `Content-Length` isn't among them: it only says how long the body is.
const KEY_HEADERS: [&str; 10] = [
    "host",
    "accept",
    "accept-encoding",
    "cache-control",
    "content-encoding",
    "content-type",
    "if-match",
    "if-none-match",
    "origin",
    "prefer",
];

/// No name that has a [role](HeaderRole) is longer, bytes.
const NAME_BYTES_MAX: usize = 32;

/// The key of a request. A lookup borrows from the request, and a cached key owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestKey<'a> {
    /// The hash of `key_head` and `body`. A body may be long, so it is hashed once.
    hash: u64,
    /// See [`ParsedHead::key_head`].
    key_head: Cow<'a, [u8]>,
    body: Cow<'a, [u8]>,
    /// The whole head, for a function that sees all headers.
    whole_head: Option<Cow<'a, [u8]>>,
}

impl<'a> RequestKey<'a> {
    /// Returns the key for a function that sees all headers.
    pub(super) fn with_head(self, head: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { whole_head: Some(head.into()), ..self }
    }

    /// Returns the key without the whole head, which is the same for every client.
    pub(super) fn without_head(&self) -> RequestKey<'_> {
        let [key_head, body] = [&self.key_head, &self.body].map(|part| Cow::Borrowed(&part[..]));
        RequestKey { hash: self.hash, key_head, body, whole_head: None }
    }

    /// Copies the bytes, so that the key can outlive the request.
    pub(super) fn into_owned(self) -> RequestKey<'static> {
        let owned = |part: Cow<'_, [u8]>| Cow::Owned(part.into_owned());
        let Self { hash, key_head, body, whole_head } = self;
        RequestKey { hash, key_head: owned(key_head), body: owned(body), whole_head: whole_head.map(owned) }
    }

    /// Returns the memory that the key takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.key_head.len() + self.body.len() + self.whole_head.as_ref().map_or(0, |head| head.len())
    }
}

impl Hash for RequestKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
        self.whole_head.hash(state);
    }
}

/// A borrowed key for a lookup among owned keys.
#[derive(Hash)]
pub(super) struct KeyRef<'a>(pub(super) &'a RequestKey<'a>);

impl Equivalent<RequestKey<'static>> for KeyRef<'_> {
    fn equivalent(&self, key: &RequestKey<'static>) -> bool {
        self.0 == key
    }
}

/// The length of a request, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLength {
    /// The head, including the empty line that ends it.
    pub(super) head: usize,
    /// The body, from `Content-Length`.
    pub(super) body: usize,
}

impl RequestLength {
    /// Returns the length of head and body together, or `None` if the sum overflows.
    pub(super) fn total(self) -> Option<usize> {
        self.head.checked_add(self.body)
    }
}

/// Parses heads of requests. Its buffer is reused by the next request.
#[derive(Default)]
pub(super) struct HeadParser {
    key_head: Vec<u8>,
}

/// The head of a request.
pub(super) struct ParsedHead<'a> {
    pub(super) length: RequestLength,
    /// The client's id of the request, if it is one that the answer repeats.
    pub(super) request_id: Option<&'a [u8]>,
    /// The `traceparent`, if there is exactly one.
    pub(super) traceparent: Option<&'a [u8]>,
    /// The part of the head that belongs to the key: the request line and the values of
    /// [`KEY_HEADERS`].
    key_head: &'a [u8],
}

impl HeadParser {
    /// Parses the head at the beginning of `bytes`.
    ///
    /// Returns `None` if the head is incomplete or over a limit, if the length of the request is
    /// ambiguous, or if the request asks something of the connection itself (RFC 9110 §7.6.1,
    /// §10.1.1).
    pub(super) fn parse<'a>(&'a mut self, bytes: &'a [u8]) -> Option<ParsedHead<'a>> {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let Ok(Status::Complete(head)) = request.parse_with_uninit_headers(bytes, &mut headers) else {
            return None;
        };
        let (method, target) = (request.method?, request.path?);
        if request.version != Some(1) || method == "CONNECT" {
            return None;
        }
        self.key_head.clear();
        for part in [method, " ", target, "\n"] {
            self.key_head.extend_from_slice(part.as_bytes());
        }
        let (mut body, mut header_bytes) = (None, 0);
        let (mut ids, mut traceparents) = (HeaderLines::None, HeaderLines::None);
        for header in &*request.headers {
            header_bytes += header.name.len() + header.value.len();
            match HeaderRole::of(header.name) {
                HeaderRole::Ignored => {}
                HeaderRole::RequestId => ids.add(header.value),
                HeaderRole::TraceParent => traceparents.add(header.value),
                HeaderRole::Key(index) => {
                    // No value contains a line feed, so the parts can't run into each other.
                    self.key_head.push(index);
                    self.key_head.extend_from_slice(header.value);
                    self.key_head.push(b'\n');
                }
                HeaderRole::Length => {
                    // `5, 5` and `+5` are ambiguous: leave them to hyper.
                    let digits = Some(header.value).filter(|value| value.iter().all(u8::is_ascii_digit))?;
                    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
                    if body.replace(length).is_some() {
                        return None;
                    }
                }
                // `keep-alive` is the default of HTTP/1.1.
                HeaderRole::Connection if header.value.eq_ignore_ascii_case(b"keep-alive") => {}
                HeaderRole::Connection | HeaderRole::Unsupported => return None,
            }
        }
        let length = RequestLength { head, body: body.unwrap_or(0) };
        // Only a valid id is repeated by the answer.
        let request_id = ids.only().filter(|id| request_id::is_valid(id));
        let (traceparent, key_head) = (traceparents.only(), &self.key_head[..]);
        (header_bytes <= HEADER_BYTES_MAX).then_some(ParsedHead { length, request_id, traceparent, key_head })
    }
}

impl<'a> ParsedHead<'a> {
    /// Returns the key of `request`, which this is the head of.
    pub(super) fn key(&self, request: &'a [u8], hashes: &impl BuildHasher) -> RequestKey<'a> {
        let (key_head, body) = (self.key_head, &request[self.length.head..]);
        let hash = hashes.hash_one((key_head, body));
        RequestKey { hash, key_head: key_head.into(), body: body.into(), whole_head: None }
    }
}

/// The lines of a head with the same name, of which only a single one counts.
#[derive(Clone, Copy)]
enum HeaderLines<'a> {
    None,
    One(&'a [u8]),
    Several,
}

impl<'a> HeaderLines<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    /// Returns the value, if there is only one.
    fn only(self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Several => None,
        }
    }
}

/// The effect of a header on the request's key.
enum HeaderRole {
    /// Without effect on the answer.
    Ignored,
    /// Without effect on the key. The answer repeats it.
    RequestId,
    /// Without effect on the answer. Decides whether the request is traced.
    TraceParent,
    /// A part of the key, and the name's index in [`KEY_HEADERS`].
    Key(u8),
    Length,
    Connection,
    /// A change of the connection or of the framing. hyper handles such requests.
    Unsupported,
}

impl HeaderRole {
    fn of(name: &str) -> Self {
        // In lower case at a fixed length, which compiles to a few vector instructions.
        let mut buffer = [0; NAME_BYTES_MAX];
        let Some(lower) = buffer.get_mut(..name.len()) else { return Self::Ignored };
        lower.copy_from_slice(name.as_bytes());
        buffer.make_ascii_lowercase();
        let name = &buffer[..name.len()];
        let is = |other: &str| name == other.as_bytes();
        if let Some(index) = (0_u8..).zip(KEY_HEADERS).find_map(|(index, name)| is(name).then_some(index)) {
            return Self::Key(index);
        }
        match () {
            () if is("content-length") => Self::Length,
            () if is("x-request-id") => Self::RequestId,
            () if is("traceparent") => Self::TraceParent,
            () if is("connection") => Self::Connection,
            () if ["upgrade", "transfer-encoding", "expect"].into_iter().any(is) => Self::Unsupported,
            () => Self::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;

    use super::*;

    fn length(text: &str) -> Option<RequestLength> {
        HeadParser::default().parse(text.as_bytes()).map(|head| head.length)
    }

    fn key(text: &str) -> RequestKey<'static> {
        // The buffer may still hold the previous request's bytes.
        let mut parser = HeadParser { key_head: b"the previous request".to_vec() };
        let head = parser.parse(text.as_bytes()).unwrap();
        assert_eq!(head.length.total(), Some(text.len()));
        head.key(text.as_bytes(), &BuildHasherDefault::<ConstantHash>::default()).into_owned()
    }

    /// Gives every key the same hash, so that only their bytes tell them apart.
    #[derive(Default)]
    struct ConstantHash;

    impl Hasher for ConstantHash {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, _: &[u8]) {}
    }

    fn with_head(text: &str) -> RequestKey<'static> {
        let head = length(text).unwrap().head;
        key(text).with_head(text.as_bytes()[..head].to_vec())
    }

    fn get(headers: &str) -> String {
        format!("GET /f/a HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
    }

    #[test]
    fn length_is_head_plus_content_length() {
        let (head, text) =
            ("POST / HTTP/1.1\r\nhost: a\r\n\r\n".len(), "POST / HTTP/1.1\r\nhost: a\r\n\r\nbody");
        assert_eq!(length(text), Some(RequestLength { head, body: 0 }));
        assert_eq!(length(&get("content-length: 4\r\n")).unwrap().body, 4);
        assert_eq!(length(&get("Content-Length:  4 \r\n")).unwrap().body, 4);
        for ambiguous in ["+4", "4, 4", "-1", "", "99999999999999999999"] {
            assert_eq!(length(&get(&format!("content-length: {ambiguous}\r\n"))), None, "{ambiguous}");
        }
        assert_eq!(length(&get("content-length: 4\r\ncontent-length: 4\r\n")), None);
        for other in ["transfer-encoding: chunked", "connection: close", "expect: 100-continue", "upgrade: x"]
        {
            assert_eq!(length(&get(&format!("{other}\r\n"))), None, "{other}");
        }
        assert_eq!(length("POST / HTTP/1.1\r\nhost: a\r\n"), None);
        assert_eq!(length("GET / HTTP/1.0\r\nhost: a\r\n\r\n"), None);
        assert_eq!(length("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n"), None);
        assert_eq!(length("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), None);
        assert_eq!(length(&get("x: \0\r\n")), None);
        assert_eq!(length(&get(&"x: y\r\n".repeat(HEADERS_MAX))), None);
        let long = |bytes: usize| get(&format!("x: {}\r\n", "y".repeat(bytes - "hostax".len())));
        assert!(length(&long(HEADER_BYTES_MAX)).is_some());
        assert_eq!(length(&long(HEADER_BYTES_MAX + 1)), None);
        assert!(length(&get("connection: Keep-Alive\r\n")).is_some());
    }

    #[test]
    fn only_key_headers_change_the_key() {
        let plain = key(&get(""));
        for other in [
            "Authorization: Bearer x",
            "cookie: a=b",
            "traceparent: 00-1",
            "x:",
            "connection: keep-alive",
            "x-request-id: a",
        ] {
            let other = get(&format!("{other}\r\n"));
            assert_eq!(key(&other), plain, "{other}");
            assert_ne!(with_head(&other), with_head(&get("")), "{other}");
        }
        for name in KEY_HEADERS {
            let with = |value| key(&get(&format!("{name}: {value}\r\n")));
            assert_ne!(with("x"), plain, "{name}");
            assert_ne!(with("x"), with("y"), "{name}");
            assert_eq!(with("x"), key(&get(&format!("{}:  x \r\n", name.to_uppercase()))), "{name}");
        }
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
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
    fn whole_head_makes_a_different_key() {
        let (request, other) = (get("cookie: a\r\n"), get("cookie: b\r\n"));
        assert_eq!(key(&request), key(&other));
        assert_ne!(with_head(&request), with_head(&other));
        assert_ne!(with_head(&request), key(&request));
        assert_eq!(with_head(&request).without_head(), key(&request));
        assert_eq!(with_head(&request).bytes(), key(&request).bytes() + request.len());
    }
}
