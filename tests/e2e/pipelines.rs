//! Functions made of functions: checked when they are deployed, remembered step by step, followed and kept.

use nebula_tests::{Answer, FUNCTIONS, Nebula, guests};
use serde_json::{Value, json};

const MISS: &str = "nebula; fwd=miss; stored";
const HIT: &str = "nebula; hit";

fn remembering() -> Nebula {
    Nebula::start_with(&["--cache-bytes-max", "67108864"])
}

/// The component of a function of this repository.
fn function(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|(directory, _)| directory.ends_with(&format!("/{name}"))).unwrap().1
}

fn with(nebula: Nebula, functions: &[&str]) -> Nebula {
    functions.iter().fold(nebula, |nebula, name| nebula.deploy(name, function(name)))
}

/// Offers a pipeline, whatever comes of it. `name` may have a query.
fn put(nebula: &Nebula, name: &str, steps: &Value) -> Answer {
    let body = json!({"steps": steps}).to_string();
    nebula.control("PUT", &format!("/api/v1/pipelines/{name}")).body(body).send()
}

/// The `desc` of each step in `Server-Timing`.
fn steps(answer: &Answer) -> Vec<(String, String)> {
    let timing = answer.header("server-timing").unwrap();
    let steps = timing.split(", ").filter_map(|step| {
        let (name, rest) = step.split_once(';')?;
        let desc = rest.split_once("desc=\"")?.1.strip_suffix('"')?;
        Some((name.to_owned(), desc.to_owned()))
    });
    steps.collect()
}

fn step(name: &str, desc: &str) -> (String, String) {
    (name.to_owned(), desc.to_owned())
}

/// What calling one after the other gives.
#[test]
fn a_chain_gives_what_its_steps_give() {
    let nebula = with(Nebula::start(), &["csv-stats", "stats-markdown", "markdown"]);
    let record = put(&nebula, "report", &json!(["csv-stats", "stats-markdown", "markdown"])).is(200).json();
    assert_eq!(record["version"], "v1");
    assert!(record["signature"].as_str().unwrap().starts_with("handle: func(table: record { csv: string"));
    let input = r#"{"csv": "n,t\n1,a\n2,b\n"}"#;
    let stats = nebula.post("/f/csv-stats", input).is(200);
    let table = nebula.post("/f/stats-markdown", stats.text()).is(200);
    let page = nebula.post("/f/markdown", table.text()).is(200);
    let all = nebula.post("/f/report", input).is(200);
    assert_eq!(all.text(), page.text());
    assert_eq!(all.header("content-type"), page.header("content-type"));
    // As of any function: by version, by digest, and what doesn't fit is pointed at.
    let digest = record["digest"].as_str().unwrap();
    for pinned in ["v1", digest] {
        nebula.post(&format!("/f/report@{pinned}"), input).is(200).says(all.text());
    }
    let cached = nebula.post(&format!("/f/report@{digest}"), input);
    cached.has("cache-control", "public, max-age=31536000, immutable");
    nebula.post("/f/report", r#"{"csv": 1}"#).is(400).problem("type-mismatch").pointer("/csv");
    // Its own error is the pipeline's, and says whose it is.
    let error = nebula.post("/f/report", r#"{"csv": "a", "delimiter": "é"}"#).is(422);
    let failed = error.header("nebula-failed-step").unwrap().to_owned();
    assert!(failed.starts_with("csv-stats; input=\"sha256:"), "{failed}");
    error.says(r#"{"bad-delimiter":"é"}"#);
}

/// Change one function, and the answers of the others are there.
#[test]
fn each_step_is_remembered_by_itself() {
    let nebula = with(remembering(), &["slugify", "sha256", "markdown"]);
    let all = json!(["slugify", {"all": {"page": "markdown", "digest": ["markdown", "sha256"]}}]);
    put(&nebula, "card", &all).is(200);
    let call = |text: &str| nebula.post("/f/card", &json!(text).to_string()).is(200);
    let first = call("A b").has("cache-status", MISS);
    assert_eq!(
        steps(&first),
        [
            step("slugify", "miss"),
            step("markdown", "miss"),
            step("sha256", "miss"),
            step("markdown-2", "hit")
        ]
    );
    call("A b").has("cache-status", HIT).says(first.text());
    // Another input that comes to the same after the first step.
    let other = call("a  B").has("cache-status", MISS);
    assert_eq!(
        steps(&other),
        [step("slugify", "miss"), step("markdown", "hit"), step("sha256", "hit"), step("markdown-2", "hit")]
    );
    other.says(first.text());
    // A call of a function by itself is the same call.
    let text = nebula.request("POST", "/f/sha256").header("content-type", "text/plain");
    text.body("<p>a-b</p>\n").send().is(200).has("cache-status", HIT);
    // Another version of one function is another pipeline, whose other steps are known.
    nebula.put("sha256?output_bytes_max=1000", &std::fs::read(function("sha256")).unwrap()).is(200);
    let again = call("A b").has("cache-status", MISS);
    assert_eq!(
        steps(&again),
        [step("slugify", "hit"), step("markdown", "hit"), step("sha256", "miss"), step("markdown-2", "hit")]
    );
}

#[test]
fn what_does_not_fit_is_refused() {
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
    refused(json!({"each": {"select": "."}}), "doesn't follow from its first steps");
    refused(json!(["thumbnail", "pi-trials"]), "gets `payload`");
    refused(json!(["slugify", {"choice": {"ok": [], "err": []}}]), "which is no variant");
    refused(json!(["add", {"choice": {"ok": []}}]), "says nothing of its case `err`");
    refused(json!([{"all": {"A": "slugify"}}]), "`A` is no name");
    let deep = (0..40).fold(json!("slugify"), |inner, _| json!([inner]));
    refused(deep, "more than 32 deep");
    refused(json!(vec!["slugify"; 300]), "more than 256 steps");
    // Both types, and the way to where they differ.
    let each =
        json!([{"each": {"all": {"inside": {"constant": "many"}, "trials": "pi-trials"}}}, "pi-estimate"]);
    let problem = put(&nebula, "p", &each).is(422).problem("invalid-pipeline");
    problem.member("step", "pi-estimate").member("at", "[].inside").member("expected", "u64");
    problem.member("taken", "list<record { inside: u64, trials: u64 }>");
    problem
        .mentions("given", "list<record { inside: \"many\", trials: record { inside: u64, trials: u64 } }>");
    // What isn't even a description says where.
    let body = r#"{"steps": [{"eech": "slugify"}]}"#;
    let answer = nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(400);
    answer.problem("invalid-json").detail("`eech` is no kind of step");
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
    // An earlier version of itself is another function.
    put(&nebula, "a", &json!(["a@v1", "slugify"])).is(200);
    nebula.post("/f/b", "\"A b\"").is(200).says("\"a-b\"");
}

/// Also those that follow it by way of others, all at once.
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
    // Of the same type.
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
    // And back.
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
    // Nothing has changed.
    nebula.post("/f/last", "\"QQ==\"").is(200);
    nebula.post("/f/p", "\"A b\"").is(200).says(before.text());
    // With that said, the pipeline stays with what it calls.
    nebula.put("last?followers=may-stay", &adds).is(200);
    nebula.post("/f/last", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    for name in ["p", "q"] {
        nebula.post(&format!("/f/{name}"), "\"A b\"").is(200).says(before.text());
    }
    // Until there is one that fits again.
    nebula.redeploy("last", function("markdown"));
    nebula.post("/f/q", "\"A b\"").is(200).says("\"<p>a-b</p>\\n\"");
    // A rollback is a change like any.
    let back = nebula.control("POST", "/api/v1/functions/last/rollback").send().is(409);
    back.problem("breaks-pipelines");
    nebula.control("POST", "/api/v1/functions/last/rollback?followers=may-stay").send().is(200);
    // So is a pipeline in a function's place.
    put(&nebula, "last", &json!(["slugify"])).is(200);
    nebula.post("/f/q", "\"A b\"").is(200).says("\"a-b\"");
}

#[test]
fn what_a_pipeline_calls_is_not_removed() {
    let nebula = with(Nebula::start(), &["slugify"]);
    put(&nebula, "p", &json!(["slugify"])).is(200);
    let problem = nebula.control("DELETE", "/api/v1/functions/slugify").send().is(409).problem("in-use");
    problem.member("pipelines", json!(["p"]));
    nebula.control("DELETE", "/api/v1/pipelines/p").send().is(204);
    nebula.control("DELETE", "/api/v1/functions/slugify").send().is(204);
    nebula.post("/f/p", "\"\"").is(404);
}

/// Of items that fail the first counts, whichever was first to fail.
#[test]
fn a_map_keeps_its_order_and_fails_by_it() {
    let nebula = with(Nebula::start(), &["factorial"]);
    // Whatever else the machine does: this is about order, and not about time.
    nebula.put("pi-trials?deadline_ms=60000", &std::fs::read(function("pi-trials")).unwrap()).is(200);
    put(&nebula, "factorials?deadline_ms=20000", &json!({"each": "factorial"})).is(200);
    let numbers: Vec<u32> = (0..200).rev().map(|number| number % 20).collect();
    let answer = nebula.post("/f/factorials", &json!(numbers).to_string()).is(200).json();
    let expected: Vec<String> =
        numbers.iter().map(|n| (1..=u64::from(*n)).product::<u64>().to_string()).collect();
    assert_eq!(answer, json!(expected));
    put(&nebula, "tallies?deadline_ms=60000", &json!({"each": "pi-trials"})).is(200);
    // The last fails at once, the middle one after the first has taken a while.
    for _ in 0..5 {
        let points = json!([
            {"seed": 1, "trials": 2_000_000}, {"seed": 2, "trials": 20_000_000}, {"seed": 3, "trials": 1}, {"seed": 4, "trials": 0},
        ]);
        let answer = nebula.post("/f/tallies", &points.to_string()).is(422);
        answer.says("\"`trials` is 20000000, and between 1 and 10000000\"");
    }
    nebula.post("/f/tallies", "[]").is(200).says("[]");
}

/// A trap names the step, what that was given, and where the guest was.
#[test]
fn a_step_that_traps_names_itself() {
    let nebula = with(Nebula::start(), &[]).deploy("panics", guests::PANICS);
    put(&nebula, "p", &json!({"each": {"call": "panics", "as": "dig"}})).is(200);
    let problem = nebula.post("/f/p", "[2000000, 7, 2000000]").is(502).problem("trap");
    problem.member("step", "dig").detail("step `dig` failed").frame("inner_named_function");
    problem.mentions("step_function", "panics@v1; digest=sha256:").mentions("reason", "the depth of 7");
    // The digest is of the document that makes the call by itself.
    problem.member("step_input", format!("sha256:{}", sha256(b"7")));
    nebula.post("/f/panics", "7").is(502).problem("trap");
    nebula.post("/f/p", "[2000000]").is(200).says("[2000001]");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;

    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// However many steps there are.
#[test]
fn one_deadline_holds_for_all_steps() {
    let nebula = Nebula::start().deploy("loops", guests::LOOPS_FOREVER);
    let nebula = with(nebula, &["fibonacci-recursive", "slugify"]);
    put(&nebula, "loops-twice?deadline_ms=200", &json!({"all": {"a": "loops", "b": "loops"}})).is(200);
    let begun = std::time::Instant::now();
    let answer = nebula.post("/f/loops-twice", "").is(504).problem("deadline-exceeded");
    answer.member("deadline_ms", 200);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    // Each of these ends well within its own deadline, and all together don't within the pipeline's.
    put(&nebula, "many?deadline_ms=100", &json!({"each": "fibonacci-recursive"})).is(200);
    let many = json!(vec![27; 2000]).to_string();
    nebula.post("/f/many", &many).is(504).problem("deadline-exceeded").member("deadline_ms", 100);
    nebula.post("/f/many", "[1, 2, 3]").is(200).says("[1,1,2]");
    // In another pipeline it is a step that has failed: by its own deadline, which the other's is well beyond.
    put(&nebula, "many-in-time?deadline_ms=20000", &json!(["many"])).is(200);
    let failed = nebula.post("/f/many-in-time", &many).is(504).problem("deadline-exceeded");
    failed.member("deadline_ms", 100).member("step", "many");
}

#[test]
fn a_pipeline_has_limits_of_its_own() {
    let nebula = with(Nebula::start(), &["echo", "slugify"]);
    let body = json!({"steps": {"each": "slugify"}, "calls_max": 10}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/few").body(body).send().is(200);
    let texts = |count: usize| json!(vec!["a"; count]).to_string();
    nebula.post("/f/few", &texts(10)).is(200);
    nebula.post("/f/few", &texts(11)).is(502).problem("pipeline-limit").member("limit", "calls");
    // What is gathered is held by the host.
    let all: Vec<_> = (0..100).map(|_| json!("echo")).collect();
    put(&nebula, "hundredfold?memory_bytes_max=1048576", &json!({"all": all})).is(200);
    let call = |bytes: usize| {
        let call =
            nebula.request("POST", "/f/hundredfold").header("content-type", "application/octet-stream");
        call.body(vec![7; bytes]).send()
    };
    call(100).is(200);
    call(100_000).is(502).problem("pipeline-limit").member("limit", "memory");
}

/// Payloads, text and values pass into one another as the codec says.
#[test]
fn forms_mix() {
    let nebula = with(Nebula::start(), &["word-count", "slugify", "qr-code", "sha256", "add", "top-words"]);
    put(&nebula, "count", &json!(["slugify", "word-count"])).is(200);
    let answer = nebula.post("/f/count", "\"A b\"").is(200).has("content-type", "application/json");
    answer.says(r#"{"lines":1,"words":1,"characters":3,"bytes":3}"#);
    put(&nebula, "drawn", &json!(["slugify", "qr-code", {"all": ["sha256", {"select": "."}]}])).is(200);
    assert_eq!(nebula.post("/f/drawn", "\"A b\"").is(200).json().as_array().unwrap().len(), 2);
    put(&nebula, "drawing", &json!(["slugify", "qr-code"])).is(200);
    nebula.post("/f/drawing", "\"A b\"").is(200).has("content-type", "image/svg+xml");
    // Several parameters from a record, or in order.
    put(&nebula, "sum", &json!([{"all": {"b": {"constant": 2}, "a": {"constant": 40}}}, "add"])).is(200);
    nebula.post("/f/sum", "").is(200).says("42");
    nebula.get("/f/sum").is(200).says("42");
    put(&nebula, "in-order", &json!([{"all": [{"constant": 2}, {"constant": 40}]}, "add"])).is(200);
    nebula.post("/f/in-order", "null").is(200).says("42");
    let words = json!(["top-words", {"group": {"by": "count", "each": {"each": {"select": "word"}}}}]);
    put(&nebula, "by-count", &words).is(200);
    let answer = nebula.post("/f/by-count", "\"a b a c\"").is(200);
    answer.says(r#"[{"key":2,"value":["a"]},{"key":1,"value":["b","c"]}]"#);
}

/// A restart keeps them, and what they have computed that took long.
#[test]
fn pipelines_survive_a_restart() {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let arguments = ["--cache-bytes-max", "67108864"];
    let nebula = Nebula::start_over(std::sync::Arc::clone(&home), &arguments);
    let nebula = with(nebula, &["pi-trials", "pi-estimate"]);
    put(&nebula, "pi?deadline_ms=60000", &json!([{"each": "pi-trials"}, "pi-estimate"])).is(200);
    let input = r#"[{"seed": 1, "trials": 300000}, {"seed": 2, "trials": 300000}]"#;
    let first = nebula.post("/f/pi", input).is(200);
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &arguments);
    nebula.post("/f/pi", input).is(200).says(first.text()).has("cache-status", "nebula; hit; detail=disk");
    nebula.control("GET", "/api/v1/pipelines").send().is(200);
}

#[test]
fn the_command_line_checks_deploys_shows_and_explains() {
    let nebula = with(remembering(), &["slugify", "sha256"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("digest.toml");
    std::fs::write(
        &file,
        "steps = [\"slugify\", { all = { text = { select = \".\" }, digest = \"sha256\" } }]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let checked = nebula.cli(&["pipeline", "check", file]).exits(0);
    assert_eq!(checked.stdout(), "digest: string -> record { text: string, digest: string }\n");
    nebula.post("/f/digest", "\"a\"").is(404);
    nebula.cli(&["pipeline", "deploy", file]).exits(0);
    let answer = nebula.post("/f/digest", "\"A b\"").is(200).json();
    assert_eq!(answer["text"], "a-b");
    let shown = nebula.cli(&["pipeline", "show", "digest"]).exits(0).stdout();
    for part in ["digest@v1", "slugify", "string", "sha256", "all"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let svg = nebula.cli(&["pipeline", "show", file, "--svg"]).exits(0).stdout();
    assert!(svg.starts_with("<svg") && svg.contains("slugify") && svg.trim_end().ends_with("</svg>"));
    let explained = nebula.cli(&["explain", "digest", "A b", "--json"]).exits(0).json();
    assert_eq!(explained["steps"][0]["step"], "slugify");
    assert_eq!(explained["steps"][0]["cache"], "hit");
    assert_eq!(explained["steps"][0]["output"], "a-b");
    assert_eq!(explained["steps"][1]["input"], "a-b");
    let bad = directory.path().join("bad.json");
    std::fs::write(&bad, r#"{"steps": ["sha256", {"each": "slugify"}]}"#).unwrap();
    let refused = nebula.cli(&["pipeline", "check", bad.to_str().unwrap()]).exits(1);
    assert!(refused.stderr().contains("step `each` gets `string`, which is no list"), "{refused:?}");
}

/// What is deployed can be read again, and takes no more to look at than it should.
#[test]
fn what_steps_gather_is_bounded() {
    let nebula = with(Nebula::start(), &["slugify"]);
    let refused = |steps: Value, part: &str| {
        put(&nebula, "p", &steps).is(422).problem("invalid-pipeline").detail(part);
    };
    let twice = json!({"all": [{"select": "."}, {"select": "."}]});
    refused(json!(vec![json!("slugify"), json!(vec![twice; 40])]), "over 10000 types or 24 deep");
    let once = json!({"all": [{"select": "."}]});
    refused(json!(vec![json!("slugify"), json!(vec![once; 30])]), "over 10000 types or 24 deep");
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    refused(json!([{"constant": deep}, "slugify"]), "a constant is more than 16 deep");
    let body =
        json!({"input": format!("{}u8{}", "list<".repeat(60), ">".repeat(60)), "steps": []}).to_string();
    let answer = nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(422);
    answer.problem("invalid-pipeline").detail("its types are too deep");
    // Pipelines in pipelines, by whatever way.
    put(&nebula, "n0", &json!(["slugify"])).is(200);
    let mut deployed = 0;
    for index in 1..80 {
        let answer = put(&nebula, &format!("n{index}"), &json!([format!("n{}", index - 1)]));
        if answer.status() == 422 {
            answer.problem("invalid-pipeline").detail("more than 64 deep");
            break;
        }
        answer.is(200);
        deployed = index;
    }
    assert!(deployed > 8, "{deployed}");
    nebula.post(&format!("/f/n{deployed}"), "\"A b\"").is(200).says("\"a-b\"");
    nebula.control("GET", &format!("/api/v1/pipelines/n{deployed}")).send().is(200);
    nebula.control("GET", "/api/v1/functions").send().is(200);
}

/// Also of steps that call nothing.
#[test]
fn what_is_gathered_is_held_to_its_limits_while_it_is_gathered() {
    let nebula = Nebula::start();
    let parts: Vec<_> = (0..50).map(|_| json!({"select": "."})).collect();
    let body = json!({"input": "list<u64>", "steps": {"each": {"all": parts}}}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/wide").body(body).send().is(200);
    let begun = std::time::Instant::now();
    let answer = nebula.post("/f/wide", &json!(vec![1; 100_000]).to_string());
    assert!([502, 504].contains(&answer.status()), "{answer:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(8));
    let constant = json!({"constant": vec![7; 2000]});
    let body = json!({"input": "list<u8>", "steps": {"each": constant}}).to_string();
    // Time enough, on a busy machine too.
    nebula.control("PUT", "/api/v1/pipelines/many?deadline_ms=60000").body(body).send().is(200);
    let call = nebula.request("POST", "/f/many").header("content-type", "application/octet-stream");
    call.body(vec![0; 100_000]).send().is(502).problem("pipeline-limit").member("limit", "memory");
}

/// A pipeline that another one calls has its own limits, whoever called it first.
#[test]
fn limits_of_pipelines_in_one_another_are_their_own() {
    let nebula = with(remembering(), &["slugify", "markdown"]);
    put(&nebula, "inner", &json!({"all": ["slugify", "markdown"]})).is(200);
    put(&nebula, "small?output_bytes_max=20&remember_traps=on", &json!({"all": ["slugify", "markdown"]}))
        .is(200);
    put(&nebula, "outer?output_bytes_max=20&remember_traps=on", &json!(["inner", {"select": "0"}])).is(200);
    put(&nebula, "wide", &json!(["small", {"select": "0"}])).is(200);
    nebula.post("/f/outer", "\"a long text indeed\"").is(200).says("\"a-long-text-indeed\"");
    nebula.post("/f/inner", "\"a long text indeed\"").is(200).has("cache-status", HIT);
    nebula
        .post("/f/wide", "\"a long text indeed\"")
        .is(502)
        .problem("output-too-large")
        .member("step", "small");
    nebula.post("/f/small", "\"a long text indeed\"").is(502).problem("output-too-large");
    // Calls that the outer one has no more of say nothing of the inner one.
    let each = json!({"steps": {"each": "slugify"}}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/each").body(each).send().is(200);
    let few = json!({"steps": "each", "calls_max": 3}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/few?remember_traps=on").body(few).send().is(200);
    nebula.post("/f/few", r#"["a", "b", "c"]"#).is(502).problem("pipeline-limit").member("max", 3);
    nebula.post("/f/each", r#"["a", "b", "c"]"#).is(200).has("cache-status", MISS);
}

/// Which of two versions is called where is a part of what is remembered.
#[test]
fn pipelines_that_call_the_same_in_another_order_are_others() {
    let nebula = remembering().deploy("asks", guests::ASKS_FOR_MEMORY);
    let component = std::fs::read(guests::ASKS_FOR_MEMORY).unwrap();
    nebula.put("asks?memory_bytes_max=4194304", &component).is(200);
    let body = |x: &str, y: &str| json!({"input": "u32", "steps": {"all": {"x": x, "y": y}}}).to_string();
    let put = |name: &str, x: &str, y: &str| {
        nebula.control("PUT", &format!("/api/v1/pipelines/{name}")).body(body(x, y)).send().is(200)
    };
    put("xy", "asks", "asks@v1");
    put("yx", "asks@v1", "asks");
    nebula.post("/f/xy", "16").is(200).says(r#"{"x":"denied 16 MiB","y":"got 16 MiB"}"#);
    nebula
        .post("/f/yx", "16")
        .is(200)
        .has("cache-status", MISS)
        .says(r#"{"x":"got 16 MiB","y":"denied 16 MiB"}"#);
}

/// What the caller says of remembering holds for the steps.
#[test]
fn directives_hold_for_steps() {
    let nebula = with(remembering(), &["slugify", "markdown"]);
    put(&nebula, "p", &json!(["slugify", "markdown"])).is(200);
    let call = |directive: &str| {
        let call = nebula.request("POST", "/f/p").header("cache-control", directive);
        call.body("A b").send().is(200)
    };
    call("no-store").has("cache-status", "nebula; fwd=miss");
    assert_eq!(steps(&call("max-age=0")), [step("slugify", "miss"), step("markdown", "miss")]);
    assert_eq!(steps(&call("no-cache")), [step("slugify", "miss"), step("markdown", "miss")]);
    // What isn't remembered of a step isn't of the pipeline either.
    nebula.put("markdown?remember=off", &std::fs::read(function("markdown")).unwrap()).is(200);
    for _ in 0..2 {
        call("max-age=0").has("cache-status", "nebula; fwd=bypass");
    }
}

#[test]
fn a_rollback_makes_no_cycle() {
    let nebula = with(Nebula::start(), &["slugify"]);
    put(&nebula, "bb", &json!(["slugify"])).is(200);
    put(&nebula, "aa", &json!(["bb"])).is(200);
    put(&nebula, "aa", &json!(["slugify"])).is(200);
    put(&nebula, "bb", &json!(["aa"])).is(200);
    let back = nebula.control("POST", "/api/v1/pipelines/aa/rollback?followers=may-stay").send().is(422);
    back.problem("invalid-pipeline").detail("it calls itself: aa → bb → aa");
}

/// One that had stayed behind isn't in anybody's way.
#[test]
fn what_was_broken_before_is_not_broken_again() {
    let nebula = with(Nebula::start(), &["slugify"]).deploy("last", function("sha256"));
    put(&nebula, "p", &json!(["slugify", "last"])).is(200);
    nebula.put("last?followers=may-stay", &std::fs::read(function("add")).unwrap()).is(200);
    nebula.redeploy("last", function("add"));
    nebula.redeploy("last", function("factorial"));
    nebula.put("slugify?output_bytes_max=1000", &std::fs::read(function("slugify")).unwrap()).is(200);
    nebula.post("/f/p", "\"A b\"").is(200);
    // A check says what a deploy would.
    put(&nebula, "q", &json!(["slugify", "p"])).is(200);
    let body = json!({"steps": ["add"]}).to_string();
    nebula.control("POST", "/api/v1/pipelines/p/check").body(body).send().is(422);
    let body = json!({"steps": {"each": "slugify"}}).to_string();
    let check = nebula.control("POST", "/api/v1/pipelines/p/check").body(body).send().is(409);
    check.problem("breaks-pipelines").detail("the pipeline `q`");
}

/// A chain that is linked to one component, if it can be; that is seen by its steps not being told of.
fn is_fused(nebula: &Nebula, path: &str, input: &str) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(30) {
        if steps(&nebula.post(path, input).is(200)).is_empty() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    false
}

/// As one component and step by step a chain answers the same, byte for byte.
#[test]
fn fused_and_unfused_chains_answer_the_same() {
    let functions = ["slugify", "markdown", "csv-stats", "stats-markdown", "top-words"];
    let nebula = with(Nebula::start(), &functions).deploy("reverses", guests::REVERSES);
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
        assert!(is_fused(&nebula, &format!("/f/always-{index}"), inputs[0]), "{chain} isn't fused");
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
    // What isn't passed on as it is isn't linked: of NaNs there is one between steps.
    let body = json!({"steps": ["csv-stats", "stats-markdown"], "fuse": "always"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/floats").body(body).send().is(200);
    let body = json!({"steps": ["markdown", "slugify"], "fuse": "always"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/later").body(body).send().is(200);
    assert!(is_fused(&nebula, "/f/later", "\"a\""));
    assert!(!steps(&nebula.post("/f/floats", r#"{"csv": "n\n1\n"}"#).is(200)).is_empty());
}

/// What a function may use holds for it in a chain too, also where that was linked before.
#[test]
fn limits_of_functions_hold_in_fused_chains() {
    let nebula = with(Nebula::start(), &["slugify", "markdown"]);
    let put = |calls_max: u64| {
        let body =
            json!({"steps": ["slugify", "markdown"], "fuse": "always", "calls_max": calls_max}).to_string();
        nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(200);
    };
    put(2);
    assert!(is_fused(&nebula, "/f/p", "\"a\""));
    let call = |status: u16| nebula.post("/f/p", "\"a long text\"").is(status);
    call(200).says("\"<p>a-long-text</p>\\n\"");
    let redeploy = |name: &str, limits: &str| {
        nebula.put(&format!("{name}{limits}"), &std::fs::read(function(name)).unwrap()).is(200);
    };
    redeploy("slugify", "?output_bytes_max=3");
    call(502).problem("output-too-large").member("step", "slugify");
    redeploy("slugify", "?input_bytes_max=3");
    call(502).problem("step-refused").member("step", "slugify");
    redeploy("slugify", "");
    redeploy("markdown", "?output_bytes_max=5");
    call(502).problem("output-too-large").member("step", "markdown");
    redeploy("markdown", "?input_bytes_max=5");
    call(502).problem("step-refused").member("step", "markdown");
    redeploy("markdown", "");
    call(200);
    put(1);
    call(502).problem("pipeline-limit").member("limit", "calls");
}
