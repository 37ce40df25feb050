//! HTTP at the level of bytes: malformed requests, request smuggling, limits, chunks, HTTP/2,
//! `Expect`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Nebula, WAIT_MAX, guests};

mod refusals;
mod reported;
mod request_ids;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn read_to_close(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let begun = Instant::now();
    // The server may also end the connection with a reset after its answer.
    let _ = stream.read_to_end(&mut answer);
    assert!(
        begun.elapsed() < WAIT_MAX,
        "the server keeps the connection: {:?}",
        String::from_utf8_lossy(&answer)
    );
    String::from_utf8_lossy(&answer).into_owned()
}

/// Writes the bytes of a request and reads until the server closes the connection, which it does
/// because the request asks for it or is malformed.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(request);
    read_to_close(stream)
}

/// Sends one request over HTTP/2 and returns its response.
fn http2_exchange(
    address: SocketAddr,
    request: impl FnOnce(SocketAddr) -> http::Request<Full<Bytes>>,
) -> (http::response::Parts, Bytes) {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request(address)).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    })
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn serving() -> Nebula {
    Nebula::start().deploy("greets", guests::GREETS)
}

#[test]
fn a_request_needs_exactly_one_host() {
    let nebula = serving();
    for address in [nebula.calls_address(), nebula.control_address()] {
        for hosts in ["", "host: a\r\nhost: b\r\n", "host: a\r\nHost: a\r\n"] {
            let answer = exchange(
                address,
                format!("GET /healthz HTTP/1.1\r\n{hosts}connection: close\r\n\r\n").as_bytes(),
            );
            assert_eq!(status(&answer), "400", "{hosts:?}: {answer}");
            assert!(answer.contains("urn:nebula:problem:bad-host"), "{answer}");
        }
        let answer = exchange(address, b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&answer), "200", "{answer}");
        // HTTP/1.0 requires no `Host`.
        let answer = exchange(address, b"GET /healthz HTTP/1.0\r\n\r\n");
        assert_eq!(status(&answer), "200", "{answer}");
    }
}

/// The data plane refuses an invalid `Host`, so that a guest doesn't fail on it.
#[test]
fn a_host_is_a_name_or_an_address() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let get = |version: &str, host: &[u8]| {
        let head = format!("GET /f/mirror HTTP/{version}\r\nconnection: close\r\nhost: ");
        exchange(nebula.calls_address(), &[head.as_bytes(), host, b"\r\n\r\n"].concat())
    };
    for host in [&b"\xff"[..], b"", b"a b", b"me@a", b"a:x", b"http://a"] {
        for version in ["1.1", "1.0"] {
            let answer = get(version, host);
            assert_eq!(status(&answer), "400", "{host:?}: {answer}");
            assert!(answer.contains("urn:nebula:problem:bad-host"), "{answer}");
        }
    }
    for host in ["example.org", "example.org:8080", "127.0.0.1", "[::1]:80"] {
        let answer = get("1.1", host.as_bytes());
        assert_eq!(status(&answer), "200", "{host:?}: {answer}");
        assert!(answer.contains(&format!("authority {host}\n")), "{answer}");
    }
}

/// A successful CONNECT would turn the connection into a tunnel, which Nebula doesn't provide.
#[test]
fn connect_is_refused() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    for target in ["/f/mirror", "a:80"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n");
        let answer = exchange(nebula.calls_address(), request.as_bytes());
        assert!(["400", "405"].contains(&status(&answer)), "{target}: {answer}");
    }
}

/// Request smuggling: chunks take precedence over the length, and bytes after them aren't read as a
/// request (RFC 9112 §6.1).
#[test]
fn a_request_with_length_and_chunks_smuggles_nothing() {
    let nebula = serving();
    let (length, chunked) = ("content-length: 4\r\n", "transfer-encoding: chunked\r\n");
    for headers in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let smuggled = format!(
            "POST /f/greets HTTP/1.1\r\nhost: a\r\n{headers}\r\n0\r\n\r\n\
            GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = exchange(nebula.calls_address(), smuggled.as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(status(&answer) == "400" || answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[test]
fn invalid_lengths_are_400() {
    let nebula = serving();
    for lengths in ["content-length: x", "content-length: -1", "content-length: 3\r\ncontent-length: 4"] {
        let request = format!("POST /f/greets HTTP/1.1\r\nhost: a\r\n{lengths}\r\n\r\nabcd");
        let answer = exchange(nebula.calls_address(), request.as_bytes());
        assert_eq!(status(&answer), "400", "{lengths}: {answer}");
    }
}

#[test]
fn headers_are_bounded() {
    let nebula = serving();
    let with = |headers: String| {
        exchange(
            nebula.calls_address(),
            format!("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").as_bytes(),
        )
    };
    let long = with(format!("x-long: {}\r\n", "x".repeat(40 * 1024)));
    assert_eq!(status(&long), "431");
    assert!(long.contains("urn:nebula:problem:headers-too-large"), "{long}");
    let many = with((0..150).map(|n| format!("x-{n}: x\r\n")).collect());
    assert_eq!(status(&many), "431", "{many}");
    let very_many = with((0..1000).map(|n| format!("x-{n}: x\r\n")).collect());
    assert_eq!(status(&very_many), "431");
    assert_eq!(status(&with(format!("x-long: {}\r\n", "x".repeat(16 * 1024)))), "200");
}

#[test]
fn bytes_that_are_not_http_are_refused() {
    let nebula = serving();
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answer = exchange(nebula.calls_address(), noise);
        assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    }
    nebula.get("/healthz").is(200);
}

#[test]
fn chunked_bodies_are_read_whole() {
    let nebula = serving();
    let request =
        b"POST /f/greets HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nAda\r\n1;extension=x\r\n \r\n8\r\nLovelace\r\n0\r\n\r\n";
    let answer = exchange(nebula.calls_address(), request);
    assert!(answer.ends_with("Hello, Ada Lovelace!"), "{answer}");
}

/// Chunks announce no total length, so the limit counts the bytes received.
#[test]
fn chunked_bodies_are_bounded() {
    let nebula = Nebula::start();
    nebula.put("greets?input_bytes_max=100", &std::fs::read(guests::GREETS).unwrap()).is(200);
    let mut request =
        b"POST /f/greets HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..20 {
        request.extend_from_slice(b"a\r\n0123456789\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(nebula.calls_address(), &request);
    assert_eq!(status(&answer), "413", "{answer}");
}

#[test]
fn an_incomplete_body_is_400() {
    let nebula = serving();
    let broken = b"POST /f/greets HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc";
    let mut stream = connect(nebula.calls_address());
    stream.write_all(broken).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_close(stream);
    assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    nebula.get("/healthz").is(200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let nebula = serving();
    let request = |name: &str, connection: &str| {
        let length = name.len();
        format!("POST /f/greets HTTP/1.1\r\nhost: a\r\n{connection}content-length: {length}\r\n\r\n{name}")
    };
    let all = [request("one", ""), request("two", ""), request("three", "connection: close\r\n")].concat();
    let answer = exchange(nebula.calls_address(), all.as_bytes());
    let at =
        |name: &str| answer.find(&format!("Hello, {name}!")).unwrap_or_else(|| panic!("no {name}: {answer}"));
    assert!(at("one") < at("two") && at("two") < at("three"), "{answer}");
}

/// The server doesn't wait for a body whose announced length exceeds the limit.
#[test]
fn a_length_over_the_limit_is_refused_at_once() {
    let nebula = serving();
    let request = b"POST /f/greets HTTP/1.1\r\nhost: a\r\ncontent-length: 8388609\r\n\
        expect: 100-continue\r\n\r\n";
    let answer = exchange(nebula.calls_address(), request);
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("\"bytes_max\":8388608"), "{answer}");
}

/// Many streams share one connection.
#[test]
fn the_data_plane_speaks_http2_on_the_same_port() {
    let nebula = serving();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(nebula.calls_address()).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let call = |n: usize| {
            let mut sender = sender.clone();
            let request = http::Request::post(format!("http://{}/f/greets", nebula.calls_address()))
                .body(Full::new(Bytes::from(format!("no. {n}"))))
                .unwrap();
            async move {
                let response = sender.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.version(), http::Version::HTTP_2);
                assert!(response.headers().contains_key("nebula-function"));
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, format!("Hello, no. {n}!"));
            }
        };
        let calls: Vec<_> = (0..50).map(|n| tokio::spawn(call(n))).collect();
        for call in calls {
            call.await.unwrap();
        }
        drop(sender);
        driver.await.unwrap().unwrap();
    });
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let nebula = serving();
    let mut stream = connect(nebula.calls_address());
    stream
        .write_all(b"POST /f/greets HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        .unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"Ada").unwrap();
    let answer = read_to_close(stream);
    assert!(answer.ends_with("Hello, Ada!"), "{answer}");
}
