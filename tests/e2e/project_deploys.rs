//! Deploys of a project: several functions and pipelines change together or not at all.

use std::path::Path;

use nebula_tests::{Answer, Nebula, nebula_in};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::imports::{import, sums};
use crate::pipelines::steps;

/// Returns a component of `handle: func(x: s32) -> s32` that returns `value`, plus what it imports.
fn function(imports: &[&str], value: i32) -> Vec<u8> {
    let imports: Vec<_> = imports.iter().map(|name| import(name)).collect();
    sums(&imports.iter().map(String::as_str).collect::<Vec<_>>(), value)
}

fn digest(component: &[u8]) -> String {
    let hex: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Uploads a component and returns its entry in a project.
fn uploaded(nebula: &Nebula, component: &[u8]) -> Value {
    let digest = digest(component);
    nebula.control("PUT", &format!("/api/v1/components/{digest}")).body(component).send().is(204);
    json!({"component": digest})
}

fn put(nebula: &Nebula, project: &str, request: &Value) -> Answer {
    nebula.control("PUT", &format!("/api/v1/projects/{project}")).body(request.to_string()).send()
}

/// Deploys a project and returns each name with its kind of change and its version.
fn deploy(nebula: &Nebula, project: &str, request: &Value) -> Vec<String> {
    let report = put(nebula, project, request).is(200).json();
    assert_eq!(report["project"], project);
    let changes = report["changes"].as_array().unwrap().iter().map(|change| {
        let text = |member: &str| change[member].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("name"), text("change"), text("version"))
    });
    changes.collect()
}

fn call(nebula: &Nebula, name: &str) -> Answer {
    nebula.post(&format!("/f/{name}"), "0")
}

/// Functions that import and call each other are deployed in one change, in the right order. The
/// same project again changes nothing.
#[test]
fn a_project_is_deployed_in_one_change() {
    let nebula = Nebula::start();
    let request = json!({
        "functions": {
            // The imported function sorts later.
            "a": uploaded(&nebula, &function(&["z"], 1)),
            "z": uploaded(&nebula, &function(&[], 40)),
        },
        "pipelines": {
            // The called pipeline sorts later.
            "p": {"description": {"steps": ["q", "z"]}},
            "q": {"description": {"steps": ["a", "a"]}},
        },
    });
    let changes = deploy(&nebula, "sums", &request);
    assert_eq!(changes, ["z new v1", "a new v1", "q new v1", "p new v1"]);
    call(&nebula, "a").is(200).says("41");
    call(&nebula, "p").is(200).says("40");
    let detail = nebula.control("GET", "/api/v1/functions/a").send().is(200).json();
    assert_eq!(detail["current"]["project"], "sums");
    assert_eq!(detail["current"]["linked"][0]["version"], "v1");

    let changes = deploy(&nebula, "sums", &request);
    assert_eq!(changes, ["z unchanged v1", "a unchanged v1", "q unchanged v1", "p unchanged v1"]);
}

/// One refused function refuses the whole deploy, and the error names it.
#[test]
fn a_refused_function_changes_nothing() {
    let nebula = Nebula::start();
    let good = uploaded(&nebula, &function(&[], 1));
    deploy(&nebula, "project", &json!({"functions": {"good": good}}));
    let better = uploaded(&nebula, &function(&[], 2));
    let too_high = json!({"component": better["component"], "limits": {"memory_bytes_max": 1_u64 << 40}});
    for (refused, kind, status) in [
        (json!({"functions": {"good": better, "other": too_high}}), "limit-too-high", 422),
        (
            json!({"functions": {"good": better}, "pipelines": {"other": {"description": {"steps": ["nope"]}}}}),
            "invalid-pipeline",
            422,
        ),
        (
            json!({"functions": {"good": better, "other": uploaded(&nebula, &function(&["nope"], 1))}}),
            "unknown-import",
            422,
        ),
        (
            json!({"functions": {
                "good": better,
                "other": uploaded(&nebula, &function(&["twin"], 1)),
                "twin": uploaded(&nebula, &function(&["good", "other"], 1)),
            }}),
            "invalid-import",
            422,
        ),
    ] {
        let answer = put(&nebula, "project", &refused).is(status);
        answer.problem(kind).member("name", "other");
        call(&nebula, "good").is(200).says("1");
        call(&nebula, "other").is(404);
    }
    let twice =
        json!({"functions": {"good": better}, "pipelines": {"good": {"description": {"steps": ["good"]}}}});
    put(&nebula, "project", &twice).is(422).problem("bad-project").detail("listed twice");
    let unknown = json!({"functoins": {}});
    put(&nebula, "project", &unknown).is(400).problem("invalid-json").detail("functoins");
    put(&nebula, "No-Project", &json!({})).is(400).problem("bad-name").detail("not a project name");
}

/// The server lists the components that it lacks, and refuses content of another digest.
#[test]
fn missing_components_are_listed() {
    let nebula = Nebula::start();
    let component = function(&[], 1);
    let digest = digest(&component);
    let request = json!({"functions": {"f": {"component": digest}}});
    let answer = put(&nebula, "project", &request).is(422);
    answer.problem("missing-components").member("components", json!([digest]));
    let other = function(&[], 2);
    let upload =
        |body: &[u8]| nebula.control("PUT", &format!("/api/v1/components/{digest}")).body(body).send();
    upload(&other).is(400).problem("bad-digest");
    upload(b"no component").is(400).problem("bad-digest");
    upload(&component).is(204);
    assert_eq!(deploy(&nebula, "project", &request), ["f new v1"]);
}

/// An upload without a deploy doesn't survive a restart.
#[test]
fn uploads_that_nothing_names_are_collected() {
    let nebula = Nebula::start();
    let named = uploaded(&nebula, &function(&[], 1));
    let unnamed = uploaded(&nebula, &function(&[], 2));
    deploy(&nebula, "project", &json!({"functions": {"f": named}}));
    // A removal collects garbage. The uploads of this process aren't.
    deploy(&nebula, "other", &json!({"functions": {"g": named}}));
    nebula.control("DELETE", "/api/v1/functions/g").send().is(204);
    let content = |nebula: &Nebula, of: &Value| {
        let digest = of["component"].as_str().unwrap();
        nebula.control("GET", &format!("/api/v1/components/{digest}")).send().status()
    };
    assert_eq!(content(&nebula, &unnamed), 200);
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    nebula_tests::eventually("the upload is collected", || (content(&nebula, &unnamed) == 404).then_some(()));
    assert_eq!(content(&nebula, &named), 200);
}

/// A dry run reports what a deploy would do, with the settings that would change.
#[test]
fn a_dry_run_changes_nothing() {
    let nebula = Nebula::start();
    let component = uploaded(&nebula, &function(&[], 1))["component"].clone();
    let with = |deadline: u64, dry_run: bool| {
        let function = json!({"component": component, "limits": {"deadline_ms": deadline}});
        json!({"functions": {"f": function}, "dry_run": dry_run})
    };
    assert_eq!(deploy(&nebula, "project", &with(10, true)), ["f new v1"]);
    call(&nebula, "f").is(404);
    assert_eq!(deploy(&nebula, "project", &with(10, false)), ["f new v1"]);
    let report = put(&nebula, "project", &with(20, true)).is(200).json();
    let change = &report["changes"][0];
    assert_eq!((&report["dry_run"], &change["change"]), (&json!(true), &json!("changed")));
    assert_eq!((&change["before"], &change["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(change["notes"], json!(["changes `limits.deadline_ms` from 10 to 20"]));
    let detail = nebula.control("GET", "/api/v1/functions/f").send().is(200).json();
    assert_eq!(detail["current"]["version"], "v1");
}

/// Pruning removes what this project deployed and doesn't list, and keeps what pipelines call.
#[test]
fn pruning_touches_only_the_projects_own_functions() {
    let nebula = Nebula::start();
    let component = uploaded(&nebula, &function(&[], 1));
    let pipeline = |step: &str| json!({"description": {"steps": [step]}});
    nebula.put("alone", &function(&[], 9)).is(200);
    deploy(&nebula, "other", &json!({"functions": {"foreign": component}}));
    let request = json!({
        "functions": {"kept": component, "unused": component, "called": component, "inner": component},
        "pipelines": {"p": pipeline("inner")},
    });
    deploy(&nebula, "project", &request);
    // A pipeline of another project calls one of the functions.
    deploy(&nebula, "other", &json!({"pipelines": {"caller": pipeline("called")}}));

    let fewer = json!({"functions": {"kept": component}});
    assert_eq!(deploy(&nebula, "project", &fewer), ["kept unchanged v1"]);
    call(&nebula, "unused").is(200);
    let mut pruned = fewer;
    pruned["prune"] = json!(true);
    let mut changes = deploy(&nebula, "project", &pruned);
    changes.sort();
    let expected =
        ["called kept -", "inner removed -", "kept unchanged v1", "p removed -", "unused removed -"];
    assert_eq!(changes, expected);
    for name in ["unused", "p", "inner"] {
        call(&nebula, name).is(404);
    }
    for name in ["kept", "called", "caller", "foreign", "alone"] {
        call(&nebula, name).is(200);
    }
}

/// A pipeline that isn't listed, is kept and follows a change has one entry.
#[test]
fn a_kept_pipeline_that_follows_is_listed_once() {
    let nebula = Nebula::start();
    let pipeline = |step: &str| json!({"description": {"steps": [step]}});
    let first = uploaded(&nebula, &function(&[], 1));
    let request = json!({"functions": {"f": first}, "pipelines": {"p": pipeline("f")}});
    deploy(&nebula, "project", &request);
    deploy(&nebula, "other", &json!({"pipelines": {"caller": pipeline("p@v1")}}));
    let mut request = json!({"functions": {"f": uploaded(&nebula, &function(&[], 2))}, "prune": true});
    for dry_run in [true, false] {
        request["dry_run"] = json!(dry_run);
        let report = put(&nebula, "project", &request).is(200).json();
        let changes = report["changes"].as_array().unwrap();
        let names: Vec<_> = changes.iter().map(|change| (&change["name"], &change["change"])).collect();
        assert_eq!(json!(names), json!([["f", "changed"], ["p", "follows"]]), "{report}");
        let notes = changes[1]["notes"].to_string();
        assert!(notes.contains("it is called by the pipeline `caller`"), "{notes}");
    }
    call(&nebula, "p").is(200).says("2");
}

/// A pipeline outside of the project that calls a changed function by name gets a new version in
/// the same change.
#[test]
fn other_pipelines_follow_the_project() {
    let nebula = Nebula::start();
    deploy(&nebula, "project", &json!({"functions": {"f": uploaded(&nebula, &function(&[], 1))}}));
    let caller = json!({"pipelines": {"caller": {"description": {"steps": ["f", "f"]}}}});
    deploy(&nebula, "other", &caller);
    let changed = json!({"functions": {"f": uploaded(&nebula, &function(&[], 2))}});
    assert_eq!(deploy(&nebula, "project", &changed), ["f changed v2", "caller follows v2"]);
    call(&nebula, "caller").is(200).says("2");
    let detail = nebula.control("GET", "/api/v1/functions/caller").send().is(200).json();
    assert_eq!(detail["current"]["project"], "other", "it stays its project's");
}

/// A pipeline of the project that calls an outside pipeline, which follows the project's functions
/// and pipelines, has the new results right after one deploy.
#[test]
fn a_project_and_the_pipelines_around_it_change_together() {
    let nebula = Nebula::start();
    let pipeline = |steps: &[&str]| json!({"description": {"steps": steps}});
    let request = |value: i32, dry_run: bool| {
        let functions =
            json!({"f": uploaded(&nebula, &function(&[], value)), "g": uploaded(&nebula, &function(&[], 7))});
        let pipelines = json!({"front": pipeline(&["g", "outside"]), "inner": pipeline(&["g", "f"])});
        json!({"functions": functions, "pipelines": pipelines, "dry_run": dry_run})
    };
    let mut first = request(1, false);
    first["pipelines"].as_object_mut().unwrap().remove("front");
    deploy(&nebula, "project", &first);
    deploy(&nebula, "other", &json!({"pipelines": {"outside": pipeline(&["inner"])}}));
    deploy(&nebula, "project", &request(1, false));
    deploy(
        &nebula,
        "other",
        &json!({"pipelines": {"outside": pipeline(&["inner"]), "last": pipeline(&["front"])}}),
    );
    call(&nebula, "last").is(200).says("1");

    let expected = [
        "f changed v2",
        "g unchanged v1",
        "inner changed v2",
        "outside follows v2",
        "front changed v2",
        "last follows v2",
    ];
    assert_eq!(deploy(&nebula, "project", &request(2, true)), expected);
    call(&nebula, "last").is(200).says("1");
    assert_eq!(deploy(&nebula, "project", &request(2, false)), expected);
    for name in ["inner", "outside", "front", "last"] {
        call(&nebula, name).is(200).says("2");
    }

    // A cycle through the outside pipeline is refused by its names.
    let mut cyclic = request(3, false);
    cyclic["pipelines"]["inner"] = pipeline(&["front"]);
    for dry_run in [true, false] {
        cyclic["dry_run"] = json!(dry_run);
        let refused = put(&nebula, "project", &cyclic).is(422).problem("invalid-pipeline");
        refused.member("name", "front").member("cycle", json!(["front", "outside", "inner", "front"]));
        call(&nebula, "f").is(200).says("2");
    }
}

/// A pipeline of a project that is always to run as one component does so at its first call, or the
/// project is refused with the reason: the functions are those of the same change.
#[test]
fn a_project_is_refused_if_a_pipeline_cannot_be_fused() {
    let nebula = Nebula::start_uncached();
    let one = uploaded(&nebula, &function(&[], 1));
    let two = uploaded(&nebula, &function(&[], 2));
    let with = |member: &str, value: Value| {
        let mut function = two.clone();
        function[member] = value;
        function
    };
    let configured = with("config", json!({"KEY": "value"}));
    let small = with("limits", json!({"memory_bytes_max": 65536}));
    let always = |steps: Value| json!({"description": {"steps": steps, "fuse": "always"}});
    let inner = json!({"description": {"steps": ["f", "f"]}});
    let chain = json!(["f", "g"]);
    for (g, steps, reason) in [
        (&configured, &chain, "`g` has a configuration"),
        (&small, &chain, "`g` has a lower `memory_bytes_max`"),
        (&two, &json!(["f", {"select": "."}, "g"]), "it has a `select`"),
        (&two, &json!(["f"]), "it calls 1 functions"),
        (&two, &json!(["inner", "g"]), "`inner` is not a typed component"),
        (&two, &json!(vec!["g"; 21]), "the chain has 21 functions; it takes 2 to 20"),
    ] {
        let pipelines = json!({"inner": inner, "p": always(steps.clone())});
        for dry_run in [true, false] {
            let request =
                json!({"functions": {"f": one, "g": g}, "pipelines": pipelines, "dry_run": dry_run});
            let refused = put(&nebula, "project", &request).is(422).problem("invalid-pipeline");
            refused.member("name", "p").detail("`fuse` is `always`").detail(reason);
            for name in ["f", "g", "inner", "p"] {
                call(&nebula, name).is(404);
            }
        }
    }
    let request = |g: &Value, dry_run: bool| json!({"functions": {"f": one, "g": g}, "pipelines": {"p": always(chain.clone())}, "dry_run": dry_run});
    // The current version of `g` doesn't decide.
    deploy(&nebula, "project", &json!({"functions": {"g": configured}}));
    put(&nebula, "project", &request(&two, true)).is(200);
    assert_eq!(deploy(&nebula, "project", &request(&two, false)), ["f new v1", "g changed v2", "p new v1"]);
    let answer = call(&nebula, "p").is(200).says("2");
    assert!(steps(&answer).is_empty(), "the first call isn't fused");
    for dry_run in [true, false] {
        let refused = put(&nebula, "project", &request(&configured, dry_run)).is(422);
        refused.problem("invalid-pipeline").member("name", "p").detail("`g` has a configuration");
    }
    let detail = nebula.control("GET", "/api/v1/functions/g").send().is(200).json();
    assert_eq!(detail["current"]["version"], "v2");
}

/// A deploy of one component keeps the settings that it doesn't name, and says so.
#[test]
fn settings_are_kept_unless_changed() {
    let nebula = Nebula::start();
    let limits = |nebula: &Nebula| {
        let detail = nebula.control("GET", "/api/v1/functions/f").send().is(200).json();
        detail["current"]["limits"].clone()
    };
    nebula.put("f?deadline_ms=9000&cache=off", &function(&[], 1)).is(200);
    let answer = nebula.put("f?log_bytes_max=10", &function(&[], 2)).is(200).json();
    assert_eq!(limits(&nebula), json!({"deadline_ms": 9000, "log_bytes_max": 10}));
    let notes = json!([
        "keeps `cache.off` = true of the version before",
        "keeps `limits.deadline_ms` = 9000 of the version before",
        "sets `limits.log_bytes_max` to 10",
    ]);
    assert_eq!(answer["notes"], notes);
    nebula.put("f?deadline_ms=default&cache=on", &function(&[], 3)).is(200);
    assert_eq!(limits(&nebula), json!({"log_bytes_max": 10}));
    nebula.put("f?settings=replace", &function(&[], 3)).is(200);
    assert_eq!(limits(&nebula), json!({}));
}

/// Writes a package that builds to a component without dependencies, and returns nothing to
/// compile twice: its target directory is shared.
fn write_package(directory: &Path, name: &str, value: i32) {
    std::fs::create_dir_all(directory.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nnebula-sdk = {{ path = {:?} }}\n",
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk"),
    );
    std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    let source = format!("#[nebula_sdk::function]\nfn handle(x: i32) -> i32 {{\n    x + {value}\n}}\n");
    std::fs::write(directory.join("src/lib.rs"), source).unwrap();
}

/// `nebula deploy DIR` builds a workspace and deploys its functions, pipelines and settings.
#[test]
fn deploy_builds_and_deploys_a_directory() {
    let nebula = Nebula::start();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("project-deploys");
    let root = target.join("src/shop");
    let _ = std::fs::remove_dir_all(&root);
    write_package(&root.join("one"), "one", 1);
    write_package(&root.join("two"), "two", 2);
    std::fs::write(root.join("Cargo.toml"), "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"3\"\n")
        .unwrap();
    std::fs::write(root.join("one/nebula.toml"), "[limits]\ndeadline_ms = 500\n").unwrap();
    std::fs::write(root.join("nebula.toml"), "[pipelines.three]\nsteps = [\"one\", \"two\"]\n").unwrap();
    let target = target.join("target").display().to_string();
    let server = format!("http://{}", nebula.control_address());
    let data_dir = nebula.data_dir().display().to_string();
    let run = |arguments: &[&str]| {
        let variables =
            [("CARGO_TARGET_DIR", &*target), ("NEBULA_SERVER", &server), ("NEBULA_DATA_DIR", &data_dir)];
        nebula_in(&root, arguments, &variables)
    };
    run(&["pipeline", "check"]).exits(7).explains("no function `one`");
    let dry = run(&["deploy", "--dry-run"]).exits(0);
    assert!(dry.stdout().contains("new        one    v1"), "{}", dry.stdout());
    call(&nebula, "one").is(404);
    run(&["deploy"]).exits(0);
    nebula.post("/f/three", "4").is(200).says("7");
    let detail = nebula.control("GET", "/api/v1/functions/one").send().is(200).json();
    assert_eq!(detail["current"]["limits"]["deadline_ms"], 500);
    assert_eq!(detail["current"]["project"], "shop");
    run(&["pipeline", "check"]).exits(0);

    write_package(&root.join("two"), "two", 3);
    std::fs::write(root.join("one/nebula.toml"), "").unwrap();
    let changed = run(&["deploy"]).exits(0);
    let stdout = changed.stdout();
    for line in ["changed    one", "changed    two", "changed    three", "resets `limits.deadline_ms`"] {
        assert!(stdout.contains(line), "no `{line}`:\n{stdout}");
    }
    nebula.post("/f/three", "4").is(200).says("8");
    run(&["deploy", "--deadline-ms", "5"]).exits(2).explains("nebula.toml");
    std::fs::remove_dir_all(&root).unwrap();
}

/// A component beside a `nebula.toml` is deployed with its name and settings.
#[test]
fn a_component_takes_the_settings_beside_it() {
    let nebula = Nebula::start();
    let home = tempfile::tempdir().unwrap();
    let component = home.path().join("x.wasm");
    std::fs::write(&component, function(&[], 1)).unwrap();
    std::fs::write(home.path().join("nebula.toml"), "name = \"f\"\n[limits]\ndeadline_ms = 700\n").unwrap();
    let component = component.to_str().unwrap();
    nebula.cli(&["deploy", component, "--log-bytes-max", "9"]).exits(0);
    let limits = || {
        let detail = nebula.control("GET", "/api/v1/functions/f").send().is(200).json();
        detail["current"]["limits"].clone()
    };
    assert_eq!(limits(), json!({"deadline_ms": 700, "log_bytes_max": 9}));
    nebula
        .cli(&["deploy", component, "--deadline-ms", "800"])
        .exits(0)
        .explains("changes `limits.deadline_ms`");
    assert_eq!(limits(), json!({"deadline_ms": 800}));
}
