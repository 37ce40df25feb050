//! Functions made of functions: checked when they are deployed, remembered step by step, followed and kept.

mod deploys;
mod fused;

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
    assert!(refused.stderr().contains("step `each` gets `string`, which is not a list"), "{refused:?}");
}

/// What is deployed can be read again, and takes no more to look at than it should.
#[test]
fn what_steps_gather_is_bounded() {
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
