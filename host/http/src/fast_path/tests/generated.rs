//! Generated requests: each gets the response that it would get from hyper.

use std::hash::BuildHasher;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;

/// Generates requests with common methods and headers, most of which Nebula ignores.
fn requests() -> impl Strategy<Value = String> {
    let read = proptest::sample::select(
        &[
            "accept: */*",
            "Accept: application/json",
            "accept: text/plain",
            "accept-encoding: gzip, deflate, br",
            "Accept-Encoding: gzip;q=0.5, zstd;q=0",
            "cache-control: max-age=0",
            "cache-control: no-cache",
            "connection: keep-alive",
            "connection: te",
            "content-encoding: identity",
            "content-encoding: gzip",
            "content-type: application/json",
            "Content-Type: text/plain",
            "host: b",
            "if-none-match: *",
            "prefer: receipt",
        ][..],
    );
    let names = proptest::sample::select(
        [
            "accept-charset accept-encoding accept-language age alt-used authorization content-encoding content-language",
            "content-location content-range cookie date dnt early-data etag expires forwarded from idempotency-key if-match",
            "if-modified-since if-range if-unmodified-since keep-alive last-modified link location max-forwards origin",
            "pragma priority proxy-authorization proxy-connection range referer sec-fetch-mode server te traceparent trailer",
            "user-agent vary via warning x-forwarded-for x-forwarded-host x-http-method-override x-request-id",
        ]
        .into_iter()
        .flat_map(|names| names.split(' '))
        .collect::<Vec<_>>(),
    );
    let values = ["", "a", "gzip, *", "bytes=0-0", "no-cache", "1", "Sun, 06 Nov 1994 08:49:37 GMT", "\"x\""];
    let values = proptest::sample::select(values.to_vec());
    let other = (names, values).prop_map(|(name, value)| format!("{name}: {value}"));
    let header = prop_oneof![1 => read.prop_map(str::to_owned), 5 => other];
    let headers = proptest::collection::vec(header, 0..4);
    let host = proptest::option::weighted(0.97, Just("host: a".to_owned()));
    let methods = proptest::sample::select(&["GET", "HEAD", "POST", "QUERY", "PUT"][..]);
    let names = proptest::sample::select(&["text", "same", "long"][..]);
    (methods, names, host, headers, 0..3_u16).prop_map(|(method, name, host, headers, input)| {
        let headers = host.into_iter().chain(headers).map(|line| line + "\r\n").collect::<String>();
        // Answers of `long` are compressed.
        let input = if name == "long" { 1000 * (input + 1) } else { input };
        let json = if name == "text" { format!("\"{input}\"") } else { input.to_string() };
        let length = json.len();
        match method {
            "GET" | "HEAD" => format!("{method} /f/{name}?n={input} HTTP/1.1\r\n{headers}\r\n"),
            _ => format!("{method} /f/{name} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{json}"),
        }
    })
}

/// A hit equals the response of hyper, after any other requests.
#[test]
fn hits_equal_the_responses_of_hyper() {
    run(async {
        let thread = Thread::start().await;
        let mut runner = runner();
        let mut asked = 0;
        for _ in 0..40 {
            let (mut fast, mut hyper) = (thread.connect().await, thread.connect_to_hyper().await);
            for _ in 0..24 {
                let request = requests().new_tree(&mut runner).unwrap().current();
                let answer = async |client: &mut TcpStream| {
                    client.write_all(request.as_bytes()).await.unwrap();
                    whole_answer(client, request.starts_with("HEAD")).await
                };
                // The first may compute the result.
                answer(&mut hyper).await;
                let (expected, found) = (answer(&mut hyper).await, answer(&mut fast).await);
                assert_eq!(timeless(&found.0), timeless(&expected.0), "{request}");
                assert_eq!(found.1, expected.1, "{request}");
                asked += 1;
            }
        }
        let parsed = thread.parsed() - 2 * asked;
        assert!(parsed < asked * 4 / 5, "{parsed} of {asked}");
    });
}

/// Generates a request, and a copy of it with one or two bytes changed, added or removed.
fn damaged() -> impl Strategy<Value = (String, Vec<u8>)> {
    let byte =
        prop_oneof![proptest::sample::select(&b"\r\n\t :,0123456789aAzZ/.\0\x7f\x80"[..]), any::<u8>(),];
    let damages = proptest::collection::vec((any::<proptest::sample::Index>(), 0..3_u8, byte), 1..3);
    (requests(), damages).prop_map(|(request, damages)| {
        let mut bytes = request.clone().into_bytes();
        for (index, kind, byte) in damages {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        (request, bytes)
    })
}

/// A request that differs by a byte or two from a cached one gets the response of hyper.
#[test]
fn damaged_requests_get_the_responses_of_hyper() {
    const LAST: &[u8] = b"GET /f/same?n=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    /// Sends the request and a last one, and returns all responses. `None` if the server waits for
    /// more.
    async fn all_of(client: &mut TcpStream, request: &[u8], patience: Duration) -> Option<String> {
        // The server closes the connection if it refuses the request.
        if client.write_all(request).await.is_ok() {
            pause().await;
            let _ = client.write_all(LAST).await;
        }
        let mut answers = Vec::new();
        let _ = tokio::time::timeout(patience, client.read_to_end(&mut answers)).await.ok()?;
        // A body may be compressed. One character for each byte keeps different bodies different.
        Some(answers.iter().map(|&byte| char::from(byte)).collect())
    }
    const PATIENCE: Duration = Duration::from_secs(20);
    run(async {
        let thread = Thread::start().await;
        let mut runner = runner();
        let (mut hits, mut compared) = (0, 0);
        for _ in 0..300 {
            let (request, damaged) = damaged().new_tree(&mut runner).unwrap().current();
            // The first may compute the result. If the server waits for more, there is nothing to
            // compare.
            let mut first = thread.connect_to_hyper().await;
            if all_of(&mut first, &damaged, Duration::from_millis(300)).await.is_none() {
                continue;
            }
            let mut hyper = thread.connect_to_hyper().await;
            let expected = all_of(&mut hyper, &damaged, PATIENCE).await.unwrap();
            let mut fast = thread.connect().await;
            for _ in 0..3 {
                fast.write_all(request.as_bytes()).await.unwrap();
                whole_answer(&mut fast, request.starts_with("HEAD")).await;
            }
            thread.parsed();
            let found = all_of(&mut fast, &damaged, PATIENCE).await.unwrap();
            assert_eq!(timeless(&found), timeless(&expected), "{:?}", String::from_utf8_lossy(&damaged));
            // hyper answers malformed requests itself.
            let answered = found.matches("HTTP/1.1 ").count() - found.matches("HTTP/1.1 400 ").count();
            hits += usize::from(answered > thread.parsed());
            compared += 1;
        }
        assert!(hits * 50 >= compared, "{hits} of {compared}");
    });
}

/// One step of a client. The first number of a call is its input.
#[derive(Clone, Debug)]
enum Act {
    Call(u8),
    /// A call with this many bytes of input.
    Long(u8, usize),
    /// A long call and a short one in one write.
    LongAndShort(u8, usize, u8),
    /// A long call in two writes.
    LongSplit(u8, usize, proptest::sample::Index),
    /// A call in two writes.
    Split(u8, usize),
    /// Two calls in one write.
    Two(u8, u8),
    /// One call and the beginning of the next in one write.
    OneAndAHalf(u8, u8, usize),
    Chunked(u8),
    Expecting(u8),
    BareLineFeeds(u8),
    EmptyLineFirst(u8),
    Health,
    Wrong,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let input = || 0..3_u8;
    // Some are longer than hyper's first buffer, some longer than one read of an idle connection.
    let length = || proptest::sample::select(&[100_usize, 5000, 9000, 40_000, 100_000][..]);
    let act = prop_oneof![
        40 => input().prop_map(Act::Call),
        8 => (input(), length()).prop_map(|(input, length)| Act::Long(input, length)),
        1 => (input(), length(), input()).prop_map(|(input, length, short)| Act::LongAndShort(input, length, short)),
        1 => (input(), length(), any::<proptest::sample::Index>())
            .prop_map(|(input, length, at)| Act::LongSplit(input, length, at)),
        1 => (input(), 1..40_usize).prop_map(|(input, at)| Act::Split(input, at)),
        1 => (input(), input()).prop_map(|(one, other)| Act::Two(one, other)),
        1 => (input(), input(), 1..40_usize).prop_map(|(one, other, at)| Act::OneAndAHalf(one, other, at)),
        1 => input().prop_map(Act::Chunked),
        1 => input().prop_map(Act::Expecting),
        1 => input().prop_map(Act::BareLineFeeds),
        1 => input().prop_map(Act::EmptyLineFirst),
        1 => Just(Act::Health),
        1 => Just(Act::Wrong),
    ];
    proptest::collection::vec(act, 1..48)
}

/// Makes a random source with a new seed for each run. A failed test prints the seed that repeats
/// it.
fn runner() -> TestRunner {
    let seed = match ProptestConfig::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => std::hash::RandomState::new().hash_one(0),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    TestRunner::new(ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() })
}

async fn act(client: &mut TcpStream, act: &Act) {
    let expect = async |client: &mut TcpStream, input: u8| {
        let (head, body) = answer(client).await;
        assert_eq!((&head[..15], body), ("HTTP/1.1 200 OK", input.to_string()), "{head}");
    };
    let expect_long = async |client: &mut TcpStream, input: u8, length: usize| {
        let (head, body) = answer(client).await;
        assert!(head.starts_with("HTTP/1.1 200 OK") && body == long(input, length), "{head}");
    };
    let request = |input: u8| call(&input.to_string());
    let long_request = |input: u8, length: usize| call_of("text", &long(input, length));
    match *act {
        Act::Call(input) => {
            client.write_all(&request(input)).await.unwrap();
            expect(client, input).await;
        }
        Act::Long(input, length) => {
            client.write_all(&long_request(input, length)).await.unwrap();
            expect_long(client, input, length).await;
        }
        Act::LongAndShort(input, length, short) => {
            client.write_all(&[long_request(input, length), request(short)].concat()).await.unwrap();
            expect_long(client, input, length).await;
            expect(client, short).await;
        }
        Act::LongSplit(input, length, ref at) => {
            let request = long_request(input, length);
            let (one, other) = request.split_at(at.index(request.len()));
            client.write_all(one).await.unwrap();
            pause().await;
            client.write_all(other).await.unwrap();
            expect_long(client, input, length).await;
        }
        Act::Split(input, at) => {
            let (one, other) = request(input).split_at(at).to_owned_pair();
            client.write_all(&one).await.unwrap();
            pause().await;
            client.write_all(&other).await.unwrap();
            expect(client, input).await;
        }
        Act::Two(one, other) => {
            client.write_all(&[request(one), request(other)].concat()).await.unwrap();
            expect(client, one).await;
            expect(client, other).await;
        }
        Act::OneAndAHalf(one, other, at) => {
            let (half, rest) = request(other).split_at(at).to_owned_pair();
            client.write_all(&[request(one), half].concat()).await.unwrap();
            expect(client, one).await;
            client.write_all(&rest).await.unwrap();
            expect(client, other).await;
        }
        Act::Chunked(input) => {
            let head = "POST /f/same HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
            client.write_all(format!("{head}1\r\n{input}\r\n0\r\n\r\n").as_bytes()).await.unwrap();
            expect(client, input).await;
        }
        Act::Expecting(input) => {
            let head =
                "POST /f/same HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
            client.write_all(head.as_bytes()).await.unwrap();
            let mut interim = [0; 25];
            client.read_exact(&mut interim).await.unwrap();
            assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
            client.write_all(input.to_string().as_bytes()).await.unwrap();
            expect(client, input).await;
        }
        Act::BareLineFeeds(input) => {
            let request = format!("POST /f/same HTTP/1.1\nhost: a\ncontent-length: 5\n\n\r\n\r\n{input}");
            client.write_all(request.as_bytes()).await.unwrap();
            expect(client, input).await;
        }
        Act::EmptyLineFirst(input) => {
            client.write_all(&[b"\r\n", &request(input)[..]].concat()).await.unwrap();
            expect(client, input).await;
        }
        Act::Health => {
            let (head, body) = ask(client, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!((&head[..15], body.as_str()), ("HTTP/1.1 200 OK", "ok\n"));
        }
        Act::Wrong => {
            let (head, _) = ask(client, &call("x")).await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        }
    }
}

/// Returns a JSON string of this many bytes, including the quotes.
fn long(input: u8, length: usize) -> String {
    format!("\"{}\"", char::from(b'a' + input).to_string().repeat(length - 2))
}

trait Pair {
    fn to_owned_pair(self) -> (Vec<u8>, Vec<u8>);
}

impl Pair for (&[u8], &[u8]) {
    fn to_owned_pair(self) -> (Vec<u8>, Vec<u8>) {
        (self.0.to_vec(), self.1.to_vec())
    }
}

/// Each request gets its own response, in order, whatever the client does.
#[test]
fn every_request_gets_its_own_response() {
    run(async {
        let thread = Thread::start().await;
        let mut runner = runner();
        let mut asked = 0;
        for _ in 0..100 {
            let acts = acts().new_tree(&mut runner).unwrap().current();
            let mut client = thread.connect().await;
            for each in &acts {
                asked += if matches!(each, Act::Two(..) | Act::OneAndAHalf(..)) { 2 } else { 1 };
                let acted = tokio::time::timeout(Duration::from_secs(20), act(&mut client, each)).await;
                assert!(acted.is_ok(), "no answer to {each:?} of {acts:?}");
            }
        }
        let parsed = thread.parsed();
        assert!(parsed < asked * 9 / 10, "{parsed} of {asked}");
    });
}
