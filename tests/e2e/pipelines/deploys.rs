//! Deploys of pipelines: the type check, and deploys, rollbacks and removals of the functions that
//! pipelines call.

use super::*;

#[test]
fn mismatched_steps_are_refused() {
    let nebula = with(
        Nebula::start(),
        &["slugify", "sha256", "add", "thumbnail", "hello-http", "pi-trials", "pi-estimate"],
    );
    let refused = |steps: Value, part: &str| {
        put(&nebula, "p", &steps).is(422).problem("invalid-pipeline").detail(part);
    };
    refused(json!(["slugify", "nothing"]), "step `nothing` calls `nothing`: there is no function `nothing`");
    refused(json!(["slugify", "sha256@v7"]), "has no version `v7`");
    refused(json!(["slugify", "add"]), "gets `string`");
    refused(json!(["slugify", "hello-http"]), "it takes whole HTTP requests");
    refused(json!({"each": {"select": "."}}), "doesn't follow from the first steps");
    refused(json!(["thumbnail", "pi-trials"]), "gets `payload`");
    refused(json!(["slugify", {"choice": {"ok": [], "err": []}}]), "which is not a variant");
    refused(json!(["add", {"choice": {"ok": []}}]), "has no step for `err`");
    refused(json!([{"all": {"A": "slugify"}}]), "`A` is not a valid name");
    let deep = (0..40).fold(json!("slugify"), |inner, _| json!([inner]));
    refused(deep, "more than 32 deep");
    refused(json!(vec!["slugify"; 300]), "more than 256 steps");
    // The problem has both types and the path to the difference.
    let each =
        json!([{"each": {"all": {"inside": {"constant": "many"}, "trials": "pi-trials"}}}, "pi-estimate"]);
    let problem = put(&nebula, "p", &each).is(422).problem("invalid-pipeline");
    problem.member("step", "pi-estimate").member("at", "[].inside").member("expected", "u64");
    problem.member("taken", "list<record { inside: u64, trials: u64 }>");
    problem
        .mentions("given", "list<record { inside: \"many\", trials: record { inside: u64, trials: u64 } }>");
    // A document that isn't a description is refused with the place of the error.
    let body = r#"{"steps": [{"eech": "slugify"}]}"#;
    let answer = nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(400);
    answer.problem("invalid-json").detail("unknown kind of step `eech`");
    nebula.control("GET", "/api/v1/functions/p").send().is(404);
}

#[test]
fn cycles_are_refused() {
    let nebula = with(Nebula::start(), &["slugify"]);
    put(&nebula, "a", &json!(["slugify"])).is(200);
    put(&nebula, "b", &json!(["a"])).is(200);
    let problem = put(&nebula, "a", &json!(["slugify", "b"])).is(422).problem("invalid-pipeline");
    problem.detail("it calls itself: a → b → a");
    put(&nebula, "a", &json!("a")).is(422).problem("invalid-pipeline").detail("a → a");
    // A pipeline may call its own earlier version.
    put(&nebula, "a", &json!(["a@v1", "slugify"])).is(200);
    nebula.post("/f/b", "\"A b\"").is(200).says("\"a-b\"");
}

/// A deploy of a function updates the pipelines that call it, directly or through other pipelines,
/// all at once.
#[test]
fn pipelines_follow_their_functions() {
    let nebula = with(Nebula::start(), &["slugify"]).deploy("last", function("sha256"));
    put(&nebula, "inner", &json!(["slugify", "last"])).is(200);
    put(&nebula, "outer", &json!(["inner", "slugify"])).is(200);
    put(&nebula, "pinned", &json!(["slugify", "last@v1"])).is(200);
    let before = nebula.post("/f/outer", "\"A b\"").is(200);
    let record = |name: &str| {
        let detail = nebula.control("GET", &format!("/api/v1/pipelines/{name}")).send().is(200).json();
        detail["version"].clone()
    };
    assert_eq!(
        (record("inner")["version"].as_str(), record("outer")["version"].as_str()),
        (Some("v1"), Some("v1"))
    );
    // The new version has the same type.
    nebula.redeploy("last", function("markdown"));
    assert_eq!(
        (record("inner")["version"].as_str(), record("outer")["version"].as_str()),
        (Some("v2"), Some("v2"))
    );
    assert_eq!(record("inner")["pipeline"]["pinned"]["last"]["version"], "v2");
    assert_eq!(record("pinned")["version"], "v1");
    nebula.post("/f/inner", "\"A b\"").is(200).says("\"<p>a-b</p>\\n\"");
    nebula.post("/f/outer", "\"A b\"").is(200).says("\"p-a-b-p\"");
    nebula.post("/f/outer@v1", "\"A b\"").is(200).says(before.text());
    nebula.post("/f/pinned", "\"A b\"").is(200).says(before.text());
    // A rollback of the function updates the pipelines, too.
    nebula.control("POST", "/api/v1/functions/last/rollback").send().is(200);
    nebula.post("/f/outer", "\"A b\"").is(200).says(before.text());
    assert_eq!(record("outer")["version"], "v3");
    assert_eq!(record("outer")["digest"], record("outer@v1")["digest"]);
}

#[test]
fn a_deploy_that_would_break_a_pipeline_is_refused() {
    let nebula = with(Nebula::start(), &["slugify"]).deploy("last", function("sha256"));
    put(&nebula, "p", &json!(["slugify", "last"])).is(200);
    put(&nebula, "q", &json!(["p"])).is(200);
    let adds = std::fs::read(function("add")).unwrap();
    let before = nebula.post("/f/p", "\"A b\"").is(200);
    let problem = nebula.put("last", &adds).is(409).problem("breaks-pipelines");
    problem.detail("it would break the pipeline `p` (step `last` takes");
    // The refused deploy has changed nothing.
    nebula.post("/f/last", "\"QQ==\"").is(200);
    nebula.post("/f/p", "\"A b\"").is(200).says(before.text());
    // With `followers=may-stay` the deploy succeeds, and the pipelines keep calling the earlier
    // version.
    nebula.put("last?followers=may-stay", &adds).is(200);
    nebula.post("/f/last", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    for name in ["p", "q"] {
        nebula.post(&format!("/f/{name}"), "\"A b\"").is(200).says(before.text());
    }
    // They follow the next version that fits.
    nebula.redeploy("last", function("markdown"));
    nebula.post("/f/q", "\"A b\"").is(200).says("\"<p>a-b</p>\\n\"");
    // A rollback is checked like a deploy.
    let back = nebula.control("POST", "/api/v1/functions/last/rollback").send().is(409);
    back.problem("breaks-pipelines");
    nebula.control("POST", "/api/v1/functions/last/rollback?followers=may-stay").send().is(200);
    // A pipeline may take the place of a function.
    put(&nebula, "last", &json!(["slugify"])).is(200);
    nebula.post("/f/q", "\"A b\"").is(200).says("\"a-b\"");
}

#[test]
fn a_function_that_a_pipeline_calls_cannot_be_removed() {
    let nebula = with(Nebula::start(), &["slugify"]);
    put(&nebula, "p", &json!(["slugify"])).is(200);
    let problem = nebula.control("DELETE", "/api/v1/functions/slugify").send().is(409).problem("in-use");
    problem.member("pipelines", json!(["p"]));
    nebula.control("DELETE", "/api/v1/pipelines/p").send().is(204);
    nebula.control("DELETE", "/api/v1/functions/slugify").send().is(204);
    nebula.post("/f/p", "\"\"").is(404);
}

/// Results that took long to compute survive as well.
#[test]
fn pipelines_survive_a_restart() {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::start_over(std::sync::Arc::clone(&home), &[]);
    let nebula = with(nebula, &["pi-trials", "pi-estimate"]);
    put(&nebula, "pi?deadline_ms=60000", &json!([{"each": "pi-trials"}, "pi-estimate"])).is(200);
    let input = r#"[{"seed": 1, "trials": 300000}, {"seed": 2, "trials": 300000}]"#;
    let first = nebula.post("/f/pi", input).is(200);
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/pi", input).is(200).says(first.text()).has("cache-status", "nebula; hit; detail=disk");
    nebula.control("GET", "/api/v1/pipelines").send().is(200);
}

#[test]
fn a_rollback_that_would_make_a_cycle_is_refused() {
    let nebula = with(Nebula::start(), &["slugify"]);
    put(&nebula, "bb", &json!(["slugify"])).is(200);
    put(&nebula, "aa", &json!(["bb"])).is(200);
    put(&nebula, "aa", &json!(["slugify"])).is(200);
    put(&nebula, "bb", &json!(["aa"])).is(200);
    let back = nebula.control("POST", "/api/v1/pipelines/aa/rollback?followers=may-stay").send().is(422);
    back.problem("invalid-pipeline").detail("it calls itself: aa → bb → aa");
}

/// A pipeline that has stayed with an earlier version doesn't block later deploys.
#[test]
fn pipelines_that_stayed_behind_do_not_block_deploys() {
    let nebula = with(Nebula::start(), &["slugify"]).deploy("last", function("sha256"));
    put(&nebula, "p", &json!(["slugify", "last"])).is(200);
    nebula.put("last?followers=may-stay", &std::fs::read(function("add")).unwrap()).is(200);
    nebula.redeploy("last", function("add"));
    nebula.redeploy("last", function("factorial"));
    nebula.put("slugify?output_bytes_max=1000", &std::fs::read(function("slugify")).unwrap()).is(200);
    nebula.post("/f/p", "\"A b\"").is(200);
    // A check gives the same answer as a deploy.
    put(&nebula, "q", &json!(["slugify", "p"])).is(200);
    let body = json!({"steps": ["add"]}).to_string();
    nebula.control("POST", "/api/v1/pipelines/p/check").body(body).send().is(422);
    let body = json!({"steps": {"each": "slugify"}}).to_string();
    let check = nebula.control("POST", "/api/v1/pipelines/p/check").body(body).send().is(409);
    check.problem("breaks-pipelines").detail("the pipeline `q`");
}
