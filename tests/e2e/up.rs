//! `nebula up`: what it prints, what it notices and what it ignores.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nebula_tests::{Nebula, eventually, nebula, nebula_in};

mod reported;

/// A project of a few small files. Its path is the same in every run, so that cargo reuses earlier
/// builds, and all projects share their dependencies. Dropping it removes the directory.
struct Project {
    path: PathBuf,
}

impl Project {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("up/src").join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path: path.canonicalize().unwrap() }
    }

    /// Creates a project that is one function.
    fn function(name: &str, library: &str) -> Self {
        Self::new(name).with("Cargo.toml", &manifest(name, "[workspace]")).with("src/lib.rs", library)
    }

    fn with(self, file: &str, content: &str) -> Self {
        self.write(file, content);
        self
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.path.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn up(&self, arguments: &[&str]) -> Nebula {
        self.up_in("", arguments)
    }

    /// Runs `nebula up` in a directory of the project. Builds it first, because the harness waits
    /// only so long for a server and a first build takes as long as the machine needs.
    fn up_in(&self, directory: &str, arguments: &[&str]) -> Nebula {
        self.build_in(directory);
        let home = Arc::new(tempfile::tempdir().unwrap());
        let arguments = [&["up"], arguments].concat();
        Nebula::run(home, &arguments, &self.path.join(directory), &[("CARGO_TARGET_DIR", &target())])
    }

    /// Runs `nebula build` in a directory of the project; returns the names of the components.
    fn build_in(&self, directory: &str) -> Vec<String> {
        let variables = [("CARGO_TARGET_DIR", &*target())];
        let ran = nebula_in(&self.path.join(directory), &["build"], &variables).exits(0);
        let name = |line: &str| Path::new(line).file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = ran.stdout().lines().map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn target() -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("up/target").display().to_string()
}

/// A profile that builds quickly.
const PROFILE: &str = "[profile.release]\nopt-level = 1\nstrip = \"debuginfo\"\n";

/// Returns the manifest of a function. `more` is the end of it.
fn manifest(name: &str, more: &str) -> String {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    format!(
        "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\
         {PROFILE}[dependencies]\nnebula-sdk = {{ path = {sdk:?} }}\n{more}\n"
    )
}

/// Returns a function of a number that answers with `answer`, a string in which `{n}` is its input.
fn says(answer: &str) -> String {
    format!("#[nebula_sdk::function]\npub fn handle(n: u32) -> String {{ format!(\"{answer}\") }}\n")
}

fn call(nebula: &Nebula, name: &str) -> String {
    let answer = nebula.post(&format!("/f/{name}"), "1");
    answer.text().trim_matches('"').to_owned()
}

/// Waits until the function answers so.
#[track_caller]
fn answers(nebula: &Nebula, name: &str, expected: &str) {
    eventually(&format!("`{name}` answers {expected}"), || (call(nebula, name) == expected).then_some(()));
}

/// Returns the lines about rebuilds, without their beginning.
fn rebuilds(nebula: &Nebula) -> Vec<String> {
    let stderr = nebula.stderr();
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("rebuilding: "));
    lines.map(str::to_owned).collect()
}

/// Waits until `count` rebuilds are over.
#[track_caller]
fn rebuilt(nebula: &Nebula, count: usize) {
    eventually(&format!("{count} rebuilds are over"), || {
        (nebula.stderr().lines().filter(|line| *line == "up to date").count() >= count).then_some(())
    });
}

/// Each call is a line with its status, time and source. The output of functions is printed, and
/// the panic with its stack.
#[test]
fn up_prints_calls_output_and_panics() {
    let library = "#[nebula_sdk::function]\n\
        pub fn handle(n: u32) -> u32 { println!(\"got {n}\"); assert!(n > 0, \"no zero\"); n }\n";
    let project = Project::function("up-prints", library);
    let nebula = project.up(&["--no-watch"]);
    nebula.post("/f/up-prints", "7").is(200);
    // A repeated call is printed too, although the fast path would answer it.
    for _ in 0..4 {
        nebula.post("/f/up-prints", "7").is(200);
    }
    nebula.post("/f/up-prints", "0").is(502);
    nebula.post("/f/up-prints", "\"x\"").is(400);
    nebula.get("/f/nothing?x=1").is(404);
    nebula.get("/healthz").is(200);
    nebula.post("/f/up-prints", "8").is(200);
    let printed = eventually("the last call is printed", || {
        let stderr = nebula.stderr();
        (stderr.matches("/f/up-prints 200").count() == 6).then_some(stderr)
    });
    let lines: Vec<_> = printed.lines().collect();
    let at = |what: &str| {
        let found = lines.iter().position(|line| line.starts_with(what));
        found.unwrap_or_else(|| panic!("no line begins with `{what}`:\n{printed}"))
    };
    assert_eq!(at("POST /f/up-prints 200"), at("up-prints | got 7") + 1, "{printed}");
    let ends = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!((ends(" ms run"), ends(" ms hit")), (2, 4), "{printed}");
    let trap = lines[at("POST /f/up-prints 502")];
    assert!(trap.contains(" run: the function trapped: ") && trap.contains("no zero"), "{trap}");
    assert!(lines[at("POST /f/up-prints 502") + 1].starts_with("    at "), "{printed}");
    assert!(
        lines.iter().any(|line| line.starts_with("up-prints | ") && line.contains("no zero")),
        "{printed}"
    );
    assert!(lines[at("POST /f/up-prints 400")].contains("expected `u32`"), "{printed}");
    assert!(lines[at("GET /f/nothing?x=1 404")].contains("nothing"), "{printed}");
    assert!(!printed.contains("healthz"), "{printed}");
}

/// The link signs one browser in. It is printed on the terminal, and in no log.
#[test]
fn up_prints_a_link_that_signs_in_once() {
    let project = Project::function("up-link", &says("one {n}"));
    let nebula = project.up(&["--no-watch", "--access-log", "text"]);
    let stdout = nebula.stdout();
    let control = nebula.control_address();
    let start = format!("console  http://{control}/#/sign-in/");
    let code =
        stdout.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{stdout}"));
    let sign_in = || {
        let request = nebula.control_without_token("POST", "/api/v1/session");
        let request = request.header("origin", &format!("http://{control}"));
        request.body(format!(r#"{{"code":"{code}"}}"#)).send()
    };
    let signed_in = sign_in().is(200);
    assert_eq!(signed_in.json(), serde_json::json!({"name": "token-file", "scope": "admin"}));
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let problem = sign_in().is(401).problem("link-over");
    problem.detail("works once, within 10 minutes").detail("restart `nebula up`");
    let call = nebula.control_without_token("POST", "/api/v1/functions/up-link/call");
    let call = call.header("origin", &format!("http://{control}")).header("cookie", &cookie);
    call.header("content-type", "application/json").body("1").send().is(200).says("\"one 1\"");
    eventually("the console's call is printed", || {
        nebula.stderr().contains("POST /api/v1/functions/up-link/call 200").then_some(())
    });
    let logged = eventually("the sign-ins are logged", || {
        let stderr = nebula.stderr();
        (stderr.contains("signed in to the console") && stderr.contains("a request of a browser was refused"))
            .then_some(stderr)
    });
    assert_eq!(nebula.stdout().matches(code).count(), 1, "{}", nebula.stdout());
    let id = cookie.split('=').nth(1).unwrap();
    assert!(!logged.contains(code) && !logged.contains(id) && !nebula.stdout().contains(id), "{logged}");
}

#[test]
fn a_quiet_up_prints_no_calls() {
    let project = Project::function("up-quiet", &says("one {n}"));
    let nebula = project.up(&["--quiet"]);
    for _ in 0..4 {
        assert_eq!(call(&nebula, "up-quiet"), "one 1");
    }
    project.write("src/lib.rs", &says("two {n}"));
    answers(&nebula, "up-quiet", "two 1");
    rebuilt(&nebula, 1);
    assert!(!nebula.stderr().contains("/f/up-quiet"), "{}", nebula.stderr());
}

/// Every file that a build reads is watched, and no other: files in the project that are written
/// all the time neither cause a rebuild nor prevent one.
#[test]
fn up_notices_a_change_of_every_input() {
    let library = "#[path = \"target/mod.rs\"]\nmod target;\n#[nebula_sdk::function]\n\
        pub fn handle(n: u32) -> String {\n\
        [\"a\", target::B, include_str!(\"../c.txt\"), up_inputs_dep::D, &n.to_string()].concat()\n}\n";
    let dependency = "up-inputs-dep = { path = \"../dep\" }\n[workspace]";
    let project = Project::new("up-inputs")
        .with("main/Cargo.toml", &manifest("up-inputs", dependency))
        .with("main/nebula.toml", "watch = [\"data\", \"../beside.txt\"]\n")
        .with("main/src/lib.rs", library)
        .with("main/src/target/mod.rs", "pub const B: &str = \"b\";\n")
        .with("main/c.txt", "c")
        .with("dep/Cargo.toml", "[package]\nname = \"up-inputs-dep\"\nedition = \"2024\"\n[workspace]\n")
        .with("dep/src/lib.rs", "pub const D: &str = \"d\";\n");
    let is_over = Arc::new(AtomicBool::new(false));
    let noise = std::thread::spawn({
        let (is_over, main) = (Arc::clone(&is_over), project.path.join("main"));
        move || {
            let mut text = String::new();
            while !is_over.load(Ordering::Relaxed) {
                text.push('x');
                for file in ["up.log", "c.log"] {
                    std::fs::write(main.join(file), &text).unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    // Started inside the project: it is found above.
    let nebula = project.up_in("main/src/target", &[]);
    assert_eq!(call(&nebula, "up-inputs"), "abcd1");

    project.write("main/src/lib.rs", &library.replace("\"a\"", "\"A\""));
    answers(&nebula, "up-inputs", "Abcd1");
    project.write("main/src/target/mod.rs", "pub const B: &str = \"B\";\n");
    answers(&nebula, "up-inputs", "ABcd1");
    project.write("main/c.txt", "C");
    answers(&nebula, "up-inputs", "ABCd1");
    project.write("dep/src/lib.rs", "pub const D: &str = \"D\";\n");
    answers(&nebula, "up-inputs", "ABCD1");
    rebuilt(&nebula, 4);
    assert_eq!(
        rebuilds(&nebula),
        [
            "`src/lib.rs` changed".to_owned(),
            "`src/target/mod.rs` changed".to_owned(),
            "`c.txt` changed".to_owned(),
            format!("`{}` changed", project.path.join("dep/src/lib.rs").display()),
        ]
    );

    // The list in `nebula.toml`, with files that appear.
    project.write("main/data/new.txt", "1");
    rebuilt(&nebula, 5);
    project.write("beside.txt", "1");
    rebuilt(&nebula, 6);
    project.write("main/wit/new.wit", "package local:new;\n");
    rebuilt(&nebula, 7);

    // A directory that is removed and put back, as `git checkout` does.
    let (sources, away) = (project.path.join("main/src"), project.path.join("away"));
    std::fs::rename(&sources, &away).unwrap();
    eventually("the missing sources are reported", || nebula.stderr().contains("error: ").then_some(()));
    assert_eq!(call(&nebula, "up-inputs"), "ABCD1");
    std::fs::rename(&away, &sources).unwrap();
    rebuilt(&nebula, 8);
    project.write("main/src/lib.rs", &library.replace("\"a\"", "\"z\""));
    answers(&nebula, "up-inputs", "zBCD1");

    // A module that is missing at first.
    project.write("main/src/lib.rs", &format!("mod late;\n{}", library.replace("\"a\"", "late::LATE")));
    eventually("the missing module is reported", || nebula.stderr().contains("E0583").then_some(()));
    project.write("main/src/late.rs", "pub const LATE: &str = \"late \";\n");
    answers(&nebula, "up-inputs", "late BCD1");
    is_over.store(true, Ordering::Relaxed);
    noise.join().unwrap();
}

/// A build script that writes a source causes at most one more build, whether it writes the same
/// content each time or another.
#[test]
fn up_does_not_follow_what_builds_write() {
    let same = "fn main() { std::fs::write(\"src/generated.rs\", \"pub const X: u128 = 7;\\n\").unwrap(); }";
    let other = "fn main() {\n\
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();\n\
        std::fs::write(\"src/generated.rs\", format!(\"pub const X: u128 = {now};\\n\")).unwrap();\n}\n";
    for (name, script) in [("up-same", same), ("up-other", other)] {
        let library = |answer: &str| {
            let rest = "#[nebula_sdk::function]\npub fn handle(n: u32) -> String { answer(n, generated::X) }";
            format!(
                "mod generated;\nfn answer(n: u32, x: u128) -> String {{ format!(\"{answer} {{n}} {{}}\", x > 6) }}\n{rest}\n"
            )
        };
        let project = Project::function(name, &library("one"))
            .with("build.rs", script)
            .with("nebula.toml", "watch = [\"extra.txt\"]\n");
        let nebula = project.up(&[]);
        assert_eq!(call(&nebula, name), "one 1 true");
        project.write("src/lib.rs", &library("two"));
        answers(&nebula, name, "two 1 true");
        // The order of the rebuilds shows that none comes in between.
        for count in 0..3 {
            let before = rebuilds(&nebula).len();
            project.write("extra.txt", &count.to_string());
            eventually("the file is noticed", || {
                rebuilds(&nebula)[before..].iter().any(|line| line.contains("extra.txt")).then_some(())
            });
            rebuilt(&nebula, rebuilds(&nebula).len());
        }
        // A rebuild may be for several files, and names the first by path.
        let (extra, others): (Vec<_>, Vec<_>) =
            rebuilds(&nebula).into_iter().partition(|line| line.starts_with("`extra.txt`"));
        assert_eq!(extra.len(), 3, "{}", nebula.stderr());
        // One for the library, and at most one for the file that the build writes.
        assert!(others.len() <= 2, "{}", nebula.stderr());
    }
}

/// A binary beside the library is neither built nor deployed.
#[test]
fn up_takes_the_library_alone() {
    let main = "fn main() { compile_error!(\"for this machine only\"); }\n";
    let project = Project::function("up-library", &says("one {n}"))
        .with("src/main.rs", main)
        .with("src/bin/tool.rs", main)
        .with("examples/try.rs", main);
    let nebula = project.up(&[]);
    assert_eq!(call(&nebula, "up-library"), "one 1");
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    assert_eq!(list["functions"].as_array().unwrap().len(), 1, "{list}");
    project.write("src/lib.rs", &says("two {n}"));
    answers(&nebula, "up-library", "two 1");
    assert_eq!(project.build_in("src"), ["up_library.wasm"]);
}

/// Changes of the root's `nebula.toml` and new functions are deployed. `nebula build` takes all
/// functions, or in the directory of one that one.
#[test]
fn up_follows_the_root_and_new_functions() {
    let member = |name: &str| manifest(name, "").replace(PROFILE, "");
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = [\"*/\"]\n{PROFILE}");
    let project = Project::new("up-root")
        .with("nebula.toml", "functions = \"functions\"\n")
        .with("docs/page.md", "")
        .with("functions/Cargo.toml", &workspace)
        .with("functions/up-one/Cargo.toml", &member("up-one"))
        .with("functions/up-one/src/lib.rs", &says("one {n}"));
    let nebula = project.up_in("docs", &[]);
    assert_eq!(call(&nebula, "up-one"), "one 1");

    let pipeline = "functions = \"functions\"\n[pipelines.up-again]\nsteps = [\"up-one\"]\n";
    project.write("nebula.toml", pipeline);
    answers(&nebula, "up-again", "one 1");

    project.write("functions/up-two/src/lib.rs", &says("two {n}"));
    project.write("functions/up-two/Cargo.toml", &member("up-two"));
    answers(&nebula, "up-two", "two 1");

    assert_eq!(project.build_in("docs"), ["up_one.wasm", "up_two.wasm"]);
    assert_eq!(project.build_in("functions/up-one/src"), ["up_one.wasm"]);
    let outside = tempfile::tempdir().unwrap();
    nebula_in(outside.path(), &["build"], &[])
        .exits(1)
        .explains("there is no `Cargo.toml` in")
        .explains("hint: `nebula new NAME` creates a function");
}

/// `up` takes the options of `serve`.
#[test]
fn up_shows_an_experiment() {
    let project =
        Project::function("up-experiment", &says("one {n}")).with("run/charts/start-time.svg", "<svg/>");
    let nebula = project.up(&["--experiment", "run"]);
    nebula.control("GET", "/api/v1/experiment").send().is(200).says("<svg/>");
}

/// Editors get the schema from the command. A unit test compares it with the types.
#[test]
fn the_schema_of_nebula_toml_is_printed() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nebula.schema.json");
    nebula(&["schema"]).exits(0).says(&std::fs::read_to_string(committed).unwrap());
}
