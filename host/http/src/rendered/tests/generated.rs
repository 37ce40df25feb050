//! Requests that are made up: whatever is known of them, each has the answer that it would have if hyper read it.

use std::hash::BuildHasher;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;

/// A request of the methods and headers that there are, most of which say nothing to Nebula.
fn requests() -> impl Strategy<Value = String> {
    let read = proptest::sample::select(
        &[
            "accept: */*",
            "Accept: application/json",
            "accept: text/plain",
            "cache-control: max-age=0",
            "cache-control: no-cache",
            "connection: keep-alive",
            "connection: te",
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
    (methods, any::<bool>(), host, headers, 0..3_u8).prop_map(|(method, is_text, host, headers, input)| {
        let headers = host.into_iter().chain(headers).map(|line| line + "\r\n").collect::<String>();
        let (name, json) =
            if is_text { ("text", format!("\"{input}\"")) } else { ("same", input.to_string()) };
        let length = json.len();
        match method {
            "GET" | "HEAD" => format!("{method} /f/{name}?n={input} HTTP/1.1\r\n{headers}\r\n"),
            _ => format!("{method} /f/{name} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{json}"),
        }
    })
}

/// Whether a request is read or known, and by whatever other one: its answer is the same.
#[test]
fn what_is_known_is_what_would_be_answered() {
    run(async {
        let thread = Thread::start().await;
        let mut runner = runner();
        let mut asked = 0;
        for _ in 0..40 {
            let (mut knowing, mut reading) = (thread.connect().await, thread.connect_with(None, false).await);
            for _ in 0..24 {
                let request = requests().new_tree(&mut runner).unwrap().current();
                let answer = async |client: &mut TcpStream| {
                    client.write_all(request.as_bytes()).await.unwrap();
                    whole_answer(client, request.starts_with("HEAD")).await
                };
                // The first may have it computed.
                answer(&mut reading).await;
                let (read, known) = (answer(&mut reading).await, answer(&mut knowing).await);
                assert_eq!(timeless(&known.0), timeless(&read.0), "{request}");
                assert_eq!(known.1, read.1, "{request}");
                asked += 1;
            }
        }
        let read = thread.read() - 2 * asked;
        assert!(read < asked * 4 / 5, "{read} of {asked}");
    });
}

/// A request with a byte or two of it changed, added or taken out.
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

/// What is nearly a request that is known comes to what hyper makes of it.
#[test]
fn what_is_nearly_known_is_what_would_be_answered() {
    const LAST: &[u8] = b"GET /f/same?n=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    /// Everything that is answered to this, and to a last request. `None` where more is waited for.
    async fn all_of(client: &mut TcpStream, request: &[u8], patience: Duration) -> Option<String> {
        // Where it is refused the connection is closed.
        if client.write_all(request).await.is_ok() {
            pause().await;
            let _ = client.write_all(LAST).await;
        }
        let mut answers = Vec::new();
        let _ = tokio::time::timeout(patience, client.read_to_end(&mut answers)).await.ok()?;
        Some(String::from_utf8(answers).unwrap())
    }
    const PATIENCE: Duration = Duration::from_secs(20);
    run(async {
        let thread = Thread::start().await;
        let mut runner = runner();
        let (mut unread, mut compared) = (0, 0);
        for _ in 0..300 {
            let (request, damaged) = damaged().new_tree(&mut runner).unwrap().current();
            // The first may have it computed; where it waits for more there is nothing to compare.
            let mut first = thread.connect_with(None, false).await;
            if all_of(&mut first, &damaged, Duration::from_millis(300)).await.is_none() {
                continue;
            }
            let mut reading = thread.connect_with(None, false).await;
            let read = all_of(&mut reading, &damaged, PATIENCE).await.unwrap();
            let mut knowing = thread.connect().await;
            for _ in 0..3 {
                knowing.write_all(request.as_bytes()).await.unwrap();
                whole_answer(&mut knowing, request.starts_with("HEAD")).await;
            }
            thread.read();
            let known = all_of(&mut knowing, &damaged, PATIENCE).await.unwrap();
            assert_eq!(timeless(&known), timeless(&read), "{:?}", String::from_utf8_lossy(&damaged));
            // What is malformed hyper answers by itself.
            let answered = known.matches("HTTP/1.1 ").count() - known.matches("HTTP/1.1 400 ").count();
            unread += usize::from(answered > thread.read());
            compared += 1;
        }
        assert!(unread * 50 >= compared, "{unread} of {compared}");
    });
}

/// What a client may do on a connection.
#[derive(Clone, Debug)]
enum Act {
    Call(u8),
    /// Of so many bytes.
    Long(u8, usize),
    /// That, and another at once.
    LongAndShort(u8, usize, u8),
    /// That in two pieces.
    LongSplit(u8, usize, proptest::sample::Index),
    /// In two pieces.
    Split(u8, usize),
    /// Both at once.
    Two(u8, u8),
    /// One, and the beginning of the next.
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
    // Beyond what hyper reads at first, beyond what is looked at at once.
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

/// A source of what is generated, another each time; a test that fails says by which seed it does so again.
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

/// A JSON string of so many bytes, quotes included.
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

/// Whatever comes on a connection, each request has its own answer, in order.
#[test]
fn every_request_has_its_answer() {
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
        let read = thread.read();
        assert!(read < asked * 9 / 10, "{read} of {asked}");
    });
}
