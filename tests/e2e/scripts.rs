//! The command line in scripts: exit codes, errors in JSON, output without a reader, inputs from
//! stdin, sizes and addresses.

use std::fs::File;
use std::io::Write;
use std::process::{Output, Stdio};

use nebula_tests::{Nebula, command, guests, nebula, nebula_in};
use serde_json::{Value, json};

/// Returns what each command that prints something is called with, for a server with the functions
/// `adds` and `prints`.
fn printing_commands(server: &Nebula) -> Vec<Vec<String>> {
    let with_server = |arguments: &[&str]| {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(server.remote_arguments());
        all
    };
    let alone = |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect();
    vec![
        with_server(&["list"]),
        with_server(&["list", "--json"]),
        with_server(&["inspect", "adds"]),
        with_server(&["inspect", "adds", "--json"]),
        with_server(&["deploy", guests::ADDS]),
        with_server(&["logs", "prints"]),
        with_server(&["cache"]),
        with_server(&["invoke", "adds", "1", "2"]),
        with_server(&["invoke", "adds", "1", "2", "--json"]),
        with_server(&["explain", "adds", r#"{"a": 1, "b": 2}"#]),
        with_server(&["verify", "adds", r#"{"a": 1, "b": 2}"#]),
        alone(&["inspect", guests::ADDS]),
        alone(&["invoke", guests::ADDS, r#"{"a": 1, "b": 2}"#]),
        alone(&["completions", "bash"]),
        alone(&["--help"]),
        alone(&["serve", "--help"]),
        alone(&["--version"]),
    ]
}

fn run(arguments: &[String], stdout: Stdio, stderr: Stdio) -> Output {
    let child = command().args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    child.unwrap().wait_with_output().unwrap()
}

/// Returns the writing end of a pipe without a reader.
fn without_reader() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_command_without_a_reader_exits_quietly() {
    let server = Nebula::start().deploy("adds", guests::ADDS).deploy("prints", guests::PRINTS);
    server.post("/f/prints", "1").is(200);
    for arguments in printing_commands(&server) {
        let output = run(&arguments, without_reader(), Stdio::piped());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked") && !stderr.contains("error"), "{arguments:?}: {stderr}");
    }
    // The error has no reader either. The exit code still tells it.
    for (arguments, code) in [(vec!["inspect", "/nowhere/f.wasm"], 1), (vec!["frobnicate"], 2)] {
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        let output = run(&arguments, without_reader(), without_reader());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    // The command's own verdict survives the reader.
    let mut own_error: Vec<_> =
        ["invoke", "adds", r#"{"a": 9223372036854775807, "b": 2}"#, "--json"].map(str::to_owned).into();
    own_error.extend(server.remote_arguments());
    assert_eq!(run(&own_error, without_reader(), Stdio::null()).status.code(), Some(3));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let server = Nebula::start().deploy("adds", guests::ADDS).deploy("prints", guests::PRINTS);
    server.post("/f/prints", "1").is(200);
    for arguments in printing_commands(&server) {
        // clap prints its own texts, and ignores this.
        if arguments.iter().any(|argument| ["--help", "--version"].contains(&argument.as_str())) {
            continue;
        }
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = run(&arguments, full.into(), Stdio::piped());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("cannot write to stdout"), "{arguments:?}: {stderr}");
    }
}

/// A server keeps serving when the reader of its addresses is gone.
#[test]
fn a_server_outlives_the_reader_of_its_output() {
    let home = tempfile::tempdir().unwrap();
    let mut child = command()
        .args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"])
        .arg(home.path())
        .stdout(without_reader())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lock = home.path().join("token");
    nebula_tests::eventually("the server has a token", || lock.exists().then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let exited = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(exited, None);
}

/// Returns the object that a failure prints with `--json`.
fn error_of(stderr: &str) -> Value {
    let line = stderr.lines().last().unwrap_or_default();
    let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    document["error"].clone()
}

#[test]
fn every_kind_of_failure_has_an_exit_code() {
    let server = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("panics", guests::PANICS)
        .deploy("mirror", guests::MIRRORS_REQUEST);
    server.put("loops?deadline_ms=50", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["inspect", "/nowhere/f.wasm"], 1, "failed"),
        (&["frobnicate"], 2, "usage"),
        (&["invoke", "adds", "1", "--method"], 2, "usage"),
        (&["invoke", "mirror", "body", "-X", "HEAD"], 2, "usage"),
        (&["invoke", guests::ADDS, "1", "--path", "/x"], 2, "usage"),
        (&["invoke", "adds", r#"{"a": 9223372036854775807, "b": 2}"#], 3, "own-error"),
        (&["invoke", guests::ADDS, r#"{"a": 9223372036854775807, "b": 2}"#], 3, "own-error"),
        (&["explain", "adds", r#"{"a": 9223372036854775807, "b": 2}"#], 3, "own-error"),
        (&["invoke", "mirror", "--path", "/teapot"], 3, "own-error"),
        (&["invoke", guests::MIRRORS_REQUEST, "--path", "/teapot"], 3, "own-error"),
        (&["invoke", "adds", r#"{"a": 1}"#], 4, "bad-input"),
        (&["invoke", "adds", "{"], 4, "bad-input"),
        (&["invoke", "adds", "x", "--content-type", "image/png"], 4, "bad-input"),
        (&["invoke", guests::ADDS, r#"{"a": 1}"#], 4, "bad-input"),
        (&["explain", "adds", r#"{"a": 1}"#], 4, "bad-input"),
        (&["verify", guests::ADDS, "nonsense"], 4, "bad-input"),
        (&["invoke", "panics", "7"], 5, "trap"),
        (&["invoke", guests::PANICS, "7"], 5, "trap"),
        (&["explain", "panics", "7"], 5, "trap"),
        (&["invoke", "loops"], 5, "trap"),
        (&["list", "--server", "127.0.0.1:1"], 6, "no-server"),
        (&["invoke", "adds", "1", "--url", ":1"], 6, "no-server"),
        (&["invoke", "none", "1"], 7, "refused"),
        (&["invoke", "adds@v9", "1"], 7, "refused"),
        (&["inspect", "none"], 7, "refused"),
        (&["deploy", "Cargo.toml", "--name", "x"], 7, "refused"),
        (&["remove", "none"], 7, "refused"),
    ];
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (arguments, code, kind) in cases {
        let has = |name: &str| arguments.contains(&name);
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // A case's own text isn't repeated.
        for pair in server.remote_arguments().chunks(2).filter(|pair| !has(&pair[0])) {
            if !has("frobnicate") && !has("--method") {
                all.extend(pair.iter().cloned());
            }
        }
        nebula_in(directory, &all, &[]).exits(*code);
        all.push("--json".to_owned());
        let ran = nebula_in(directory, &all, &[]).exits(*code);
        let stderr = ran.stderr();
        if stderr.is_empty() {
            // The answer itself tells: an own error, or an explained failure.
            assert!(ran.json()["ok"] == false || ran.json()["outcome"].is_string(), "{ran:?}");
            continue;
        }
        let error = error_of(&stderr);
        assert_eq!((&error["kind"], &error["exit"]), (&json!(kind), &json!(code)), "{ran:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{ran:?}");
        assert_eq!(ran.stdout(), "", "{ran:?}");
    }
    // The server's problem document is part of it.
    let arguments = ["invoke", "adds", r#"{"a": "x", "b": 2}"#, "--json"];
    let error = error_of(&server.cli(&arguments).stderr());
    assert_eq!(error["problem"]["type"], "urn:nebula:problem:type-mismatch");
    assert_eq!(error["problem"]["pointer"], "/a");
    assert_eq!(error["hint"], "`nebula inspect` shows the function's signature");
    assert_eq!(error["causes"].as_array().unwrap().len(), 1);
}

/// What clap can't check is a wrong command line too: combinations of options, and values that only
/// mean something beside a server, a project or a file.
#[test]
fn command_lines_that_only_a_command_can_check_are_wrong_usage() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    std::fs::create_dir(directory.join("unnamed")).unwrap();
    std::fs::copy(guests::ADDS, directory.join("adds.wasm")).unwrap();
    std::fs::copy(guests::ADDS, directory.join("No Name.wasm")).unwrap();
    let manifest = "[package]\nname = \"p\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n";
    std::fs::create_dir_all(directory.join("project/src")).unwrap();
    std::fs::write(directory.join("project/Cargo.toml"), manifest).unwrap();
    std::fs::write(directory.join("project/src/lib.rs"), "").unwrap();
    let pipeline = "[pipelines.same]\nsteps = { call = \"adds\" }\n";
    std::fs::write(directory.join("project/nebula.toml"), pipeline).unwrap();
    let receipt = directory.join("receipt").display().to_string();
    server.cli(&["invoke", "adds", "1", "2", "--receipt", &receipt]).exits(0);

    let with_server: &[(&[&str], &str)] = &[
        (&["deploy", "adds.wasm", "--dry-run"], "are for projects"),
        (&["deploy", "adds.wasm", "--prune"], "are for projects"),
        (&["deploy", "adds.wasm", "--project", "p"], "are for projects"),
        (&["deploy", "adds.wasm", "--cargo-component"], "are for projects"),
        (&["deploy", "adds.wasm", "--env", "it"], "has the environment `it`"),
        (&["deploy", "No Name.wasm"], "cannot derive a function name"),
        (&["deploy", "-"], "needs a name"),
        (&["deploy", "-", "--name", "x", "--env", "it"], "has the environment `it`"),
        (&["deploy", "project", "--name", "x"], "are in its `nebula.toml`"),
        (&["deploy", "project", "--cache", "off"], "are in its `nebula.toml`"),
        (&["deploy", "project", "--reset-settings"], "are in its `nebula.toml`"),
        (&["deploy", "project", "--prune"], "a name of its own"),
        (&["deploy", "project", "--env", "it"], "has the environment `it`"),
        (&["pipeline", "check", "project/nebula.toml", "--name", "x"], "are in its `nebula.toml`"),
        (&["pipeline", "deploy", "project/nebula.toml", "--name", "x"], "are in its `nebula.toml`"),
        (&["pipeline", "deploy", "project/nebula.toml", "--cache", "off"], "are in its `nebula.toml`"),
        (&["pipeline", "show", "No Name"], "not a function name"),
        (&["invoke", "No Name", "1"], "not a function name"),
        (&["invoke", "adds", "1", "--deadline-ms", "3"], "its own limits and configuration"),
        (&["invoke", "adds", "1", "--config", "A=1"], "its own limits and configuration"),
        (&["invoke", "adds.wasm", "[1, 2]", "--receipt", "r"], "only a server issues receipts"),
        (&["invoke", "adds.wasm", "[1, 2]", "--memory-bytes-max", "1024G"], "memory_bytes_max"),
        (&["verify", "adds.wasm", "[1, 2]", "--memory-bytes-max", "1024G"], "memory_bytes_max"),
        (&["verify", "adds", "[1, 2]", "--memory-bytes-max", "1M"], "its own limits and configuration"),
        (&["verify", "adds", "[1, 2]", "--receipt", "r"], "gets no receipt"),
        (&["verify", "adds@v1", "[1, 2]"], "without a version"),
        (&["inspect", "adds@v1"], "without a version"),
        (&["inspect", "No Name"], "not a function name"),
        (&["explain", "No Name", "1"], "not a function name"),
        (&["replay", &receipt, "--input", "[1, 2]", "--config", "A=1"], "had no configuration"),
    ];
    let alone: &[(&[&str], &str)] = &[
        (&["list", "--server", "nowhere"], "no server is saved as `nowhere`"),
        (&["logout", "nowhere"], "no server is saved as `nowhere`"),
        (&["new", "No-Name"], "cannot name a function `No-Name`"),
        (&["add", "7up"], "begins with a digit"),
    ];
    let remote = server.remote_arguments();
    let cases = with_server.iter().map(|case| (case, true)).chain(alone.iter().map(|case| (case, false)));
    for ((arguments, message), has_server) in cases {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        if has_server {
            all.extend(remote.iter().cloned());
        }
        let config = directory.join("config").display().to_string();
        let ran = nebula_in(directory, &all, &[("XDG_CONFIG_HOME", &config)]).exits(2);
        let ran = ran.explains(message);
        assert_eq!(ran.stdout(), "", "{all:?}");
    }
    assert_eq!(server.cli(&["list", "--json"]).json()["functions"].as_array().unwrap().len(), 1);
}

#[test]
fn help_lists_the_exit_codes() {
    let help = nebula(&["--help"]).exits(0).stdout();
    for code in 0..=8 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code}: {help}");
    }
}

/// A component comes from another command, and needs a name.
#[test]
fn deploy_reads_a_component_from_stdin() {
    let server = Nebula::start();
    let deploy = |arguments: &[&str]| {
        let mut child = command()
            .args(arguments)
            .args(server.remote_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments doesn't read.
        let _ = child.stdin.take().unwrap().write_all(&std::fs::read(guests::ADDS).unwrap());
        child.wait_with_output().unwrap()
    };
    let output = deploy(&["deploy", "-", "--name", "plus"]);
    assert!(output.status.success(), "{output:?}");
    server.post("/f/plus", r#"{"a": 1, "b": 2}"#).is(200);
    let output = deploy(&["deploy", "-"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("a component from stdin needs a name"), "{stderr}");
    assert!(stderr.contains("hint: give a name with `--name`"), "{stderr}");
}

/// The server refuses a body by its length, before it is sent. The command reports that answer.
#[test]
fn a_body_that_is_too_long_is_refused_by_the_server() {
    let server = Nebula::start().deploy("reverses", guests::REVERSES);
    let home = tempfile::tempdir().unwrap();
    for bytes in [64 * 1024 * 1024 + 1, 200 * 1024 * 1024] {
        let path = home.path().join("large.wasm");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        let shown = path.display().to_string();
        server
            .cli(&["deploy", &shown])
            .exits(7)
            .explains("cannot deploy")
            .explains("the body is over the limit of 67108864 bytes");
        server
            .cli(&["invoke", "reverses", &format!("@{shown}")])
            .exits(4)
            .explains("the body is over the limit of 8388608 bytes");
    }
    // A body that the server accepts is sent all the same.
    let path = home.path().join("input.bin");
    File::create(&path).unwrap().set_len(3 * 1024 * 1024).unwrap();
    let ran = server.cli(&["invoke", "reverses", &format!("@{}", path.display())]).exits(0);
    assert_eq!(ran.stdout_bytes().len(), 3 * 1024 * 1024);
}

#[test]
fn several_inputs_are_parameters_and_may_be_negative() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    for arguments in [
        &["invoke", "adds", "-1", "2"][..],
        &["invoke", "adds", "--", "-1", "2"],
        &["invoke", "adds", "--json", "-1", "2"],
        &["invoke", guests::ADDS, "-1", "2"],
        &["explain", "adds", "-1", "2"],
    ] {
        let mut all: Vec<String> = Vec::new();
        all.push(arguments[0].to_owned());
        all.extend(server.remote_arguments());
        all.extend(arguments[1..].iter().map(|&argument| argument.to_owned()));
        let ran = nebula(&all).exits(0);
        assert!(ran.stdout().contains('1') && !ran.stdout().contains("-1"), "{ran:?}");
    }
    nebula(&["verify", guests::ADDS, "-1", "2"]).exits(0);
    // Texts that aren't JSON are strings.
    let ran = nebula(&["invoke", guests::ADDS, "one", "2"]).exits(4);
    assert!(ran.stderr().contains("found a string"), "{ran:?}");
}

#[test]
fn functions_of_the_http_form_get_a_method_a_path_and_headers() {
    let server = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let arguments = [
        "-X",
        "PATCH",
        "--path",
        "/orders/7?page=2",
        "-H",
        "x-one: 1",
        "-H",
        "X-Two: a: b",
        "-H",
        "content-type: text/csv",
        "a,b",
    ];
    for target in ["mirror", guests::MIRRORS_REQUEST] {
        let ran = server.cli(&[&["invoke", target][..], &arguments].concat()).exits(0);
        let seen = ran.stdout();
        for line in [
            "method PATCH",
            "path /orders/7?page=2",
            "header x-one: 1",
            "header x-two: a: b",
            "header content-type: text/csv",
            "body a,b",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "no `{line}` for {target}: {seen}");
        }
        assert_eq!(seen.matches("content-type").count(), 1, "{seen}");
        let ran = server.cli(&["invoke", target, "-X", "GET", "--path", "/a"]).exits(0);
        assert!(ran.stdout().starts_with("method GET\npath /a\n"), "{ran:?}");
        let json = server.cli(&["invoke", target, "--path", "/teapot", "--json"]).exits(3).json();
        assert_eq!((&json["ok"], &json["status"]), (&json!(false), &json!(418)));
        server
            .cli(&["invoke", target, "--path", "/teapot"])
            .exits(3)
            .explains("the function answered with status 418");
    }
    nebula(&["invoke", guests::ADDS, "--path", "orders"]).exits(2).explains("a path begins with");
    nebula(&["invoke", guests::ADDS, "-H", "nonsense"]).exits(2).explains("a header is");
}

#[test]
fn sizes_have_units() {
    let server = Nebula::start_with(&["--cache-bytes-max", "32M", "--inputs-bytes-max", "64KiB"]);
    let cache = server.cli(&["cache", "--json"]).exits(0).json();
    assert_eq!(cache["bytes_max"], 32 * 1024 * 1024);
    let deployed = server.cli(&[
        "deploy",
        guests::ADDS,
        "--memory-bytes-max",
        "128M",
        "--input-bytes-max",
        "4k",
        "--cache-bytes-max",
        "1KiB",
        "--json",
    ]);
    let deployed = deployed.exits(0).json();
    assert_eq!(deployed["limits"], json!({"memory_bytes_max": 128 << 20, "input_bytes_max": 4096}));
    assert_eq!(deployed["cache"]["bytes_max"], 1024);
    for wrong in ["64MB", "1.5M", "-1", "lots"] {
        nebula(&["deploy", guests::ADDS, &format!("--memory-bytes-max={wrong}")])
            .exits(2)
            .explains("is not a size: write a number of bytes");
    }
    nebula(&["serve", "--cache-bytes-max", "64MB"]).exits(2).explains("is not a size");
}
