//! The log of calls: of one function or of all, since a time, followed, and over restarts.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nebula_tests::{Nebula, command, eventually, guests};

/// Returns the lines of entries, without those of their output.
fn heads(stdout: &str) -> Vec<&str> {
    stdout.lines().filter(|line| !line.starts_with(' ')).collect()
}

#[test]
fn logs_cover_one_function_several_or_all() {
    let server = Nebula::start().deploy("prints", guests::PRINTS).deploy("panics", guests::PANICS);
    server.post("/f/prints", "1").is(200);
    server.post("/f/panics", "1").is(502);
    server.post("/f/prints", "2").is(200);
    let all = server.cli(&["logs"]).exits(0).stdout();
    let all = heads(&all);
    assert_eq!(all.len(), 3, "{all:?}");
    for (line, function) in all.iter().zip(["prints@v1", "panics@v1", "prints@v1"]) {
        // 2026-01-31T12:00:00.000Z prints@v1 123 µs: ok
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 24 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{line}");
        assert!(rest.starts_with(function), "{line}");
    }
    assert!(all.is_sorted(), "{all:?}");
    for arguments in [&["logs", "prints"][..], &["logs", "--function", "prints"]] {
        assert_eq!(heads(&server.cli(arguments).exits(0).stdout()).len(), 2);
    }
    for arguments in [&["logs", "prints", "panics"][..], &["logs", "prints", "--function", "panics"]] {
        assert_eq!(heads(&server.cli(arguments).exits(0).stdout()), all);
    }
    assert_eq!(server.cli(&["logs", "--since", "1h"]).exits(0).stdout().lines().count(), {
        server.cli(&["logs"]).stdout().lines().count()
    });
    server.cli(&["logs", "--since", "0s"]).exits(0).says("");
    let calls = server.cli(&["logs", "--json"]).exits(0).json();
    let last = &calls["calls"][2];
    assert_eq!((&last["function"], &last["version"]), (&"prints".into(), &"v1".into()));
    // A time from the log selects what came since, that call included.
    let at = calls["calls"][1]["at"].as_str().unwrap();
    let since = server.cli(&["logs", "--since", at]).exits(0).stdout();
    assert!((2..=3).contains(&heads(&since).len()), "{since}");
    server.cli(&["logs", "--since", "yesterday"]).exits(2).explains("how long ago");
    server.control("GET", "/api/v1/logs?since=1").send().is(400).problem("bad-query");
}

/// The stack is that of the function that trapped, also if it was called by a pipeline. Other calls
/// have none.
#[test]
fn a_trap_is_logged_with_its_backtrace() {
    let server = Nebula::start().deploy("prints", guests::PRINTS).deploy("panics", guests::PANICS);
    let pipeline = server.control("PUT", "/api/v1/pipelines/calls-panics").body(r#"{"steps":["panics"]}"#);
    pipeline.send().is(200);
    for function in ["panics", "calls-panics"] {
        server.post(&format!("/f/{function}"), "1").is(502);
        let logs = server.control("GET", &format!("/api/v1/functions/{function}/logs")).send().is(200).json();
        let frames = logs["calls"][0]["backtrace"].as_array().unwrap_or_else(|| panic!("{logs}"));
        let frames: Vec<_> = frames.iter().map(|frame| frame.as_str().unwrap()).collect();
        let at = |name: &str| {
            let found = frames.iter().position(|frame| frame.contains(name));
            found.unwrap_or_else(|| panic!("{name} isn't in {frames:?}"))
        };
        assert!(at("inner_named_function") < at("outer_named_function"), "{frames:?}");
        let printed = server.cli(&["logs", function]).exits(0).stdout();
        assert!(
            printed.lines().any(|line| line.starts_with("    ") && line.contains("inner_named_function")),
            "{printed}"
        );
    }
    server.post("/f/prints", "1").is(200);
    let logs = server.control("GET", "/api/v1/functions/prints/logs").send().is(200).json();
    assert!(logs["calls"][0].get("backtrace").is_none(), "{logs}");
}

#[test]
fn logs_survive_a_restart_and_a_removal_ends_them() {
    let server = Nebula::start().deploy("prints", guests::PRINTS);
    server.post("/f/prints", "1").is(200);
    let home = server.home();
    let before = server.cli(&["logs"]).exits(0).stdout();
    server.terminate_and_wait();
    let server = Nebula::start_over(home, &[]);
    assert_eq!(server.cli(&["logs"]).exits(0).stdout(), before);
    server.post("/f/prints", "2").is(200);
    assert_eq!(heads(&server.cli(&["logs"]).exits(0).stdout()).len(), 2);
    // A killed server has written what is older than a moment.
    let file = server.data_dir().join("logs.jsonl");
    eventually("the log is written", || {
        let lines = std::fs::read_to_string(&file).unwrap();
        (lines.lines().filter(|line| !line.is_empty()).count() == 2).then_some(())
    });
    let home = server.home();
    server.kill();
    let server = Nebula::start_over(home, &[]);
    assert_eq!(heads(&server.cli(&["logs", "prints"]).exits(0).stdout()).len(), 2);
    server.cli(&["remove", "prints"]).exits(0);
    server.cli(&["logs"]).exits(0).says("");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn followed_logs_are_printed_as_calls_end() {
    let server = Nebula::start().deploy("prints", guests::PRINTS).deploy("panics", guests::PANICS);
    server.post("/f/prints", "1").is(200);
    let mut child = command()
        .args(["logs", "--follow", "--json", "--function", "prints"])
        .args(server.remote_arguments())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["output"], "out 1\nerr 1\n");
    server.post("/f/panics", "1").is(502);
    server.post("/f/prints", "2").is(200);
    assert_eq!(next()["output"], "out 1\nerr 1\nout 2\nerr 2\n");
    server.post("/f/prints", "3").is(200);
    assert!(next()["output"].as_str().unwrap().ends_with("out 3\nerr 3\n"));
    // The command ends with its reader, even if nothing more is printed.
    drop(lines);
    let status = eventually("the command ends", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
