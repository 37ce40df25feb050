//! One connection, from its socket through hyper to a function: what is known isn't read, and is answered just so.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nebula_runtime::id::FunctionName;
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{Codegen, Compiler, Followers, Runtime, RuntimeConfig, Settings};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::bodies::Bodies;
use crate::connections::{Connections, Traffic};
use crate::data;
use crate::exchange::Exchange;
use crate::serve::{Ongoing, protocol};
use crate::socket::{Connected, Known};

/// Takes a number and gives it.
const SAME: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#;

/// Takes a text and gives it, in whatever form is preferred.
const TEXT: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "handle") (param i32 i32) (result i32)
            (i32.store (i32.const 8) (local.get 0))
            (i32.store (i32.const 12) (local.get 1))
            (i32.const 8)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" string) (result string)
        (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;

/// A thread's part of a server.
struct Thread {
    runtime: Runtime,
    shard: Shard,
    rendered: Rendered,
    connections: Connections,
    /// Requests that hyper has read.
    read: Arc<AtomicUsize>,
    _data_dir: tempfile::TempDir,
}

impl Thread {
    async fn start() -> Self {
        Self::verifying(0.0).await
    }

    async fn verifying(verify_share: f64) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.path().to_owned(),
            compiler: Compiler::InProcess(Codegen::Baseline),
            limits: Limits::default(),
            host_limits: HostLimits { instances_max: NonZeroU32::MIN, ..HostLimits::default() },
            serving_threads: 1,
            signer: None,
            verify_share,
            alarm: |_| {},
        })
        .unwrap();
        let shard = Shard::new(runtime.clone()).unwrap();
        let this = Self {
            rendered: Rendered::new(shard.clone()),
            connections: Connections::new(64, Traffic::default()),
            read: Arc::default(),
            _data_dir: data_dir,
            runtime,
            shard,
        };
        this.deploy("same").await;
        this.deploy_with("text", TEXT, LimitOverrides::default()).await;
        this
    }

    fn name(name: &str) -> FunctionName {
        name.parse().unwrap()
    }

    async fn deploy(&self, name: &str) {
        self.deploy_with(name, SAME, LimitOverrides::default()).await;
    }

    async fn deploy_with(&self, name: &str, component: &str, limits: LimitOverrides) {
        let component = wat::parse_str(component).unwrap().into();
        let settings = Settings { limits, ..Settings::default() };
        let deployed = self.runtime.deploy(Self::name(name), component, settings, Followers::MustFit);
        deployed.await.unwrap();
    }

    /// A new connection.
    async fn connect(&self) -> TcpStream {
        self.connect_with(None, true).await
    }

    /// One that holds so few bytes on their way to the client, and on which answers may be known or not.
    async fn connect_with(&self, buffer: Option<u32>, may_know: bool) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        if let Some(bytes) = buffer {
            socket2::SockRef::from(&stream).set_send_buffer_size(bytes as usize).unwrap();
        }
        let place = self.connections.place().await;
        let (exchange, requests) = (may_know.then(|| Exchange::new(self.rendered.clone())), place.requests());
        let known = exchange.clone().map(|exchange| Known { exchange, requests: requests.clone() });
        let (shard, bodies, read) = (self.shard.clone(), Bodies::new(), Arc::clone(&self.read));
        let service = service_fn(move |request| {
            read.fetch_add(1, Ordering::Relaxed);
            let ongoing = Ongoing { under_way: requests.begin(), exchange: exchange.clone() };
            data::serve(shard.clone(), bodies.clone(), request, ongoing)
        });
        let stream = TokioIo::new(Connected::new(stream, known));
        let connection = protocol().serve_connection(stream, service).into_owned();
        place.spawn(connection, |connection| connection.graceful_shutdown());
        client
    }

    /// How many requests hyper has read since this was asked last.
    fn read(&self) -> usize {
        self.read.swap(0, Ordering::Relaxed)
    }
}

fn call(input: &str) -> Vec<u8> {
    let length = input.len();
    format!("POST /f/same HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{input}").into_bytes()
}

/// The next answer: its status line and headers, and its body.
async fn answer(client: &mut TcpStream) -> (String, String) {
    whole_answer(client, false).await
}

/// The same, of a request that gets no body if it is `bodiless`.
async fn whole_answer(client: &mut TcpStream, bodiless: bool) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let length = if bodiless { 0 } else { length };
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn ask(client: &mut TcpStream, request: &[u8]) -> (String, String) {
    client.write_all(request).await.unwrap();
    answer(client).await
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Without what is another each time.
fn timeless(head: &str) -> Vec<&str> {
    let changes = ["date", "age", "server-timing", "nebula-receipt"];
    head.lines().filter(|line| !changes.iter().any(|name| line.starts_with(name))).collect()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn what_is_known_is_not_read() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let (missed, body) = ask(&mut client, &call("7")).await;
        assert_eq!((header(&missed, "cache-status"), body.as_str()), (Some("nebula; fwd=miss; stored"), "7"));
        let (hit, _) = ask(&mut client, &call("7")).await;
        assert_eq!(header(&hit, "cache-status"), Some("nebula; hit"));
        // One that has come once may not come again.
        ask(&mut client, &call("7")).await;
        assert_eq!(thread.read(), 3);
        for _ in 0..3 {
            let (again, body) = ask(&mut client, &call("7")).await;
            assert_eq!((timeless(&again), body.as_str()), (timeless(&hit), "7"));
            assert!(httpdate::parse_http_date(header(&again, "date").unwrap()).is_ok());
            assert!(header(&again, "age").unwrap().parse::<u64>().is_ok());
        }
        assert_eq!(thread.read(), 0);
        // All of them are counted.
        assert_eq!(thread.runtime.cache_report().unwrap().functions[0].counts.hits, 5);
        // Another input is read, and is known then beside the first; by other connections, too, after their first.
        for _ in 0..5 {
            ask(&mut client, &call("8")).await;
        }
        assert_eq!(thread.read(), 3);
        // Between others that are computed, too.
        for input in ["1", "7", "2", "8"] {
            let (_, body) = ask(&mut client, &call(input)).await;
            assert_eq!(body, input);
        }
        assert_eq!(thread.read(), 2);
        let mut other = thread.connect().await;
        for input in ["8", "7", "8"] {
            let (_, body) = ask(&mut other, &call(input)).await;
            assert_eq!(body, input);
        }
        assert_eq!(thread.read(), 1);
    });
}

#[test]
fn what_may_have_changed_is_read() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let learn = async |client: &mut TcpStream| {
            for _ in 0..4 {
                ask(client, &call("7")).await;
            }
            thread.read();
            ask(client, &call("7")).await;
            assert_eq!(thread.read(), 0);
        };
        learn(&mut client).await;
        // Any deploy: names may stand for something else.
        thread.deploy("other").await;
        ask(&mut client, &call("7")).await;
        assert_eq!(thread.read(), 1);
        learn(&mut client).await;
        thread.runtime.clear_cache();
        let (head, _) = ask(&mut client, &call("7")).await;
        assert_eq!(header(&head, "cache-status"), Some("nebula; fwd=miss; stored"));
        thread.read();
        learn(&mut client).await;
        // Another version answers for itself.
        let limits = LimitOverrides { output_bytes_max: Some(1000), ..LimitOverrides::default() };
        thread.deploy_with("same", SAME, limits).await;
        let (head, _) = ask(&mut client, &call("7")).await;
        assert!(header(&head, "nebula-function").unwrap().starts_with("same@v2;"), "{head}");
        // What the thread has forgotten isn't kept here.
        learn(&mut client).await;
        thread.deploy("more").await;
        ask(&mut client, &call("8")).await;
        thread.rendered.tidy();
        assert_eq!(thread.rendered.lock().entries.len(), 0);
        // Who is to end ends.
        learn(&mut client).await;
        let mut last = String::new();
        let (drained, ()) = tokio::join!(thread.connections.drain(), async {
            client.read_to_string(&mut last).await.unwrap();
        });
        assert_eq!((drained, last.as_str()), ((), ""));
    });
}

/// Who was found before a deploy is called all the same, and says nothing of who is called after it.
#[test]
fn a_slow_request_brings_nothing_back() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        for _ in 0..4 {
            ask(&mut client, &call("7")).await;
        }
        let mut slow = thread.connect().await;
        let request = call("7");
        let (head, body) = request.split_at(request.len() - 1);
        slow.write_all(head).await.unwrap();
        pause().await;
        let limits = LimitOverrides { output_bytes_max: Some(1000), ..LimitOverrides::default() };
        thread.deploy_with("same", SAME, limits).await;
        let (head, _) = ask(&mut slow, body).await;
        assert!(header(&head, "nebula-function").unwrap().starts_with("same@v1;"), "{head}");
        for client in [&mut client, &mut slow] {
            let (head, _) = ask(client, &call("7")).await;
            assert!(header(&head, "nebula-function").unwrap().starts_with("same@v2;"), "{head}");
        }
    });
}

/// hyper still waits for the body: what comes next is that.
#[test]
fn an_answer_before_the_body_is_no_rest() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let get = "GET /f/same?n=7 HTTP/1.1\r\nhost: a\r\n\r\n";
        for _ in 0..5 {
            ask(&mut client, get.as_bytes()).await;
        }
        assert_eq!(thread.read(), 3);
        let length = get.len();
        let early = format!("\r\nGET /f/same?n=7 HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(early.as_bytes()).await.unwrap();
        pause().await;
        client.write_all(get.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut client).await.1, "7");
        // What could have been another request was its body.
        client.write_all(&call("8")).await.unwrap();
        assert_eq!(answer(&mut client).await.1, "8");
    });
}

/// A client that doesn't read holds up its own answers alone, and gets all of them.
#[test]
fn answers_wait_for_who_takes_them() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect_with(Some(2048), true).await;
        for _ in 0..4 {
            ask(&mut client, &call("7")).await;
        }
        thread.read();
        for _ in 0..60 {
            client.write_all(&call("7")).await.unwrap();
            pause().await;
        }
        let mut other = thread.connect().await;
        ask(&mut other, &call("7")).await;
        for _ in 0..60 {
            assert_eq!(answer(&mut client).await.1, "7");
        }
        assert!(thread.read() < 60, "some were answered unread");
    });
}

/// Those that are to be computed again are read.
#[test]
fn what_is_verified_is_read() {
    run(async {
        let thread = Thread::verifying(1.0).await;
        let mut client = thread.connect().await;
        for _ in 0..8 {
            ask(&mut client, &call("7")).await;
        }
        assert_eq!(thread.read(), 8);
    });
}

/// What is to be stored nowhere, or has what another answer hasn't, isn't kept.
#[test]
fn what_is_this_callers_alone_is_read() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |header: &str| format!("GET /f/same?n=7 HTTP/1.1\r\nhost: a\r\n{header}\r\n");
        for header in ["cache-control: no-store\r\n", "cache-control: no-cache\r\n", "prefer: receipt\r\n"] {
            for _ in 0..4 {
                ask(&mut client, request("").as_bytes()).await;
            }
            thread.read();
            let request = request(header);
            for _ in 0..8 {
                ask(&mut client, request.as_bytes()).await;
            }
            assert_eq!(thread.read(), 8, "{header}");
        }
    });
}

/// Nothing depends on who asks, or by what trace.
#[test]
fn callers_share_what_is_known() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |number: u8| {
            format!(
                "GET /f/same?n=7 HTTP/1.1\r\nHost: a\r\nUser-Agent: a/{number}\r\nAuthorization: Bearer {number}\r\n\
                 Cookie: id={number}\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-{number:016}-01\r\n\r\n"
            )
        };
        for number in 0..8 {
            let (_, body) = ask(&mut client, request(number).as_bytes()).await;
            assert_eq!(body, "7");
        }
        assert_eq!(thread.read(), 3);
        // Who has the answer gets none, and that is known too.
        let (head, _) = ask(&mut client, request(8).as_bytes()).await;
        let etag = header(&head, "etag").unwrap();
        let request = |number| request(number).replace("Cookie", &format!("If-None-Match: {etag}\r\nCookie"));
        for number in 0..8 {
            let (head, body) = ask(&mut client, request(number).as_bytes()).await;
            assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
        }
        assert_eq!(thread.read(), 2);
    });
}

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
        let mut runner =
            proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1, ..Default::default() });
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
        assert!(read < asked * 9 / 10, "{read} of {asked}");
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
    /// Everything that is answered to this, and to a last request.
    async fn all_of(client: &mut TcpStream, request: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        // Where it is refused the connection is closed.
        if client.write_all(request).await.is_ok() {
            pause().await;
            let _ = client.write_all(LAST).await;
        }
        // One that isn't whole yet waits for more.
        let _ = tokio::time::timeout(Duration::from_millis(500), client.read_to_end(&mut answers)).await;
        answers
    }
    run(async {
        let thread = Thread::start().await;
        let mut runner =
            proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1, ..Default::default() });
        for _ in 0..200 {
            let (request, damaged) = damaged().new_tree(&mut runner).unwrap().current();
            let mut knowing = thread.connect().await;
            for _ in 0..3 {
                knowing.write_all(request.as_bytes()).await.unwrap();
                whole_answer(&mut knowing, request.starts_with("HEAD")).await;
            }
            let mut answers = Vec::new();
            for reading in [thread.connect_with(None, false).await, thread.connect_with(None, false).await] {
                let mut reading = reading;
                answers = all_of(&mut reading, &damaged).await;
            }
            let known = all_of(&mut knowing, &damaged).await;
            let [known, answers] = [known, answers].map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(timeless(&known), timeless(&answers), "{:?}", String::from_utf8_lossy(&damaged));
        }
    });
}

/// What a client may do on a connection.
#[derive(Clone, Debug)]
enum Act {
    Call(u8),
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
    let act = prop_oneof![
        40 => input().prop_map(Act::Call),
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

/// Time enough for what was sent to be read by itself.
async fn pause() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn act(client: &mut TcpStream, act: &Act) {
    let expect = async |client: &mut TcpStream, input: u8| {
        let (head, body) = answer(client).await;
        assert_eq!((&head[..15], body), ("HTTP/1.1 200 OK", input.to_string()), "{head}");
    };
    let request = |input: u8| call(&input.to_string());
    match *act {
        Act::Call(input) => {
            client.write_all(&request(input)).await.unwrap();
            expect(client, input).await;
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
        let mut runner =
            proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1, ..Default::default() });
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
