//! The key of a request: what of its bytes decides its answer.
//!
//! Of most headers nothing depends on: who asks, with which program, over which proxies, by which trace. They differ where
//! the answer doesn't, so they are no part of the key. What is: the request line, the headers that [`DECIDING`] names, the body.
//! A function of the http form sees every header: for it the whole head is.
//!
//! The head is read by the parser that hyper reads it with, and ends where hyper takes it to end.
//!
//! Invariant: two requests with the same key get the same answer, but for its age and date, as long as the same functions are deployed.

use std::mem::MaybeUninit;

use httparse::Status;

use crate::body::HEADERS_MAX;

/// The headers that Nebula itself reads of a call: in `body::check`, `data` and `answer`. (Those that say how long it is are
/// read for that alone.)
const DECIDING: [&str; 6] = ["host", "accept", "cache-control", "content-type", "if-none-match", "prefer"];

/// The key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// What decides, and the head if it was added.
    bytes: Vec<u8>,
    /// How long it is without the head.
    without_head: usize,
}

/// By what a key ends. A body may have anything in it, but it isn't the end of a key: no key is another kind's.
const END: u8 = 0;
const END_OF_HEAD: u8 = 1;

impl Key {
    /// For a function that sees the request's headers.
    pub(crate) fn add_head(&mut self, head: &[u8]) {
        if self.bytes.len() == self.without_head {
            self.bytes.extend_from_slice(head);
            self.bytes.extend_from_slice(&head.len().to_le_bytes());
            self.bytes.push(END_OF_HEAD);
        }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same of every caller.
    pub(crate) fn without_head(&self) -> &[u8] {
        &self.bytes[..self.without_head]
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

/// Reads the head that `bytes` begin with. If they are one whole request its key is in `key` after that.
///
/// `None` where there is no whole head, where it can't be told how long the request is, and where the connection has a part
/// in its answer (RFC 9110 §7.6.1, §10.1.1).
pub(crate) fn read(bytes: &[u8], key: &mut Key) -> Option<Extent> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let Ok(Status::Complete(head)) = request.parse_with_uninit_headers(bytes, &mut headers) else {
        return None;
    };
    let (method, target) = (request.method?, request.path?);
    if request.version != Some(1) || method == "CONNECT" {
        return None;
    }
    let Key { bytes: key, without_head } = key;
    key.clear();
    for part in [method, " ", target, "\n"] {
        key.extend_from_slice(part.as_bytes());
    }
    let mut body = None;
    for header in &*request.headers {
        match Bearing::of(header.name) {
            Bearing::None => {}
            Bearing::Answer(name) => {
                // Neither a value nor a name has a line feed in it.
                for part in [name.as_bytes(), b":", header.value, b"\n"] {
                    key.extend_from_slice(part);
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
    key.push(b'\n');
    key.extend_from_slice(&bytes[head..]);
    key.push(END);
    *without_head = key.len();
    Some(Extent { head, body: body.unwrap_or(0) })
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
    use super::*;

    fn extent(text: &str) -> Option<Extent> {
        read(text.as_bytes(), &mut Key::default())
    }

    fn whole_key(text: &str) -> Key {
        let mut key = Key { bytes: b"what was there before".to_vec(), without_head: 7 };
        let extent = read(text.as_bytes(), &mut key).unwrap();
        assert_eq!(extent.whole(), Some(text.len()));
        key.add_head(&text.as_bytes()[..extent.head]);
        key
    }

    fn key(text: &str) -> Vec<u8> {
        whole_key(text).without_head().to_vec()
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
            assert_ne!(whole_key(&other), whole_key(&get("")), "{other}");
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
            assert!(keys[..index].iter().all(|other| one != other), "{}", String::from_utf8_lossy(one));
        }
    }

    /// Whatever the body is.
    #[test]
    fn a_key_without_a_head_is_none_with_one() {
        let request = |headers: &str, body: &[u8]| {
            let length = body.len();
            let head = format!("POST /f/a HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n");
            let request = [head.as_bytes(), body].concat();
            let mut key = Key::default();
            let extent = read(&request, &mut key).unwrap();
            key.add_head(&request[..extent.head]);
            key
        };
        let one = request("x: y\r\n", b"body");
        let begin = b"POST /f/a\nhost:a\n\n".len();
        for end in [one.bytes.len(), one.bytes.len() - 1] {
            let other = request("cookie: z\r\n", &one.bytes()[begin..end]);
            assert_ne!(other.without_head(), one.bytes());
            assert_ne!(other.bytes(), one.bytes());
        }
    }
}
