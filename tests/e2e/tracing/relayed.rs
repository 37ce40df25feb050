//! Calls through the control plane: they run on the data plane, below the span of the request.

use nebula_tests::{Answer, Collector, Nebula, eventually, guests};
use serde_json::json;

use super::{has, names, objects, span_of, traced, traced_with};

/// Calls a function through the control plane.
fn call(nebula: &Nebula, function: &str, input: &str) -> Answer {
    let path = format!("/api/v1/functions/{function}/call");
    nebula.control("POST", &path).header("content-type", "application/json").body(input).send()
}

#[test]
fn a_call_through_the_control_plane_has_the_spans_of_a_call() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]).deploy("greets", guests::GREETS);
    let miss = span_of(&collector, &call(&nebula, "greets", "\"you\"").is(200));
    assert_eq!((miss.span.name.as_str(), miss.span.kind), ("POST /api/v1/functions/{name}/call", 2));
    has(
        &miss,
        &[
            ("http.route", "/api/v1/functions/{name}/call"),
            ("url.path", "/api/v1/functions/greets/call"),
            ("http.response.status_code", "200"),
            ("faas.name", "greets"),
            ("faas.version", "v1"),
            ("faas.trigger", "http"),
            ("faas.coldstart", "true"),
            ("nebula.cache", "miss"),
            ("nebula.cache.stored", "true"),
        ],
    );
    let phases = collector.children(&miss);
    assert_eq!(names(&phases)[names(&phases).len() - 3..], ["load", "start", "run"]);
    for phase in &phases {
        assert_eq!((phase.trace_id(), phase.span.kind), (miss.trace_id(), 1));
        assert!(phase.span.start_time_unix_nano >= miss.span.start_time_unix_nano, "{phase:#?} {miss:#?}");
        assert!(phase.span.end_time_unix_nano <= miss.span.end_time_unix_nano, "{phase:#?} {miss:#?}");
    }
    let hit = span_of(&collector, &call(&nebula, "greets", "\"you\"").is(200));
    has(&hit, &[("nebula.cache", "hit"), ("faas.name", "greets")]);
    assert_eq!(names(&collector.children(&hit)), [""; 0]);
    let refused = span_of(&collector, &call(&nebula, "greets", "1").is(400));
    has(&refused, &[("nebula.problem", "type-mismatch"), ("faas.name", "greets")]);
    assert_eq!(refused.error(), None);
}

#[test]
fn steps_of_a_relayed_pipeline_are_below_its_run() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[]);
    for name in ["slugify", "sha256"] {
        nebula.put_function(name, "").is(200);
    }
    let steps = json!({"steps": ["slugify", "sha256"], "fuse": "never"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/hashed").body(steps).send().is(200);
    let span = span_of(&collector, &call(&nebula, "hashed", "\"A b\"").is(200));
    has(&span, &[("faas.name", "hashed"), ("nebula.cache", "miss")]);
    let run = collector.children(&span).pop().unwrap();
    assert_eq!(run.span.name, "run");
    assert_eq!(names(&collector.children(&run)), ["step slugify", "step sha256"]);
}

/// The client names no trace, so only the request's own span can lead there.
#[test]
fn a_relayed_call_that_fails_is_logged_with_its_trace() {
    let collector = Collector::start();
    let nebula = traced_with(&["--log-format", "json"], &collector, &[]).deploy("panics", guests::PANICS);
    let answer = call(&nebula, "panics", "3").is(502);
    let span = span_of(&collector, &answer);
    has(&span, &[("nebula.problem", "trap"), ("error.type", "trap"), ("faas.name", "panics")]);
    assert_eq!(span.error(), Some("trap"));
    assert_eq!(collector.children(&span).last().unwrap().error(), Some("trap"));
    let id = answer.header("x-request-id").unwrap();
    let event = eventually("the trap is logged", || {
        objects(nebula.stderr().lines()).into_iter().find(|event| event["request_id"] == id)
    });
    assert_eq!(event["trace_id"], span.trace_id().as_str(), "{event}");
}
