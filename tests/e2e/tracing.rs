//! Traces: the spans that a collector gets, and the requests that have none.
//!
//! `export` tests how spans reach the collector, or don't. `relayed` tests calls through the control
//! plane, and `compiles` the spans of compiles.

mod compiles;
mod export;
mod relayed;

use std::path::Path;
use std::sync::Arc;

use nebula_tests::{Answer, Collector, Nebula, ReceivedSpan, eventually, guests, wat};
use serde_json::{Value, json};
use tempfile::TempDir;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Starts a server whose spans reach the collector at once. More variables override those.
fn traced(collector: &Collector, variables: &[(&str, &str)]) -> Nebula {
    traced_with(&[], collector, variables)
}

fn traced_with(arguments: &[&str], collector: &Collector, variables: &[(&str, &str)]) -> Nebula {
    traced_over(Arc::new(tempfile::tempdir().unwrap()), arguments, collector, variables)
}

fn traced_over(
    home: Arc<TempDir>,
    arguments: &[&str],
    collector: &Collector,
    variables: &[(&str, &str)],
) -> Nebula {
    let url = collector.url();
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "1")];
    all.extend(variables);
    Nebula::run(home, &[&["serve"], arguments].concat(), Path::new("/"), &all)
}

/// Returns the span of an answered request.
fn span_of(collector: &Collector, answer: &Answer) -> ReceivedSpan {
    collector.request(answer.header("x-request-id").unwrap())
}

fn names(spans: &[ReceivedSpan]) -> Vec<&str> {
    spans.iter().map(|span| span.span.name.as_str()).collect()
}

/// Asserts attributes of a span.
#[track_caller]
fn has(span: &ReceivedSpan, attributes: &[(&str, &str)]) {
    for (key, value) in attributes {
        assert_eq!(span.text(key).as_deref(), Some(*value), "{key} of {span:#?}");
    }
}

/// Greets, with a `traceparent`.
fn greet(nebula: &Nebula, traceparent: &str, whom: &str) -> Answer {
    let request = nebula.request("POST", "/f/greets").header("content-type", "application/json");
    request.header("traceparent", traceparent).body(format!("{whom:?}")).send().is(200)
}

#[test]
fn a_call_that_runs_has_a_span_for_each_phase() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("greets", guests::GREETS);
    let answer = nebula
        .request("POST", "/f/greets?unused=1")
        .header("user-agent", "the test")
        .header("content-type", "application/json")
        .body("\"you\"")
        .send()
        .is(200);
    let call = span_of(&collector, &answer);
    assert_eq!((call.span.name.as_str(), call.span.kind, call.error()), ("POST /f/greets", 2, None));
    assert_eq!(call.parent_id(), "");
    // Sampled, and the parent isn't remote.
    assert_eq!(call.span.flags, 0x101);
    has(
        &call,
        &[
            ("http.request.method", "POST"),
            ("http.response.status_code", "200"),
            ("http.route", "/f/greets"),
            ("url.path", "/f/greets"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "the test"),
            ("faas.name", "greets"),
            ("faas.version", "v1"),
            ("faas.trigger", "http"),
            ("faas.coldstart", "true"),
            ("nebula.cache", "miss"),
            ("nebula.cache.stored", "true"),
        ],
    );
    assert_eq!(call.resource("service.name").as_deref(), Some("nebula"));
    assert!(call.resource("service.version").is_some() && call.resource("service.instance.id").is_some());
    let phases = collector.children(&call);
    assert_eq!(names(&phases)[names(&phases).len() - 3..], ["load", "start", "run"]);
    for (phase, next) in phases.iter().zip(&phases[1..]) {
        assert_eq!(phase.span.end_time_unix_nano, next.span.start_time_unix_nano);
    }
    for phase in &phases {
        assert_eq!((phase.trace_id(), phase.span.kind), (call.trace_id(), 1));
        assert!(phase.span.start_time_unix_nano >= call.span.start_time_unix_nano, "{phase:#?} {call:#?}");
        assert!(phase.span.end_time_unix_nano <= call.span.end_time_unix_nano, "{phase:#?} {call:#?}");
    }
}

/// The third request and those after it are answered by the fast path.
#[test]
fn cached_answers_have_one_span_each() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("greets", guests::GREETS);
    nebula.post("/f/greets", "\"you\"").is(200);
    for round in 0..6 {
        let answer = nebula
            .request("POST", "/f/greets")
            .header("content-type", "application/json")
            .header("user-agent", &format!("round {round}"))
            .header("tracestate", "ignored=without-a-parent")
            .body("\"you\"")
            .send()
            .has("cache-status", "nebula; hit");
        let span = span_of(&collector, &answer);
        assert_eq!(span.span.name, "POST /f/greets");
        has(
            &span,
            &[
                ("nebula.cache", "hit"),
                ("http.response.status_code", "200"),
                ("user_agent.original", &format!("round {round}")),
                ("faas.version", "v1"),
            ],
        );
        assert_eq!((span.text("faas.coldstart"), span.span.trace_state.as_str()), (None, ""));
        assert_eq!(names(&collector.children(&span)), [""; 0]);
    }
}

/// The caller's decision holds for fresh calls, for cached ones and on the fast path.
#[test]
fn a_request_belongs_to_the_trace_of_its_caller() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("greets", guests::GREETS);
    let mut expected = 0;
    for round in 0..6 {
        let traceparent = format!("00-{TRACE}-{PARENT}-01");
        let request = nebula.request("POST", "/f/greets").header("content-type", "application/json");
        let request = request.header("traceparent", &traceparent).header("tracestate", "a=1,b@c=2");
        let answer = request.body("\"you\"").send().is(200);
        let span = span_of(&collector, &answer);
        assert_eq!((span.trace_id().as_str(), span.parent_id().as_str()), (TRACE, PARENT), "{round}");
        assert_eq!((span.span.trace_state.as_str(), span.span.flags), ("a=1,b@c=2", 0x301), "{round}");
        expected += 1 + collector.children(&span).len();
        // The caller doesn't record its trace.
        greet(&nebula, &format!("00-{TRACE}-{PARENT}-00"), "you");
        // Not a context: the request begins a trace.
        for invalid in ["00-0-1-01", &format!("00-{}-{PARENT}-01", "0".repeat(32)), "ff"] {
            let span = span_of(&collector, &greet(&nebula, invalid, "you"));
            assert_eq!((span.parent_id().as_str(), span.span.trace_state.as_str()), ("", ""), "{invalid}");
            assert_ne!(span.trace_id(), TRACE);
            expected += 1;
        }
    }
    nebula.terminate_and_wait();
    let mut all = collector.spans();
    all.retain(|span| !span.span.name.starts_with("PUT ") && span.span.name != "compile");
    assert_eq!(all.len(), expected, "{:#?}", names(&all));
}

#[test]
fn the_share_of_new_traces_is_configured() {
    for (sampler, argument, follows, starts) in [
        ("parentbased_traceidratio", "0", true, false),
        ("parentbased_traceidratio", "1", true, true),
        ("traceidratio", "0", false, false),
        ("parentbased_always_off", "", true, false),
        ("always_on", "", true, true),
    ] {
        let collector = Collector::start();
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let nebula = traced(&collector, &variables).deploy("greets", guests::GREETS);
        for _ in 0..4 {
            nebula.post("/f/greets", "\"you\"").is(200);
            greet(&nebula, &format!("00-{TRACE}-{PARENT}-01"), "you");
        }
        nebula.terminate_and_wait();
        let calls = collector.spans().into_iter().filter(|span| span.text("faas.name").is_some());
        let (followed, started): (Vec<_>, Vec<_>) = calls.partition(|span| span.trace_id() == TRACE);
        let expected = |is_traced| if is_traced { 4 } else { 0 };
        assert_eq!(
            (followed.len(), started.len()),
            (expected(follows), expected(starts)),
            "{sampler} {argument}"
        );
    }
}

#[test]
fn steps_of_a_pipeline_are_below_its_run() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    for name in ["slugify", "sha256", "markdown"] {
        nebula.put_function(name, "").is(200);
    }
    let steps =
        json!({"steps": ["slugify", {"all": {"page": "markdown", "digest": ["markdown", "sha256"]}}]});
    nebula.control("PUT", "/api/v1/pipelines/card").body(steps.to_string()).send().is(200);
    let answer = nebula.post("/f/card", "\"A b\"").is(200);
    let call = span_of(&collector, &answer);
    has(&call, &[("faas.name", "card"), ("nebula.cache", "miss")]);
    let run = collector.children(&call).pop().unwrap();
    assert_eq!(run.span.name, "run");
    let mut steps = collector.children(&run);
    steps.sort_by(|a, b| a.span.name.cmp(&b.span.name));
    assert_eq!(names(&steps), ["step markdown", "step markdown-2", "step sha256", "step slugify"]);
    let caches: Vec<_> = steps.iter().map(|step| step.text("nebula.cache").unwrap()).collect();
    // The same text is rendered twice.
    assert_eq!(caches.iter().filter(|cache| *cache == "hit").count(), 1, "{caches:?}");
    for step in &steps {
        has(step, &[("nebula.step.calls", "1")]);
        assert!(step.span.start_time_unix_nano >= run.span.start_time_unix_nano);
        assert!(step.span.end_time_unix_nano <= run.span.end_time_unix_nano);
    }
    // The first step ends before the others begin.
    let slugify = &steps[3].span;
    assert!(steps[..3].iter().all(|step| step.span.start_time_unix_nano >= slugify.end_time_unix_nano));
    // A repeated call runs no step.
    let hit = span_of(&collector, &nebula.post("/f/card", "\"A b\"").is(200));
    assert_eq!(names(&collector.children(&hit)), [""; 0]);
}

#[test]
fn the_step_that_fails_is_marked() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("panics", guests::PANICS);
    let steps = json!({"steps": ["panics"]}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/fragile").body(steps).send().is(200);
    let answer = nebula.post("/f/fragile", "3").is(502);
    let call = span_of(&collector, &answer);
    assert!(call.error().is_some(), "{call:#?}");
    let run = collector.children(&call).pop().unwrap();
    let steps = collector.children(&run);
    assert_eq!(names(&steps), ["step panics"]);
    assert!(steps[0].error().is_some());
}

#[test]
fn failures_have_the_name_of_their_problem() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("panics", guests::PANICS);
    let trap = span_of(&collector, &nebula.post("/f/panics", "3").is(502));
    has(&trap, &[("nebula.problem", "trap"), ("error.type", "trap"), ("http.response.status_code", "502")]);
    assert_eq!(trap.error(), Some("trap"));
    assert_eq!(collector.children(&trap).last().unwrap().error(), Some("trap"));
    // A mistake of the caller isn't an error of the server.
    let refused = span_of(&collector, &nebula.post("/f/panics", "\"three\"").is(400));
    has(&refused, &[("nebula.problem", "type-mismatch"), ("faas.name", "panics")]);
    assert_eq!((refused.error(), refused.text("error.type")), (None, None));
    let missing = span_of(&collector, &nebula.post("/f/missing", "1").is(404));
    assert_eq!((missing.span.name.as_str(), missing.text("faas.name")), ("POST", None));
    has(&missing, &[("http.response.status_code", "404")]);
    // Health checks would be most of the spans of a quiet host.
    nebula.get("/healthz").is(200);
    nebula.get("/readyz").is(200);
    nebula.terminate_and_wait();
    assert!(
        collector.spans().iter().all(|span| span.text("url.path").is_none_or(|path| !path.ends_with('z')))
    );
}

/// No span has a text that a caller or an operator would keep to themselves.
#[test]
fn spans_hold_no_input_output_or_credentials() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret-of-the-collector")]);
    let nebula = nebula.deploy("panics", guests::PANICS).deploy("greets", guests::GREETS);
    let call = |path: &str, body: &str| {
        let request = nebula.request("POST", path).header("content-type", "application/json");
        request.header("authorization", "Bearer secret-of-the-caller").body(body).send()
    };
    for _ in 0..4 {
        call("/f/greets?secret-query", "\"secret-input\"").is(200);
    }
    call("/f/greets", "{\"secret-field\": 1}").is(400);
    let token = nebula.token().to_owned();
    nebula.terminate_and_wait();
    let all = format!("{:?}", collector.spans());
    assert!(!all.contains("secret"), "{all}");
    assert!(!all.contains(&token));
    assert_eq!(collector.requests()[0]["api-key"], "secret-of-the-collector");
}

#[test]
fn changes_by_the_control_plane_and_compiles_have_spans() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    let component = std::fs::read(guests::GREETS).unwrap();
    let deploy = |parent: &str| {
        let request = nebula.control("PUT", "/api/v1/functions/greets");
        request.header("traceparent", &format!("00-{TRACE}-{parent}-01")).body(&component).send().is(200)
    };
    deploy(PARENT);
    let of = |parent: &str| collector.wait_for(1, |span| span.parent_id() == parent).remove(0);
    let first = of(PARENT);
    assert_eq!((first.span.name.as_str(), first.span.kind), ("PUT /api/v1/functions/{name}", 2));
    has(
        &first,
        &[
            ("http.route", "/api/v1/functions/{name}"),
            ("url.path", "/api/v1/functions/greets"),
            ("http.response.status_code", "200"),
        ],
    );
    let compile = collector.children(&first);
    assert_eq!(names(&compile), ["compile"]);
    has(&compile[0], &[("nebula.component.size", &component.len().to_string())]);
    assert!(compile[0].text("nebula.component.digest").unwrap().starts_with("sha256:"));
    assert!(compile[0].span.start_time_unix_nano >= first.span.start_time_unix_nano);
    assert!(compile[0].span.end_time_unix_nano <= first.span.end_time_unix_nano);
    // The same component isn't compiled again.
    deploy("00000000000000a1");
    assert_eq!(names(&collector.children(&of("00000000000000a1"))), [""; 0]);
    // A refused one.
    let wrong = nebula.control("PUT", "/api/v1/functions/greets").body("no component").send();
    assert_eq!(wrong.status(), 400, "{}", wrong.text());
    let refused = collector.wait_for(1, |span| span.text("nebula.problem").is_some()).remove(0);
    has(&refused, &[("http.response.status_code", "400"), ("nebula.problem", "not-a-component")]);
    nebula.cli(&["rollback", "greets", "v1"]).exits(0);
    nebula.cli(&["remove", "greets"]).exits(0);
    // Requests that only read.
    nebula.cli(&["list"]).exits(0);
    nebula.terminate_and_wait();
    let mut operations: Vec<_> = collector.spans().into_iter().map(|span| span.span.name).collect();
    operations.sort();
    assert!(operations.iter().all(|name| !name.starts_with("GET")), "{operations:?}");
    for changed in ["POST /api/v1/functions/{name}/rollback", "DELETE /api/v1/functions/{name}"] {
        assert!(operations.iter().any(|name| name == changed), "{changed}: {operations:?}");
    }
}

/// The log leads to the trace, although the client named none.
#[test]
fn the_access_log_and_events_have_the_trace_of_a_traced_request() {
    let collector = Collector::start();
    let arguments = ["--access-log", "json", "--log-format", "json"];
    let nebula = traced_with(&arguments, &collector, &[])
        .deploy("greets", guests::GREETS)
        .deploy("panics", guests::PANICS);
    let mut answers: Vec<_> = (0..5).map(|_| nebula.post("/f/greets", "\"you\"").is(200)).collect();
    answers.push(nebula.post("/f/panics", "1").is(502));
    let is_of = |line: &Value, id: &str| line["request_id"] == id;
    for answer in answers {
        let id = answer.header("x-request-id").unwrap();
        let trace = span_of(&collector, &answer).trace_id();
        let line = eventually("the request is logged", || {
            objects(nebula.stdout().lines().skip(3)).into_iter().find(|line| is_of(line, id))
        });
        assert_eq!(line["trace_id"], trace.as_str(), "{line}");
        let events = objects(nebula.stderr().lines());
        if let Some(event) = events.iter().find(|event| is_of(event, id)) {
            assert_eq!(event["trace_id"], trace.as_str(), "{event}");
        } else {
            assert_eq!(answer.status(), 200, "a failed call is an event: {events:#?}");
        }
    }
    let is_deploy = |event: &&Value| event["message"] == "deployed";
    let events = objects(nebula.stderr().lines());
    let deploy = events.iter().find(is_deploy).unwrap();
    let is_its_span = |span: &ReceivedSpan| deploy["span"]["trace_id"] == span.trace_id().as_str();
    collector.wait_for(1, is_its_span);
}

/// Parses lines of JSON.
fn objects<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Value> {
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A HEAD answer has no body, from which its problem could be read.
#[test]
fn a_refused_head_request_has_its_problem() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    let refused = nebula.request("HEAD", "/f/none").send().is(404);
    has(&span_of(&collector, &refused), &[("nebula.problem", "unknown-function")]);
}

/// The path of a function's own route isn't one of few.
#[test]
fn a_call_by_route_is_named_after_its_function() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    let component = std::fs::read(guests::MIRRORS_REQUEST).unwrap();
    nebula.put("pages?route=/site/...", &component).is(200);
    let span = span_of(&collector, &nebula.get("/site/a/b").is(200));
    assert_eq!(span.span.name, "GET pages");
    has(&span, &[("url.path", "/site/a/b"), ("faas.name", "pages")]);
    assert_eq!(span.text("http.route"), None);
    // An unusual method isn't one of few either.
    let odd = nebula.request("FROB", "/f/pages").send();
    let span = span_of(&collector, &odd);
    has(&span, &[("http.request.method", "_OTHER"), ("http.request.method_original", "FROB")]);
    assert_eq!(span.span.name, "HTTP /f/pages");
}

#[test]
fn a_client_that_leaves_ends_its_span() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    let component = std::fs::read(guests::LOOPS_FOREVER).unwrap();
    nebula.put("loops?deadline_ms=60000", &component).is(200);
    let request = format!(
        "POST /f/loops HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n"
    );
    let mut client = std::net::TcpStream::connect(nebula.calls_address()).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(client);
    let span = collector.wait_for(1, |span| span.parent_id() == PARENT).remove(0);
    has(&span, &[("error.type", "client-disconnected"), ("url.path", "/f/loops")]);
    assert!(span.error().is_some());
}

#[test]
fn a_refused_import_is_no_error_of_the_server() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    let component = wat(r#"(component (import "acme:mail/send" (instance)))"#);
    let refused = nebula.put("mail", &component);
    assert!((400..500).contains(&refused.status()), "{}", refused.text());
    let span = collector.wait_for(1, |span| span.text("nebula.problem").is_some()).remove(0);
    assert_eq!(span.error(), None);
}
