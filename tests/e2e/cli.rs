//! The command line: effects, messages and exit codes of each command.
//!
//! The messages are snapshots; `INSTA_UPDATE=always cargo test -p nebula-tests` updates them.

use std::path::Path;

use nebula_tests::{CommandRun, Nebula, guests, nebula, nebula_in};
use serde_json::json;

/// Runs the commands in order and returns their transcripts, without what differs between runs.
fn transcripts(nebula: &Nebula, commands: &[&[&str]]) -> String {
    let transcripts = commands.iter().map(|arguments| nebula.redacted(&nebula.cli(arguments).transcript()));
    transcripts.collect::<Vec<_>>().join("\n")
}

#[test]
fn deploy_list_and_inspect() {
    let nebula = Nebula::start();
    insta::assert_snapshot!(transcripts(
        &nebula,
        &[
            &["list"],
            &["deploy", guests::ADDS],
            &["deploy", guests::LOOKS_AROUND, "--name", "looks", "--deadline-ms", "50"],
            &["deploy", guests::REACHES_OUT, "--name", "reaches"],
            &["list"],
            &["inspect", "looks"],
            &["inspect", guests::GREETS],
        ]
    ));
}

#[test]
fn refused_deploys_explain_why() {
    let nebula = Nebula::start();
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        std::fs::write(home.path().join(name), content).unwrap();
        home.path().join(name).display().to_string()
    };
    let impure = nebula_tests::wat(
        r#"(component
            (import "acme:mail/send" (instance (export "send" (func))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#,
    );
    let transcripts = transcripts(
        &nebula,
        &[
            &["deploy", &file("notes.txt", b"some notes")],
            &["deploy", &file("empty.wasm", b"")],
            &["deploy", &file("module.wasm", &nebula_tests::wat("(module)"))],
            &["deploy", &file("nothing.wasm", &nebula_tests::wat("(component)"))],
            &["deploy", &file("mail.wasm", &impure)],
            &["deploy", &file("No Name.wasm", b"")],
            &["deploy", "/nowhere/f.wasm"],
            &["deploy", guests::GREETS, "--memory-bytes-max", "99999999999"],
        ],
    );
    insta::assert_snapshot!(transcripts.replace(&home.path().display().to_string(), "HOME"));
}

#[test]
fn invoke_prints_values_and_errors() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("panics", guests::PANICS);
    insta::assert_snapshot!(transcripts(
        &nebula,
        &[
            &["invoke", "adds", r#"{"a": 1, "b": 2}"#],
            &["invoke", "adds@v1", r#"{"a": 1, "b": 2}"#, "--json"],
            &["invoke", "adds", r#"{"a": 9223372036854775807, "b": 2}"#],
            &["invoke", "adds", r#"{"a": 9223372036854775807, "b": 2}"#, "--json"],
            &["invoke", "adds", r#"{"a": "x", "b": 2}"#],
            &["invoke", "adds", r#"{"a""#],
            &["invoke", "none", "1"],
            &["invoke", "adds@v9", "1"],
            &["invoke", "No Name", "1"],
            &["invoke", "adds", "@/nowhere/input.json"],
            &["invoke", "adds", "1", "--deadline-ms", "3"],
            &["invoke", "adds", "x", "--content-type", "image/png"],
        ]
    ));
    nebula
        .cli(&["invoke", "panics", "7"])
        .exits(5)
        .explains("the depth of 7 is not enough")
        .explains("at handle");
}

#[test]
fn invoke_runs_a_component_file_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("name.txt");
    std::fs::write(&input, "Ada").unwrap();
    let at_input = format!("@{}", input.display());
    nebula(&["invoke", guests::GREETS, &at_input]).exits(0).says("Hello, Ada!");
    nebula(&["invoke", guests::GREETS, "Ada"]).exits(0).says("Hello, Ada!");
    nebula(&["invoke", guests::ADDS, r#"{"a": 1, "b": 2}"#]).exits(0).says("3");
    nebula(&["invoke", guests::ADDS, r#"{"a": 1}"#]).exits(4).explains("`nebula inspect` shows");
    nebula(&["invoke", guests::PRINTS, "1"]).exits(0).says("\"the answer\"").explains("out 1\nerr 1\n");
    nebula(&["invoke", guests::PANICS, "7"])
        .exits(5)
        .says("")
        .explains("the depth of 7 is not enough")
        .explains("inner_named_function");
    nebula(&["invoke", guests::LOOPS_FOREVER, "--deadline-ms", "50"])
        .exits(5)
        .explains("passed its deadline of 50 ms")
        .explains("hint: raise the limit with `--deadline-ms`");
    nebula(&["invoke", guests::EATS_MEMORY, "--deadline-ms", "60000"])
        .exits(5)
        .explains("hint: raise the limit with `--memory-bytes-max`");
    nebula(&["invoke", guests::MIRRORS_REQUEST, "the body"]).exits(0).explains("");
    nebula(&["invoke", "/nowhere/f.wasm"]).exits(1).explains("cannot read `/nowhere/f.wasm`");
    let json = nebula(&["invoke", guests::PRINTS, "1", "--json"]).exits(0).json();
    assert_eq!(
        json,
        json!({
            "ok": true, "media_type": "application/json", "output": "the answer", "log": "out 1\nerr 1\n",
        })
    );
}

#[test]
fn rollback_inspect_and_remove() {
    let nebula = Nebula::start().deploy("f", guests::GREETS).deploy("f", guests::COUNTS);
    insta::assert_snapshot!(transcripts(
        &nebula,
        &[
            &["rollback", "f"],
            &["rollback", "f"],
            &["invoke", "f", "you"],
            &["rollback", "f", "v2"],
            &["rollback", "f", "v9"],
            &["rollback", "f", "latest"],
            &["inspect", "f@v1"],
            &["remove", "f"],
            &["remove", "f"],
            &["inspect", "f"],
        ]
    ));
}

#[test]
fn logs_prints_what_calls_printed() {
    let nebula = Nebula::start().deploy("prints", guests::PRINTS);
    nebula.cli(&["logs", "prints"]).exits(0).says("").explains("no call has printed or failed");
    nebula.request("POST", "/f/prints").header("x-request-id", "r-1").body("1").send().is(200);
    let ran = nebula.cli(&["logs", "prints"]).exits(0);
    assert!(ran.stdout().ends_with("µs: ok (request r-1)\n    out 1\n    err 1\n"), "{ran:?}");
    let calls = nebula.cli(&["logs", "prints", "--json"]).exits(0).json();
    assert_eq!(calls["calls"][0]["output"], "out 1\nerr 1\n");
    nebula.cli(&["logs", "none"]).exits(7).explains("there is no function `none`");
}

#[test]
fn commands_print_json_for_scripts() {
    let nebula = Nebula::start();
    let deployed = nebula.cli(&["deploy", guests::ADDS, "--json"]).exits(0).json();
    assert_eq!((&deployed["name"], &deployed["version"]), (&json!("adds"), &json!("v1")));
    let list = nebula.cli(&["list", "--json"]).exits(0).json();
    assert_eq!(list["functions"], json!([deployed]));
    let detail = nebula.cli(&["inspect", "adds", "--json"]).exits(0).json();
    assert_eq!(detail["current"], deployed);
    assert_eq!(detail["versions"], json!([deployed]));
    let file = nebula.cli(&["inspect", guests::ADDS, "--json"]).exits(0).json();
    assert_eq!(file["digest"], deployed["digest"]);
    assert_eq!(file.get("version"), None, "a file has no version");
    // Deploying the same component makes a new version only with other limits.
    assert_eq!(nebula.cli(&["deploy", guests::ADDS, "--json"]).exits(0).json()["version"], "v1");
    nebula.cli(&["deploy", guests::ADDS, "--log-bytes-max", "9"]).exits(0);
    assert_eq!(nebula.cli(&["rollback", "adds", "--json"]).exits(0).json()["version"], "v1");
}

/// `verify` repeats a call on fresh instances and on code compiled in two ways.
#[test]
fn verify_compares_repeated_calls() {
    let input = r#"{"times": 2, "ignored": "x"}"#;
    let ran = nebula(&["verify", guests::ROLLS_DICE, input]).exits(0);
    assert!(ran.stdout().starts_with("agreed: 6 calls"), "{ran:?}");
    let verdict = nebula(&["verify", guests::MAKES_NAN, "5", "--json", "--runs", "2"]).exits(0).json();
    assert_eq!((&verdict["agreed"], &verdict["calls"]), (&json!(true), &json!(4)));
    assert_eq!(verdict["outcomes"].as_object().unwrap().len(), 1);
    // Calls that all fail in the same way agree.
    nebula(&["verify", guests::PANICS, "1"]).exits(0);
    nebula(&["verify", guests::ADDS, "nonsense"]).exits(4);

    let server = Nebula::start().deploy("counts", guests::COUNTS).deploy("http", guests::MIRRORS_REQUEST);
    server.cli(&["verify", "counts"]).exits(0);
    server.cli(&["verify", "http", "body"]).exits(0);
    server.cli(&["verify", "counts@v1"]).exits(2).explains("without a version");
    server.cli(&["verify", "none"]).exits(7).explains("there is no function `none`");
}

#[test]
fn an_unreachable_server_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().display().to_string();
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend([
            "--server",
            "http://127.0.0.1:1",
            "--url",
            "http://127.0.0.1:1",
            "--data-dir",
            &directory,
        ]);
        nebula(&all)
    };
    run(&["list"]).exits(1).explains("no token for the control plane").explains("hint: run this where");
    std::fs::write(home.path().join("token"), "secret").unwrap();
    run(&["list"]).exits(6).explains("no server answers at http://127.0.0.1:1").explains("hint: start one");
    run(&["invoke", "f", "1"]).exits(6).explains("no server answers");
    let server = Nebula::start();
    let control = format!("http://{}", server.control_address());
    nebula(&["list", "--server", &control, "--data-dir", &directory])
        .exits(7)
        .explains("the first token is in the server's data directory");
}

#[test]
fn invalid_arguments_exit_with_2() {
    let usage = |arguments: &[&str], part: &str| nebula(arguments).exits(2).says("").explains(part);
    usage(&["frobnicate"], "unrecognized subcommand 'frobnicate'");
    usage(&["serve", "--listen", "somewhere"], "invalid value 'somewhere'");
    usage(&["rollback"], "<NAME>");
    usage(&["remove", "No Name"], "is not a function name");
    usage(&["serve", "--calls-max", "0"], "invalid value '0'");
    usage(&["new", "x", "--template", "haskell"], "possible values: typed, raw, wit-first, http");
    let version = nebula(&["--version"]).exits(0);
    assert!(version.stdout().starts_with("nebula "), "{version:?}");
}

#[test]
fn help_and_completions_cover_every_command() {
    let help = nebula(&["--help"]).exits(0).stdout();
    for command in [
        "new", "build", "up", "serve", "deploy", "invoke", "bench", "list", "inspect", "rollback", "remove",
        "verify", "logs", "token", "login", "logout", "doctor", "man", "schema",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "no `{command}` in {help}");
        nebula(&[command, "--help"]).exits(0);
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(nebula(&["completions", shell]).exits(0).stdout().contains("rollback"), "{shell}");
    }
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("man/man1");
    nebula(&["man", &directory.display().to_string()]).exits(0).says("").explains("nebula.1");
    let page = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert!(page("nebula.1").contains("Exit codes"), "{}", page("nebula.1"));
    assert!(page("nebula-rollback.1").contains("Make an earlier version current"));
    assert!(page("nebula-pipeline-check.1").contains("nebula"));
    assert!(page("nebula-token-create.1").contains("shown again"));
}

/// A hint that names a document gives its address.
#[test]
fn hints_name_documents_by_their_address() {
    let server = Nebula::start();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("nothing.wasm");
    std::fs::write(&file, nebula_tests::wat("(component)")).unwrap();
    let refused = server.cli(&["deploy", &file.display().to_string()]).exits(7);
    let address = format!("/blob/v{}/docs/purity.md", env!("CARGO_PKG_VERSION"));
    assert!(refused.stderr().contains("https://") && refused.stderr().contains(&address), "{refused:?}");
}

#[test]
fn doctor_checks_what_the_commands_need() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let all = [&["doctor", "--listen", ":0", "--control", ":0"], arguments].concat();
        nebula_in(home.path(), &all, variables)
    };
    let check = |run: &CommandRun, name: &str| -> serde_json::Value {
        let checks = run.json();
        let found = checks.as_array().unwrap().iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no `{name}`: {run:?}")).clone()
    };
    // A machine that builds these tests has the toolchain, and no server runs on port 1.
    let away = ["--server", "127.0.0.1:1", "--json"];
    let sound = run(&["--json"], &[("NEBULA_SERVER", "")]);
    assert_eq!(check(&sound, "toolchain")["verdict"], "ok", "{sound:?}");
    assert_eq!(check(&sound, "target")["verdict"], "ok", "{sound:?}");
    assert_eq!(check(&sound, "data directory")["found"], "`.nebula` is created at the first start");
    let alone = run(&away, &[("NEBULA_TOKEN", "x")]).exits(1);
    assert_eq!(check(&alone, "server")["verdict"], "failed", "{alone:?}");
    let bare = run(&away, &[("PATH", "/nowhere")]).exits(1);
    assert_eq!(check(&bare, "toolchain")["verdict"], "failed", "{bare:?}");

    let server = Nebula::start();
    let busy = run(&[], &[]);
    assert!(busy.stdout().starts_with("ok      toolchain"), "{busy:?}");
    let control = server.control_address().to_string();
    let arguments = ["doctor", "--control", &control, "--listen", ":0", "--json", "--server", &control];
    let data_dir = server.data_dir().display().to_string();
    let well = nebula_in(home.path(), &[&arguments[..], &["--data-dir", &data_dir]].concat(), &[]).exits(0);
    assert_eq!(check(&well, "port for deploys")["found"], format!("a Nebula server listens on {control}"));
    let holder = format!("in use by process {}", server.pid());
    assert!(check(&well, "data directory")["found"].as_str().unwrap().ends_with(&holder), "{well:?}");
    assert!(check(&well, "server")["found"].as_str().unwrap().contains("accepts the token"), "{well:?}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = nebula_in(home.path(), &["doctor", "--listen", &address, "--control", ":0"], &[]).exits(1);
    assert!(ran.stdout().contains("FAILED  port for calls"), "{ran:?}");
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let ran = run(&["--data-dir", &file.display().to_string()], &[]).exits(1);
    assert!(ran.stdout().contains("is not a directory"), "{ran:?}");
}

/// Stdout holds the result and nothing else.
#[test]
fn invoke_reads_its_input_from_stdin() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut child = Command::new(nebula_tests::binary())
        .args(["invoke", guests::REVERSES, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[1, 2, 255]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, [255, 2, 1]);
}

#[test]
fn build_explains_why_a_directory_is_not_a_project() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> CommandRun { nebula_in(home.path(), arguments, &[]) };
    run(&["build"]).exits(1).explains("there is no `Cargo.toml`").explains("hint: `nebula new NAME`");
    run(&["build", "nowhere"]).exits(1).explains("cannot find `nowhere`");
    std::fs::write(home.path().join("Cargo.toml"), "[package]\nname = \"p\"\nversion = \"0.1.0\"\n").unwrap();
    std::fs::create_dir(home.path().join("src")).unwrap();
    std::fs::write(home.path().join("src/lib.rs"), "").unwrap();
    run(&["build"]).exits(1).explains("is a function").explains("crate-type = [\"cdylib\"]");
    std::fs::write(home.path().join("nebula.toml"), "[limits]\ndeadline = 3\n").unwrap();
    run(&["build"]).exits(1).explains("cannot use").explains("deadline");
    assert!(!Path::new(&home.path().join(".nebula")).exists(), "`build` has created a data directory");
}
