//! The access log: a line for each request, of both planes.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Nebula, eventually, guests};
use serde_json::Value;

use super::{objects, start};

/// Waits for that many lines of the access log, and returns them.
#[track_caller]
fn lines(server: &Nebula, count: usize) -> Vec<String> {
    let lines = eventually(&format!("{count} requests are logged"), || {
        let stdout = server.stdout();
        // The first lines are the addresses.
        let lines: Vec<_> = stdout.lines().skip(3).map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

fn start_with(format: &str) -> Nebula {
    start(&["--access-log", format], &[("NEBULA_LOG", "warn")])
}

/// Fresh calls, hits on every path, errors and requests without a function: each is a line.
#[test]
fn every_request_is_a_line_of_json() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let server = start_with("json").deploy("greets", guests::GREETS).deploy("panics", guests::PANICS);
    let deploys = objects(&lines(&server, 2).join("\n"));
    for deploy in &deploys {
        assert_eq!(
            (&deploy["nebula.plane"], &deploy["nebula.token"]),
            (&"control".into(), &"token-file".into())
        );
        assert_eq!(
            (&deploy["http.request.method"], &deploy["http.response.status_code"]),
            (&"PUT".into(), &200.into())
        );
        assert!(deploy["http.request.body.size"].as_u64().unwrap() > 1000);
    }
    let call = || {
        let request = server.request("POST", "/f/greets?x=%0d%0a").header("content-type", "application/json");
        let request = request
            .header("user-agent", "te\"st")
            .header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"));
        request.body("\"you\"").send().is(200)
    };
    let ids: Vec<_> = (0..8).map(|_| call().header("x-request-id").unwrap().to_owned()).collect();
    let calls = objects(&lines(&server, 10)[2..].join("\n"));
    for (line, id) in calls.iter().zip(&ids) {
        let expected = [
            ("target", "nebula::access".into()),
            ("nebula.plane", "data".into()),
            ("client.address", "127.0.0.1".into()),
            ("http.request.method", "POST".into()),
            ("url.path", "/f/greets".into()),
            ("url.query", "x=%0d%0a".into()),
            ("network.protocol.version", "1.1".into()),
            ("http.response.status_code", 200.into()),
            ("http.request.body.size", 5.into()),
            ("http.response.body.size", 13.into()),
            ("faas.name", "greets".into()),
            ("faas.version", "v1".into()),
            ("user_agent.original", "te\"st".into()),
            ("request_id", Value::from(id.as_str())),
            ("trace_id", TRACE.into()),
        ];
        for (name, value) in expected {
            assert_eq!(line[name], value, "{name}: {line}");
        }
        assert!(line["duration_us"].is_u64() && line["client.port"].is_u64(), "{line}");
    }
    // The first ran; hyper parsed the second; the last ones took the cached fast path.
    let sources: Vec<_> = calls.iter().map(|line| line["nebula.source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["ran", "hit", "hit", "hit", "hit", "hit", "hit", "hit"]);
    for phase in ["nebula.queue_us", "nebula.start_us", "nebula.run_us"] {
        assert!(calls[0][phase].is_u64() && calls[1][phase].is_null(), "{phase}");
    }

    server.post("/f/panics", "1").is(502);
    server.post("/f/greets", "1").is(400);
    server.get("/f/none").is(404);
    server.request("HEAD", "/healthz").send().is(200);
    server.control_without_token("GET", "/api/v1/functions").send().is(401);
    let last = objects(&lines(&server, 15)[10..].join("\n"));
    let of = |name: &str| last.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("http.response.status_code"), [502, 400, 404, 200, 401]);
    assert_eq!(of("faas.name"), ["panics".into(), "greets".into(), Value::Null, Value::Null, Value::Null]);
    assert_eq!(of("nebula.plane"), ["data", "data", "data", "data", "control"]);
    // The input of the second was refused before the function ran.
    assert_eq!(of("nebula.source"), ["ran".into(), Value::Null, Value::Null, Value::Null, Value::Null]);
    let errors = of("error.type");
    assert_eq!(errors[1], "urn:nebula:problem:type-mismatch");
    assert!(errors[0].is_string() && errors[2].is_string() && errors[3].is_null(), "{errors:?}");
    assert!(last[3]["http.response.body.size"] == 0 && last[4]["nebula.token"].is_null(), "{last:?}");
}

#[test]
fn http2_and_clients_that_leave_are_logged() {
    let server = start_with("json");
    server.put("slow?deadline_ms=60000", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let address = server.calls_address();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://{address}/healthz?a=1")).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    });
    let line = &objects(&lines(&server, 2)[1])[0];
    assert_eq!((&line["network.protocol.version"], &line["url.path"]), (&"2".into(), &"/healthz".into()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /f/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    // The call runs by then, or soon.
    assert!(stream.read(&mut [0]).is_err());
    drop(stream);
    let line = &objects(&lines(&server, 3)[2])[0];
    assert_eq!((&line["url.path"], &line["http.response.status_code"]), (&"/f/slow".into(), &Value::Null));
    assert!(line["duration_us"].as_u64().unwrap() >= 50_000, "{line}");
}

/// The line begins as the Combined Log Format does, and nothing that a client sends leaves its field.
#[test]
fn a_line_of_text_cannot_be_forged() {
    let server = start_with("text").deploy("greets", guests::GREETS);
    let deployed = &lines(&server, 1)[0];
    let begin = "127.0.0.1 - token-file [";
    assert!(deployed.starts_with(begin) && deployed.contains(" plane=control "), "{deployed}");
    let ask = |headers: &[u8]| {
        let mut stream = TcpStream::connect(server.calls_address()).unwrap();
        stream
            .write_all(b"GET /f/greets?name=%22%0d%0a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n")
            .unwrap();
        stream.write_all(headers).unwrap();
        stream.write_all(b"\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    };
    // HTTP itself forbids other control characters.
    ask(b"user-agent: a\" 200 0 \"\\\t\xc2\x9b[2Jx\xff\r\nreferer: http://a/\"\r\nx-request-id: a\"b\\\r\n");
    let line = &lines(&server, 2)[1];
    let request = r#" "GET /f/greets?name=%22%0d%0a HTTP/1.1" "#;
    let headers = r#" "http://a/\x22" "a\x22 200 0 \x22\x5C\x09\xC2\x9B[2Jx\xFF" took_us="#;
    assert!(line.contains(request) && line.contains(headers), "{line}");
    assert!(line.ends_with(r" request_id=a\x22b\x5C"), "{line}");
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
}

/// Failures are always logged; of the others a share.
#[test]
fn a_share_of_the_requests_is_logged() {
    for (share, least, most) in [("0", 0, 0), ("0.5", 60, 140), ("1", 200, 200)] {
        let variables =
            [("NEBULA_LOG", "warn"), ("NEBULA_ACCESS_LOG", "json"), ("NEBULA_ACCESS_LOG_SAMPLE", share)];
        let server = start(&[], &variables).deploy("greets", guests::GREETS);
        for _ in 0..200 {
            server.post("/f/greets", "\"you\"").is(200);
        }
        for _ in 0..5 {
            server.get("/f/none").is(404);
        }
        let logged = eventually("the failures are logged", || {
            let stdout = server.stdout();
            let logged = objects(&stdout.lines().skip(3).collect::<Vec<_>>().join("\n"));
            let failed = logged.iter().filter(|line| line["http.response.status_code"] == 404).count();
            (failed == 5).then_some(logged)
        });
        let calls = logged
            .iter()
            .filter(|line| line["http.response.status_code"] == 200 && line["nebula.plane"] == "data");
        let calls = calls.count();
        assert!((least..=most).contains(&calls), "{calls} of 200 with the share {share}");
    }
}

#[test]
fn the_access_log_is_off_unless_asked() {
    let server = start(&[], &[]).deploy("greets", guests::GREETS);
    server.post("/f/greets", "\"you\"").is(200);
    let home = server.home();
    let stdout = server.stdout();
    server.terminate_and_wait();
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    drop(home);
}
