//! Requests that HTTP requires a server to refuse: each refusal is a problem document, on both
//! planes, whether hyper or Nebula finds the fault.

use std::time::Duration;

use super::*;

/// The answer to a refused request comes well within this time. The server reads an unwanted body
/// for longer.
const SOON: Duration = Duration::from_millis(1500);

/// A head that asks the server to close the connection.
fn head(request_line: &str, headers: &str) -> Vec<u8> {
    format!("{request_line}\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

fn get(target: &str) -> Vec<u8> {
    head(&format!("GET {target} HTTP/1.1"), "")
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    [&head("POST /f/greets HTTP/1.1", headers)[..], body.as_bytes()].concat()
}

#[test]
fn every_refusal_is_a_problem_document() {
    let nebula = serving();
    let long = |bytes: usize| get(&format!("/f/greets?{}", "x".repeat(bytes)));
    let length = |length: &str| post(&format!("content-length: {length}\r\n"), "");
    let coded = |coding: &str| post(&format!("transfer-encoding: {coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    let table: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("a target over Nebula's limit", long(40_000), 414, "target-too-long"),
        ("a target over hyper's limit", long(70_000), 414, "target-too-long"),
        ("a length of 2^64-2", length("18446744073709551614"), 413, "body-too-large"),
        ("a length of 2^64-1", length("18446744073709551615"), 413, "body-too-large"),
        ("a length of 2^64", length("18446744073709551616"), 413, "body-too-large"),
        ("a longer length", length("999999999999999999999999"), 413, "body-too-large"),
        ("a length that isn't one", length("4x"), 400, "malformed-request"),
        ("gzip before chunked", coded("gzip, chunked"), 501, "unsupported-transfer-coding"),
        ("chunked twice", coded("chunked, chunked"), 501, "unsupported-transfer-coding"),
        (
            "chunked in two lines",
            coded("chunked\r\ntransfer-encoding: chunked"),
            501,
            "unsupported-transfer-coding",
        ),
        ("gzip alone", coded("gzip"), 501, "unsupported-transfer-coding"),
        ("a header without a colon", head("GET /healthz HTTP/1.1", "x\r\n"), 400, "malformed-request"),
        ("an unknown version", get("/ HTTP/9.9"), 400, "malformed-request"),
        ("too many headers", head("GET / HTTP/1.1", &"x: y\r\n".repeat(1000)), 431, "headers-too-large"),
    ];
    let healthy = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let called = "POST /f/greets HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n\"you\"";
    let (calls, control) = (nebula.calls_address(), nebula.control_address());
    // Alone, and behind other requests in the same packet.
    let before = [
        (calls, ""),
        (control, ""),
        (calls, healthy),
        (control, healthy),
        (calls, called),
        (calls, &[called, healthy, called].concat()),
    ];
    for (address, before) in before {
        for (what, request, expected, kind) in &table {
            let answers = exchange(address, &[before.as_bytes(), request].concat());
            let others = before.matches(" HTTP/1.1\r\n").count();
            let answer = &answers[answers.match_indices("HTTP/1.1 ").nth(others).unwrap().0..];
            assert_eq!(status(answer), expected.to_string(), "{what}: {answer}");
            assert!(answer.contains(&format!("urn:nebula:problem:{kind}\"")), "{what}: {answer}");
            assert!(answer.contains("\r\ncontent-type: application/problem+json\r\n"), "{what}: {answer}");
            assert!(answer.contains("\r\nx-request-id: "), "{what}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{what}: {answer}");
        }
    }
    // A refused head after a good request on the same connection.
    let mut stream = connect(nebula.calls_address());
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    stream.write_all(&length("18446744073709551615")).unwrap();
    let answer = read_to_close(stream);
    assert!(answer.contains("HTTP/1.1 413 "), "{answer}");
}

/// The answer to `HEAD` has no body, also if hyper refuses the request.
#[test]
fn a_refused_head_request_has_no_body() {
    let nebula = serving();
    for bytes in [40_000, 70_000] {
        let request = head(&format!("HEAD /{} HTTP/1.1", "x".repeat(bytes)), "");
        let answer = exchange(nebula.calls_address(), &request);
        assert_eq!(status(&answer), "414", "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let before = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = exchange(nebula.calls_address(), &[&before[..], &request].concat());
        assert!(answer.contains("HTTP/1.1 414 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

/// The rest of a body that nobody reads isn't taken for the next request's target.
#[test]
fn a_refusal_after_an_unread_body_names_its_own_fault() {
    let nebula = serving();
    let unread =
        format!("POST /f/none HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n{}", "x".repeat(200_000));
    let request = [unread.as_bytes(), &head("GET /healthz HTTP/1.1", "x\r\n")].concat();
    let answer = exchange(nebula.calls_address(), &request);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("urn:nebula:problem:malformed-request"), "{answer}");
}

/// HTTP/2 has the target in a header. Targets up to hyper's limit on headers reach Nebula.
#[test]
fn a_long_target_of_http2_is_refused_alike() {
    let nebula = serving();
    let (response, body) = http2_exchange(nebula.calls_address(), |address| {
        let target = format!("http://{address}/f/greets?{}", "x".repeat(40_000));
        http::Request::get(target).body(Full::default()).unwrap()
    });
    assert_eq!(response.status, 414);
    assert!(body.starts_with(b"{") && response.headers.contains_key("x-request-id"), "{response:?}");
}

/// An answer that the head decides comes before the body.
#[test]
fn a_refusal_does_not_wait_for_the_body() {
    let nebula = serving();
    let length = "content-length: 100000\r\n";
    for (address, request, expected) in [
        (nebula.calls_address(), format!("POST /f/greets HTTP/1.1\r\n{length}\r\n"), "400"),
        (nebula.calls_address(), format!("POST /f/none HTTP/1.1\r\nhost: a\r\n{length}\r\n"), "404"),
        (nebula.calls_address(), format!("PUT /f/greets HTTP/1.1\r\nhost: a\r\n{length}\r\n"), "405"),
        (nebula.control_address(), format!("POST / HTTP/1.1\r\n{length}\r\n"), "400"),
        (nebula.control_address(), format!("PUT / HTTP/1.1\r\nhost: a\r\n{length}\r\n"), "401"),
    ] {
        let send = || {
            let begun = Instant::now();
            let mut stream = connect(address);
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(status(&String::from_utf8_lossy(&answer)), expected, "{request}");
            (begun.elapsed() < SOON).then_some(stream)
        };
        // A busy machine may be late once.
        let mut stream =
            (0..5).find_map(|_| send()).unwrap_or_else(|| panic!("{request}: the answer is late"));
        // The connection stays usable once the body has come.
        let body = [&b"x".repeat(100_000)[..], &get("/healthz")].concat();
        stream.write_all(&body).unwrap();
        let rest = read_to_close(stream);
        assert!(rest.contains("HTTP/1.1 200 "), "{request}: {rest}");
    }
}

/// A version has one name.
#[test]
fn a_version_with_leading_zeros_is_not_found() {
    let nebula = serving();
    nebula.post("/f/greets@v1", "\"you\"").is(200);
    for other in ["v01", "v0", "V1", "v+1"] {
        nebula.post(&format!("/f/greets@{other}"), "\"you\"").is(400).problem("bad-name");
    }
}
