//! `/api/v1/stats`, the stats of one function, and `nebula stats`: the values against the calls that
//! were made, and against the metrics.

use std::collections::BTreeSet;

use nebula_tests::{Nebula, Scrape, eventually, guests};
use serde_json::{Value, json};

fn stats(nebula: &Nebula) -> Value {
    nebula.control("GET", "/api/v1/stats").send().is(200).has("content-type", "application/json").json()
}

fn stats_of(nebula: &Nebula, name: &str) -> Value {
    nebula.control("GET", &format!("/api/v1/functions/{name}/stats")).send().is(200).json()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// Returns the number of durations of a phase.
fn durations(counts: &Value, phase: &str) -> u64 {
    counts["phases"][phase]["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
}

/// Calls of every outcome, and a function that isn't called.
fn called() -> Nebula {
    let nebula = Nebula::start_with(&["--verify-share", "0"])
        .deploy("adds", guests::ADDS)
        .deploy("traps", guests::TRAPS)
        .deploy("idle", guests::GREETS);
    for sum in ["[1,2]", "[3,4]", "[1,2]", "[1,2]"] {
        nebula.post("/f/adds", sum).is(200);
    }
    nebula.post("/f/adds", r#"["one",2]"#).is(400);
    nebula.post("/f/traps", "").is(502);
    nebula.get("/f/absent").is(404);
    nebula
}

#[test]
fn counts_are_those_of_the_calls() {
    let nebula = called();
    let stats = stats(&nebula);
    let names: Vec<_> = stats["functions"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["adds", "traps"], "only functions that were called");
    let adds = &stats["functions"]["adds"];
    assert_eq!((&adds["calls"], &adds["errors"]), (&json!(5), &json!(1)));
    assert_eq!(adds["errors_by_code"], json!({"type-mismatch": 1}));
    let sources = json!({"memory": 2, "disk": 0, "merged": 0, "miss": 2, "uncached": 0, "refused": 1});
    assert_eq!(adds["sources"], sources);
    assert_eq!((&adds["input_bytes"], &adds["output_bytes"]), (&json!(4 * 5 + 9), &json!(4)));
    assert_eq!(durations(adds, "run"), 2);
    assert_eq!((durations(adds, "queue"), durations(adds, "start")), (2, 2));
    assert!(number(&adds["cold_starts"]) >= 1.0 && durations(adds, "load") >= 1, "{adds}");
    let runs = number(&adds["lanes"]["fast"]) + number(&adds["lanes"]["compute"]);
    assert!((runs - 2.0 - number(&adds["restarts"])).abs() < 1e-9, "{adds}");
    assert!(number(&adds["energy_joules"]) > 0.0 && number(&adds["saved_energy_joules"]) > 0.0, "{adds}");
    assert_eq!(stats["functions"]["traps"]["errors_by_code"], json!({"trap": 1}));
    assert_eq!((&stats["all"]["calls"], &stats["all"]["errors"]), (&json!(6), &json!(2)));
    let bounds = stats["bucket_bounds_us"].as_array().unwrap();
    assert_eq!((&bounds[0], bounds.last().unwrap()), (&json!(10), &json!(60_000_000)));

    let mut of_one = stats_of(&nebula, "adds");
    assert_eq!((&of_one["function"], &of_one["counts"]), (&json!("adds"), adds));
    assert_eq!(of_one["started_at_unix_us"], stats["started_at_unix_us"]);
    assert!(number(&of_one["at_unix_us"]) > number(&stats["at_unix_us"]));
    of_one = stats_of(&nebula, "idle");
    assert_eq!((&of_one["counts"]["calls"], &of_one["counts"]["errors_by_code"]), (&json!(0), &json!({})));
    assert_eq!(of_one["counts"]["phases"]["run"], json!({"counts": [], "sum_us": 0}));
    for (name, kind, status) in [("absent", "unknown-function", 404), ("No", "bad-name", 400)] {
        let answer = nebula.control("GET", &format!("/api/v1/functions/{name}/stats")).send();
        answer.is(status).problem(kind);
    }
}

/// Both have one source, so no call is in one of them alone.
#[test]
fn counts_are_those_of_the_metrics() {
    let nebula = called();
    let (stats, metrics) = (stats(&nebula), Scrape::of(&nebula.control("GET", "/metrics").send().is(200)));
    for name in ["adds", "traps"] {
        let (counts, labels) = (&stats["functions"][name], [("faas_name", name)]);
        for (metric, value) in [
            ("nebula_calls_total", number(&counts["calls"])),
            ("faas_errors_total", number(&counts["errors"])),
            ("faas_coldstarts_total", number(&counts["cold_starts"])),
            ("nebula_input_bytes_total", number(&counts["input_bytes"])),
            ("nebula_output_bytes_total", number(&counts["output_bytes"])),
            ("nebula_saved_seconds_total", number(&counts["saved_us"]) / 1e6),
            ("nebula_function_energy_joules_total", number(&counts["energy_joules"])),
        ] {
            metrics.is(metric, &labels, value);
        }
        let sum_s = number(&counts["phases"]["run"]["sum_us"]) / 1e6;
        let metric = metrics.sum("faas_invoke_duration_seconds_sum", &labels);
        assert!((sum_s - metric).abs() < 1e-6, "{sum_s} {metric}");
    }
    let server = &stats["server"];
    for (metric, labels, value) in [
        ("nebula_lane_calls_running_max", &[][..], &server["lane_running_max"]),
        ("nebula_lane_calls_waiting_max", &[], &server["lane_waiting_max"]),
        ("nebula_instances_max", &[], &server["instances_max"]),
        ("nebula_loaded_components", &[], &server["loaded_components"]),
        ("nebula_loaded_code_limit_bytes", &[], &server["loaded_code_bytes_max"]),
        ("nebula_cached_results", &[("tier", "memory")], &server["cached_results"]["memory"]["results"]),
        (
            "nebula_cached_results_size_limit_bytes",
            &[("tier", "disk")],
            &server["cached_results"]["disk"]["bytes_max"],
        ),
        ("nebula_connections_open", &[("plane", "data")], &server["connections"]["data"]),
    ] {
        metrics.is(metric, labels, number(value));
    }
    assert!(number(&server["memory_bytes"]) > 1e6 && number(&server["energy_joules"]) > 0.0, "{server}");
    assert!(["modelled", "measured"].contains(&server["energy_method"].as_str().unwrap()), "{server}");
    assert_eq!(server["connections"]["control"], 1);
    let build = metrics.series().into_keys().find(|name| name.starts_with("nebula_build_info{")).unwrap();
    assert!(build.contains("\"rustc\": \"1."), "{build}");
}

/// The stats have every function, and none of them takes the place of a series.
#[test]
fn reading_stats_takes_no_series() {
    let nebula = Nebula::start_with(&["--metrics-functions-max", "1"]);
    let nebula = ["a", "b", "c"].into_iter().fold(nebula, |nebula, name| nebula.deploy(name, guests::ADDS));
    nebula.post("/f/a", "[1,1]").is(200);
    nebula.post("/f/b", "[1,1]").is(200);
    nebula.post("/f/b", "[1,1]").is(200);
    for _ in 0..3 {
        assert_eq!(stats(&nebula)["functions"].as_object().unwrap().len(), 2);
        stats_of(&nebula, "c");
    }
    let metrics = Scrape::of(&nebula.control("GET", "/metrics").send().is(200));
    assert_eq!(metrics.values_of("nebula_calls_total", "faas_name"), ["_other", "b"]);
    assert_eq!(stats(&nebula)["functions"].as_object().unwrap().len(), 2);
}

/// A function that is removed and deployed again begins at 0, and the sum has the calls of both.
#[test]
fn a_removed_function_is_left_out() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    nebula.post("/f/adds", "[1,2]").is(200);
    nebula.control("DELETE", "/api/v1/functions/adds").send().is(204);
    let gone = stats(&nebula);
    assert_eq!((&gone["functions"], &gone["all"]["calls"]), (&json!({}), &json!(1)));
    let nebula = nebula.deploy("adds", guests::ADDS);
    nebula.post("/f/adds", "[1,2]").is(200);
    let again = stats(&nebula);
    assert_eq!((&again["functions"]["adds"]["calls"], &again["all"]["calls"]), (&json!(1), &json!(2)));
    assert_eq!(again["started_at_unix_us"], gone["started_at_unix_us"]);
}

/// A call in flight is seen as an instance that runs, and a pipeline has counts of its own.
#[test]
fn calls_in_flight_and_pipelines_are_shown() {
    let nebula = Nebula::start().deploy("reverses", guests::REVERSES);
    nebula.put("loops?deadline_ms=20000", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let pipeline = json!({"steps": ["reverses", "reverses"], "fuse": "never"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/twice").body(pipeline).send().is(200);
    nebula.post("/f/twice", r#""YWJj""#).is(200);
    assert_eq!(stats_of(&nebula, "twice")["counts"]["calls"], 1);
    assert_eq!(stats_of(&nebula, "reverses")["counts"]["calls"], 2);
    assert_eq!(stats(&nebula)["server"]["instances_running"], 0);
    std::thread::scope(|scope| {
        // Ends with the server.
        scope.spawn(|| nebula.request("POST", "/f/loops").try_send());
        eventually("the call runs on the compute lane", || {
            let stats = stats(&nebula);
            let server = &stats["server"];
            let runs = server["lane_running"] == 1 && server["instances_running"] == 1;
            runs.then_some(())
        });
        nebula.send_kill();
    });
}

/// Names of functions are the only keys that aren't fixed: the contract of a client that reads all.
#[test]
fn every_count_has_all_fields() {
    let nebula = called();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let stats = stats(&nebula);
    let all = fields(&stats["all"]);
    assert_eq!(all.len(), 14, "{all:?}");
    for counts in
        [&stats["functions"]["adds"], &stats["functions"]["traps"], &stats_of(&nebula, "idle")["counts"]]
    {
        assert_eq!(fields(counts), all);
        assert_eq!(fields(&counts["phases"]), fields(&stats["all"]["phases"]));
    }
}

#[test]
fn the_command_shows_the_counts_of_a_function() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("traps", guests::TRAPS);
    for sum in ["[1,2]", "[3,4]", "[1,2]", "[1,2]"] {
        nebula.post("/f/adds", sum).is(200);
    }
    nebula.post("/f/adds", r#"["one",2]"#).is(400);
    let text = nebula.cli(&["stats", "adds"]).exits(0).stdout();
    for line in [
        "adds\n",
        "  calls      5: 4 answered, 1 failed\n",
        "  error      1 type-mismatch\n",
        "  source     2 memory, 0 disk, 0 merged, 2 miss, 0 uncached, 1 refused\n",
        "  hit ratio  50 %\n",
        "  bytes      29 B in, 4 B out\n",
        "  percentiles are estimated within buckets: 10 µs, 25 µs, 100 µs, 250 µs, 1 ms, ",
    ] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
    let row = text.lines().find(|line| line.starts_with("  run ")).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!((cells[0], cells[1], cells.len()), ("run", "2", 10), "{row}");

    let json = nebula.cli(&["stats", "adds", "--json"]).exits(0).json();
    assert_eq!((&json["function"], &json["counts"]["calls"]), (&"adds".into(), &5.into()));
    assert!((json["hit_ratio"].as_f64().unwrap() - 0.5).abs() < 1e-9, "{json}");
    let of_run = &json["percentiles_us"]["run"];
    let [p50, p99] = ["p50", "p99"].map(|name| of_run[name].as_f64().unwrap());
    assert!(p50 > 0.0 && p99 >= p50, "{of_run}");

    nebula.cli(&["stats", "traps"]).exits(0).says(&format!(
        "traps\n{}  calls      0: 0 answered, 0 failed\n  source     0 memory, 0 disk, 0 merged, 0 miss, 0 uncached, 0 refused\n  \
         hit ratio  -\n  lane       0 fast, 0 compute, 0 restarted\n  cold       0 waited for the code to be loaded\n  \
         bytes      0 B in, 0 B out\n  cpu        0 µs\n  energy     0 J, modelled\n  saved      0 µs, 0 J modelled\n",
        since(&nebula)
    ));
    nebula.cli(&["stats", "absent"]).exits(7).explains("cannot show the stats of `absent`");
    nebula.cli(&["stats"]).exits(2);
}

/// Returns the line about the start of the server, which differs between runs.
fn since(nebula: &Nebula) -> String {
    let text = nebula.cli(&["stats", "traps"]).exits(0).stdout();
    let line = text.lines().find(|line| line.starts_with("  since ")).unwrap();
    assert!(line.contains("Z, the server's start ") && line.ends_with(" ago"), "{line}");
    format!("{line}\n")
}
