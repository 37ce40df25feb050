//! The projects of `tests/data/cases`.

use super::*;

fn text_of(file: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cases").join(file)).ok()
}

/// Copies a project of the cases, with the SDK of this repository and another name.
fn reported(case: &str, package: &str, name: &str) -> Project {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    let mut project = Project::new(name);
    for file in ["Cargo.toml", "build.rs", "src/lib.rs", "src/main.rs"] {
        let Some(text) = text_of(&format!("{case}/{file}")) else { continue };
        let text = text.replace("PATH-TO/guest-sdk", sdk.to_str().unwrap());
        let text = text.replace(&format!("name = {package:?}"), &format!("name = {name:?}"));
        project = project.with(file, &text);
    }
    project
}

#[test]
fn a_binary_beside_the_library_is_left_alone() {
    let project = reported("lib-and-bin", "with-main", "case-with-main");
    let nebula = project.up(&[]);
    assert_eq!(call(&nebula, "case-with-main"), "one 1");
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    assert_eq!(list["functions"].as_array().unwrap().len(), 1, "{list}");
}

#[test]
fn a_build_script_that_writes_a_source_causes_one_more_build_at_most() {
    let project = reported("watch-build-script", "bs", "case-bs");
    let project = project.with("src/generated.rs", "pub const X: u32 = 7;\n");
    let nebula = project.up(&[]);
    assert_eq!(call(&nebula, "case-bs"), "one 1 7");
    let library = std::fs::read_to_string(project.path.join("src/lib.rs")).unwrap();
    for answer in ["two", "three"] {
        project.write("src/lib.rs", &library.replace("\"one ", &format!("\"{answer} ")));
        answers(&nebula, "case-bs", &format!("{answer} 1 7"));
    }
    rebuilt(&nebula, 2);
    let rebuilds = rebuilds(&nebula);
    let edits = rebuilds.iter().filter(|line| *line == "`src/lib.rs` changed").count();
    assert!(edits == 2 && rebuilds.len() <= 3, "{rebuilds:?}");
}

#[test]
fn a_pipeline_appended_to_the_root_is_deployed() {
    let config = text_of("watch-root-config/nebula.toml").unwrap();
    let functions = config.lines().next().unwrap();
    let member = |name: &str| manifest(name, "").replace(PROFILE, "");
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = [\"*/\"]\n{PROFILE}");
    let project = Project::new("case-root")
        .with("nebula.toml", functions)
        .with("functions/Cargo.toml", &workspace)
        .with("functions/one/Cargo.toml", &member("one"))
        .with("functions/one/src/lib.rs", &says("one {n}"))
        .with("functions/two/Cargo.toml", &member("two"))
        .with("functions/two/src/lib.rs", &says("two {n}"));
    let nebula = project.up(&[]);
    assert_eq!(call(&nebula, "two"), "two 1");
    nebula.post("/f/both", "1").is(404);
    project.write("nebula.toml", &config);
    answers(&nebula, "again", "one 1");
    answers(&nebula, "both", r#"{"a":"one 1","b":"two 1"}"#);
}

/// A name that WIT can't have is the only error, at its place in the user's code.
#[test]
fn a_reserved_name_is_one_error_at_its_place() {
    for (file, name, reserved) in
        [("gen-keyword.rs", "case-gen", "r#gen: u32"), ("self-case.rs", "case-self", "Self_, ")]
    {
        let source = text_of(file).unwrap();
        let project = Project::function(name, &source);
        let ran = nebula_in(&project.path, &["build"], &[("CARGO_TARGET_DIR", &target())]).exits(1);
        let stderr = ran.stderr();
        let errors = stderr.lines().filter(|line| line.starts_with("error"));
        let errors: Vec<_> = errors.filter(|line| !line.contains("could not compile")).collect();
        let places: Vec<_> =
            stderr.lines().filter_map(|line| line.trim().strip_prefix("--> src/lib.rs:")).collect();
        let [place] = &places[..] else { panic!("{file}: {stderr}") };
        let line: usize = place.split(':').next().unwrap().parse().unwrap();
        assert!(source.lines().nth(line - 1).unwrap().contains(reserved), "{file}: {stderr}");
        assert!(errors.len() <= 2, "{file}: {errors:?}");
    }
}
