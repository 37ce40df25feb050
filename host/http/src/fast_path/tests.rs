//! One connection, from its socket through hyper to a function. Each test counts the requests that
//! hyper parses: the others got a cached response.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nebula_runtime::id::FunctionName;
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{Codegen, Compiler, Followers, Runtime, RuntimeConfig, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::bodies::BodyMemory;
use crate::connections::{Connections, Traffic};
use crate::data::{self, DataPlane};
use crate::serve::{protocol, spawn_connection};

mod codings;
mod generated;
mod http_form;
mod observed;
mod parts;

/// Returns its number.
const SAME: &str = include_str!("tests/same.wat");

/// Returns its string.
const TEXT: &str = include_str!("tests/text.wat");

/// Returns a string of that many zero bytes.
const LONG: &str = include_str!("tests/long.wat");

/// One serving thread of a server, with three functions deployed.
struct Thread {
    runtime: Runtime,
    shard: Shard,
    fast_path: FastPath,
    connections: Connections,
    /// Requests that hyper has parsed.
    parsed: Arc<AtomicUsize>,
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
            signer: None,
            verify_share,
            alarm: |_| {},
        })
        .unwrap();
        let shard = Shard::new(runtime.clone()).unwrap();
        let this = Self {
            fast_path: FastPath::on(&shard, None),
            connections: Connections::new(64, Traffic::default()),
            parsed: Arc::default(),
            _data_dir: data_dir,
            runtime,
            shard,
        };
        this.deploy("same").await;
        for (name, component) in [("text", TEXT), ("long", LONG)] {
            this.deploy_with(name, component, LimitOverrides::default()).await;
        }
        this
    }

    async fn with_partial_timeout(partial_timeout: Duration) -> Self {
        let thread = Self::start().await;
        let inner = thread.fast_path.0.clone().map(|inner| Inner { partial_timeout, ..inner });
        Self { fast_path: FastPath(inner), ..thread }
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

    /// Opens a connection.
    async fn connect(&self) -> TcpStream {
        self.connect_with(None, &self.fast_path).await
    }

    /// Opens a connection that hyper handles alone.
    async fn connect_to_hyper(&self) -> TcpStream {
        self.connect_with(None, &FastPath::off()).await
    }

    /// Opens a connection, with socket buffers of this size towards the client.
    async fn connect_with(&self, buffer: Option<u32>, fast_path: &FastPath) -> TcpStream {
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
        let slot = self.connections.acquire_slot().await;
        let plane = Arc::new(DataPlane::new(self.shard.clone(), BodyMemory::new()));
        let parsed = Arc::clone(&self.parsed);
        let serve = move |request, in_flight| {
            parsed.fetch_add(1, Ordering::Relaxed);
            data::serve(Arc::clone(&plane), request, in_flight)
        };
        spawn_connection(&protocol(), slot, fast_path, stream, serve);
        client
    }

    /// Returns the number of requests that hyper has parsed since the last call.
    fn parsed(&self) -> usize {
        self.parsed.swap(0, Ordering::Relaxed)
    }
}

fn call(input: &str) -> Vec<u8> {
    call_of("same", input)
}

fn call_of(function: &str, input: &str) -> Vec<u8> {
    let length = input.len();
    format!("POST /f/{function} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{input}").into_bytes()
}

/// Reads the next response: its head, and its body.
async fn answer(client: &mut TcpStream) -> (String, String) {
    whole_answer(client, false).await
}

/// Likewise; the response has no body if it `is_bodiless`, whatever its `Content-Length` says.
async fn whole_answer(client: &mut TcpStream, is_bodiless: bool) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let length = if is_bodiless { 0 } else { length };
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8_lossy(&body).into_owned())
}

async fn ask(client: &mut TcpStream, request: &[u8]) -> (String, String) {
    client.write_all(request).await.unwrap();
    answer(client).await
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Returns the lines without the headers that change with time.
fn timeless(head: &str) -> Vec<&str> {
    let changes = ["date", "age", "server-timing", "nebula-receipt", "x-request-id"];
    head.lines().filter(|line| !changes.iter().any(|name| line.starts_with(name))).collect()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn repeated_request_gets_the_cached_response() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let (missed, body) = ask(&mut client, &call("7")).await;
        assert_eq!((header(&missed, "cache-status"), body.as_str()), (Some("nebula; fwd=miss; stored"), "7"));
        let (hit, _) = ask(&mut client, &call("7")).await;
        assert_eq!(header(&hit, "cache-status"), Some("nebula; hit"));
        // Nothing is cached for a request that came once.
        assert_eq!(thread.parsed(), 2);
        for _ in 0..3 {
            let (again, body) = ask(&mut client, &call("7")).await;
            assert_eq!((timeless(&again), body.as_str()), (timeless(&hit), "7"));
            assert!(httpdate::parse_http_date(header(&again, "date").unwrap()).is_ok());
            assert!(header(&again, "age").unwrap().parse::<u64>().is_ok());
        }
        assert_eq!(thread.parsed(), 0);
        // Every hit counts as a call.
        assert_eq!(thread.runtime.cache_report().unwrap().functions[0].counts.hits, 4);
        // Another input is cached beside the first.
        for _ in 0..5 {
            ask(&mut client, &call("8")).await;
        }
        assert_eq!(thread.parsed(), 2);
        // Hits and misses alternate on one connection.
        for input in ["1", "7", "2", "8"] {
            let (_, body) = ask(&mut client, &call(input)).await;
            assert_eq!(body, input);
        }
        assert_eq!(thread.parsed(), 2);
        // Connections share the cached responses; hyper parses the first request of each.
        let mut other = thread.connect().await;
        for input in ["8", "7", "8"] {
            let (_, body) = ask(&mut other, &call(input)).await;
            assert_eq!(body, input);
        }
        assert_eq!(thread.parsed(), 1);
    });
}

#[test]
fn stale_responses_are_not_sent() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let fill = async |client: &mut TcpStream| {
            for _ in 0..4 {
                ask(client, &call("7")).await;
            }
            thread.parsed();
            ask(client, &call("7")).await;
            assert_eq!(thread.parsed(), 0);
        };
        fill(&mut client).await;
        // After any deploy, a name may resolve to another version.
        thread.deploy("other").await;
        ask(&mut client, &call("7")).await;
        assert_eq!(thread.parsed(), 1);
        fill(&mut client).await;
        thread.runtime.clear_cache().unwrap();
        let (head, _) = ask(&mut client, &call("7")).await;
        assert_eq!(header(&head, "cache-status"), Some("nebula; fwd=miss; stored"));
        thread.parsed();
        fill(&mut client).await;
        // The response names the version that answers.
        let limits = LimitOverrides { output_bytes_max: Some(1000), ..LimitOverrides::default() };
        thread.deploy_with("same", SAME, limits).await;
        let (head, _) = ask(&mut client, &call("7")).await;
        assert!(header(&head, "nebula-function").unwrap().starts_with("same@v2;"), "{head}");
        // The table is emptied when the thread has unloaded its functions.
        fill(&mut client).await;
        thread.deploy("more").await;
        ask(&mut client, &call("8")).await;
        thread.fast_path.tidy();
        assert!(thread.fast_path.0.as_ref().unwrap().responses.is_empty());
        // A draining connection closes.
        fill(&mut client).await;
        let mut last = String::new();
        let (drained, ()) = tokio::join!(thread.connections.drain(), async {
            client.read_to_string(&mut last).await.unwrap();
        });
        assert_eq!((drained, last.as_str()), ((), ""));
    });
}

/// A request that resolved its function before a deploy still calls the old version. Its response
/// isn't cached for requests after the deploy.
#[test]
fn slow_request_does_not_cache_an_old_version() {
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

/// hyper answers a `GET` before its body has arrived. The next bytes are that body, not a request.
#[test]
fn connection_is_not_idle_before_the_request_body() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let get = "GET /f/same?n=7 HTTP/1.1\r\nhost: a\r\n\r\n";
        for _ in 0..5 {
            ask(&mut client, get.as_bytes()).await;
        }
        assert_eq!(thread.parsed(), 2);
        let length = get.len();
        let early = format!("\r\nGET /f/same?n=7 HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(early.as_bytes()).await.unwrap();
        pause().await;
        client.write_all(get.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut client).await.1, "7");
        // hyper discarded the body, though it looks like a request.
        client.write_all(&call("8")).await.unwrap();
        assert_eq!(answer(&mut client).await.1, "8");
    });
}

/// A client that doesn't read delays only its own responses, and gets all of them.
#[test]
fn slow_reader_gets_all_its_responses() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect_with(Some(2048), &thread.fast_path).await;
        for _ in 0..4 {
            ask(&mut client, &call("7")).await;
        }
        thread.parsed();
        for _ in 0..60 {
            client.write_all(&call("7")).await.unwrap();
            pause().await;
        }
        let mut other = thread.connect().await;
        ask(&mut other, &call("7")).await;
        for _ in 0..60 {
            assert_eq!(answer(&mut client).await.1, "7");
        }
        assert!(thread.parsed() < 60, "some were hits");
    });
}

/// A hit that is sampled for verification goes through hyper and the runtime.
#[test]
fn sampled_hits_are_parsed() {
    run(async {
        let thread = Thread::verifying(1.0).await;
        let mut client = thread.connect().await;
        for _ in 0..8 {
            ask(&mut client, &call("7")).await;
        }
        assert_eq!(thread.parsed(), 8);
    });
}

/// Responses that mustn't be stored, or that differ each time, aren't cached.
#[test]
fn uncacheable_requests_are_parsed() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |header: &str| format!("GET /f/same?n=7 HTTP/1.1\r\nhost: a\r\n{header}\r\n");
        for header in ["cache-control: no-store\r\n", "cache-control: no-cache\r\n", "prefer: receipt\r\n"] {
            for _ in 0..4 {
                ask(&mut client, request("").as_bytes()).await;
            }
            thread.parsed();
            let request = request(header);
            for _ in 0..8 {
                ask(&mut client, request.as_bytes()).await;
            }
            assert_eq!(thread.parsed(), 8, "{header}");
        }
    });
}

/// The limit on headers holds on the fast path too.
#[test]
fn large_headers_are_refused_despite_a_cached_response() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |header: &str| format!("GET /f/same?n=7 HTTP/1.1\r\nhost: a\r\n{header}\r\n");
        for _ in 0..4 {
            ask(&mut client, request("").as_bytes()).await;
        }
        let large = request(&format!("x: {}\r\n", "y".repeat(40_000)));
        let (head, _) = ask(&mut client, large.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    });
}

/// The connection is idle after a response of any length. Only short ones are cached.
#[test]
fn connection_is_idle_after_a_response_of_any_length() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let head = "HEAD /f/same?n=7 HTTP/1.1\r\nhost: a\r\n\r\n";
        for _ in 0..5 {
            client.write_all(head.as_bytes()).await.unwrap();
            let (head, _) = whole_answer(&mut client, true).await;
            assert_eq!(header(&head, "content-length"), Some("1"));
        }
        assert_eq!(thread.parsed(), 2);
        let post = |bytes: usize| {
            let text = "x".repeat(bytes);
            format!(
                "POST /f/text HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n{text}"
            )
        };
        let get = |bytes| format!("GET /f/long?n={bytes} HTTP/1.1\r\nhost: a\r\naccept: text/plain\r\n\r\n");
        for (request, bytes, is_cached) in [
            (post(0), 0, true),
            (post(2000), 2000, true),
            (post(7000), 7000, true),
            (post(20_000), 20_000, true),
            (post(60_000), 60_000, true),
            (post(90_000), 90_000, false),
            (post(300_000), 300_000, false),
            (get(60_000), 60_000, true),
            (get(70_000), 70_000, false),
        ] {
            for _ in 0..6 {
                let (_, body) = ask(&mut client, request.as_bytes()).await;
                assert_eq!(body.len(), bytes);
            }
            assert_eq!(thread.parsed() < 6, is_cached, "{bytes}");
            client.write_all(head.as_bytes()).await.unwrap();
            whole_answer(&mut client, true).await;
            assert_eq!(thread.parsed(), 0, "{bytes}");
        }
    });
}

/// Credentials, cookies, user agents and traces don't change the response of a typed function.
#[test]
fn clients_share_cached_responses() {
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
        assert_eq!(thread.parsed(), 2);
        // 304 responses are cached too.
        let (head, _) = ask(&mut client, request(8).as_bytes()).await;
        let etag = header(&head, "etag").unwrap();
        let request = |number| request(number).replace("Cookie", &format!("If-None-Match: {etag}\r\nCookie"));
        for number in 0..8 {
            let (head, body) = ask(&mut client, request(number).as_bytes()).await;
            assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
        }
        assert_eq!(thread.parsed(), 2);
    });
}

/// Waits until the server has read the bytes sent so far.
async fn pause() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}
