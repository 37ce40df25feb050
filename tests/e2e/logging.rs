//! The log of a server: its events, the access log, and the secrets that must be in neither.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Nebula, command, data_dir_in, eventually, guests, nebula_in};
use serde_json::Value;

mod access;
mod secrets;

/// Starts a server with more arguments and with environment variables.
fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Nebula {
    let home = Arc::new(tempfile::tempdir().unwrap());
    Nebula::run(home, &[&["serve"], arguments].concat(), Path::new("/"), variables)
}

/// Stops a server and returns its stderr. The last event tells that all others are there.
fn stderr_at_end(mut server: Nebula) -> String {
    server.terminate();
    server.wait_for_exit();
    // The thread that collects the lines may be behind.
    let mut before = None;
    eventually("the lines are collected", || {
        std::thread::sleep(Duration::from_millis(20));
        let now = server.stderr();
        let settled = before.as_ref() == Some(&now);
        before = Some(now.clone());
        settled.then_some(now)
    })
}

/// Parses lines of JSON, each of which must be an object.
#[track_caller]
fn objects(lines: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object.is_object(), "{line}");
        object
    };
    lines.lines().map(parse).collect()
}

/// Returns the events with this message.
fn with_message<'a>(events: &'a [Value], message: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["message"] == message).collect()
}

#[test]
fn the_filter_comes_from_the_environment() {
    let own = ("NEBULA_LOG", "warn");
    let stderr =
        |variables: &[(&str, &str)]| stderr_at_end(start(&[], variables).deploy("greets", guests::GREETS));
    let usual = stderr(&[]);
    for part in [
        " INFO nebula::server: serving ",
        "nebula::deploy: deployed function=\"greets\" version=v1",
        ": stopped",
    ] {
        assert!(usual.contains(part), "no `{part}` in {usual}");
    }
    assert!(!usual.contains("DEBUG") && !usual.contains('\u{1b}'), "{usual}");
    assert_eq!(stderr(&[own]), "");
    assert_eq!(stderr(&[("RUST_LOG", "error")]), "");
    assert_eq!(stderr(&[own, ("RUST_LOG", "trace")]), "");
    // An empty variable isn't given.
    assert!(stderr(&[("NEBULA_LOG", ""), ("RUST_LOG", "off,nebula::deploy=info")]).contains("deployed"));
    let compiled = stderr(&[("NEBULA_LOG", "off,nebula::compile=debug")]);
    assert!(compiled.contains("DEBUG nebula::compile: compiled a component"), "{compiled}");
    assert_eq!(compiled.lines().count(), 1, "{compiled}");
}

#[test]
fn a_wrong_filter_is_refused_with_a_hint() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data").display().to_string();
    for command in [&["serve"][..], &["up"]] {
        let arguments =
            [command, &["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir", &directory]]
                .concat();
        for (name, value, reason) in
            [("NEBULA_LOG", "inof", "`inof` isn't a level"), ("RUST_LOG", "info,x=y", "`y` isn't a level")]
        {
            nebula_in(home.path(), &arguments, &[(name, value)])
                .exits(1)
                .explains(&format!("`{name}` isn't a filter of the log: {reason}"))
                .explains("hint: a filter is a level (off, error, warn, info, debug, trace)");
        }
    }
    assert!(!home.path().join("data").exists());
}

/// Each line is an object, and each change of a function tells what, which version, and who.
#[test]
fn events_in_json_tell_what_was_changed_by_whom() {
    let server = start(&["--log-format", "json"], &[]).deploy("f", guests::GREETS);
    server.put("f?deadline_ms=500", &std::fs::read(guests::ADDS).unwrap()).is(200);
    let created = server.cli(&["token", "create", "ci", "--scope", "admin"]).exits(0).stdout();
    let ci = |method: &str, path: &str| {
        let request = server.control_without_token(method, path);
        request.header("authorization", &format!("Bearer {}", created.trim())).header("x-request-id", "by-ci")
    };
    ci("POST", "/api/v1/functions/f/rollback").send().is(200);
    ci("DELETE", "/api/v1/functions/f").send().is(204);
    ci("DELETE", "/api/v1/functions/f").send().is(404);
    server.cli(&["token", "revoke", "ci"]).exits(0);
    ci("GET", "/api/v1/functions").send().is(401);
    let address = server.calls_address().to_string();
    let version = &server.control("GET", "/api/v1/server").send().is(200).json()["version"];
    let events = objects(&stderr_at_end(server));
    for event in &events {
        for member in ["timestamp", "level", "message", "target"] {
            assert!(event[member].is_string(), "{event}");
        }
    }
    let only = |message: &str| {
        let found = with_message(&events, message);
        assert_eq!(found.len(), 1, "{message}: {events:#?}");
        found[0]
    };
    let serving = only("serving");
    assert_eq!((&serving["version"], &serving["calls"]), (version, &Value::from(address)));
    let deployed = with_message(&events, "deployed");
    assert_eq!(deployed.len(), 2);
    assert_eq!((&deployed[0]["function"], &deployed[0]["version"]), (&"f".into(), &"v1".into()));
    assert_eq!(deployed[0]["span"]["token"], "token-file");
    assert!(deployed[0]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        (&deployed[0]["limits"], &deployed[1]["limits"]),
        (&Value::Null, &r#"{"deadline_ms":500}"#.into())
    );
    let rolled_back = only("rolled back");
    assert_eq!((&rolled_back["version"], &rolled_back["digest"]), (&"v1".into(), &deployed[0]["digest"]));
    for event in [rolled_back, only("removed"), only("a request was refused")] {
        let span = &event["span"];
        assert_eq!((&span["token"], &span["request_id"]), (&"ci".into(), &"by-ci".into()), "{event}");
        assert!(span["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
    }
    assert_eq!(
        (&only("created a token")["name"], &only("revoked a token")["name"]),
        (&"ci".into(), &"ci".into())
    );
    let invalid = only("a request with an invalid token was refused");
    assert_eq!((&invalid["level"], &invalid["span"]["token"]), (&"WARN".into(), &Value::Null));
    assert_eq!(events.last().unwrap()["message"], "stopped");
}

/// The output of a function is its tenant's: no filter shows it, only the option.
#[test]
fn output_of_functions_is_logged_if_asked() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    for (option, shows) in
        [(&[][..], false), (&["--guest-log", "off"], false), (&["--guest-log", "on"], true)]
    {
        let server = start(&[&["--log-format", "json"], option].concat(), &[("NEBULA_LOG", "trace")])
            .deploy("prints", guests::PRINTS)
            .deploy("panics", guests::PRINTS_INPUT);
        let call = |function: &str, input: &str| {
            let request =
                server.request("POST", &format!("/f/{function}")).header("content-type", "application/json");
            request.header("x-request-id", "my-id").header("traceparent", &traceparent).body(input).send()
        };
        call("prints", "2").is(200);
        call("panics", r#""panic \u001b[31m\nERROR forged""#).is(502);
        let stderr = stderr_at_end(server);
        assert!(!stderr.contains(|it: char| it.is_control() && it != '\n'), "{stderr:?}");
        let events = objects(&stderr);
        let output: Vec<_> = events.iter().filter(|event| event["target"] == "nebula::guest").collect();
        if shows {
            let of = |function: &str, stream: &str| {
                let found =
                    output.iter().find(|event| event["function"] == function && event["stream"] == stream);
                found.unwrap_or_else(|| panic!("no {stream} of {function}: {output:#?}"))
            };
            let (stdout, stderr) = (of("prints", "stdout"), of("prints", "stderr"));
            assert_eq!(
                (&stdout["output"], &stderr["output"]),
                (&"out 1\nout 2\n".into(), &"err 1\nerr 2\n".into())
            );
            assert_eq!((&stdout["version"], &stdout["level"]), (&"v1".into(), &"INFO".into()));
            assert_eq!((&stdout["request_id"], &stdout["trace_id"]), (&"my-id".into(), &TRACE.into()));
            assert_eq!(of("panics", "stdout")["output"], "panic \u{1b}[31m\nERROR forged");
        } else {
            assert!(output.is_empty(), "{output:#?}");
        }
        // A trap is a warning with its reason in any case.
        let failed = with_message(&events, "a function failed");
        assert_eq!(failed.len(), 1, "{events:#?}");
        assert_eq!((&failed[0]["level"], &failed[0]["function"]), (&"WARN".into(), &"panics".into()));
        assert_eq!((&failed[0]["request_id"], &failed[0]["trace_id"]), (&"my-id".into(), &TRACE.into()));
        assert!(
            failed[0]["reason"].as_str().unwrap().starts_with("the function trapped: panicked at"),
            "{failed:?}"
        );
    }
}

/// Text that functions and clients have chosen neither begins a line nor controls the terminal.
#[test]
fn events_in_text_are_one_line_each() {
    let server = start(&["--guest-log", "on"], &[]).deploy("panics", guests::PRINTS_INPUT);
    for text in ["panic \u{1b}[31m\r\nERROR forged \u{9b}2J\u{7f}", "plain \u{1b}]0;title\u{7}\nERROR forged"]
    {
        server.post("/f/panics", &serde_json::to_string(text).unwrap());
    }
    let stderr = stderr_at_end(server);
    assert!(!stderr.contains(|it: char| it.is_control() && it != '\n'), "{stderr:?}");
    assert!(stderr.lines().all(|line| line.as_bytes()[..4].iter().all(u8::is_ascii_digit)), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.contains("ERROR forged")).count(), 4, "{stderr}");
}

/// Failures that repeat don't fill the disk. An event tells their number.
#[test]
fn repeated_failures_are_logged_at_a_bounded_rate() {
    const FAILURES: u64 = 200;
    let server = start(&["--log-format", "json"], &[]).deploy("panics", guests::PANICS);
    for _ in 0..FAILURES {
        server.post("/f/panics", "1").is(502);
    }
    let logged = |server: &Nebula| {
        let events = objects(&server.stderr());
        let failed = with_message(&events, "a function failed");
        (failed.len() as u64, failed.iter().filter_map(|event| event["skipped"].as_u64()).sum::<u64>())
    };
    let mut calls = FAILURES;
    eventually("the last failures are told", || {
        server.post("/f/panics", "1").is(502);
        calls += 1;
        std::thread::sleep(Duration::from_millis(200));
        let (events, skipped) = logged(&server);
        (events + skipped == calls).then_some(())
    });
    let (events, skipped) = logged(&server);
    assert!(skipped > 0 && events < calls, "{events} of {calls} are logged");
}

/// A call that is shed, and one that passes its deadline, are warnings.
#[test]
fn shed_calls_and_deadlines_are_warnings() {
    let arguments =
        ["--log-format", "json", "--calls-max", "1", "--queue-max", "0", "--cache-bytes-max", "0"];
    let server = start(&arguments, &[]);
    server.put("slow?deadline_ms=700", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| server.post("/f/slow", "").status())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|it| **it == status).count();
    assert!(count(504) > 0 && count(503) > 0 && count(504) + count(503) == 8, "{statuses:?}");
    let events = objects(&stderr_at_end(server));
    for (message, status) in [("a call passed its deadline", 504), ("a call was shed", 503)] {
        let found = with_message(&events, message);
        assert_eq!(found.len(), count(status), "{events:#?}");
        assert!(
            found.iter().all(|event| event["level"] == "WARN" && event["function"] == "slow"),
            "{found:#?}"
        );
    }
}

/// Compiled code that was changed on disk is compiled again, and an event says so.
#[test]
fn damaged_compiled_code_is_told() {
    let server = Nebula::start().deploy("greets", guests::GREETS);
    let (home, directory) = (server.home(), server.data_dir().join("compiled"));
    server.kill();
    for compatibility in std::fs::read_dir(directory).unwrap() {
        for file in std::fs::read_dir(compatibility.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(path, b"damaged").unwrap();
        }
    }
    let server = Nebula::start_over(home, &[]);
    server.post("/f/greets", "\"you\"").is(200);
    let stderr = stderr_at_end(server);
    assert!(
        stderr.contains("WARN nebula::store: compiled code is damaged; it is compiled again digest=sha256:"),
        "{stderr}"
    );
}

/// No reader takes stderr, and none takes stdout after the addresses. The server answers all the
/// same, tells a late reader how many lines are lost, and stops in time.
#[test]
fn a_reader_that_stops_reading_does_not_stop_the_server() {
    const REQUESTS: usize = 3000;
    let home = tempfile::tempdir().unwrap();
    let mut child = command()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--access-log",
            "json",
            "--data-dir",
        ])
        .arg(data_dir_in(&home))
        .env("NEBULA_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let _stderr = child.stderr.take().unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    // The addresses of the control plane and the console follow.
    for _ in 0..2 {
        stdout.read_line(&mut line).unwrap();
    }
    // HTTP/2 has some events for each request, and a long target fills the access log.
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{address}/healthz?{}", "x".repeat(8000));
        for _ in 0..REQUESTS {
            let request = http::Request::get(&uri).body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok\n");
        }
    });
    let late = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&late);
    let reader = std::thread::spawn(move || {
        for line in stdout.lines() {
            into.lock().unwrap().extend(objects(&line.unwrap()));
        }
    });
    eventually("every line is written, or told to be lost", || {
        let lines = late.lock().unwrap();
        let lost: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
        let written = lines.iter().filter(|line| line["target"] == "nebula::access").count();
        (lost > 0 && written as u64 + lost == REQUESTS as u64).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = eventually("the server exits", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    reader.join().unwrap();
}

/// The threads that write the logs sleep while there is nothing to write.
#[test]
fn idle_logs_wake_nobody() {
    let server = start(&["--access-log", "text"], &[("NEBULA_LOG", "trace")]);
    server.get("/healthz").is(200);
    let switches = || -> BTreeMap<String, u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let status = tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default());
        let of = |status: String| {
            let field = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned())
            };
            let name =
                field("Name:").filter(|name| ["nebula-log", "nebula-access"].contains(&name.as_str()))?;
            Some((name, field("voluntary_ctxt_switches:")?.parse().ok()?))
        };
        status.filter_map(of).collect()
    };
    assert_eq!(switches().len(), 2, "{:?}", switches());
    // Starting has events of its own, for some seconds.
    eventually("the logs rest", || {
        let before = switches();
        std::thread::sleep(Duration::from_secs(2));
        (switches() == before).then_some(())
    });
}

/// Lines in the journal of systemd begin with their priority.
#[test]
fn lines_in_the_journal_have_priorities() {
    for format in ["text", "json"] {
        let home = tempfile::tempdir().unwrap();
        let journal = tempfile::NamedTempFile::new().unwrap();
        let stream = journal.as_file().metadata().unwrap();
        let run = |stream: &str| {
            let mut child = command()
                .args([
                    "serve",
                    "--listen",
                    "127.0.0.1:0",
                    "--control",
                    "127.0.0.1:0",
                    "--log-format",
                    format,
                    "--data-dir",
                ])
                .arg(data_dir_in(&home))
                .env("JOURNAL_STREAM", stream)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(journal.reopen().unwrap())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            assert!(child.wait().unwrap().success());
            let text = std::fs::read_to_string(journal.path()).unwrap();
            journal.as_file().set_len(0).unwrap();
            text
        };
        let text = run(&format!("{}:{}", stream.dev(), stream.ino()));
        assert!(text.contains("serving") && text.lines().all(|line| line.starts_with("<6>")), "{text}");
        // Another stream: stderr was redirected.
        let text = run("1:1");
        assert!(text.contains("serving") && !text.contains("<6>"), "{text}");
    }
}
