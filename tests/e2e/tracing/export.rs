//! The way to the collector: both protocols, TLS, answers that aren't a success, and what an export that
//! fails costs the calls: nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_tests::{
    Collector, CollectorReply, Nebula, TestCa, TlsServer, command, eventually, guests, nebula,
};

use super::{TRACE, span_of, traced};

const PROTOCOLS: [&str; 2] = ["http/protobuf", "grpc"];

/// The names of the server's threads, with how often each was scheduled.
fn threads(server: &Nebula) -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let thread = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let value =
            |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        let switches = value("voluntary_ctxt_switches:")?.parse::<u64>().ok()?;
        Some((value("Name:")?, switches))
    };
    tasks.filter_map(|task| thread(task.unwrap())).collect()
}

/// Returns how often the exporter's thread went to sleep; `None` if there is no such thread.
fn exporter_wakeups(server: &Nebula) -> Option<u64> {
    threads(server).into_iter().find(|(name, _)| name == "nebula-traces").map(|(_, switches)| switches)
}

#[test]
fn spans_arrive_by_both_protocols_compressed_or_not() {
    for protocol in PROTOCOLS {
        for compression in ["none", "gzip"] {
            let collector = Collector::start();
            let variables = [
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b"),
                ("OTEL_SERVICE_NAME", "checkout"),
                ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
                ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8"),
            ];
            let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
            let span = span_of(
                &collector,
                &server
                    .request("POST", "/f/greets")
                    .header("content-type", "application/json")
                    .header("x-request-id", "id")
                    .body("\"you\"")
                    .send()
                    .is(200),
            );
            assert_eq!(span.text("url.path").as_deref(), Some("/f/greet"), "{protocol} {compression}");
            assert_eq!(span.resource("service.name").as_deref(), Some("checkout"));
            assert_eq!(span.resource("deployment.environment.name").as_deref(), Some("test"));
            for headers in collector.requests() {
                assert_eq!(headers["api-key"], "a b");
                let coding = headers.get("content-encoding").or_else(|| headers.get("grpc-encoding"));
                assert_eq!(coding.is_some(), compression == "gzip", "{headers:?}");
                assert_eq!(headers.contains_key("grpc-timeout"), protocol == "grpc", "{headers:?}");
            }
        }
    }
}

#[test]
fn spans_arrive_over_tls_from_a_collector_that_is_trusted() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, ca: &TestCa| {
        let path = directory.path().join(name);
        std::fs::write(&path, ca.pem()).unwrap();
        path.display().to_string()
    };
    let (trusted, untrusted) = (write("ca.pem", &ca), write("other.pem", &other));
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let tls = TlsServer::start(&ca, "localhost", collector.address());
        let url = format!("https://localhost:{}", tls.port());
        let variables = |certificate| {
            [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate),
                ("OTEL_BSP_EXPORT_TIMEOUT", "100"),
            ]
        };
        let server = traced(&collector, &variables(untrusted.as_str())).deploy("greets", guests::GREETS);
        eventually("the loss is reported", || server.stderr().contains("certificate").then_some(()));
        assert_eq!(collector.requests().len(), 0);
        let server = traced(&collector, &variables(trusted.as_str())).deploy("greets", guests::GREETS);
        span_of(&collector, &server.post("/f/greets", "\"you\"").is(200));
    }
}

/// What is in the queue is sent when the server stops, without waiting for the delay.
#[test]
fn the_last_spans_are_sent_when_the_server_stops() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "3600000"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let mut server = traced(&collector, &variables).deploy("greets", guests::GREETS);
        server.post("/f/greets", "\"you\"").is(200);
        assert_eq!(collector.requests().len(), 0);
        let begun = Instant::now();
        server.interrupt();
        server.wait_for_exit();
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(collector.spans().iter().any(|span| span.span.name == "POST /f/greets"), "{protocol}");
    }
}

#[test]
fn a_collector_that_is_down_delays_neither_calls_nor_the_end() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let collector = Collector::start();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ];
    let mut server = traced(&collector, &variables).deploy("greets", guests::GREETS);
    for round in 0..50 {
        server.post("/f/greets", &format!("\"{round}\"")).is(200);
    }
    let begun = Instant::now();
    server.interrupt();
    server.wait_for_exit();
    // The flush takes at most five seconds.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(server.stderr().contains("lost"), "{}", server.stderr());
}

/// A collector that takes connections and never answers.
#[test]
fn a_collector_that_hangs_delays_no_call_and_holds_bounded_memory() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.reply(&[CollectorReply::Hangs; 100]);
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "50"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "100"),
        ];
        let mut server = traced(&collector, &variables).deploy("greets", guests::GREETS);
        for round in 0..50 {
            server.post("/f/greets", &format!("\"{round}\"")).is(200);
        }
        eventually("the loss is reported", || server.stderr().contains("lost: ").then_some(()));
        server.interrupt();
        server.wait_for_exit();
        assert!(
            server.stderr().contains("did not answer within") || server.stderr().contains("queue was full")
        );
    }
}

/// The server doesn't wait for the timeouts of the export when it stops.
#[test]
fn a_collector_that_hangs_delays_the_end_for_seconds_at_most() {
    let collector = Collector::start();
    collector.reply(&[CollectorReply::Hangs; 100]);
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"), ("OTEL_BSP_EXPORT_TIMEOUT", "3600000")];
    let mut server = traced(&collector, &variables).deploy("greets", guests::GREETS);
    eventually("the export begins", || (!collector.requests().is_empty()).then_some(()));
    let begun = Instant::now();
    server.interrupt();
    server.wait_for_exit();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let stderr = server.stderr();
    assert!(stderr.contains("lost: the collector did not take them within 5 s"), "{stderr}");
}

#[test]
fn spans_are_sent_again_if_the_collector_may_take_them_later() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.reply(&[CollectorReply::Unavailable]);
        let variables =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
        let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
        super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
        collector.wait_for(1, |span| span.span.name == "POST /f/greets");
        assert_eq!(collector.requests().len(), 2, "{protocol}");
        assert!(!server.stderr().contains("lost"), "{}", server.stderr());
    }
}

/// A busy collector may ask for any time. If it is longer than the time for the batch, the spans are
/// lost, and those of later requests are sent as before.
#[test]
fn spans_wait_as_long_as_a_busy_collector_asks_if_there_is_time() {
    for (protocol, retry_after_s, is_sent_again) in [
        ("http/protobuf", None, true),
        ("http/protobuf", Some(1), true),
        ("http/protobuf", Some(3600), false),
        ("http/protobuf", Some(u64::MAX), false),
        ("grpc", None, false),
        ("grpc", Some(1), true),
        ("grpc", Some(3600), false),
        ("grpc", Some(u64::MAX), false),
    ] {
        let case = format!("{protocol} {retry_after_s:?}");
        let collector = Collector::start();
        collector.reply(&[CollectorReply::Busy { retry_after_s }]);
        let variables =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
        let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
        let begun = Instant::now();
        let first = super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
        if is_sent_again {
            span_of(&collector, &first);
            assert!(begun.elapsed() >= Duration::from_secs(retry_after_s.unwrap_or(0)), "{case}");
            assert_eq!(collector.requests().len(), 2, "{case}");
            assert!(!server.stderr().contains("lost"), "{case}: {}", server.stderr());
        } else {
            eventually(&format!("the loss is reported: {case}"), || {
                server.stderr().contains("lost: the collector answered").then_some(())
            });
            let second = super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "me");
            span_of(&collector, &second);
            assert_eq!(collector.requests().len(), 2, "{case}");
        }
    }
}

/// The connection ends with the batch, whatever the answer, and if there is none.
#[test]
fn no_connection_stays_open_after_a_batch() {
    for protocol in PROTOCOLS {
        for reply in [None, Some(CollectorReply::Refused), Some(CollectorReply::Hangs)] {
            let collector = Collector::start();
            collector.reply(reply.as_slice());
            let variables = [
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
                ("OTEL_BSP_EXPORT_TIMEOUT", "500"),
            ];
            let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
            super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
            eventually("a batch is sent", || (!collector.requests().is_empty()).then_some(()));
            let what = format!("the connection is closed ({protocol}, {reply:?})");
            eventually(&what, || (collector.connections() == 0).then_some(()));
        }
    }
}

#[test]
fn spans_that_the_collector_refuses_are_reported_and_not_sent_again() {
    for (protocol, reply, reason) in [
        ("http/protobuf", CollectorReply::Refused, "400 Bad Request"),
        (
            "http/protobuf",
            CollectorReply::RejectsOne,
            "1 span was lost: the collector refused spans: one of them is odd",
        ),
        ("grpc", CollectorReply::Refused, "gRPC status 3: it is picky"),
        (
            "grpc",
            CollectorReply::RejectsOne,
            "1 span was lost: the collector refused spans: one of them is odd",
        ),
    ] {
        let collector = Collector::start();
        collector.reply(&[reply]);
        let variables =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
        let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
        super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
        eventually("the loss is reported", || server.stderr().contains(reason).then_some(()));
        assert_eq!(collector.requests().len(), 1, "{protocol} {reply:?}");
    }
}

/// Without spans, the exporter's thread isn't scheduled at all.
#[test]
fn the_exporter_sleeps_while_there_are_no_spans() {
    let collector = Collector::start();
    let variables = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let server = traced(&collector, &variables).deploy("greets", guests::GREETS);
    let rests = |server: &Nebula| {
        let before = exporter_wakeups(server).expect("a thread");
        for round in 0..20 {
            // Requests that aren't traced don't wake it up either.
            server.post("/f/greets", &format!("\"{round}\"")).is(200);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(exporter_wakeups(server), Some(before));
    };
    rests(&server);
    super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
    collector.wait_for(1, |span| span.span.name == "POST /f/greets");
    // Its connection and the thread that looked up the collector's name are gone after a while.
    let mut last = exporter_wakeups(&server);
    eventually("the exporter sleeps", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = exporter_wakeups(&server);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    rests(&server);
}

#[test]
fn nothing_runs_unless_the_environment_asks_for_it() {
    let collector = Collector::start();
    for variable in [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ] {
        let server = traced(&collector, &[variable]).deploy("greets", guests::GREETS);
        super::greet(&server, &format!("00-{TRACE}-b7ad6b7169203331-01"), "you");
        assert_eq!(exporter_wakeups(&server), None, "{variable:?}");
        server.terminate_and_wait();
    }
    assert_eq!(exporter_wakeups(&Nebula::start()), None);
    assert_eq!(collector.requests().len(), 0);
}

#[test]
fn mistakes_in_the_environment_are_reported() {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let data_dir = home.path().join("data").display().to_string();
    let run = |variables: &[(&str, &str)]| {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir", &data_dir];
        let output = command().args(serve).envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("`OTEL_EXPORTER_OTLP_ENDPOINT` is not the URL of a collector"), "{stderr}");
    assert!(stderr.contains("hint: for example `http://localhost:4318`"), "{stderr}");
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "my-secret");
    let (code, stderr) = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), headers]);
    assert!(code == Some(1) && !stderr.contains("my-secret"), "{stderr}");
    let collector = Collector::start();
    let server = traced(&collector, &[("OTEL_TRACES_SAMPLER", "sometimes")]);
    assert!(server.stderr().contains("`OTEL_TRACES_SAMPLER` is ignored"), "{}", server.stderr());
    // Other commands don't read it.
    nebula(&["--version"]).exits(0);
}
