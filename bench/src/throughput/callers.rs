//! One call, by callers that differ: each request has headers that no other has, as clients and the proxies before a
//! server send them. A typed function is told nothing of these.

use crate::load::Exchange;

/// What to know of it.
pub(super) const CONDITION: &str = "Each request has a `User-Agent`, `Accept-Encoding`, `Authorization`, `Cookie`, \
    `traceparent`, `X-Forwarded-For` and `X-Request-Id` as well; the credentials, the cookie, the trace and the id are those of \
    no other request.";

/// As many digits as a number has.
const NUMBER: &str = "0000000000000000";

/// A request in which a number stands for who asks.
pub(super) struct Callers {
    exchange: Exchange,
    /// Where the number stands.
    places: Vec<usize>,
}

impl Callers {
    /// Of those who ask for `exchange`.
    pub(super) fn new(exchange: Exchange) -> Self {
        let request = exchange.request;
        let end = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 2);
        let headers = format!(
            "user-agent: caller/1.0\r\naccept-encoding: gzip\r\nauthorization: Bearer {NUMBER}\r\n\
             cookie: session={NUMBER}\r\ntraceparent: 00-{NUMBER}{NUMBER}-{NUMBER}-01\r\n\
             x-forwarded-for: 192.0.2.1\r\nx-request-id: {NUMBER}\r\n"
        );
        let places = headers.match_indices(NUMBER).map(|(place, _)| end + place).collect();
        let request = [&request[..end], headers.as_bytes(), &request[end..]].concat();
        Self { exchange: Exchange { request, ..exchange }, places }
    }

    /// What the one of this number asks for.
    pub(super) fn exchange(&self, number: u64) -> Exchange {
        let mut exchange = self.exchange.clone();
        let number = format!("{number:016x}");
        for place in &self.places {
            exchange.request[*place..*place + NUMBER.len()].copy_from_slice(number.as_bytes());
        }
        exchange
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_ask_for_the_same_with_headers_of_their_own() {
        let echo = Exchange::echo("/echo", &[b'0'; 64]);
        let callers = Callers::new(echo.clone());
        let asked = [0, 255].map(|number| callers.exchange(number));
        for (asked, number) in asked.iter().zip(["0000000000000000", "00000000000000ff"]) {
            let text = String::from_utf8(asked.request.clone()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!((body.as_bytes(), &asked.expected), (&echo.expected[..], &echo.expected));
            let authorization = format!("\r\nauthorization: Bearer {number}\r\n");
            assert!(head.starts_with("POST /echo HTTP/1.1\r\n") && head.contains(&authorization), "{head}");
            assert!(head.ends_with(&format!("x-request-id: {number}")), "{head}");
        }
    }
}
