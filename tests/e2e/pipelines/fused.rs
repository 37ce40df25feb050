//! Chains that run as one component.

use super::*;

/// Waits until a chain runs as one component, and returns false if it doesn't within 30 seconds.
/// The answer of a fused chain lists no steps.
fn becomes_fused(nebula: &Nebula, path: &str, input: &str) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(30) {
        if steps(&nebula.post(path, input).is(200)).is_empty() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    false
}

#[test]
fn fused_and_unfused_chains_give_equal_answers() {
    let functions = ["slugify", "markdown", "csv-stats", "stats-markdown", "top-words"];
    let nebula = with(Nebula::start_uncached(), &functions).deploy("reverses", guests::REVERSES);
    let nebula = nebula.deploy("traps", guests::PANICS);
    let chains = [
        (json!(["slugify", "markdown"]), vec!["\"A b\"", "\"\"", "\"# ü <b>\"", "\"*a* _b_\""]),
        (json!(["reverses", "reverses", ["reverses"]]), vec!["\"YWJj\"", "\"\"", "\"/w==\""]),
        (json!(["markdown", "top-words"]), vec!["\"a b a\"", "\"\""]),
        (json!(["traps", "traps"]), vec!["2000000", "7"]),
    ];
    for (index, (chain, inputs)) in chains.into_iter().enumerate() {
        for fuse in ["always", "never"] {
            let body = json!({"steps": chain, "fuse": fuse}).to_string();
            let path = format!("/api/v1/pipelines/{fuse}-{index}?deadline_ms=20000");
            nebula.control("PUT", &path).body(body).send().is(200);
        }
        assert!(becomes_fused(&nebula, &format!("/f/always-{index}"), inputs[0]), "{chain} isn't fused");
        assert!(!steps(&nebula.post(&format!("/f/never-{index}"), inputs[0])).is_empty());
        for input in inputs {
            let [fused, unfused] =
                ["always", "never"].map(|fuse| nebula.post(&format!("/f/{fuse}-{index}"), input));
            assert_eq!(fused.status(), unfused.status(), "{chain} {input}");
            assert_eq!(fused.header("content-type"), unfused.header("content-type"), "{chain} {input}");
            assert_eq!(
                fused.header("nebula-failed-step"),
                unfused.header("nebula-failed-step"),
                "{chain} {input}"
            );
            if fused.status() < 500 {
                assert_eq!(fused.text(), unfused.text(), "{chain} {input}");
            } else {
                assert_eq!(fused.json()["step"], unfused.json()["step"]);
            }
        }
    }
    // A chain that passes on floats isn't fused, because the host makes NaNs canonical between
    // steps.
    let body = json!({"steps": ["csv-stats", "stats-markdown"]}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/floats").body(body).send().is(200);
    let body = json!({"steps": ["markdown", "slugify"], "fuse": "always"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/later").body(body).send().is(200);
    assert!(becomes_fused(&nebula, "/f/later", "\"a\""));
    assert!(!steps(&nebula.post("/f/floats", r#"{"csv": "n\n1\n"}"#).is(200)).is_empty());
}

/// Such a pipeline is fused by the time its deploy is answered, or refused.
#[test]
fn a_pipeline_that_must_be_fused_is_refused_with_the_reason_if_it_cannot_be() {
    let functions = ["slugify", "markdown", "csv-stats", "stats-markdown", "thumbnail", "add"];
    let nebula = with(Nebula::start_uncached(), &functions);
    put(&nebula, "inner", &json!(["slugify", "markdown"])).is(200);
    nebula.put("small?input_bytes_max=10", &std::fs::read(function("slugify")).unwrap()).is(200);
    for (steps, reason) in [
        (json!(["csv-stats", "stats-markdown"]), "`csv-stats` passes on floats or a map"),
        (json!(["slugify"]), "it calls 1 functions"),
        (json!(["slugify", {"select": "."}, "markdown"]), "it has a `select`"),
        (json!({"all": ["slugify", "markdown"]}), "it has a `all`"),
        (json!(["thumbnail", "thumbnail"]), "`thumbnail` doesn't take and give values"),
        (json!(["inner", "slugify"]), "`inner` is not a typed component"),
        (json!(["small", "markdown"]), "`small` has a lower `input_bytes_max`"),
        (json!(vec!["slugify"; 21]), "the chain has 21 functions; it takes 2 to 20"),
    ] {
        let body = json!({"steps": steps, "fuse": "always"}).to_string();
        for (method, path) in [("PUT", "/api/v1/pipelines/p"), ("POST", "/api/v1/pipelines/p/check")] {
            let refused = nebula.control(method, path).body(&body).send().is(422).problem("invalid-pipeline");
            refused.detail("`fuse` is `always`").detail(reason);
        }
        nebula.post("/f/p", "1").is(404);
    }
    let body = json!({"steps": ["slugify", "markdown"], "fuse": "always"}).to_string();
    nebula.control("POST", "/api/v1/pipelines/p/check").body(&body).send().is(200);
    nebula.control("PUT", "/api/v1/pipelines/p").body(&body).send().is(200);
    assert!(steps(&nebula.post("/f/p", "\"a\"").is(200)).is_empty(), "the first call isn't fused");
}

/// The limits of the current versions apply, even to a chain that was linked earlier.
#[test]
fn limits_of_functions_apply_in_fused_chains() {
    let nebula = with(Nebula::start_uncached(), &["slugify", "markdown"]);
    let put = |calls_max: u64| {
        let body =
            json!({"steps": ["slugify", "markdown"], "fuse": "always", "calls_max": calls_max}).to_string();
        nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(200);
    };
    put(2);
    assert!(becomes_fused(&nebula, "/f/p", "\"a\""));
    let call = |status: u16| nebula.post("/f/p", "\"a long text\"").is(status);
    call(200).says("\"<p>a-long-text</p>\\n\"");
    let redeploy = |name: &str, limits: &str| {
        nebula
            .put(&format!("{name}?settings=replace{limits}"), &std::fs::read(function(name)).unwrap())
            .is(200);
    };
    redeploy("slugify", "&output_bytes_max=3");
    call(502).problem("output-too-large").member("step", "slugify");
    redeploy("slugify", "&input_bytes_max=3");
    call(502).problem("step-refused").member("step", "slugify");
    redeploy("slugify", "");
    redeploy("markdown", "&output_bytes_max=5");
    call(502).problem("output-too-large").member("step", "markdown");
    redeploy("markdown", "&input_bytes_max=5");
    call(502).problem("step-refused").member("step", "markdown");
    redeploy("markdown", "");
    call(200);
    put(1);
    call(502).problem("pipeline-limit").member("limit", "calls");
}
