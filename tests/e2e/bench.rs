//! `nebula bench`: loads of real servers. Nothing is asserted about their speed, only about what is
//! counted and how it ends.

use std::process::{Child, Output, Stdio};

use nebula_tests::{Nebula, TestCa, TlsServer, command, eventually, guests, nebula};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A short load. At 200 requests a second, 100 are due in it.
const SHORT: [&str; 6] = ["--duration", "500ms", "--warm-up", "100ms", "--connections", "2"];

/// Starts a load in the background.
fn spawn(server: &Nebula, duration: &str) -> Child {
    command()
        .args([
            "bench",
            "adds",
            "1",
            "2",
            "--json",
            "--rate",
            "50",
            "--duration",
            duration,
            "--warm-up",
            "0s",
        ])
        .args(server.remote_arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the server has answered more calls than the one that checks the function.
fn wait_for_calls(server: &Nebula) {
    eventually("the load has begun", || {
        let report = server.control("GET", "/api/v1/cache").send().is(200).json();
        let hits =
            report["functions"].as_array()?.iter().find(|function| function["name"] == "adds")?["hits"]
                .as_u64()?;
        (hits >= 5).then_some(())
    });
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_report_has_counts_latencies_the_server_and_modelled_energy() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let load =
        [&["bench", "adds", "1", "2", "--rate", "200", "--grid", "473", "--json"], &SHORT[..]].concat();
    let report = server.cli(&load).exits(0).json();
    assert_eq!(report["function"], "adds");
    assert_eq!(report["version"], "adds@v1");
    assert_eq!(report["url"], format!("http://{}/f/adds", server.calls_address()));
    assert_eq!((&report["load"]["rate_per_s"], &report["load"]["connections"]), (&200.0.into(), &2.into()));
    assert_eq!(report["load"]["arrivals"], "constant");
    let requests = &report["requests"];
    assert_eq!(
        (&requests["due"], &requests["answered"], &requests["values"]),
        (&100.into(), &100.into(), &100.into())
    );
    assert_eq!((&requests["failed"], &requests["unanswered"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(report["statuses"], serde_json::json!({"200": 100}));
    // The call that checked the function has left its result.
    assert_eq!(report["cache"], serde_json::json!({"hits": 100, "runs": 0, "merged": 0, "unknown": 0}));
    let us = |name: &str| report["latency_us"][name].as_f64().unwrap();
    let percentiles = ["p50", "p90", "p99", "p99.9", "max"].map(us);
    assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{report}");
    let bars = report["histogram"].as_array().unwrap();
    assert_eq!(bars.iter().map(|bar| bar["requests"].as_u64().unwrap()).sum::<u64>(), 100);
    assert!(bars.last().unwrap()["up_to_us"].as_f64() >= Some(percentiles[3] * 0.99));

    assert_eq!(report["server"]["pid"], server.pid());
    assert!(report["server"]["memory_peak_bytes"].as_u64() > Some(1 << 20), "{report}");
    assert!(report["server"]["cpu_us_per_call"].as_f64() > Some(0.0), "{report}");
    assert_eq!(report["energy"]["kind"], "modelled");
    for range in ["uj_per_call", "carbon_g_per_million_calls"] {
        let bound = |name: &str| report["energy"][range][name].as_f64().unwrap();
        assert!(
            0.0 < bound("low") && bound("low") < bound("typical") && bound("typical") < bound("high"),
            "{report}"
        );
    }
    assert!(report["generator"]["kept_up"].is_boolean());
    for absent in ["stopped", "goal", "search", "server_unknown"] {
        assert!(
            report[absent].is_null() && report.as_object().unwrap().contains_key(absent),
            "{absent}: {report}"
        );
    }
}

#[test]
fn fresh_requests_run_the_function() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let load = [&["bench", "adds", "1", "2", "--rate", "100", "--fresh", "--json"], &SHORT[..]].concat();
    let report = server.cli(&load).exits(0).json();
    assert_eq!(report["fresh"], true);
    assert_eq!(
        report["cache"],
        serde_json::json!({"hits": 0, "runs": 50, "merged": 0, "unknown": 0}),
        "{report}"
    );
    assert!(report["energy"].is_null(), "energy isn't modelled for few calls");
    // Nothing was kept.
    assert_eq!(
        server.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).header("cache-status"),
        Some("nebula; fwd=miss; stored")
    );
}

#[test]
fn the_text_has_a_histogram_and_says_what_was_measured() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let load = [&["bench", "adds", "1", "2", "--rate", "300", "--arrivals", "poisson"], &SHORT[..]].concat();
    let run = server.cli(&load).exits(0);
    let text = run.stdout();
    for part in [
        "adds@v1 at http://",
        "300/s for ",
        "poisson arrivals, 2 connections",
        "(100 %)   runs 0   (`--fresh` measures runs)",
        "failures    none",
        "latency     p50 ",
        " of processor time per call, peak memory ",
        "energy      modelled: ",
        "generator   ",
    ] {
        assert!(text.contains(part), "no `{part}`: {run:?}");
    }
    assert!(
        text.lines().any(|line| line.starts_with("  ≤ ") && line.contains('█') && line.ends_with('%')),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    // Progress is for terminals.
    assert!(run.stderr().lines().all(|line| line.starts_with("warning: ")), "{run:?}");
}

#[test]
fn a_functions_own_errors_are_answers() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let load =
        [&["bench", "adds", "9223372036854775807", "1", "--rate", "100", "--json"], &SHORT[..]].concat();
    let report = server.cli(&load).exits(0).json();
    assert_eq!(report["requests"]["own_errors"], 50, "{report}");
    assert_eq!((&report["requests"]["values"], &report["requests"]["failed"]), (&0.into(), &0.into()));
    assert_eq!(report["statuses"], serde_json::json!({"422": 50}));
}

/// The function is removed during the load.
#[test]
fn failures_are_counted_by_kind() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let child = spawn(&server, "4s");
    wait_for_calls(&server);
    server.control("DELETE", "/api/v1/functions/adds").send().is(204);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let (answered, failed) = (&report["requests"]["answered"], &report["requests"]["failed"]);
    assert!(answered.as_u64() >= Some(5) && failed.as_u64() > Some(0), "{report}");
    assert_eq!(report["failures"], serde_json::json!({"unknown-function": failed}));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let server = Nebula::start().deploy("adds", guests::ADDS).deploy("panics", guests::PANICS);
    let refused = |arguments: &[&str], code, part: &str| {
        let run = server.cli(&[&["bench"], arguments].concat()).exits(code).explains(part);
        assert_eq!(run.stdout(), "", "{run:?}");
    };
    refused(&["panics", "1"], 5, "`panics` gave no answer, so there is nothing to measure");
    refused(&["none", "1"], 7, "there is no function `none`");
    refused(&["adds", "{}"], 4, "so there is nothing to measure");
    // A single call takes longer than a nanosecond.
    refused(&["adds", "1", "2", "--goal", "p50=1ns", "--warm-up", "0s"], 1, "no rate holds p50=1ns");
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for (arguments, part) in [
        (&["adds", "--rate", "0"][..], "a rate is a number of requests per second, from 0.1 to 1000000"),
        (&["adds", "--rate", "fast"], "a rate is a number"),
        (&["adds", "--goal", "p99"], "a goal is a percentile and its latency, such as `p99=5ms`"),
        (&["adds", "--duration", "10"], "a time from 100ms to 1h"),
        (&["adds", "--warm-up", "2m"], "a time from 0s to 1m"),
        (&["adds", "--timeout", "0s"], "a time from 1ms to 5m"),
        (&["adds", "--connections", "0"], "0 is not in 1..=256"),
        (&["adds", "--connections", "257"], "257 is not in 1..=256"),
        (&["adds", "--arrivals", "often"], "possible values: constant, poisson"),
        (&["adds", "--grid", "-1"], "an intensity is a number"),
        (&["adds", "--rate", "1", "--duration", "500ms"], "at 1/s no request is due within 500 ms"),
        (&["adds", "--url", "http://nebula.invalid"], "http://nebula.invalid isn't on this machine"),
        (&["adds", "--url", "http://nebula.invalid"], "hint: give `--allow-remote`"),
        (&["./adds.wasm"], "is not a function name"),
        (&[], "<FUNCTION>"),
    ] {
        nebula(&[&["bench"], arguments].concat()).exits(2).says("").explains(part);
    }
}

#[test]
fn a_goal_decides_the_exit_code_at_a_rate() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let load = |goal: &str| {
        let arguments = ["bench", "adds", "1", "2", "--rate", "100", "--json", "--goal", goal];
        server.cli(&[&arguments[..], &SHORT].concat())
    };
    let held = load("p50=1m").exits(0).json();
    assert_eq!((&held["goal"]["held"], &held["goal"]["percentile"]), (&true.into(), &50.0.into()));
    let missed = load("p99.9=1us").exits(1).explains("`adds` misses p99.9=1");
    assert_eq!(missed.json()["goal"]["held"], false);
    assert!(missed.json()["goal"]["seen_us"].as_f64() > Some(1.0), "{missed:?}");
}

/// The result depends on the machine, the form of the report doesn't.
#[test]
fn a_search_tells_each_step() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let search = ["bench", "adds", "1", "2", "--goal", "p90=20ms", "--timeout", "500ms", "--json"];
    let run = server
        .cli(&[&search[..], &["--duration", "100ms", "--warm-up", "100ms", "--connections", "2"]].concat());
    let report = run.json();
    let steps = report["search"]["steps"].as_array().unwrap();
    assert!(!steps.is_empty() && steps.len() <= 31, "{run:?}");
    for step in steps {
        let held = step["seen_us"].as_f64() <= Some(20_000.0) && step["failed_share"].as_f64() <= Some(0.001);
        assert_eq!(step["verdict"] == "held", held, "{step}");
        assert!(step["rate_per_s"].as_f64() >= Some(0.1), "{step}");
    }
    // The last step is the measurement.
    assert_eq!(steps.last().unwrap()["rate_per_s"], report["load"]["rate_per_s"]);
    let held = report["goal"]["held"] == true;
    let expected = if held { report["load"]["rate_per_s"].clone() } else { Value::Null };
    assert_eq!(report["search"]["rate_per_s"], expected);
    run.exits(if held { 0 } else { 1 });
}

#[test]
fn a_server_that_ends_ends_the_load() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let child = spawn(&server, "10m");
    wait_for_calls(&server);
    server.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let report = json(&output);
    assert_eq!(report["stopped"], "server-gone");
    assert!(report["requests"]["answered"].as_u64() >= Some(5), "{report}");
    assert!(report["failures"]["no-connection"].as_u64() > Some(0), "{report}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.lines().last().unwrap().contains("the server was gone after"), "{error}");
}

#[test]
fn ctrl_c_prints_what_was_measured() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let child = spawn(&server, "10m");
    wait_for_calls(&server);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert_eq!(report["stopped"], "interrupted");
    assert!(report["measured_ms"].as_f64() < report["load"]["duration_ms"].as_f64(), "{report}");
    assert!(report["requests"]["answered"].as_u64() >= Some(5), "{report}");
}

#[test]
fn servers_behind_tls_are_measured() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let ca = TestCa::new();
    let secure = TlsServer::start(&ca, "localhost", server.calls_address());
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, ca: &TestCa| {
        std::fs::write(home.path().join(name), ca.pem()).unwrap();
        home.path().join(name).display().to_string()
    };
    let (trusted, other) = (file("ca.pem", &ca), file("other.pem", &TestCa::new()));
    let url = format!("https://localhost:{}", secure.port());
    let load = |ca: &str| {
        let arguments = ["bench", "adds", "1", "2", "--rate", "50", "--json", "--url", &url, "--ca", ca];
        nebula(&[&arguments[..], &SHORT].concat())
    };
    let report = load(&trusted).exits(0).json();
    assert_eq!((&report["requests"]["answered"], &report["server"]), (&25.into(), &Value::Null), "{report}");
    let reason = report["server_unknown"].as_str().unwrap();
    assert!(reason.contains(&format!("process {} (`", std::process::id())), "{reason}");
    load(&other).exits(6).explains("no secure connection");
}
