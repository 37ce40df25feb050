//! Composition by typed imports: a deploy links the imported functions into the component, which
//! keeps them.

use nebula_tests::{Answer, FUNCTIONS, Nebula, foreach_guest_in_imports, guests, wat};
use serde_json::{Value, json};

foreach_guest_in_imports!(is_tested);

/// Returns a route of two points with this length.
fn route(name: &str, length: u32) -> Value {
    json!({"name": name, "points": [{"x": 1, "y": 0}, {"x": 1 + length, "y": 0}]})
}

fn two_routes(a: u32, b: u32) -> String {
    json!({"a": route("first", a), "b": route("second", b)}).to_string()
}

fn current(nebula: &Nebula, name: &str) -> Value {
    nebula.control("GET", &format!("/api/v1/functions/{name}")).send().is(200).json()["current"].clone()
}

/// Assembles a component of `handle: func(x: s32) -> s32` that imports functions of the same type
/// and returns the sum of their results and `own`.
pub(crate) fn sums(imports: &[&str], own: i32) -> Vec<u8> {
    let mut component = String::from("(component\n");
    let mut lowered = String::new();
    let mut core = String::new();
    let mut with = String::new();
    let mut sum = String::new();
    for (at, import) in imports.iter().enumerate() {
        component += &format!(
            r#"(import "{import}" (instance $i{at} (export "handle" (func (param "x" s32) (result s32)))))
            "#
        );
        lowered += &format!(r#"(core func $f{at} (canon lower (func $i{at} "handle")))"#);
        core += &format!(r#"(import "" "{at}" (func $f{at} (param i32) (result i32)))"#);
        with += &format!(r#"(export "{at}" (func $f{at}))"#);
        sum += &format!("(i32.add (call $f{at} (local.get 0)))");
    }
    wat(&format!(
        r#"{component} {lowered}
            (core module $m {core}
                (func (export "handle") (param i32) (result i32) (i32.const {own}) {sum}))
            (core instance $i (instantiate $m (with "" (instance {with}))))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#
    ))
}

/// Returns the interface name under which a component imports a function.
pub(crate) fn import(name: &str) -> String {
    format!("nebula:functions/{name}")
}

fn put_sums(nebula: &Nebula, name: &str, imports: &[&str], own: i32) -> Answer {
    let imports: Vec<_> = imports.iter().map(|name| import(name)).collect();
    nebula.put(name, &sums(&imports.iter().map(String::as_str).collect::<Vec<_>>(), own))
}

/// The imported function is an ordinary function when it is called directly.
#[test]
fn measures() {
    let nebula = Nebula::start().deploy("measures", guests::MEASURES);
    assert_eq!(current(&nebula, "measures").get("linked"), None);
    let answer = nebula.post("/f/measures", &route("a", 2).to_string()).is(200);
    answer.says(r#"{"name":"a","legs":[2.0],"total":2.0}"#);
}

/// Records cross the link in both directions, and the result is that of calling the two functions
/// separately.
#[test]
fn compares() {
    let nebula = Nebula::start().deploy("measures", guests::MEASURES);
    let record = nebula.redeploy("compares", guests::COMPARES).json();
    let measured = current(&nebula, "measures");
    assert_eq!(
        record["linked"],
        json!([{"name": "measures", "version": "v1", "digest": measured["digest"]}])
    );
    assert_eq!(current(&nebula, "compares")["linked"], record["linked"]);
    let signature = record["signature"].as_str().unwrap();
    assert!(
        signature.starts_with("handle: func(a: record { name: string, points: list<record"),
        "{signature}"
    );

    let length =
        |name: &str, length: u32| nebula.post("/f/measures", &route(name, length).to_string()).json();
    let (first, second) = (length("first", 5), length("second", 3));
    let by = first["total"].as_f64().unwrap() - second["total"].as_f64().unwrap();
    let answer = nebula.post("/f/compares", &two_routes(5, 3)).is(200);
    assert_eq!(answer.json(), json!({"shorter": second, "by": by}));
    // The imported function's error is a value for the importing one.
    let nowhere = json!({"a": {"name": "lost", "points": []}, "b": route("b", 1)}).to_string();
    nebula.post("/f/compares", &nowhere).is(422).says(r#"{"nowhere":"lost"}"#);
    // The host reports a type mismatch, as for any function.
    nebula.post("/f/compares", r#"{"a": {"name": 1}}"#).is(400).problem("type-mismatch").pointer("/a/name");
    // The version's content is one linked component, which can be deployed on another server.
    let whole = nebula.control("GET", "/api/v1/functions/compares/component").send().is(200);
    assert!(whole.body().len() > std::fs::read(guests::COMPARES).unwrap().len());
    let elsewhere = Nebula::start();
    let again = elsewhere.put("other", whole.body()).is(200).json();
    assert_eq!(again["digest"], record["digest"]);
    elsewhere.post("/f/other", &two_routes(5, 3)).is(200).says(answer.text());
    // `verify` and `inspect` work as for any function.
    nebula.cli(&["verify", "compares", &two_routes(5, 3)]).exits(0);
    let inspected = nebula.cli(&["inspect", "compares"]).exits(0);
    assert!(inspected.stdout().contains("  linked     measures v1 sha256:"), "{inspected:?}");
    assert!(inspected.stdout().contains("export handle: func(a: route, b: route)"), "{inspected:?}");
}

/// The function imports one that itself imports another, and one as a function of the world.
#[test]
fn judges() {
    let nebula = Nebula::start()
        .deploy("measures", guests::MEASURES)
        .deploy("compares", guests::COMPARES)
        .deploy("greets", guests::GREETS);
    let record = nebula.redeploy("judges", guests::JUDGES).json();
    let digest = |name: &str| current(&nebula, name)["digest"].clone();
    let measures = json!([{"name": "measures", "version": "v1", "digest": digest("measures")}]);
    let mut linked = record["linked"].as_array().unwrap().clone();
    linked.sort_by_key(|linked| linked["name"].to_string());
    assert_eq!(
        linked,
        [
            json!({"name": "compares", "version": "v1", "digest": digest("compares"), "linked": measures}),
            json!({"name": "greets", "version": "v1", "digest": digest("greets")}),
        ]
    );
    nebula.post("/f/judges", r#"["Margaret", "Ada", "Grace"]"#).is(200).says("\"Hello, Ada!\"");
    let inspected = nebula.cli(&["inspect", "judges"]).exits(0);
    assert!(inspected.stdout().contains("  linked       measures v1 sha256:"), "{inspected:?}");
}

/// A raw function can import a typed one.
#[test]
fn measures_payload() {
    let nebula = Nebula::start().deploy("measures", guests::MEASURES);
    let record = nebula.redeploy("raw", guests::MEASURES_PAYLOAD).json();
    assert_eq!((&record["form"], &record["linked"][0]["name"]), (&json!("raw"), &json!("measures")));
    let call = |body: &'static [u8]| {
        nebula.request("POST", "/f/raw").header("content-type", "a/b").body(body).send()
    };
    call(&[0, 0, 3, 4]).is(200).has("content-type", "text/plain").says("a/b: 5");
    call(&[]).is(422);
    call(&[1, 1]).is(502).problem("function-failed");
}

/// A function of the http form can import a typed one.
#[test]
fn measures_request() {
    let nebula = Nebula::start().deploy("measures", guests::MEASURES);
    let record = nebula.redeploy("http", guests::MEASURES_REQUEST).json();
    assert_eq!((&record["form"], &record["linked"][0]["name"]), (&json!("http"), &json!("measures")));
    nebula.get("/f/http/seven").is(200).says("/seven: 6");
}

/// A component keeps the versions that it was linked with until it is deployed again.
#[test]
fn linked_versions_stay_until_the_next_deploy() {
    let nebula = Nebula::start();
    put_sums(&nebula, "one", &[], 1).is(200);
    let first = put_sums(&nebula, "two", &["one"], 1).is(200).json();
    assert_eq!(first["notes"], json!([]));
    nebula.post("/f/two", "0").is(200).says("2");

    let changed = put_sums(&nebula, "one", &[], 10).is(200).json();
    let note = "`two` has another version of `one` linked in: deploy it again to have this one";
    assert_eq!((&changed["version"], &changed["notes"]), (&json!("v2"), &json!([note])));
    nebula.post("/f/one", "0").is(200).says("10");
    nebula.post("/f/two", "0").is(200).says("2");
    // The note is part of the answer to the deploy only, because it may become outdated.
    assert_eq!(current(&nebula, "one")["notes"], json!([]));

    let second = put_sums(&nebula, "two", &["one"], 1).is(200).json();
    assert_eq!((&second["version"], &second["linked"][0]["version"]), (&json!("v2"), &json!("v2")));
    assert_ne!(first["digest"], second["digest"]);
    nebula.post("/f/two", "0").is(200).says("11");
    nebula.post("/f/two@v1", "0").is(200).says("2");
    // Deploying the same component again makes no new version.
    assert_eq!(put_sums(&nebula, "two", &["one"], 1).is(200).json(), second);
    assert_eq!(put_sums(&nebula, "one", &[], 10).is(200).json()["notes"], json!([]));

    // A linked function may be removed: its code is part of the importer.
    put_sums(&nebula, "three", &["two", "one"], 100).is(200);
    nebula.control("DELETE", "/api/v1/functions/one").send().is(204);
    nebula.post("/f/two", "0").is(200).says("11");
    nebula.post("/f/three", "0").is(200).says("121");
    // Deploying it again lists every function with another version linked in, directly or not.
    let back = put_sums(&nebula, "one", &[], 2).is(200).json();
    let note = "`three`, `two` have another version of `one` linked in: deploy them again to have this one";
    assert_eq!(back["notes"], json!([note]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), sums(&[], 3)).unwrap();
    let deployed = nebula.cli(&["deploy", file.path().to_str().unwrap(), "--name", "one"]).exits(0);
    deployed.explains("note: `three`, `two` have another version of `one` linked in");
}

#[test]
fn linked_components_survive_a_restart() {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::start_over(std::sync::Arc::clone(&home), &[]);
    put_sums(&nebula, "one", &[], 1).is(200);
    let record = put_sums(&nebula, "two", &["one"], 1).is(200).json();
    nebula.terminate_and_wait();
    // The server compiles the stored component again when the compiled code is missing.
    std::fs::remove_dir_all(home.path().join("data").join("compiled")).ok();
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/two", "0").is(200).says("2");
    assert_eq!(current(&nebula, "two"), record);
    put_sums(&nebula, "one", &["two"], 1).is(422).problem("invalid-import");
}

#[test]
fn importing_an_undeployed_function_is_unknown_import() {
    let nebula = Nebula::start();
    let refused = put_sums(&nebula, "two", &["one"], 1).is(422).problem("unknown-import");
    refused.member("function", "one").detail("it imports the function `one`, which isn't deployed");
    nebula.control("GET", "/api/v1/functions/two").send().is(404);
    let at_world_level = wat(r#"(component
            (import "one" (func (param "x" s32) (result s32)))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    nebula.put("two", &at_world_level).is(422).problem("unknown-import").member("function", "one");
    put_sums(&nebula, "one", &[], 1).is(200);
    nebula.put("two", &at_world_level).is(200);
    // Commands on component files link nothing.
    for command in ["invoke", "inspect", "verify"] {
        let mut arguments = vec![command, guests::COMPARES];
        if command != "inspect" {
            arguments.push("{}");
        }
        let ran = nebula_tests::nebula(&arguments).exits(1);
        ran.explains("it imports the function `measures`, which only a server can link")
            .explains("hint: deploy it");
    }
}

#[test]
fn an_import_of_another_type_is_refused_with_both_types() {
    let nebula = Nebula::start().deploy("measures", guests::GREETS);
    let compares = std::fs::read(guests::COMPARES).unwrap();
    let refused = nebula.put("compares", &compares).is(422).problem("invalid-import");
    refused
        .member("function", "measures")
        .member("deployed", "handle: func(name: string) -> string")
        .member("expected", "route")
        .member("found", "name");
    // The types may differ in one nested field only.
    let other = wat(r#"(component
            (type $r' (record (field "a" u8) (field "b" (list u16))))
            (import "r" (type $r (eq $r')))
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
                (func (export "handle") (param i32 i32 i32)))
            (core instance $i (instantiate $m))
            (func $f (param "it" $r) (canon lift (core func $i "handle")
                (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (export "handle" (func $f)))"#);
    nebula.put("other", &other).is(200);
    let importer = wat(r#"(component
            (type $i' (instance
                (type $r' (record (field "a" u8) (field "b" (list u32))))
                (export "r" (type $r (eq $r')))
                (export "handle" (func (param "it" $r)))))
            (import "nebula:functions/other" (instance (type $i')))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    let refused = nebula.put("importer", &importer).is(422).problem("invalid-import");
    refused
        .member("imported", "handle: func(it: record { a: u8, b: list<u32> })")
        .member("deployed", "handle: func(it: record { a: u8, b: list<u16> })")
        .member("at", "it.b[]")
        .member("expected", "u32")
        .member("found", "u16")
        .detail("at `it.b[]`, expected `u32`, found `u16`");
}

#[test]
fn only_typed_functions_are_linked() {
    let nebula = Nebula::start()
        .deploy("raw", guests::MIRRORS_PAYLOAD)
        .deploy("http", guests::MIRRORS_REQUEST)
        .deploy("initialises", guests::COUNTS_FROM_SNAPSHOT);
    put_sums(&nebula, "one", &[], 1).is(200);
    let steps = json!({"steps": ["one"]}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/piped").body(steps).send().is(200);
    for (name, why) in [
        ("raw", "of the raw form"),
        ("http", "of the http form"),
        ("piped", "a pipeline"),
        ("initialises", "`wizer-initialize`"),
    ] {
        let refused = put_sums(&nebula, "importer", &[name], 1).is(422).problem("invalid-import");
        refused.member("function", name).detail(why);
    }
    let refused = |import: &str, why: &str| {
        nebula.put("importer", &sums(&[import], 1)).is(422).problem("invalid-import").detail(why);
    };
    refused("nebula:functions/one@1.0.0", "leave the version out");
    refused("nebula:functions/ONE", "`ONE` is not a function name");
    let other = wat(r#"(component
            (import "nebula:functions/one" (instance (export "run" (func))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    nebula.put("importer", &other).is(422).problem("invalid-import").detail("it has a function `run`");
    // An impure import is reported first.
    let also = sums(&["nebula:functions/one", "acme:mail/send"], 1);
    nebula.put("importer", &also).is(422).problem("refused").detail("it imports `acme:mail/send`, which");
}

/// The message shows the path of the cycle.
#[test]
fn import_cycles_are_refused() {
    let nebula = Nebula::start();
    let refused = |answer: Answer, path: &str| {
        answer.is(422).problem("invalid-import").detail(&format!("it imports itself: {path}"));
    };
    refused(put_sums(&nebula, "a", &["a"], 1), "a → a");
    put_sums(&nebula, "a", &[], 1).is(200);
    refused(put_sums(&nebula, "a", &["a"], 1), "a → a");
    put_sums(&nebula, "b", &["a"], 1).is(200);
    refused(put_sums(&nebula, "a", &["b"], 1), "a → b → a");
    put_sums(&nebula, "c", &["b"], 1).is(200);
    refused(put_sums(&nebula, "a", &["c"], 1), "a → c → b → a");
    nebula.post("/f/a", "0").is(200).says("1");
    nebula.post("/f/c", "0").is(200).says("3");
    // The check uses current versions: each function here was linked with a version of the next
    // that imported nothing.
    for name in ["x", "y", "z"] {
        put_sums(&nebula, name, &[], 1).is(200);
    }
    put_sums(&nebula, "y", &["z"], 1).is(200);
    put_sums(&nebula, "z", &["x"], 1).is(200);
    refused(put_sums(&nebula, "x", &["y"], 1), "x → y → z → x");
}

/// A rollback changes what current versions import, as a deploy does.
#[test]
fn rollbacks_into_an_import_cycle_are_refused() {
    let nebula = Nebula::start();
    let roll_back = |name: &str, to: &str| {
        let path = format!("/api/v1/functions/{name}/rollback");
        nebula.control("POST", &path).body(json!({"version": to}).to_string()).send()
    };
    put_sums(&nebula, "a", &[], 1).is(200);
    put_sums(&nebula, "b", &["a"], 1).is(200);
    put_sums(&nebula, "b", &[], 2).is(200);
    put_sums(&nebula, "c", &["b"], 1).is(200);
    put_sums(&nebula, "a", &["c"], 1).is(200);
    let refused = roll_back("b", "v1").is(422).problem("invalid-import");
    refused.detail("it imports itself: b → a → c → b");
    assert_eq!(current(&nebula, "b")["version"], "v2");
    roll_back("a", "v1").is(200);
    roll_back("b", "v1").is(200);
    nebula.post("/f/b", "0").is(200).says("2");
}

/// Every linked function adds a memory, and an instance may have four.
#[test]
fn links_that_exceed_an_instances_limits_are_refused() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let names: Vec<_> = (0..4).map(|at| format!("greets-{at}")).collect();
    let imports: String = names
        .iter()
        .map(|name| format!(r#"(import "{name}" (func (param "name" string) (result string)))"#))
        .collect();
    for name in &names {
        nebula.redeploy(name, guests::GREETS);
    }
    let importer = |imports: &str| {
        wat(&format!(
            r#"(component {imports}
                (core module $m (memory 1) (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "handle") (canon lift (core func $i "handle"))))"#
        ))
    };
    let refused = nebula.put("importer", &importer(&imports)).is(422).problem("invalid-import");
    refused.detail("with the functions it imports it needs more than an instance may have");
    let fewer = imports.replace(r#"(import "greets-3" (func (param "name" string) (result string)))"#, "");
    nebula.put("importer", &importer(&fewer)).is(200);
}

/// Equal calls of the linked component draw equal numbers, which differ from those of the imported
/// function alone.
#[test]
fn random_numbers_depend_on_the_linked_component() {
    let nebula = Nebula::start_uncached().deploy("draws", guests::DRAWS);
    let importer = wat(r#"(component
            (import "draws" (func $draws (param "text" string) (result u64)))
            (core module $heap
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $heap (instantiate $heap))
            (core func $draws' (canon lower (func $draws) (memory (core memory $heap "memory"))))
            (core module $m
                (import "" "draws" (func $draws (param i32 i32) (result i64)))
                (func (export "handle") (param i32 i32) (result i64) (call $draws (local.get 0) (local.get 1))))
            (core instance $i (instantiate $m (with "" (instance (export "draws" (func $draws'))))))
            (func (export "handle") (param "text" string) (result u64)
                (canon lift (core func $i "handle")
                    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc")))))"#);
    nebula.put("importer", &importer).is(200);
    let call = |name: &str| nebula.post(&format!("/f/{name}"), "\"abc\"").is(200).text().to_owned();
    assert_eq!(call("importer"), call("importer"));
    assert_ne!(call("importer"), call("draws"));
    nebula.cli(&["verify", "importer", "\"abc\""]).exits(0);
}

/// A trap in an imported function ends the whole call.
#[test]
fn the_backtrace_of_a_trap_shows_both_functions() {
    let nebula = Nebula::start();
    let traps = wat(r#"(component
            (core module $m (func $inner (export "handle") (param i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#);
    nebula.put("traps", &traps).is(200);
    let calls = wat(r#"(component
            (import "traps" (func $traps (param "x" s32) (result s32)))
            (core func $traps' (canon lower (func $traps)))
            (core module $m
                (import "" "f" (func $f (param i32) (result i32)))
                (func $outer (export "handle") (param i32) (result i32) (call $f (local.get 0))))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $traps'))))))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#);
    nebula.put("calls", &calls).is(200);
    let backtrace = nebula.post("/f/calls", "1").is(502).json()["backtrace"].to_string();
    let at = |name: &str| backtrace.find(name).unwrap_or_else(|| panic!("no `{name}` in {backtrace}"));
    assert!(at("inner") < at("outer"), "{backtrace}");
}

/// `compare-tables` imports `csv-stats`, whose name sorts after it. A test of `nebula up` relies on
/// that.
#[test]
fn a_function_of_this_repository_imports_a_later_one() {
    const IMPORT: &[u8] = b"nebula:functions/";
    let imports = |component: &str| {
        let component = std::fs::read(component).unwrap();
        component.windows(IMPORT.len()).any(|window| window == IMPORT)
    };
    let position = |name: &str| FUNCTIONS.iter().position(|function| function.name() == name).unwrap();
    let (importer, imported) = (position("compare-tables"), position("csv-stats"));
    assert!(importer < imported);
    assert!(imports(FUNCTIONS[importer].component) && !imports(FUNCTIONS[imported].component));
}
