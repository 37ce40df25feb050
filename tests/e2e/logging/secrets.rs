//! No secret is in the output of a server, however much it logs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Answer, Nebula, eventually, guests};

use super::{objects, start};

const COOKIE: &str = "session=c00k1e-0f-a-caller";
const SET_COOKIE: &str = "granted=c00k1e-0f-a-function";
const CALLER_TOKEN: &str = "t0ken-0f-a-caller";
const WRONG_TOKEN: &str = "nebula_wr0ng-t0ken";
const WRONG_CODE: &str = "wr0ng-c0de-0f-a-link";

/// Signs a browser in.
fn sign_in(server: &Nebula, kind: &str, secret: &str) -> Answer {
    let request = server.control_without_token("POST", "/api/v1/session");
    let request = request.header("origin", &format!("http://{}", server.control_address()));
    request.body(format!(r#"{{"{kind}":"{secret}"}}"#)).send()
}

/// Sends a request over HTTP/2, whose library has events of its own.
fn send_over_http2(server: &Nebula, path: &str) {
    let address = server.calls_address();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{address}{path}"))
            .header("authorization", format!("Bearer {CALLER_TOKEN}"))
            .header("cookie", COOKIE)
            .header("x-set", SET_COOKIE)
            .body(Full::new(Bytes::from_static(b"\"you\"")));
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    });
}

#[test]
fn secrets_are_in_no_output() {
    for format in ["json", "text"] {
        let arguments = ["--log-format", format, "--access-log", format, "--guest-log", "on"];
        let server = start(&arguments, &[("NEBULA_LOG", "trace")])
            .deploy("greets", guests::GREETS)
            .deploy("mirrors", guests::MIRRORS_REQUEST)
            .deploy("panics", guests::PANICS);
        let created = server.cli(&["token", "create", "ci", "--scope", "admin"]).exits(0).stdout();
        let created = created.trim().to_owned();
        for _ in 0..5 {
            for function in ["greets", "mirrors", "panics", "none"] {
                let request = server.request("POST", &format!("/f/{function}")).body("\"you\"");
                let request = request.header("content-type", "application/json").header("cookie", COOKIE);
                request.header("authorization", &format!("Bearer {CALLER_TOKEN}")).send();
                send_over_http2(&server, &format!("/f/{function}"));
            }
        }
        for (token, status) in [(created.as_str(), 200), (WRONG_TOKEN, 401), ("", 401)] {
            let list = server.control_without_token("GET", "/api/v1/functions").header("cookie", COOKIE);
            list.header("authorization", &format!("Bearer {token}")).send().is(status);
            let basic = STANDARD.encode(format!("{CALLER_TOKEN}:{token}"));
            let list = server.control_without_token("GET", "/api/v1/functions");
            list.header("authorization", &format!("Basic {basic}")).send().is(401);
        }
        let session = sign_in(&server, "token", &created).is(200);
        let session = session.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        sign_in(&server, "token", WRONG_TOKEN).is(401);
        sign_in(&server, "code", WRONG_CODE).is(401);
        for origin in [format!("http://{}", server.control_address()), "http://evil.example".to_owned()] {
            for (method, path) in [
                ("GET", "/api/v1/functions"),
                ("POST", "/api/v1/functions/mirrors/call"),
                ("POST", "/api/v1/functions/panics/call"),
                ("DELETE", "/api/v1/session"),
                ("GET", "/api/v1/session"),
            ] {
                let request = server.control_without_token(method, path).header("cookie", &session);
                request.header("origin", &origin).body("\"you\"").send();
            }
        }
        server.put("refused", b"this is no component");
        server.cli(&["token", "revoke", "ci"]).exits(0);
        let token = server.token().to_owned();
        let (stdout, stderr) = eventually("the last request is logged", || {
            let (stdout, stderr) = (server.stdout(), server.stderr());
            let is_there = stdout.contains("/api/v1/tokens/ci") && stderr.contains("revoked a token");
            let is_there = is_there && stderr.contains("signed out of the console");
            is_there.then_some((stdout, stderr))
        });
        // The search looks at what is there.
        assert!(
            stdout.matches("/f/mirrors").count() == 10 && stderr.contains("an invalid token"),
            "{stderr}"
        );
        assert!(stderr.contains("TRACE") && stderr.contains("h2::"), "{stderr}");
        if format == "json" {
            objects(&stderr);
            objects(&stdout.lines().skip(3).collect::<Vec<_>>().join("\n"));
        }
        let basic = STANDARD.encode(format!("{CALLER_TOKEN}:"));
        let session = session.split('=').nth(1).unwrap();
        let secrets = [
            &token,
            &created,
            session,
            CALLER_TOKEN,
            WRONG_TOKEN,
            WRONG_CODE,
            COOKIE,
            SET_COOKIE,
            basic.trim_end_matches('='),
        ];
        for secret in secrets {
            for (name, output) in [("stdout", &stdout), ("stderr", &stderr)] {
                assert!(!output.contains(secret), "`{secret}` is in {name}: {output}");
            }
        }
        server.terminate_and_wait();
    }
}
