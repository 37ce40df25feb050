//! `deploy/`: the dashboard, the alerts and the configuration of Prometheus, in a real Prometheus that
//! scrapes a real server under load.
//!
//! `dashboard` checks the dashboard's JSON, and `alerts` the rules and their document.

mod alerts;
mod dashboard;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nebula_tests::{NamedMetrics, Nebula, Prometheus, Scrape, WAIT_MAX, guests, promtool, series_value, wat};
use regex_lite::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::dashboard::Dashboard;

/// The labels that Prometheus adds to what it scrapes.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// The metrics that Prometheus itself has of each target.
const TARGET_METRICS: [&str; 1] = ["up"];

/// The queries of the dashboard that have no data here, each with the reason.
const WITHOUT_DATA: &[(&str, &str)] = &[];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(file: &str) -> String {
    let path = folder().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies the configuration of Prometheus with its rules, for this server. It scrapes and evaluates
/// every second.
///
/// A second copy of the rules has every `for` shortened to a second, because a test can't wait for five
/// minutes.
fn configuration(nebula: &Nebula) -> TempDir {
    let mut configuration = read("prometheus/prometheus.yml");
    for (shipped, used) in [
        ("127.0.0.1:8081", nebula.control_address().to_string()),
        ("/etc/prometheus/nebula-token", nebula.data_dir().join("token").display().to_string()),
        ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        ("evaluation_interval: 15s", "evaluation_interval: 1s".to_owned()),
        ("  - nebula.rules.yml", "  - nebula.rules.yml\n  - hasty.rules.yml".to_owned()),
    ] {
        assert!(configuration.contains(shipped), "no `{shipped}` in {configuration}");
        configuration = configuration.replace(shipped, &used);
    }
    let rules = read("prometheus/nebula.rules.yml");
    let hasty = Regex::new("for: [0-9]+m").unwrap().replace_all(&rules, "for: 1s").into_owned();
    let home = tempfile::tempdir().unwrap();
    for (name, content) in
        [("prometheus.yml", configuration), ("nebula.rules.yml", rules), ("hasty.rules.yml", hasty)]
    {
        std::fs::write(home.path().join(name), content).unwrap();
    }
    home
}

#[test]
#[ignore = "needs promtool, which `cargo xtask test` downloads"]
fn promtool_accepts_the_rules_and_the_configuration() {
    let folder = folder().join("prometheus");
    let checked = promtool(&folder, &["check", "rules", "--lint=all", "--lint-fatal", "nebula.rules.yml"]);
    assert!(checked.contains("SUCCESS"), "{checked}");
    let tested = promtool(&folder, &["test", "rules", "nebula.rules.test.yml"]);
    assert!(tested.contains("SUCCESS"), "{tested}");
    let nebula = Nebula::start();
    let home = configuration(&nebula);
    let checked = promtool(home.path(), &["check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"]);
    assert!(checked.matches("SUCCESS").count() >= 3, "{checked}");
}

/// Makes calls of every outcome, deploys and runs of pipelines.
fn round(nebula: &Nebula, round: usize) {
    // A new component, whose code has to be loaded.
    let component = wat(&format!(
        r#"(component
            (core module $m (func (export "handle") (param i32) (result i32)
                (i32.add (local.get 0) (i32.const {round}))))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "n" u32) (result u32) (canon lift (core func $i "handle"))))"#
    ));
    nebula.put("adds-round", &component).is(200);
    nebula.post("/f/adds-round", "1").is(200).says(&(round + 1).to_string());
    nebula.put("broken", b"no component").is(400);
    let pipeline =
        json!({"steps": ["reverses", {"all": ["reverses", "reverses"]}], "calls_max": 1000 + round});
    nebula.control("PUT", "/api/v1/pipelines/twice").body(pipeline.to_string()).send().is(200);
    nebula.post("/f/twice", &format!("\"{}\"", nebula_tests::base64(&round.to_le_bytes()))).is(200);
    for call in 0..40 {
        nebula.post("/f/adds", &format!("[{round},{call}]")).is(200);
    }
    // Repeated without parsing: one in 64 is timed.
    for _ in 0..100 {
        nebula.post("/f/adds", "[1,2]").is(200);
    }
    nebula.post("/f/adds", r#"["one",2]"#).is(400);
    for _ in 0..5 {
        nebula.post("/f/traps", "").is(502);
    }
    // One gets the only slot and passes its deadline. The server has no room for the other, which isn't
    // merged with it because the function isn't cached.
    std::thread::scope(|scope| {
        let call = || nebula.post("/f/loops", "").status();
        let calls = [scope.spawn(call), scope.spawn(call)].map(|call| call.join().unwrap());
        assert!(calls.iter().all(|status| [503, 504].contains(status)), "{calls:?}");
    });
    nebula.get("/f/absent").is(404);
}

/// Sets a flag when it is dropped, also by a test that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until nothing is missing, and fails the test with what still is.
#[track_caller]
fn until_nothing_is_missing(mut missing: impl FnMut() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let still = missing();
        if still.is_empty() {
            return;
        }
        assert!(started.elapsed() < WAIT_MAX, "still missing:\n{}", still.join("\n"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One server, one Prometheus: what the dashboard and the alerts ask for is there.
#[test]
#[ignore = "needs Prometheus, which `cargo xtask test` downloads"]
fn the_dashboard_and_the_alerts_work_under_load() {
    // One long call at a time, and none that waits: a second one is shed.
    let nebula = Nebula::start_with(&["--calls-max", "1", "--queue-max", "0"])
        .deploy("adds", guests::ADDS)
        .deploy("traps", guests::TRAPS)
        .deploy("reverses", guests::REVERSES);
    nebula.put("loops?deadline_ms=300&cache=off", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let prometheus = Prometheus::start(configuration(&nebula));
    let dashboard = Dashboard::read();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| !done.load(Ordering::Relaxed)).for_each(|it| round(&nebula, it)));
        let _stop = Stop(&done);
        until_nothing_is_missing(|| {
            let has_data = |query: &str| {
                let series = prometheus.series(&dashboard::interpolated(query)).unwrap_or_default();
                series.iter().filter_map(series_value).next().is_some()
            };
            let queries = dashboard.queries();
            let expected = queries.filter(|query| !WITHOUT_DATA.iter().any(|(without, _)| without == query));
            expected.filter(|query| !has_data(query)).map(str::to_owned).collect()
        });
        for (query, reason) in WITHOUT_DATA {
            let series = prometheus.series(&dashboard::interpolated(query)).unwrap();
            assert!(series.is_empty(), "`{query}` has data, though {reason}: {series:?}");
        }
        until_nothing_is_missing(|| alerts_missing(&prometheus));
    });
    no_other_function_fails(&prometheus);
    names_exist(&nebula, &prometheus, &dashboard);
}

/// Returns which alert about the failing function isn't there yet: the shipped one waits, the one
/// without a wait fires.
fn alerts_missing(prometheus: &Prometheus) -> Vec<String> {
    let alerts = active_alerts(prometheus);
    let is_about = |alert: &Value, name: &str| {
        alert["labels"]["alertname"] == "NebulaFunctionFails" && alert["labels"]["faas_name"] == name
    };
    let states = |name: &str| -> BTreeSet<_> {
        let about = alerts.iter().filter(|alert| is_about(alert, name));
        about.filter_map(|alert| alert["state"].as_str()).collect()
    };
    let mut missing = Vec::new();
    for name in ["traps", "loops"] {
        for state in ["pending", "firing"] {
            if !states(name).contains(state) {
                missing.push(format!("`{name}` is {state}, in {alerts:?}"));
            }
        }
    }
    missing
}

fn active_alerts(prometheus: &Prometheus) -> Vec<Value> {
    let answer = prometheus.get("alerts").unwrap_or_default();
    answer["data"]["alerts"].as_array().cloned().unwrap_or_default()
}

/// Functions that work aren't reported, and neither is a server that does.
fn no_other_function_fails(prometheus: &Prometheus) {
    for alert in active_alerts(prometheus) {
        let labels = &alert["labels"];
        assert_ne!(labels["severity"], "critical", "{alert}");
        if labels["alertname"] == "NebulaFunctionFails" {
            assert!(labels["faas_name"] == "traps" || labels["faas_name"] == "loops", "{alert}");
            assert_eq!(labels["severity"], "warning", "{alert}");
            let summary = alert["annotations"]["summary"].as_str().unwrap();
            assert!(summary.contains("fails in ") && summary.contains('%'), "{alert}");
        }
    }
}

/// Each metric and label in the dashboard and in the alerts is one of a scrape.
fn names_exist(nebula: &Nebula, prometheus: &Prometheus, dashboard: &Dashboard) {
    let scrape = Scrape::of(&nebula.control("GET", "/metrics").send().is(200));
    let rules = alerts::loaded(prometheus);
    let of_rules = rules.iter().map(|rule| rule.query.as_str());
    let mut names = BTreeSet::new();
    for query in dashboard.queries().chain(of_rules) {
        let NamedMetrics { metrics, grouped_by } = NamedMetrics::of(query);
        assert!(!metrics.is_empty(), "{query}");
        let mut known: BTreeSet<_> = TARGET_LABELS.into_iter().collect();
        for (name, labels) in &metrics {
            if TARGET_METRICS.contains(&name.as_str()) {
                continue;
            }
            let has = scrape.labels(name).unwrap_or_else(|| panic!("no metric `{name}`: {query}"));
            let own = labels.iter().filter(|label| !TARGET_LABELS.contains(&label.as_str()));
            own.for_each(|label| {
                assert!(has.contains(label.as_str()), "no label `{label}` of `{name}`: {query}")
            });
            known.extend(has);
            names.insert(name.clone());
        }
        for label in &grouped_by {
            assert!(known.contains(label.as_str()), "no label `{label}`: {query}");
        }
    }
    assert!(names.len() > 40, "{names:?}");
    for dashboard::LabelValues { metric, label, labels } in dashboard.variables() {
        let has = scrape.labels(&metric).unwrap_or_else(|| panic!("no metric `{metric}`"));
        let known = |label: &str| has.contains(label) || TARGET_LABELS.contains(&label);
        assert!(known(&label) && labels.iter().all(|label| known(label)), "{metric} {label} {labels:?}");
    }
}
