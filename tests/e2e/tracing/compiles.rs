//! The spans of compiles, below the request that caused them.

use std::sync::Arc;

use nebula_tests::{Collector, Nebula, ReceivedSpan, guests};
use serde_json::json;

use super::{PARENT, TRACE, greet, has, span_of, traced, traced_over};

/// Returns a server whose compiled code is lost, as after an upgrade.
fn without_compiled_code(collector: &Collector, deploy: impl FnOnce(&Nebula)) -> Nebula {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::start_over(Arc::clone(&home), &[]);
    deploy(&nebula);
    let compiled = nebula.data_dir().join("compiled");
    nebula.terminate_and_wait();
    std::fs::remove_dir_all(compiled).unwrap();
    traced_over(home, &[], collector, &[])
}

fn is_compile(span: &ReceivedSpan) -> bool {
    span.span.name == "compile"
}

/// Returns the compiles below `request`, each of which took place while it was answered.
fn compiles_within(collector: &Collector, request: &ReceivedSpan) -> Vec<ReceivedSpan> {
    let mut compiles = collector.children(request);
    compiles.retain(is_compile);
    for compile in &compiles {
        assert_eq!(compile.trace_id(), request.trace_id());
        assert!(compile.text("nebula.component.digest").unwrap().starts_with("sha256:"));
        assert!(compile.span.start_time_unix_nano >= request.span.start_time_unix_nano);
        assert!(compile.span.end_time_unix_nano <= request.span.end_time_unix_nano);
    }
    compiles
}

#[test]
fn a_call_that_waits_for_a_compile_has_a_span_for_it() {
    let collector = Collector::start();
    let deploy = |nebula: &Nebula| drop(nebula.redeploy("greets", guests::GREETS).is(200));
    let nebula = without_compiled_code(&collector, deploy);
    let first = span_of(&collector, &nebula.post("/f/greets", "\"you\"").is(200));
    has(&first, &[("faas.coldstart", "true"), ("nebula.cache", "miss")]);
    assert_eq!(compiles_within(&collector, &first).len(), 1);
    let second = span_of(&collector, &nebula.post("/f/greets", "\"me\"").is(200));
    assert_eq!(compiles_within(&collector, &second).len(), 0);
}

/// The compute lane loads all functions of a pipeline. The control plane passes its call on.
#[test]
fn calls_of_pipelines_and_through_the_control_plane_have_spans_for_compiles() {
    for is_relayed in [false, true] {
        let collector = Collector::start();
        let nebula = without_compiled_code(&collector, |nebula| {
            for name in ["slugify", "sha256"] {
                nebula.put_function(name, "").is(200);
            }
            let steps = json!({"steps": ["slugify", "sha256"], "fuse": "never"}).to_string();
            nebula.control("PUT", "/api/v1/pipelines/hashed").body(steps).send().is(200);
        });
        let request = if is_relayed {
            nebula.control("POST", "/api/v1/functions/hashed/call")
        } else {
            nebula.request("POST", "/f/hashed")
        };
        let answer = request.header("content-type", "application/json").body("\"A b\"").send().is(200);
        let span = span_of(&collector, &answer);
        assert_eq!(compiles_within(&collector, &span).len(), 2, "relayed: {is_relayed}");
    }
}

#[test]
fn an_explained_call_has_spans_for_compiles() {
    let collector = Collector::start();
    let deploy = |nebula: &Nebula| drop(nebula.redeploy("greets", guests::GREETS).is(200));
    let nebula = without_compiled_code(&collector, deploy);
    let request = nebula.control("POST", "/api/v1/functions/greets/explain");
    let request = request.header("content-type", "application/json");
    request.header("traceparent", &format!("00-{TRACE}-{PARENT}-01")).body("\"you\"").send().is(200);
    let span = collector.wait_for(1, |span| span.parent_id() == PARENT).remove(0);
    assert_eq!(span.span.name, "POST /api/v1/functions/{name}/explain");
    assert_eq!(compiles_within(&collector, &span).len(), 1);
}

#[test]
fn a_compile_for_a_call_that_is_not_traced_has_no_span() {
    let collector = Collector::start();
    let deploy = |nebula: &Nebula| drop(nebula.redeploy("greets", guests::GREETS).is(200));
    let nebula = without_compiled_code(&collector, deploy);
    greet(&nebula, &format!("00-{TRACE}-{PARENT}-00"), "you");
    span_of(&collector, &nebula.post("/f/greets", "\"me\"").is(200));
    nebula.terminate_and_wait();
    assert!(!collector.spans().iter().any(is_compile));
}

/// The chain is compiled after the answer to its deploy.
#[test]
fn a_chain_that_is_fused_after_its_deploy_is_a_compile_of_the_deploy() {
    let collector = Collector::start();
    let nebula = traced(&collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    for name in ["slugify", "markdown"] {
        nebula.put_function(name, "").is(200);
    }
    let steps = json!({"steps": ["slugify", "markdown"]}).to_string();
    let request = nebula.control("PUT", "/api/v1/pipelines/page");
    request.header("traceparent", &format!("00-{TRACE}-{PARENT}-01")).body(steps).send().is(200);
    let deploy = collector.wait_for(1, |span| span.parent_id() == PARENT).remove(0);
    let compile = collector.wait_for(1, is_compile).remove(0);
    assert_eq!(compile.span.parent_span_id, deploy.span.span_id);
    assert_eq!(compile.trace_id(), TRACE);
}
