//! The same call by different callers: each request has unique headers like those that clients and
//! proxies add. A typed function doesn't see them.

use crate::load::Exchange;

/// The condition that the results state.
pub(super) const CONDITION: &str = "Each request also has a `User-Agent`, `Accept-Encoding`, `Authorization`, `Cookie`, \
    `traceparent`, `X-Forwarded-For` and `X-Request-Id`; its credentials, cookie, trace and id are unique.";

/// A placeholder with the digits of a number.
const NUMBER: &str = "0000000000000000";

/// A request with a number that identifies its caller.
pub(super) struct Callers {
    exchange: Exchange,
    /// The offsets of the number in the request.
    offsets: Vec<usize>,
}

impl Callers {
    /// Creates the callers of `exchange`.
    pub(super) fn new(exchange: Exchange) -> Self {
        let request = exchange.request;
        let end = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 2);
        let headers = format!(
            "user-agent: caller/1.0\r\naccept-encoding: gzip\r\nauthorization: Bearer {NUMBER}\r\n\
             cookie: session={NUMBER}\r\ntraceparent: 00-{NUMBER}{NUMBER}-{NUMBER}-01\r\n\
             x-forwarded-for: 192.0.2.1\r\nx-request-id: {NUMBER}\r\n"
        );
        let offsets = headers.match_indices(NUMBER).map(|(offset, _)| end + offset).collect();
        let request = [&request[..end], headers.as_bytes(), &request[end..]].concat();
        Self { exchange: Exchange { request, ..exchange }, offsets }
    }

    /// Returns the exchange of the caller with this number.
    pub(super) fn exchange(&self, number: u64) -> Exchange {
        let mut exchange = self.exchange.clone();
        let number = format!("{number:016x}");
        for offset in &self.offsets {
            exchange.request[*offset..*offset + NUMBER.len()].copy_from_slice(number.as_bytes());
        }
        exchange
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_differ_in_their_headers_only() {
        let echo = Exchange::echo("/echo", &[b'0'; 64]);
        let callers = Callers::new(echo.clone());
        let exchanges = [0, 255].map(|number| callers.exchange(number));
        for (exchange, number) in exchanges.iter().zip(["0000000000000000", "00000000000000ff"]) {
            let text = String::from_utf8(exchange.request.clone()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!((body.as_bytes(), &exchange.expected), (&echo.expected[..], &echo.expected));
            let authorization = format!("\r\nauthorization: Bearer {number}\r\n");
            assert!(head.starts_with("POST /echo HTTP/1.1\r\n") && head.contains(&authorization), "{head}");
            assert!(head.ends_with(&format!("x-request-id: {number}")), "{head}");
        }
    }
}
