//! Pipelines: results, caching of each step, limits, failures, and the commands.
//!
//! `deploys` tests the type check and how pipelines follow their functions; `fused` tests chains
//! that run as one component, `diagram` drawings.

mod deploys;
mod diagram;
mod fused;

use nebula_tests::{Answer, FunctionCrate, Nebula, guests};
use serde_json::{Value, json};

const MISS: &str = "nebula; fwd=miss; stored";
const HIT: &str = "nebula; hit";

/// Returns the component of a function of this repository.
pub(crate) fn function(name: &str) -> &'static str {
    FunctionCrate::named(name).component
}

fn with(nebula: Nebula, functions: &[&str]) -> Nebula {
    functions.iter().fold(nebula, |nebula, name| nebula.deploy(name, function(name)))
}

/// Sends a pipeline for deployment and returns the answer, accepted or not. `name` may end in a
/// query.
fn put(nebula: &Nebula, name: &str, steps: &Value) -> Answer {
    let body = json!({"steps": steps}).to_string();
    nebula.control("PUT", &format!("/api/v1/pipelines/{name}")).body(body).send()
}

/// Returns `name: description` of each step in `Server-Timing`.
pub(crate) fn steps(answer: &Answer) -> Vec<String> {
    let timing = answer.header("server-timing").unwrap();
    let steps = timing.split(", ").filter_map(|step| {
        let (name, rest) = step.split_once(';')?;
        let desc = rest.split_once("desc=\"")?.1.strip_suffix('"')?;
        Some(format!("{name}: {desc}"))
    });
    steps.collect()
}

#[test]
fn a_chain_equals_calling_its_functions_in_order() {
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
    // Versions, digests and type mismatches work as for any function.
    let digest = record["digest"].as_str().unwrap();
    for pinned in ["v1", digest] {
        nebula.post(&format!("/f/report@{pinned}"), input).is(200).says(all.text());
    }
    let cached = nebula.post(&format!("/f/report@{digest}"), input);
    cached.has("cache-control", "public, max-age=31536000, immutable");
    nebula.post("/f/report", r#"{"csv": 1}"#).is(400).problem("type-mismatch").pointer("/csv");
    // A step's own error is the pipeline's error, and a header names the step.
    let error = nebula.post("/f/report", r#"{"csv": "a", "delimiter": "é"}"#).is(422);
    let failed = error.header("nebula-failed-step").unwrap().to_owned();
    assert!(failed.starts_with("csv-stats; input=\"sha256:"), "{failed}");
    error.says(r#"{"bad-delimiter":"é"}"#);
}

/// Changing one function keeps the cached results of the other steps.
#[test]
fn each_step_is_cached_separately() {
    let nebula = with(Nebula::start(), &["slugify", "sha256", "markdown"]);
    let all = json!(["slugify", {"all": {"page": "markdown", "digest": ["markdown", "sha256"]}}]);
    put(&nebula, "card", &all).is(200);
    let call = |text: &str| nebula.post("/f/card", &json!(text).to_string()).is(200);
    let first = call("A b").has("cache-status", MISS);
    assert_eq!(steps(&first), ["slugify: miss", "markdown: miss", "sha256: miss", "markdown-2: hit"]);
    call("A b").has("cache-status", HIT).says(first.text());
    // After the first step, this input has the same value.
    let other = call("a  B").has("cache-status", MISS);
    assert_eq!(steps(&other), ["slugify: miss", "markdown: hit", "sha256: hit", "markdown-2: hit"]);
    other.says(first.text());
    // A direct call of a function shares the result with the step.
    let text = nebula.request("POST", "/f/sha256").header("content-type", "text/plain");
    text.body("<p>a-b</p>\n").send().is(200).has("cache-status", HIT);
    // Another version of one function makes another pipeline, whose other steps are cached.
    nebula.put("sha256?output_bytes_max=1000", &std::fs::read(function("sha256")).unwrap()).is(200);
    let again = call("A b").has("cache-status", MISS);
    assert_eq!(steps(&again), ["slugify: hit", "markdown: hit", "sha256: miss", "markdown-2: hit"]);
}

/// If several items fail, the answer is the error of the first one in order, even if another failed
/// earlier.
#[test]
fn each_keeps_the_order_of_results_and_errors() {
    let nebula = with(Nebula::start_uncached(), &["factorial"]);
    // A long deadline, because this test is about order and the machine may be busy.
    nebula.put("pi-trials?deadline_ms=60000", &std::fs::read(function("pi-trials")).unwrap()).is(200);
    put(&nebula, "factorials?deadline_ms=20000", &json!({"each": "factorial"})).is(200);
    let numbers: Vec<u32> = (0..200).rev().map(|number| number % 20).collect();
    let answer = nebula.post("/f/factorials", &json!(numbers).to_string()).is(200).json();
    let expected: Vec<String> =
        numbers.iter().map(|n| (1..=u64::from(*n)).product::<u64>().to_string()).collect();
    assert_eq!(answer, json!(expected));
    put(&nebula, "tallies?deadline_ms=60000", &json!({"each": "pi-trials"})).is(200);
    // The last item fails at once, the second one only after the first has run for a while.
    for _ in 0..5 {
        let points = json!([
            {"seed": 1, "trials": 2_000_000}, {"seed": 2, "trials": 20_000_000}, {"seed": 3, "trials": 1}, {"seed": 4, "trials": 0},
        ]);
        let answer = nebula.post("/f/tallies", &points.to_string()).is(422);
        answer.says("\"`trials` must be from 1 to 10000000, not 20000000\"");
    }
    nebula.post("/f/tallies", "[]").is(200).says("[]");
}

/// The problem also has the step's function, the digest of its input, and the backtrace.
#[test]
fn a_trap_in_a_step_names_the_step() {
    let nebula = with(Nebula::start(), &[]).deploy("panics", guests::PANICS);
    put(&nebula, "p", &json!({"each": {"call": "panics", "as": "dig"}})).is(200);
    let problem = nebula.post("/f/p", "[2000000, 7, 2000000]").is(502).problem("trap");
    problem.member("step", "dig").detail("step `dig` failed").frame("inner_named_function");
    problem.mentions("step_function", "panics@v1; digest=sha256:").mentions("reason", "the depth of 7");
    // The digest is that of the document with which a caller can repeat the step's call.
    problem.member("step_input", format!("sha256:{}", sha256(b"7")));
    nebula.post("/f/panics", "7").is(502).problem("trap");
    nebula.post("/f/p", "[2000000]").is(200).says("[2000001]");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;

    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_deadline_of_a_pipeline_applies_to_all_its_steps_together() {
    let nebula = Nebula::start_uncached().deploy("loops", guests::LOOPS_FOREVER);
    let nebula = with(nebula, &["fibonacci-recursive", "slugify"]);
    put(&nebula, "loops-twice?deadline_ms=200", &json!({"all": {"a": "loops", "b": "loops"}})).is(200);
    let begun = std::time::Instant::now();
    let answer = nebula.post("/f/loops-twice", "").is(504).problem("deadline-exceeded");
    answer.member("deadline_ms", 200);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    // Each of these calls takes far less than its own deadline, but all together exceed the
    // pipeline's.
    put(&nebula, "many?deadline_ms=100", &json!({"each": "fibonacci-recursive"})).is(200);
    let many = json!(vec![27; 2000]).to_string();
    nebula.post("/f/many", &many).is(504).problem("deadline-exceeded").member("deadline_ms", 100);
    nebula.post("/f/many", "[1, 2, 3]").is(200).says("[1,1,2]");
    // Called as a step of a pipeline with a longer deadline, it fails by its own deadline.
    put(&nebula, "many-in-time?deadline_ms=20000", &json!(["many"])).is(200);
    let failed = nebula.post("/f/many-in-time", &many).is(504).problem("deadline-exceeded");
    failed.member("deadline_ms", 100).member("step", "many");
}

#[test]
fn a_pipeline_has_limits_of_its_own() {
    let nebula = with(Nebula::start_uncached(), &["echo", "slugify"]);
    let body = json!({"steps": {"each": "slugify"}, "calls_max": 10}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/few").body(body).send().is(200);
    let texts = |count: usize| json!(vec!["a"; count]).to_string();
    nebula.post("/f/few", &texts(10)).is(200);
    nebula.post("/f/few", &texts(11)).is(502).problem("pipeline-limit").member("limit", "calls");
    // The host holds the collected results, so a memory limit applies to them.
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

/// The codec converts between payloads, text and values.
#[test]
fn steps_may_have_different_forms() {
    let nebula = with(Nebula::start(), &["word-count", "slugify", "qr-code", "sha256", "add", "top-words"]);
    put(&nebula, "count", &json!(["slugify", "word-count"])).is(200);
    let answer = nebula.post("/f/count", "\"A b\"").is(200).has("content-type", "application/json");
    answer.says(r#"{"lines":1,"words":1,"characters":3,"bytes":3}"#);
    put(&nebula, "drawn", &json!(["slugify", "qr-code", {"all": ["sha256", {"select": "."}]}])).is(200);
    assert_eq!(nebula.post("/f/drawn", "\"A b\"").is(200).json().as_array().unwrap().len(), 2);
    put(&nebula, "drawing", &json!(["slugify", "qr-code"])).is(200);
    nebula.post("/f/drawing", "\"A b\"").is(200).has("content-type", "image/svg+xml");
    // Several parameters come from the fields of a record or from the items of a tuple.
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

#[test]
fn commands_check_deploy_show_and_explain_pipelines() {
    let nebula = with(Nebula::start(), &["slugify", "sha256"]);
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
    let refused = nebula.cli(&["pipeline", "check", bad.to_str().unwrap()]).exits(7);
    assert!(refused.stderr().contains("step `each` gets `string`, which is not a list"), "{refused:?}");
}

/// The bounds keep every deployed pipeline readable and cheap to show.
#[test]
fn the_size_and_depth_of_descriptions_and_types_are_bounded() {
    let nebula = with(Nebula::start(), &["slugify"]);
    let refused = |steps: Value, part: &str| {
        put(&nebula, "p", &steps).is(422).problem("invalid-pipeline").detail(part);
    };
    let twice = json!({"all": [{"select": "."}, {"select": "."}]});
    refused(
        json!(vec![json!("slugify"), json!(vec![twice; 40])]),
        "more than 10000 types, or one nested more than 24 deep",
    );
    let once = json!({"all": [{"select": "."}]});
    refused(
        json!(vec![json!("slugify"), json!(vec![once; 30])]),
        "more than 10000 types, or one nested more than 24 deep",
    );
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    refused(json!([{"constant": deep}, "slugify"]), "a constant is nested more than 16 deep");
    let body =
        json!({"input": format!("{}u8{}", "list<".repeat(60), ">".repeat(60)), "steps": []}).to_string();
    let answer = nebula.control("PUT", "/api/v1/pipelines/p").body(body).send().is(422);
    answer.problem("invalid-pipeline").detail("types are nested more than 24 deep");
    // Pipelines that call pipelines have a bound on their depth, too.
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

/// The limits apply also to steps that call no function.
#[test]
fn collected_values_are_limited_while_they_are_collected() {
    let nebula = Nebula::start_uncached();
    let parts: Vec<_> = (0..50).map(|_| json!({"select": "."})).collect();
    let body = json!({"input": "list<u64>", "steps": {"each": {"all": parts}}}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/wide").body(body).send().is(200);
    let begun = std::time::Instant::now();
    let answer = nebula.post("/f/wide", &json!(vec![1; 100_000]).to_string());
    assert!([502, 504].contains(&answer.status()), "{answer:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(8));
    let constant = json!({"constant": vec![7; 2000]});
    let body = json!({"input": "list<u8>", "steps": {"each": constant}}).to_string();
    // Long enough on a busy machine.
    nebula.control("PUT", "/api/v1/pipelines/many?deadline_ms=60000").body(body).send().is(200);
    let call = nebula.request("POST", "/f/many").header("content-type", "application/octet-stream");
    call.body(vec![0; 100_000]).send().is(502).problem("pipeline-limit").member("limit", "memory");
}

/// The limits of a called pipeline don't depend on the pipeline that called it first.
#[test]
fn nested_pipelines_keep_their_own_limits() {
    let nebula = with(Nebula::start(), &["slugify", "markdown"]);
    put(&nebula, "inner", &json!({"all": ["slugify", "markdown"]})).is(200);
    put(&nebula, "small?output_bytes_max=20&cache_traps=on", &json!({"all": ["slugify", "markdown"]}))
        .is(200);
    put(&nebula, "outer?output_bytes_max=20&cache_traps=on", &json!(["inner", {"select": "0"}])).is(200);
    put(&nebula, "wide", &json!(["small", {"select": "0"}])).is(200);
    nebula.post("/f/outer", "\"a long text indeed\"").is(200).says("\"a-long-text-indeed\"");
    nebula.post("/f/inner", "\"a long text indeed\"").is(200).has("cache-status", HIT);
    nebula
        .post("/f/wide", "\"a long text indeed\"")
        .is(502)
        .problem("output-too-large")
        .member("step", "small");
    nebula.post("/f/small", "\"a long text indeed\"").is(502).problem("output-too-large");
    // A call limit of the outer pipeline doesn't become a cached failure of the inner one.
    let each = json!({"steps": {"each": "slugify"}}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/each").body(each).send().is(200);
    let few = json!({"steps": "each", "calls_max": 3}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/few?cache_traps=on").body(few).send().is(200);
    nebula.post("/f/few", r#"["a", "b", "c"]"#).is(502).problem("pipeline-limit").member("max", 3);
    nebula.post("/f/each", r#"["a", "b", "c"]"#).is(200).has("cache-status", MISS);
}

/// The cache key includes which version each step calls.
#[test]
fn pipelines_with_swapped_versions_do_not_share_results() {
    let nebula = Nebula::start().deploy("asks", guests::ASKS_FOR_MEMORY);
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

/// The request's `Cache-Control` applies to the steps, too.
#[test]
fn cache_directives_apply_to_steps() {
    let nebula = with(Nebula::start(), &["slugify", "markdown"]);
    put(&nebula, "p", &json!(["slugify", "markdown"])).is(200);
    let call = |directive: &str| {
        let call = nebula.request("POST", "/f/p").header("cache-control", directive);
        call.body("A b").send().is(200)
    };
    call("no-store").has("cache-status", "nebula; fwd=miss");
    assert_eq!(steps(&call("max-age=0")), ["slugify: miss", "markdown: miss"]);
    assert_eq!(steps(&call("no-cache")), ["slugify: miss", "markdown: miss"]);
    // A pipeline isn't cached if one of its steps isn't.
    nebula.put("markdown?cache=off", &std::fs::read(function("markdown")).unwrap()).is(200);
    for _ in 0..2 {
        call("max-age=0").has("cache-status", "nebula; fwd=bypass");
    }
}
