//! One connection, from its socket through hyper to a function: what is known isn't read, and is answered just so.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nebula_runtime::id::FunctionName;
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{Codegen, Compiler, Followers, Runtime, RuntimeConfig, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::bodies::Bodies;
use crate::connections::{Connections, Traffic};
use crate::data;
use crate::exchange::Exchange;
use crate::serve::{Ongoing, protocol};
use crate::socket::{Connected, Known, PART_PATIENCE};

mod generated;
mod http_form;
mod parts;

/// Takes a number and gives it.
const SAME: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#;

/// Takes a text and gives it, in whatever form is preferred.
const TEXT: &str = r#"(component
    (core module $m
        (memory (export "memory") 8)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "handle") (param i32 i32) (result i32)
            (i32.store (i32.const 8) (local.get 0))
            (i32.store (i32.const 12) (local.get 1))
            (i32.const 8)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" string) (result string)
        (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;

/// Takes a number and gives as many zero bytes.
const LONG: &str = r#"(component
    (core module $m
        (memory (export "memory") 8)
        (func (export "handle") (param i32) (result i32)
            (i32.store (i32.const 8) (i32.const 1024))
            (i32.store (i32.const 12) (local.get 0))
            (i32.const 8)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" u32) (result string)
        (canon lift (core func $i "handle") (memory (core memory $i "memory")))))"#;

/// A thread's part of a server.
struct Thread {
    runtime: Runtime,
    shard: Shard,
    rendered: Rendered,
    connections: Connections,
    part_patience: Duration,
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
            signer: None,
            verify_share,
            alarm: |_| {},
        })
        .unwrap();
        let shard = Shard::new(runtime.clone()).unwrap();
        let this = Self {
            rendered: Rendered::new(shard.clone()),
            connections: Connections::new(64, Traffic::default()),
            part_patience: PART_PATIENCE,
            read: Arc::default(),
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
        let part_patience = self.part_patience;
        let known =
            exchange.clone().map(|exchange| Known { exchange, requests: requests.clone(), part_patience });
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
    call_of("same", input)
}

fn call_of(function: &str, input: &str) -> Vec<u8> {
    let length = input.len();
    format!("POST /f/{function} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{input}").into_bytes()
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
        assert_eq!(thread.read(), 2);
        for _ in 0..3 {
            let (again, body) = ask(&mut client, &call("7")).await;
            assert_eq!((timeless(&again), body.as_str()), (timeless(&hit), "7"));
            assert!(httpdate::parse_http_date(header(&again, "date").unwrap()).is_ok());
            assert!(header(&again, "age").unwrap().parse::<u64>().is_ok());
        }
        assert_eq!(thread.read(), 0);
        // All of them are counted.
        assert_eq!(thread.runtime.cache_report().unwrap().functions[0].counts.hits, 4);
        // Another input is read, and is known then beside the first; by other connections, too, after their first.
        for _ in 0..5 {
            ask(&mut client, &call("8")).await;
        }
        assert_eq!(thread.read(), 2);
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
        assert_eq!(thread.read(), 2);
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

/// What is refused whoever asks isn't known by what it asks for.
#[test]
fn headers_that_are_too_large_are_refused() {
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

/// Whatever is answered, the connection is at rest after it, and what is short enough is known.
#[test]
fn answers_of_any_length_leave_a_connection_at_rest() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let head = "HEAD /f/same?n=7 HTTP/1.1\r\nhost: a\r\n\r\n";
        for _ in 0..5 {
            client.write_all(head.as_bytes()).await.unwrap();
            let (head, _) = whole_answer(&mut client, true).await;
            assert_eq!(header(&head, "content-length"), Some("1"));
        }
        assert_eq!(thread.read(), 2);
        let post = |bytes: usize| {
            let text = "x".repeat(bytes);
            format!(
                "POST /f/text HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n{text}"
            )
        };
        let get = |bytes| format!("GET /f/long?n={bytes} HTTP/1.1\r\nhost: a\r\naccept: text/plain\r\n\r\n");
        for (request, bytes, is_known) in [
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
            assert_eq!(thread.read() < 6, is_known, "{bytes}");
            client.write_all(head.as_bytes()).await.unwrap();
            whole_answer(&mut client, true).await;
            assert_eq!(thread.read(), 0, "{bytes}");
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
        assert_eq!(thread.read(), 2);
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

/// Time enough for what was sent to be read by itself.
async fn pause() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}
