//! The parts of messages that HTTP treats apart: trailers, `TE`, omitted bodies, dates, the target's
//! host, cookies, and headers of the journey.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Nebula, WAIT_MAX, guests};

/// Writes a request and reads until the server closes the connection.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn has_line(answer: &str, line: &str) -> bool {
    answer.lines().any(|found| found == line)
}

/// Sends a request over HTTP/2 and returns the response's head, content and trailers.
fn http2<B>(address: SocketAddr, request: http::Request<B>) -> (http::response::Parts, Bytes, http::HeaderMap)
where
    B: hyper::body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        (parts, collected.to_bytes(), trailers)
    })
}

const NO_BODY: fn() -> Full<Bytes> = Full::default;

#[test]
fn the_function_sees_the_trailers_of_a_request() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let address = nebula.calls_address();
    let chunked = |trailers: &str| {
        exchange(
            address,
            &format!(
                "POST /f/mirror/t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\
                 Connection: close\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
            ),
        )
    };
    let answer = chunked("x-sum: 42\r\ncontent-length: 3\r\nx-request-id: a\r\n");
    assert!(has_line(&answer, "trailer x-sum: 42") && has_line(&answer, "body hello"), "{answer}");
    // Nothing that frames the message, and nothing of its journey.
    assert_eq!(answer.matches("\ntrailer ").count(), 1, "{answer}");
    // They are a part of the call.
    let hit = |answer: &str| answer.contains("\r\ncache-status: nebula; hit\r\n");
    assert!(!hit(&answer) && hit(&chunked("x-sum: 42\r\n")));
    assert!(!hit(&chunked("x-sum: 43\r\n")) && !hit(&chunked("")));

    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        http::HeaderValue::from_static("42"),
    )]);
    let body = NO_BODY().with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = http::Request::post(format!("http://{address}/f/mirror")).body(Box::pin(body)).unwrap();
    let (_, body, _) = http2(address, request);
    assert!(has_line(&String::from_utf8_lossy(&body), "trailer x-sum: 42"), "{body:?}");
}

/// Only clients that ask for trailers get them, cached or not.
#[test]
fn trailers_of_a_response_are_sent_to_those_who_accept_them() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    let address = nebula.calls_address();
    for round in 0..4 {
        let get = |te: &str| {
            let head = format!("GET /f/odd/trailers HTTP/1.1\r\nHost: a\r\n{te}Connection: close\r\n\r\n");
            exchange(address, &head)
        };
        let with = get("TE: trailers\r\n");
        assert!(with.contains("\r\ntransfer-encoding: chunked\r\n"), "{with}");
        assert!(with.contains("\r\ntrailer: x-more, x-sum\r\n"), "{with}");
        assert!(with.contains("\r\nten bytes.\r\n0\r\n"), "{with}");
        let (_, trailers) = with.split_once("\r\n0\r\n").unwrap();
        assert!(trailers.contains("x-sum: 42\r\n") && trailers.contains("x-more: a\r\n"), "{with}");
        assert!(!trailers.contains("content-length"), "{with}");
        let without = get("");
        assert!(without.ends_with("\r\n\r\nten bytes.") && !without.contains("x-sum"), "{without}");
        assert!(without.contains("\r\ncontent-length: 10\r\n"), "{without}");

        let get = |te: Option<&'static str>| {
            let mut request = http::Request::get(format!("http://{address}/f/odd/trailers"));
            if let Some(te) = te {
                request = request.header("te", te);
            }
            http2(address, request.body(NO_BODY()).unwrap())
        };
        let (_, body, trailers) = get(Some("trailers"));
        assert_eq!((&body[..], trailers["x-sum"].to_str().unwrap()), (&b"ten bytes."[..], "42"), "{round}");
        assert_eq!(trailers.len(), 2, "{trailers:?}");
        let (_, body, trailers) = get(None);
        assert!(body == "ten bytes." && trailers.is_empty(), "{trailers:?}");
    }
}

/// Frameworks answer `HEAD` with the length of the body that `GET` would have.
#[test]
fn an_announced_body_may_be_omitted_where_http_has_none() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    for _ in 0..3 {
        let answer = nebula.request("HEAD", "/f/odd/omits/200").send().is(200);
        answer.has("content-length", "22").has("x-own", "kept");
        nebula.get("/f/odd/omits/304").is(304).has("x-own", "kept").says("");
        nebula.get("/f/odd/omits/204").is(204).has("x-own", "kept").says("");
    }
    // Elsewhere the body is missing.
    nebula.get("/f/odd/omits/200").is(502);
}

/// The clock of a function stands still.
#[test]
fn the_servers_date_is_sent() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    for _ in 0..5 {
        let answer = nebula.get("/f/odd/date").is(200);
        let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
        assert!(dates.len() == 1 && !dates[0].to_str().unwrap().contains(" 2000 "), "{answer:?}");
    }
}

#[test]
fn the_host_of_the_target_takes_precedence() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let get = |target: &str| {
        exchange(
            nebula.calls_address(),
            &format!("GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"),
        )
    };
    let answer = get("http://b.example/f/mirror/x?y");
    for line in ["authority b.example", "path /x?y"] {
        assert!(has_line(&answer, line), "no `{line}`: {answer}");
    }
    assert!(has_line(&get("/f/mirror/x?y"), "authority other"));
}

#[test]
fn the_function_sees_one_cookie_field() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let address = nebula.calls_address();
    let request = http::Request::get(format!("http://{address}/f/mirror"));
    let request = request.header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
    let (_, body, _) = http2(address, request.body(NO_BODY()).unwrap());
    let text = String::from_utf8_lossy(&body);
    assert!(has_line(&text, "header cookie: a=1; b=2; c=3"), "{text}");
    assert_eq!(text.matches("header cookie").count(), 1, "{text}");
}

/// Requests that differ in their journey alone are the same call.
#[test]
fn the_function_does_not_see_the_journey_of_a_request() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let plain = nebula.get("/f/mirror").is(200);
    for (name, value) in [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("baggage", "a=b"),
        ("x-request-id", "my-id"),
        ("x-correlation-id", "my-id"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("X-Forwarded-Host", "a.example"),
    ] {
        let answer = nebula.request("GET", "/f/mirror").header(name, value).send().is(200);
        assert_eq!(answer.text(), plain.text(), "{name}");
        assert_eq!(answer.header("cache-status"), Some("nebula; hit"), "{name}: {answer:?}");
    }
}
