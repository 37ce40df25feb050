//! Exports and imports: functions move to another server with all their versions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use nebula_tests::{Answer, Nebula, command, guests};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::imports::{import, sums};
use crate::pipelines::function;

/// The version of each name that the source has, and an input for it.
const CALLS: &[(&str, &[u32], &str)] = &[
    ("sum", &[1, 2, 3], "5"),
    ("importer", &[1], "5"),
    ("greets", &[1, 2], "\"Eva\""),
    ("compare-tables", &[1], r#"{"before": "x\n1", "after": "x\n2"}"#),
    ("csv-stats", &[1], r#""x\n1""#),
    ("chain", &[1, 2, 3, 4], "5"),
    ("outer", &[1, 2, 3, 4], "5"),
];

fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn pipeline(nebula: &Nebula, name: &str, query: &str, steps: &Value) {
    let path = format!("/api/v1/pipelines/{name}?{query}");
    nebula.control("PUT", &path).body(json!({"steps": steps}).to_string()).send().is(200);
}

/// Starts a server with functions of every kind: several versions, an earlier one current, limits,
/// cache settings, configuration, routes, a project, linked imports, and pipelines that pin versions.
fn source() -> Nebula {
    let nebula = Nebula::start();
    for value in 1..=3 {
        nebula.put("sum?deadline_ms=900", &sums(&[], value)).is(200);
        if value == 1 {
            pipeline(&nebula, "chain", "cache_ttl_s=600", &json!(["sum", "sum@v1"]));
            pipeline(&nebula, "outer", "route=/api/outer", &json!(["chain@v1", "sum"]));
            nebula.put("importer", &sums(&[&import("sum")], 100)).is(200);
        }
    }
    // The pipelines follow, so each has a version for each of these changes.
    nebula.control("POST", "/api/v1/functions/sum/rollback").body(r#"{"version": "v2"}"#).send().is(200);
    let greets = read(guests::GREETS_AS_CONFIGURED);
    nebula.put("greets?config=%7B%22GREETING%22%3A%22Salut%22%7D", &greets).is(200);
    let component = digest(&greets);
    nebula.control("PUT", &format!("/api/v1/components/{component}")).body(&greets).send().is(204);
    let function = json!({
        "component": component, "config": {"GREETING": "Hallo"}, "cache": {"bytes_max": 1000},
        "limits": {"memory_bytes_max": 33_554_432}, "cors": {"origins": ["https://a.example"]},
        "route": ["/api/greets"], "host": ["a.example"],
    });
    let project = json!({"functions": {"greets": function}});
    nebula.control("PUT", "/api/v1/projects/shop").body(project.to_string()).send().is(200);
    // Documented, and so is the function that is linked into it.
    nebula.put_function("compare-tables", "").is(200);
    nebula.put("http?route=/api/http/...", &read(guests::MIRRORS_REQUEST)).is(200);
    nebula
}

fn detail(nebula: &Nebula, name: &str) -> Value {
    nebula.control("GET", &format!("/api/v1/functions/{name}")).send().is(200).json()
}

/// Returns everything that the server has under any name.
fn everything(nebula: &Nebula) -> Value {
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    let functions = list["functions"].as_array().unwrap();
    functions.iter().map(|function| detail(nebula, function["name"].as_str().unwrap())).collect()
}

fn exported(nebula: &Nebula, query: &str) -> Value {
    nebula.control("GET", &format!("/api/v1/export{query}")).send().is(200).json()
}

fn file_in(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

/// Exports everything to a file.
fn export_to(nebula: &Nebula, file: &str) {
    nebula.cli(&["export", "-o", file]).exits(0).says("").explains("exported ");
}

/// Returns what identifies an answer.
fn identity(answer: &Answer) -> (u16, String, Option<String>, Option<String>) {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    (answer.status(), answer.text().to_owned(), header("etag"), header("nebula-function"))
}

#[track_caller]
fn assert_same_answers(one: &Nebula, other: &Nebula) {
    for (name, versions, input) in CALLS {
        let numbered = versions.iter().map(|version| format!("{name}@v{version}"));
        for reference in numbered.chain([(*name).to_owned()]) {
            let path = format!("/f/{reference}");
            let (expected, found) = (one.post(&path, input), other.post(&path, input));
            assert_ne!(expected.status(), 404, "{reference}: {expected:?}");
            assert!(expected.header("etag").is_some(), "{reference}: {expected:?}");
            assert_eq!(identity(&found), identity(&expected), "{reference}");
        }
    }
}

/// Every name and version answers the same on the new server, under the same digests, and is shown
/// the same. The new server keeps them when it is killed.
#[test]
fn functions_move_to_another_server_with_all_their_versions() {
    let source = source();
    let directory = tempfile::tempdir().unwrap();
    let file = file_in(directory.path(), "all.nebula");
    export_to(&source, &file);
    let home = Arc::new(tempfile::tempdir().unwrap());
    let target = Nebula::start_over(Arc::clone(&home), &[]);

    let dry = target.cli(&["import", &file, "--dry-run", "--json"]).exits(0).json();
    assert_eq!(dry["dry_run"], true);
    assert_eq!(everything(&target), json!([]));
    let imported = target.cli(&["import", &file]).exits(0).explains("imported 8 functions");
    assert!(imported.stdout().contains("new        sum             v2 of v1 v2 v3\n"), "{imported:?}");
    assert_eq!(everything(&target), everything(&source));
    assert_eq!(exported(&target, ""), exported(&source, ""));
    assert_same_answers(&source, &target);
    target.post("/api/outer", "5").is(200).says(source.post("/f/outer", "5").text());
    target.request("POST", "/api/greets").header("host", "a.example").body("\"Eva\"").send().is(200);
    target.get("/api/http/x").is(200);

    // The same again changes nothing, and an export of it is the same file.
    let before = everything(&target);
    let again = target.cli(&["import", &file, "--json"]).exits(0).json();
    assert!(again["functions"].as_array().unwrap().iter().all(|it| it["change"] == "unchanged"), "{again}");
    assert_eq!(everything(&target), before);
    let other = file_in(directory.path(), "again.nebula");
    export_to(&target, &other);
    assert!(fs::read(&other).unwrap() == fs::read(&file).unwrap());

    target.kill();
    let target = Nebula::start_over(home, &[]);
    assert_eq!(everything(&target), before);
    assert_same_answers(&source, &target);
    // Numbers go on after the highest one, and pipelines follow as they did.
    target.put("sum", &sums(&[], 9)).is(200);
    assert_eq!(detail(&target, "sum")["current"]["version"], "v4");
    assert_eq!(detail(&target, "chain")["current"]["version"], "v5");
}

/// A named function comes with what it calls, over stdout and stdin.
#[test]
fn named_functions_bring_what_they_call() {
    let source = source();
    let export = source.cli(&["export", "outer"]).exits(0).explains("exported 3 functions with 11 versions");
    let target = Nebula::start();
    let mut importing = command()
        .args(["import", "-", "--json"])
        .args(target.remote_arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    importing.stdin.take().unwrap().write_all(export.stdout_bytes()).unwrap();
    let imported = importing.wait_with_output().unwrap();
    assert!(imported.status.success());
    let report: Value = serde_json::from_slice(&imported.stdout).unwrap();
    let names: Vec<_> = report["functions"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["chain", "outer", "sum"]);
    target.post("/f/outer", "5").is(200).says(source.post("/f/outer", "5").text());
    assert_eq!(exported(&target, ""), exported(&source, "?name=outer"));

    source.cli(&["export", "outre"]).exits(7).says("").explains("did you mean `outer`?");
    source.control("GET", "/api/v1/export?names=outer").send().is(400).problem("bad-query");
    source.control("GET", "/api/v1/export?name=No%20Name").send().is(400).problem("bad-name");
}

/// Everything that isn't the same on the target is named, and nothing changes.
#[test]
fn conflicts_are_all_named_and_change_nothing() {
    let source = source();
    let directory = tempfile::tempdir().unwrap();
    let file = file_in(directory.path(), "all.nebula");
    export_to(&source, &file);

    let target = Nebula::start();
    // The first version is the same, the second one has another component, the third one is missing.
    target.put("sum?deadline_ms=900", &sums(&[], 1)).is(200);
    target.put("sum?deadline_ms=800", &sums(&[], 20)).is(200);
    target
        .put("greets?config=%7B%22GREETING%22%3A%22Ciao%22%7D", &read(guests::GREETS_AS_CONFIGURED))
        .is(200);
    target.put("other?route=/api/outer", &sums(&[], 7)).is(200);
    let before = everything(&target);
    for arguments in [&["import", &*file][..], &["import", &*file, "--dry-run"]] {
        let refused = target.cli(arguments).exits(7).says("").explains("hint: an import adds functions");
        for conflict in [
            "`sum` v2 differs in component, limits",
            "`sum` has no v3",
            "`greets` v1 differs in config",
            "`greets` has no v2",
            "the current version of `greets` is v1, not v2",
            "the route `/api/outer` of `outer` is that of `other`",
        ] {
            assert!(refused.stderr().contains(conflict), "`{conflict}` isn't in {refused:?}");
        }
        assert!(!refused.stderr().contains("`sum` v1"), "{refused:?}");
        assert_eq!(everything(&target), before);
    }
    let answer =
        target.control("POST", "/api/v1/import").body(exported(&source, "").to_string()).send().is(409);
    let document = answer.json();
    assert_eq!(document["type"], "urn:nebula:problem:import-conflicts");
    assert_eq!(document["conflicts"].as_array().unwrap().len(), 6, "{document}");
    assert_eq!(everything(&target), before);
    // The same versions with another one current aren't the same.
    target.cli(&["remove", "sum"]).exits(0);
    target.cli(&["remove", "greets"]).exits(0);
    target.cli(&["remove", "other"]).exits(0);
    target.cli(&["import", &file]).exits(0);
    target.control("POST", "/api/v1/functions/sum/rollback").body(r#"{"version": "v1"}"#).send().is(200);
    target.cli(&["import", &file]).exits(7).explains("the current version of `sum` is v1, not v2");
}

/// A link stays a link, and a pipe is written instead of replaced.
#[test]
fn links_and_pipes_stay_what_they_are() {
    let (nebula, directory) = (source(), tempfile::tempdir().unwrap());
    let [plain, target, link, pipe] =
        ["plain", "target", "link", "pipe"].map(|name| file_in(directory.path(), name));
    export_to(&nebula, &plain);
    fs::write(&target, "earlier").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    export_to(&nebula, &link);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&target), read(&plain));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || read(&pipe)
    });
    export_to(&nebula, &pipe);
    assert_eq!(reader.join().unwrap(), read(&plain));
}

#[test]
fn damaged_files_change_nothing() {
    let source = Nebula::start();
    source.put("sum", &sums(&[], 1)).is(200);
    let directory = tempfile::tempdir().unwrap();
    let file = file_in(directory.path(), "sum.nebula");
    export_to(&source, &file);
    let whole = fs::read(&file).unwrap();
    let target = Nebula::start();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    let damaged = file_in(directory.path(), "damaged.nebula");
    for (content, reason) in [
        (&whole[..whole.len() / 2], "it is cut off"),
        (&whole[..whole.len() - 1], "it is cut off"),
        (&whole[..0], "it is"),
        (&flipped, ""),
        (&b"{\"functions\": {}}"[..], "it isn't an export of nebula"),
    ] {
        fs::write(&damaged, content).unwrap();
        let refused = target.cli(&["import", &damaged]).exits(1).says("").explains(reason);
        let stderr = refused.stderr();
        assert!(stderr.starts_with(&format!("error: cannot import `{damaged}`\n")), "{refused:?}");
        assert_eq!(everything(&target), json!([]));
    }
    target.cli(&["import", &file_in(directory.path(), "none")]).exits(1).explains("cannot read");
    target.cli(&["import", &file]).exits(0);
    // A failed export leaves no file, and no part of one.
    let missing = file_in(directory.path(), "missing.nebula");
    source.cli(&["export", "none", "-o", &missing]).exits(7);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    source.cli(&["export", "-o", &file_in(directory.path(), "no/file")]).exits(1).explains("cannot write");
}

/// The server checks an export like deploys, and doesn't trust what follows from its parts.
#[test]
fn exports_that_contradict_themselves_are_refused() {
    let source = source();
    let target = Nebula::start();
    let whole = exported(&source, "?name=outer");
    bring_components(&source, &target, &whole);
    let http = read(guests::MIRRORS_REQUEST);
    let upload = format!("/api/v1/components/{}", digest(&http));
    target.control("PUT", &upload).body(&http).send().is(204);

    let import = |document: &Value| import_all(&target, document);
    let sum = "/functions/sum/versions";
    let chain = "/functions/chain/versions/v1";
    let outer = "/functions/outer/versions/v1";
    let other = digest(b"other");
    for (changes, status, problem, detail) in [
        (vec![("/functions/sum/current", json!("v7"))], 422, "bad-import", "isn't in the export"),
        (vec![(&*format!("{sum}/v1/size_bytes"), json!(1))], 422, "bad-import", "bytes, not as many"),
        (
            vec![(&*format!("{sum}/v1/digest"), json!(other))],
            422,
            "missing-components",
            "1 of the components",
        ),
        (vec![(&*format!("{chain}/digest"), json!(other))], 422, "bad-import", "the pipeline's digest"),
        (vec![(&*format!("{chain}/size_bytes"), json!(1))], 422, "bad-import", "bytes, not as many"),
        (
            vec![(&*format!("{chain}/pipeline/pinned/sum/version"), json!("v2"))],
            422,
            "bad-import",
            "`sum@v2`",
        ),
        (
            vec![(&*format!("{chain}/pipeline/pinned/sum/version"), json!("v9"))],
            422,
            "bad-import",
            "`sum@v9`",
        ),
        (
            vec![(&*format!("{chain}/pipeline/pinned/sum@v1/version"), json!("v2"))],
            422,
            "bad-import",
            "are not those",
        ),
        (vec![(&*format!("{chain}/pipeline/pinned"), json!({}))], 422, "bad-import", "digest"),
        (vec![(&*format!("{chain}/pipeline/description/steps"), json!([]))], 422, "", ""),
        (vec![(&*format!("{chain}/config"), json!({"A": "1"}))], 422, "bad-config", "pipeline"),
        (
            vec![(&*format!("{sum}/v1/limits/memory_bytes_max"), json!(1_u64 << 40))],
            422,
            "limit-too-high",
            "`sum` v1",
        ),
        (vec![(&*format!("{sum}/v1/route"), json!(["/a/..."]))], 422, "invalid-route", "`sum`"),
        (vec![(&*format!("{sum}/v1/route"), json!(["a"]))], 400, "invalid-json", ""),
        (vec![(&*format!("{sum}/v0"), json!({}))], 400, "invalid-json", "v0"),
        (vec![(&*format!("{sum}/v1/secret"), json!(1))], 400, "invalid-json", "secret"),
        (
            vec![
                (&*format!("{sum}/v4294967295"), whole.pointer(&format!("{sum}/v1")).unwrap().clone()),
                ("/functions/sum/current", json!("v4294967295")),
            ],
            422,
            "bad-import",
            "no version can follow",
        ),
        // The chain takes a typed value, and this one takes whole requests.
        (
            vec![
                (&*format!("{sum}/v1/digest"), json!(digest(&http))),
                (&*format!("{sum}/v1/size_bytes"), json!(http.len())),
            ],
            422,
            "bad-import",
            "another component",
        ),
        // The second of two equal routes is a conflict.
        (
            vec![("/functions/sum/versions/v2/route", json!(["/api/outer"]))],
            409,
            "import-conflicts",
            "the route `/api/outer` of `sum` is that of `outer`",
        ),
        // A pipeline that calls itself can't have its own digest in its content.
        (
            vec![(&*format!("{outer}/pipeline/pinned/chain@v1/digest"), json!(other))],
            422,
            "bad-import",
            "digest",
        ),
    ] {
        let mut document = whole.clone();
        for (pointer, value) in &changes {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[member] = value.clone();
        }
        let answer = import(&document).is(status);
        assert!(answer.text().contains(problem) && answer.text().contains(detail), "{changes:?}: {answer:?}");
        assert_eq!(everything(&target), json!([]), "{changes:?}");
    }
    // Components alone aren't enough to be named: they have to be functions.
    import(&json!({})).is(200);
    import(&whole).is(200);
    assert_eq!(exported(&target, ""), whole);
}

/// Pipelines of an export that follow each other in a circle would be updated for ever.
#[test]
fn circles_are_refused() {
    let nebula = Nebula::start();
    nebula.put("p", &sums(&[], 1)).is(200);
    pipeline(&nebula, "q", "", &json!(["p"]));
    let mut p = exported(&nebula, "?name=p")["functions"]["p"].clone();
    let component = p["versions"]["v1"]["digest"].as_str().unwrap().to_owned();
    let q = exported(&nebula, "?name=q")["functions"]["q"].clone();
    // The server wrote the content of a pipeline with one step.
    let content = nebula.control("GET", "/api/v1/functions/q/component").send().is(200);
    let pinned = q["versions"]["v1"]["digest"].as_str().unwrap();
    let content = content.text().replace(&format!("p@{component}"), &format!("q@{pinned}"));
    let content = content.replace(r#""as":"p""#, r#""as":"q""#);
    let second = json!({
        "digest": digest(content.as_bytes()), "size_bytes": content.len(), "deployed_at_unix_s": 1,
        "pipeline": {
            "description": {"steps": ["q"]},
            "pinned": {"q": {"version": "v1", "digest": pinned}},
        },
    });
    p["versions"]["v2"] = second;
    p["current"] = json!("v2");
    let target = Nebula::start();
    target.control("PUT", &format!("/api/v1/components/{component}")).body(sums(&[], 1)).send().is(204);
    let document = json!({"functions": {"p": p, "q": q}});
    let answer = target.control("POST", "/api/v1/import").body(document.to_string()).send().is(422);
    answer.problem("invalid-pipeline").member("name", "p").detail("p");
    assert_eq!(everything(&target), json!([]));
}

/// Sends the components of an export from one server to another.
fn bring_components(from: &Nebula, to: &Nebula, export: &Value) {
    let functions = export["functions"].as_object().unwrap().values();
    for version in functions.flat_map(|function| function["versions"].as_object().unwrap().values()) {
        if version.get("pipeline").is_none() {
            let path = format!("/api/v1/components/{}", version["digest"].as_str().unwrap());
            let component = from.control("GET", &path).send().is(200);
            to.control("PUT", &path).body(component.body()).send().is(204);
        }
    }
}

fn import_all(nebula: &Nebula, export: &Value) -> Answer {
    nebula.control("POST", "/api/v1/import").body(export.to_string()).send()
}

/// A pipeline with `"fuse": "always"` follows a function with which it can't be fused, and its
/// versions move all the same.
#[test]
fn followers_that_cannot_be_fused_any_more_move() {
    let source = Nebula::start();
    source.put_function("slugify", "").is(200);
    source.put("draws", &read(function("markdown"))).is(200);
    let body = json!({"steps": ["slugify", "draws"], "fuse": "always"}).to_string();
    source.control("PUT", "/api/v1/pipelines/q").body(&body).send().is(200);
    source.put("draws", &read(function("qr-code"))).is(200);
    assert_eq!(detail(&source, "q")["current"]["version"], "v2");
    // As a new pipeline it is refused.
    source.control("PUT", "/api/v1/pipelines/new").body(&body).send().is(422).problem("invalid-pipeline");

    let (whole, target) = (exported(&source, ""), Nebula::start());
    bring_components(&source, &target, &whole);
    import_all(&target, &whole).is(200);
    assert_eq!(exported(&target, ""), whole);
    for reference in ["q@v1", "q@v2"] {
        let path = format!("/f/{reference}");
        let expected = source.post(&path, "\"A b\"").is(200);
        assert_eq!(identity(&target.post(&path, "\"A b\"")), identity(&expected), "{reference}");
    }
}

/// What an export says about linked functions is compared with the component.
#[test]
fn linked_functions_are_those_in_the_component() {
    let (source, target) = (Nebula::start(), Nebula::start());
    source.put("sum", &sums(&[], 1)).is(200);
    source.put("other", &sums(&[], 2)).is(200);
    source.put("middle", &sums(&[&import("sum")], 3)).is(200);
    source.put("outer", &sums(&[&import("middle"), &import("other")], 4)).is(200);
    pipeline(&source, "p", "", &json!(["sum"]));
    let whole = exported(&source, "");
    bring_components(&source, &target, &whole);
    let of = |name: &str| whole["functions"][name]["versions"]["v1"].clone();
    let outer = of("outer")["linked"].clone();
    assert_eq!(outer[0]["linked"], of("middle")["linked"]);
    let changed = |pointer: &str, value: Value| {
        let mut linked = outer.clone();
        *linked.pointer_mut(pointer).unwrap() = value;
        linked
    };
    let other = &of("other")["digest"];
    let other_linked = "the functions in `linked` are not those";
    for (name, linked, reason) in [
        ("sum", outer.clone(), other_linked),
        ("p", outer.clone(), "functions are linked into components only"),
        ("outer", json!([outer[0]]), other_linked),
        ("outer", json!([outer[1], outer[0]]), other_linked),
        ("outer", changed("/0/name", json!("slugify")), other_linked),
        ("outer", changed("/0/digest", json!(digest(b"none"))), other_linked),
        ("outer", changed("/0/linked/0/name", json!("other")), other_linked),
        ("outer", changed("/0/linked/0/digest", other.clone()), other_linked),
    ] {
        let mut document = whole.clone();
        document["functions"][name]["versions"]["v1"]["linked"] = linked.clone();
        let answer = import_all(&target, &document).is(422).problem("bad-import");
        answer.member("name", name).detail(reason);
        assert_eq!(everything(&target), json!([]), "{name}: {linked}");
    }
    import_all(&target, &whole).is(200);
    assert_eq!(everything(&target), everything(&source));
}

/// The last number is given to one version only.
#[test]
fn deploys_end_at_the_last_number() {
    let (source, target) = (Nebula::start(), Nebula::start());
    source.put("sum", &sums(&[], 1)).is(200);
    let mut whole = exported(&source, "");
    bring_components(&source, &target, &whole);
    let sum = &mut whole["functions"]["sum"];
    *sum = json!({"current": "v4294967294", "versions": {"v4294967294": sum["versions"]["v1"]}});
    import_all(&target, &whole).is(200);
    pipeline(&target, "p", "", &json!(["sum"]));
    target.put("sum", &sums(&[], 2)).is(200);
    let before = everything(&target);
    for value in [3, 4] {
        let refused = target.put("sum", &sums(&[], value)).is(409).problem("last-version");
        refused.detail("no version can follow `sum` v4294967295");
    }
    assert_eq!(everything(&target), before);
    // The current version again is no new version.
    target.put("sum", &sums(&[], 2)).is(200);
    target.post("/f/sum", "0").is(200).says("2");
}
