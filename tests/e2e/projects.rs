//! Projects: `nebula new`, `build` and `up`, and the functions of this repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nebula_tests::{FUNCTIONS, Nebula, cargo_in, eventually, nebula, nebula_in};

/// A project made by `nebula new`. Its path is the same in every run, so that cargo reuses earlier
/// builds. Dropping it removes the directory.
struct Project {
    path: PathBuf,
    target: String,
}

impl Project {
    fn new(name: &str, template: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        let path = target.join("src").join(name);
        let _ = std::fs::remove_dir_all(&path);
        let project = Self { path, target: target.join("target").display().to_string() };
        nebula(&["new", project.at(), "--template", template]).exits(0);
        project
    }

    fn at(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn variables(&self) -> [(&str, &str); 1] {
        [("CARGO_TARGET_DIR", &self.target)]
    }

    /// Runs `nebula build` and returns the path of the component that it prints.
    fn build(&self) -> String {
        let ran = nebula_in(&self.path, &["build"], &self.variables()).exits(0);
        ran.stdout().trim().to_owned()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in {file}:\n{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A template of `nebula new`, and a call of the function that it makes.
struct Template {
    name: &'static str,
    input: &'static str,
    output: &'static str,
}

/// Asserts that a new project builds, passes its own tests, runs from its file and on a server, and
/// verifies.
fn assert_works(template: Template) {
    let Template { name: template, input, output } = template;
    let name = format!("new-{template}");
    let project = Project::new(&name, template);
    let component = project.build();
    nebula(&["invoke", &component, input]).exits(0).says(output);
    cargo_in(&project.path, &["test", "--quiet"], &project.variables()).exits(0);
    let server = Nebula::start();
    server.cli(&["deploy", &component]).exits(0);
    server.cli(&["invoke", &name, input]).exits(0).says(output);
    server.cli(&["verify", &name, input]).exits(0);
}

#[test]
fn a_new_typed_function_works() {
    assert_works(Template {
        name: "typed",
        input: r#"{"name":"Ada","times":2}"#,
        output: "\"Hello, Ada! Hello, Ada!\"",
    });
}

#[test]
fn a_new_raw_function_works() {
    assert_works(Template { name: "raw", input: "shout", output: "SHOUT" });
}

#[test]
fn a_new_wit_first_function_works() {
    assert_works(Template {
        name: "wit-first",
        input: r#"{"a":{"x":0,"y":0},"b":{"x":3,"y":4}}"#,
        output: "5.0",
    });
}

#[test]
fn a_new_http_function_works() {
    assert_works(Template { name: "http", input: "", output: "Hello!\n" });
}

#[test]
fn new_overwrites_nothing() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nebula_in(home.path(), arguments, &[]);
    run(&["new", "hello"]).exits(0).says("cd hello && nebula up\n");
    let written = std::fs::read_to_string(home.path().join("hello/src/lib.rs")).unwrap();
    run(&["new", "hello", "--template", "raw"])
        .exits(1)
        .explains("`hello` exists and is not an empty directory")
        .explains("hint:");
    assert_eq!(std::fs::read_to_string(home.path().join("hello/src/lib.rs")).unwrap(), written);
    run(&["new", "Hello"]).exits(2).explains("cannot name a function `Hello`").explains("hint: a name has");
    run(&["new", "7up"]).exits(2).explains("begins with a digit");
    run(&["new", "nebula-sdk"]).exits(2).explains("the directory of the SDK");
    run(&["new", "other", "--sdk", "nowhere"]).exits(1).explains("cannot find `nowhere`");
    assert!(!home.path().join("other").exists());
}

/// Returns the target directory in which the build script of these tests has built the functions.
fn functions_target() -> String {
    let target = Path::new(FUNCTIONS[0].component).ancestors().nth(3).unwrap();
    target.display().to_string()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The `nebula.toml` at the root names the workspace of the functions.
#[test]
fn build_builds_every_function_of_a_workspace() {
    let ran = nebula_in(&repository(), &["build"], &[("CARGO_TARGET_DIR", &functions_target())]).exits(0);
    let mut built: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    built.sort();
    let mut expected: Vec<_> = FUNCTIONS.iter().map(|function| function.component).collect();
    expected.sort_unstable();
    assert_eq!(built, expected);
}

/// Returns the names of the pipelines in this repository.
fn pipelines() -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("functions/nebula.toml")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("[pipelines.")?.strip_suffix(']'));
    names.map(str::to_owned).collect()
}

fn up_this_repository() -> Nebula {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let variables = [("CARGO_TARGET_DIR", &*functions_target())];
    Nebula::run(home, &["up", "--no-watch"], &repository(), &variables)
}

#[test]
fn pipelines_of_this_repository_answer_their_samples() {
    let nebula = up_this_repository();
    let pipelines = pipelines();
    assert!(!pipelines.is_empty());
    for name in pipelines {
        let samples = repository().join("functions/pipelines").join(&name).join("sample");
        let sample = |stem: &str| {
            let files = std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path());
            let mut files = files.filter(|path| path.file_stem().is_some_and(|found| found == stem));
            files.next().unwrap_or_else(|| panic!("`{name}` has no sample {stem}"))
        };
        let input = sample("input");
        let media_type = match input.extension().unwrap().to_str().unwrap() {
            "json" => "application/json",
            "png" => "image/png",
            "md" | "txt" => "text/plain",
            other => panic!("unknown extension `{other}` of a sample"),
        };
        let call = nebula.request("POST", &format!("/f/{name}")).header("content-type", media_type);
        let answer = call.body(std::fs::read(input).unwrap()).send().is(200);
        answer.bytes(&std::fs::read(sample("output")).unwrap());
    }
}

/// `nebula up`, a new user's first command, serves every function and prints a call of each.
#[test]
fn up_serves_this_repository() {
    let pipelines = pipelines();
    let nebula = up_this_repository();
    let printed = eventually("a call is printed for each function", || {
        let stdout = nebula.stdout();
        (stdout.matches("curl ").count() == FUNCTIONS.len() + pipelines.len()).then_some(stdout)
    });
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    for function in list["functions"].as_array().unwrap() {
        let name = function["name"].as_str().unwrap();
        let url = format!("http://{}/f/{name}", nebula.calls_address());
        assert!(printed.lines().any(|line| line.ends_with(&url)), "no call of `{name}`:\n{printed}");
    }
    nebula.post("/f/add", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    // The imported function was deployed first although its name sorts later.
    let detail = nebula.control("GET", "/api/v1/functions/compare-tables").send().is(200).json();
    assert_eq!(detail["current"]["linked"][0]["name"], "csv-stats");
}

/// A change that builds is deployed. A build that fails is reported and keeps the earlier version.
#[test]
fn up_follows_changes() {
    let project = Project::new("up-follows", "typed");
    let home = Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::run(home, &["up", project.at()], Path::new("/"), &project.variables());
    let call = || nebula.post("/f/up-follows", r#"{"name": "Ada", "times": 1}"#).is(200).text().to_owned();
    let printed = eventually("a call to copy is printed", || {
        let stdout = nebula.stdout();
        stdout.contains("curl ").then_some(stdout)
    });
    let url = format!("http://{}/f/up-follows", nebula.calls_address());
    assert!(printed.contains(&url) && printed.contains(r#"-d '{"name":"Ada","times":2}'"#), "{printed}");
    assert_eq!(call(), "\"Hello, Ada!\"");

    project.edit("src/lib.rs", "Hello, {name}!\"); times", "Goodbye, {name}!\"); times");
    eventually("the change is served", || (call() == "\"Goodbye, Ada!\"").then_some(()));

    project.edit("src/lib.rs", "match times {", "match tmies {");
    eventually("the compiler's error is shown", || {
        let stderr = nebula.stderr();
        let shown = stderr.contains("tmies") && stderr.contains("the deployed versions keep serving");
        shown.then_some(())
    });
    assert_eq!(call(), "\"Goodbye, Ada!\"");

    project.edit("src/lib.rs", "match tmies {", "match times {");
    project.edit("src/lib.rs", "Goodbye, {name}!\"); times", "Welcome, {name}!\"); times");
    eventually("the corrected source is served", || (call() == "\"Welcome, Ada!\"").then_some(()));

    // A change of the limits in `nebula.toml` is deployed as well.
    std::fs::write(project.path.join("nebula.toml"), "[limits]\ninput_bytes_max = 10\n").unwrap();
    eventually("the new limit applies", || {
        let answer = nebula.post("/f/up-follows", r#"{"name": "Ada", "times": 1}"#);
        (answer.status() == 413).then_some(())
    });
}
