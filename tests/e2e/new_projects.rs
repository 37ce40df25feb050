//! `nebula new`, `add` and `sdk`: projects that contain all they need, and the functions that join
//! them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use nebula_tests::{Nebula, cargo_in, eventually, nebula_in};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Returns every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A directory at the same path in every run, so that cargo reuses earlier builds. Dropping it
/// removes it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-projects").join(name))
    }

    fn at(path: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn target() -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects/target").display().to_string()
}

/// A directory outside of the clone, at the same path in every run of one clone.
fn outside(name: &str) -> Directory {
    let mut hasher = DefaultHasher::new();
    repository().hash(&mut hasher);
    Directory::at(std::env::temp_dir().join(format!("nebula-{name}-{:x}", hasher.finish())))
}

/// The binary needs no clone: nothing that it writes names one, and no file of a clone is read when
/// the project builds. Cargo lists what it read in the `.d` files.
#[test]
fn a_project_of_the_binary_alone_builds_tests_and_serves() {
    let home = outside("alone");
    let binary = home.0.join("nebula");
    std::fs::copy(nebula_tests::binary(), &binary).unwrap();
    let project = home.0.join("hello");
    let run = |program: &Path, directory: &Path, arguments: &[&str]| -> Output {
        let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        let kept = kept.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env_clear().envs(kept);
        let output = command.env("CARGO_TARGET_DIR", target()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    run(&binary, &home.0, &["new", "hello"]);
    let built = run(&binary, &project, &["build"]).stdout;
    let component = PathBuf::from(String::from_utf8(built).unwrap().trim());
    run(Path::new("cargo"), &project, &["test", "--quiet"]);

    let clone = repository().display().to_string();
    for file in files(&project) {
        let text = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(&clone), "{} names the clone", file.display());
    }
    let read = std::fs::read_to_string(component.with_extension("d")).unwrap();
    let (_, read) = read.split_once(": ").unwrap();
    let read: Vec<&str> = read.split_whitespace().collect();
    for file in ["src/lib.rs", "nebula-sdk/src/lib.rs", "nebula-sdk/macros/src/lib.rs"] {
        assert!(read.iter().any(|path| Path::new(path) == project.join(file)), "no {file} in {read:?}");
    }
    assert!(read.iter().all(|path| Path::new(path).starts_with(&project)), "{read:?}");

    let variables = [("CARGO_TARGET_DIR", &*target())];
    let data = Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::run(data, &["up", "--no-watch"], &project, &variables);
    nebula.post("/f/hello", r#"{"name":"Ada","times":1}"#).is(200).says("\"Hello, Ada!\"");
}

/// A new project passes the checks of its owner's CI from the first commit. (The project is outside
/// of the clone, whose `rustfmt.toml` it would have otherwise.)
#[test]
fn templates_have_the_standard_format() {
    for template in ["typed", "raw", "wit-first", "http", "workspace"] {
        let home = tempfile::tempdir().unwrap();
        nebula_in(home.path(), &["new", "hello", "--template", template], &[]).exits(0);
        cargo_in(&home.path().join("hello"), &["fmt", "--all", "--check"], &[]).exits(0);
    }
}

/// Functions join the project of the directory they are created in, wherever in it that is, and
/// share its copy of the SDK.
#[test]
fn functions_join_the_project_around_them() {
    let directory = Directory::new("joined");
    let run = |inside: &str, arguments: &[&str]| nebula_in(&directory.0.join(inside), arguments, &[]);
    run("", &["new", "first"]).exits(0);
    let project = directory.0.join("first");
    let next = format!("cd {} && nebula up\n", project.display());
    run("first", &["add", "second", "--template", "raw"]).exits(0).says(&next);
    run("first/second/src", &["add", "third", "--template", "http"]).exits(0).says(&next);
    run("first", &["new", "deep/down/fourth", "--template", "wit-first"]).exits(0).says(&next);
    run("first", &["add", "second"]).exits(1).explains("exists and is not an empty directory");
    run("first", &["new", "all", "--template", "workspace"]).exits(1).explains("is already a workspace");
    assert_eq!(files(&project).iter().filter(|file| file.ends_with("vendored.toml")).count(), 1);

    let variables = [("CARGO_TARGET_DIR", &*target())];
    let home = Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::run(home, &["up", "--no-watch"], &project, &variables);
    nebula.post("/f/first", r#"{"name":"Ada","times":1}"#).is(200).says("\"Hello, Ada!\"");
    nebula.request("POST", "/f/second").body("shout").send().is(200).says("SHOUT");
    nebula.get("/f/third").is(200).says("Hello!\n");
    nebula.post("/f/fourth", r#"{"a":{"x":0,"y":0},"b":{"x":3,"y":4}}"#).is(200).says("5.0");
}

/// A workspace that Nebula didn't make is joined as well. It keeps its manifest otherwise.
#[test]
fn functions_join_a_workspace_of_other_packages() {
    let home = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "# Ours.\n[workspace]\nresolver = \"3\"\nmembers = [\"tool\"]\n");
    write("tool/Cargo.toml", "[package]\nname = \"tool\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    write("tool/src/lib.rs", "");
    let run = |arguments: &[&str]| nebula_in(&home.path().join("tool"), arguments, &[]).exits(0);
    run(&["add", "hello"]).explains("has no `[profile.release]`");
    let manifest = std::fs::read_to_string(home.path().join("Cargo.toml")).unwrap();
    assert!(manifest.starts_with("# Ours.\n[workspace]\n"), "{manifest}");
    assert!(manifest.contains("members = [\"tool\", \"hello\"]"), "{manifest}");
    let metadata = cargo_in(home.path(), &["metadata", "--no-deps", "--format-version", "1"], &[]);
    let mut packages: Vec<_> = metadata.exits(0).json()["packages"].as_array().unwrap().to_vec();
    packages.sort_by_key(|package| package["name"].to_string());
    let names: Vec<_> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hello", "tool"], "the copy of the SDK is not a member");
}

/// A repository can have its functions in a workspace of their own. Its other workspace gets none.
#[test]
fn functions_do_not_join_a_workspace_beside_theirs() {
    let home = tempfile::tempdir().unwrap();
    let root = "[workspace]\nmembers = []\nexclude = [\"functions\"]\n";
    std::fs::write(home.path().join("Cargo.toml"), root).unwrap();
    std::fs::write(home.path().join("nebula.toml"), "functions = \"functions\"\n").unwrap();
    std::fs::create_dir_all(home.path().join("functions")).unwrap();
    std::fs::write(home.path().join("functions/Cargo.toml"), "[workspace]\nmembers = [\"*\"]\n").unwrap();
    let run = |arguments: &[&str]| nebula_in(home.path(), arguments, &[]).exits(0);
    run(&["new", "alone"]).says("cd alone && nebula up\n").explains("`nebula add` adds one there");
    assert!(home.path().join("alone/nebula-sdk/vendored.toml").exists());
    run(&["add", "inside"]);
    run(&["new", "functions/too"]);
    for name in ["inside", "too"] {
        let manifest = home.path().join("functions").join(name).join("Cargo.toml");
        assert!(!std::fs::read_to_string(manifest).unwrap().contains("[workspace]"), "{name}");
    }
    assert_eq!(std::fs::read_to_string(home.path().join("Cargo.toml")).unwrap(), root);
}

#[test]
fn add_needs_a_project() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| nebula_in(home.path(), arguments, &[]).exits(1);
    run(&["add", "hello"]).explains("there is no project").explains("hint: `nebula new NAME`");
    run(&["sdk", "update"]).explains("has a copy of the SDK").explains("hint:");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_new_workspace_serves_its_function_and_its_pipeline() {
    let directory = Directory::new("workspace");
    nebula_in(&directory.0, &["new", "shop", "--template", "workspace"], &[])
        .exits(0)
        .says("cd shop && nebula up\n");
    let project = directory.0.join("shop");
    nebula_in(&project, &["add", "shout", "--template", "raw"], &[]).exits(0);
    assert!(project.join("functions/shout/src/lib.rs").exists());
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("members = [\"functions/*\"]"), "the pattern covers the function: {manifest}");

    let variables = [("CARGO_TARGET_DIR", &*target())];
    let home = Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::run(home, &["up", "--no-watch"], &project, &variables);
    nebula.post("/f/greet", r#"{"name":"Ada","times":1}"#).is(200).says("\"Hello, Ada!\"");
    nebula.request("POST", "/f/shout").body("shout").send().is(200).says("SHOUT");
    let printed = eventually("a call of the pipeline is printed", || {
        let stdout = nebula.stdout();
        stdout.contains("/f/welcome").then_some(stdout)
    });
    assert!(printed.lines().any(|line| line.contains("-d 'Ada'")), "{printed}");
    let call = nebula.request("POST", "/f/welcome").header("content-type", "text/plain");
    assert!(call.body("Ada").send().is(200).text().contains("Hello, Ada!"));
}

/// `sdk update` works anywhere in the project and says what it does.
#[test]
fn the_sdk_of_a_project_is_updated() {
    let home = tempfile::tempdir().unwrap();
    let run = |inside: &str, arguments: &[&str]| nebula_in(&home.path().join(inside), arguments, &[]);
    run("", &["new", "hello"]).exits(0);
    run("hello/src", &["sdk", "update"]).exits(0).explains("is up to date, version");
    let edited = home.path().join("hello/nebula-sdk/src/lib.rs");
    let original = std::fs::read_to_string(&edited).unwrap();
    std::fs::write(&edited, "mine").unwrap();
    run("hello", &["sdk", "update"])
        .exits(1)
        .explains("has local edits: `src/lib.rs`")
        .explains("hint: `nebula sdk update --force`");
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), "mine");
    run("", &["sdk", "update", "hello", "--force"]).exits(0).explains("1 changed, 0 added, 0 removed");
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), original);
    std::fs::remove_dir_all(home.path().join("hello/nebula-sdk")).unwrap();
    run("hello", &["sdk", "update"]).exits(0).explains("created");
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), original);
}

/// Contributors build functions with the SDK of their clone.
#[test]
fn a_given_sdk_is_used_in_place() {
    let home = tempfile::tempdir().unwrap();
    let sdk = repository().join("guest-sdk");
    nebula_in(home.path(), &["new", "hello", "--sdk", sdk.to_str().unwrap()], &[]).exits(0);
    let manifest = std::fs::read_to_string(home.path().join("hello/Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("nebula-sdk = {{ path = {sdk:?} }}")), "{manifest}");
    assert!(!home.path().join("hello/nebula-sdk").exists());
    nebula_in(&home.path().join("hello"), &["add", "other"], &[]).exits(0);
    let other = std::fs::read_to_string(home.path().join("hello/other/Cargo.toml")).unwrap();
    assert!(other.contains("nebula-sdk = { workspace = true }"), "{other}");
    assert!(!home.path().join("hello/nebula-sdk").exists());
}
