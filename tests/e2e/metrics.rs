//! `/metrics`: the values against the calls that were made, both formats, authorization, the bound on
//! series, and promtool.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use nebula_tests::{Answer, Nebula, Prometheus, Scrape, eventually, guests, lint, wat};
use serde_json::json;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A typed function that returns its number.
const SAME: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" u32) (result u32) (canon lift (core func $i "handle"))))"#;

fn scrape(nebula: &Nebula) -> Scrape {
    let answer = nebula.control("GET", "/metrics").send().is(200);
    Scrape::of(&answer.has("content-type", "text/plain; version=0.0.4; charset=utf-8"))
}

fn function(name: &str) -> [(&str, &str); 1] {
    [("faas_name", name)]
}

/// Makes calls of every outcome.
fn mixed_traffic() -> Nebula {
    let nebula = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("traps", guests::TRAPS)
        .deploy("mirror", guests::MIRRORS_REQUEST)
        .deploy("payload", guests::MIRRORS_PAYLOAD)
        .deploy("reverses", guests::REVERSES);
    nebula.put("loops?deadline_ms=1000", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let pipeline = json!({"steps": ["reverses", "reverses"], "fuse": "never"}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/twice").body(pipeline).send().is(200);
    nebula.control("PUT", "/api/v1/pipelines/broken").body(r#"{"steps": ["nowhere"]}"#).send().is(422);

    for sum in [json!([1, 2]), json!([3, 4]), json!([5, 6])] {
        nebula.post("/f/adds", &sum.to_string()).is(200);
    }
    for _ in 0..5 {
        nebula.post("/f/adds", "[1,2]").is(200);
    }
    nebula.post("/f/adds", r#"["one",2]"#).is(400).problem("type-mismatch");
    nebula.post("/f/traps", "").is(502).problem("trap");
    nebula.post("/f/loops", "").is(504).problem("deadline-exceeded");
    nebula.request("PATCH", "/f/mirror/path").body("the body").send().is(200);
    nebula.request("POST", "/f/payload").body("payload").send().is(200).says("payload");
    nebula.post("/f/twice", r#""YWJj""#).is(200).says(r#""YWJj""#);
    nebula.get("/f/absent").is(404);
    nebula
}

#[test]
fn values_are_those_of_the_calls() {
    let nebula = mixed_traffic();
    let metrics = scrape(&nebula);
    metrics
        .is("faas_invocations_total", &function("adds"), 8.0)
        .is(
            "faas_errors_total",
            &[("faas_name", "adds"), ("error_type", "type-mismatch"), ("fault", "caller")],
            1.0,
        )
        .is("faas_errors_total", &function("adds"), 1.0)
        .is("nebula_calls_total", &[("faas_name", "adds"), ("source", "memory")], 5.0)
        .is("nebula_calls_total", &[("faas_name", "adds"), ("source", "miss")], 3.0)
        .is("nebula_calls_total", &[("faas_name", "adds"), ("source", "refused")], 1.0)
        .is("nebula_calls_total", &function("adds"), 9.0)
        .is("nebula_results_stored_total", &function("adds"), 3.0)
        .is("nebula_runs_total", &function("adds"), 3.0)
        .is("faas_invoke_duration_seconds_count", &function("adds"), 3.0)
        .is("nebula_start_duration_seconds_count", &function("adds"), 3.0)
        .is("nebula_queue_duration_seconds_count", &function("adds"), 3.0)
        .is("nebula_input_bytes_total", &function("adds"), 8.0 * 5.0 + 9.0)
        .is("nebula_output_bytes_total", &function("adds"), 6.0 + 1.0 + 2.0);
    assert!(metrics.sum("faas_coldstarts_total", &function("adds")) >= 1.0);
    assert!(metrics.sum("faas_cpu_usage_seconds_total", &function("adds")) > 0.0);
    assert!(
        metrics.sum("nebula_function_energy_joules_total", &[("faas_name", "adds"), ("method", "modelled")])
            > 0.0
    );
    metrics
        .is("faas_errors_total", &[("faas_name", "traps"), ("error_type", "trap"), ("fault", "guest")], 1.0)
        .is("faas_invocations_total", &function("traps"), 0.0)
        .is("faas_timeouts_total", &function("loops"), 1.0)
        .is("faas_errors_total", &[("faas_name", "loops"), ("error_type", "deadline-exceeded")], 1.0)
        .is("nebula_restarts_total", &function("loops"), 1.0)
        .is("nebula_runs_total", &[("faas_name", "loops"), ("lane", "compute")], 1.0)
        .is("faas_invocations_total", &function("mirror"), 1.0)
        .is("nebula_input_bytes_total", &function("mirror"), 8.0)
        .is("faas_invocations_total", &function("payload"), 1.0)
        .is("faas_invocations_total", &function("twice"), 1.0)
        // The steps are calls of their function.
        .is("faas_invocations_total", &function("reverses"), 2.0)
        .is("nebula_runs_total", &[("faas_name", "reverses"), ("lane", "compute")], 2.0)
        .is("nebula_errors_total", &[("error_type", "trap")], 1.0)
        .is("nebula_errors_total", &[], 3.0);
    assert!(!metrics.has("faas_invocations_total", &function("_other")));
    assert!(!metrics.has("faas_invocations_total", &function("absent")));

    metrics
        .is("nebula_deploys_total", &[("kind", "component"), ("outcome", "done")], 6.0)
        .is("nebula_deploys_total", &[("kind", "pipeline"), ("outcome", "done")], 1.0)
        .is("nebula_deploys_total", &[("kind", "pipeline"), ("outcome", "failed")], 1.0)
        .is("nebula_lane_calls_running", &[], 0.0)
        .is("nebula_lane_calls_running_max", &[], 64.0)
        .is("nebula_instances_running", &[("lane", "fast")], 0.0)
        .is("nebula_instances_running", &[("lane", "compute")], 0.0)
        .is("nebula_compilers_running", &[], 0.0)
        .is("nebula_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0)
        .is("nebula_request_bodies_bytes", &[], 0.0)
        .is("nebula_request_bodies_held", &[], 0.0)
        .is("nebula_request_bodies_refused_total", &[], 0.0)
        .is("nebula_responses_total", &[("plane", "data"), ("http_response_status_code", "502")], 1.0)
        .is("nebula_responses_total", &[("plane", "data"), ("http_response_status_code", "404")], 1.0);
    // The scrape itself is in flight, on a connection of its own plane.
    metrics.is("http_server_active_requests", &[("plane", "control")], 1.0);
    let answered = metrics.sum("nebula_responses_total", &[("plane", "data")]);
    metrics.is("http_server_request_duration_seconds_count", &[("plane", "data")], answered);
    // 9 calls of `adds`, 5 others, and one that named no function.
    metrics.is("nebula_repeated_responses_total", &[], 15.0 - answered);
    for at_least_one in [
        "nebula_connections_accepted_total",
        "nebula_connections_open",
        "nebula_loaded_components",
        "nebula_loaded_code_bytes",
        "nebula_code_reads_total",
        "nebula_cached_results",
        "nebula_energy_joules_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "process_start_time_seconds",
    ] {
        assert!(metrics.sum(at_least_one, &[]) > 0.0, "{at_least_one}");
    }
}

/// Hits that were repeated without parsing are counted as exactly as any other, and a sample of them
/// is timed.
#[test]
fn repeated_hits_are_counted() {
    let nebula = Nebula::start_with(&["--verify-share", "0"]).deploy("adds", guests::ADDS);
    for _ in 0..300 {
        nebula.post("/f/adds", "[1,2]").is(200).says("3");
    }
    let metrics = scrape(&nebula);
    metrics
        .is("faas_invocations_total", &function("adds"), 300.0)
        .is("nebula_calls_total", &[("faas_name", "adds"), ("source", "memory")], 299.0)
        .is("nebula_input_bytes_total", &function("adds"), 1500.0)
        .is("nebula_output_bytes_total", &function("adds"), 300.0);
    let repeated = metrics.sum("nebula_repeated_responses_total", &[]);
    assert!(repeated > 200.0, "{repeated}");
    let sampled = metrics.sum("nebula_repeated_response_duration_seconds_count", &[]);
    assert!((1.0..20.0).contains(&sampled), "{sampled} of {repeated}");
}

#[test]
fn a_scraper_chooses_the_format() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    nebula.post("/f/adds", "[1,2]").is(200);
    let get = |accept: &str| nebula.control("GET", "/metrics").header("accept", accept).send().is(200);
    let openmetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let answer = get(openmetrics).has("content-type", OPENMETRICS);
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE faas_invocations counter\n"), "{text}");
    assert!(text.contains("# UNIT faas_invoke_duration_seconds seconds\n"), "{text}");
    assert!(text.contains("faas_invocations_total{faas_name=\"adds\"} 1\n"), "{text}");
    for plain in ["text/plain", "*/*", "application/openmetrics-text;version=0.0.1, */*;q=0.1"] {
        let answer = get(plain).has("content-type", "text/plain; version=0.0.4; charset=utf-8");
        assert!(!answer.text().contains("# EOF"), "{plain}");
        assert!(answer.text().contains("# TYPE faas_invocations_total counter\n"), "{plain}");
    }
}

/// Returns the address of the metrics, which the server prints last.
fn metrics_address(nebula: &Nebula) -> String {
    eventually("the server prints the address of the metrics", || {
        let printed = nebula.stdout();
        let url = printed.lines().find_map(|line| line.strip_prefix("metrics  "))?;
        Some(url.strip_prefix("http://")?.strip_suffix("/metrics")?.to_owned())
    })
}

/// The control plane asks for the token, the address of the metrics doesn't, and it has nothing else.
#[test]
fn metrics_have_an_address_of_their_own() {
    let nebula = Nebula::start_with(&["--metrics", "127.0.0.1:0"]).deploy("adds", guests::ADDS);
    nebula.post("/f/adds", "[1,2]").is(200);
    nebula.control_without_token("GET", "/metrics").send().is(401).problem("unauthorized");
    nebula.get("/metrics").is(404).problem("unknown-path");
    let address = metrics_address(&nebula);
    let request = |method: &str, path: &str| nebula.request_to(&address, method, path);
    let answer: Answer = request("GET", "/metrics").send().is(200);
    Scrape::of(&answer).is("faas_invocations_total", &function("adds"), 1.0).is(
        "nebula_connections_accepted_total",
        &[("plane", "metrics")],
        1.0,
    );
    assert!(answer.header("x-request-id").is_some());
    request("GET", "/metrics").header("accept", OPENMETRICS).send().is(200).has("content-type", OPENMETRICS);
    request("HEAD", "/metrics").send().is(200);
    request("POST", "/metrics").send().is(405).problem("method-not-allowed").has("allow", "GET, HEAD");
    for path in ["/", "/healthz", "/api/v1/functions", "/openapi.json", "/metrics/"] {
        request("GET", path).send().is(404).problem("unknown-path");
    }
    nebula.terminate_and_wait();
}

/// Only some functions have series of their own, and no call is lost: neither by the bound, nor by a
/// deploy, nor by a removal.
#[test]
fn series_are_bounded_and_never_fall() {
    let nebula = Nebula::start_with(&["--metrics-functions-max", "3"]);
    let component = wat(SAME);
    let names: Vec<_> = (0..8).map(|index| format!("f{index}")).collect();
    for name in &names {
        nebula.put(name, &component).is(200);
    }
    let mut calls = 0.0;
    let mut call = |index: usize, count: usize| {
        for _ in 0..count {
            nebula.post(&format!("/f/{}", names[index]), &calls.to_string()).is(200);
            calls += 1.0;
        }
        calls
    };
    let mut before = scrape(&nebula);
    let mut check = |calls: f64| {
        let now = scrape(&nebula);
        now.is("nebula_calls_total", &[], calls).is("faas_invocations_total", &[], calls);
        let series = now.series();
        for (name, value) in before.series() {
            if name.contains("_total{") || name.contains("_count{") || name.contains("_bucket{") {
                assert!(series.get(&name).is_some_and(|now| *now >= value), "{name} was {value}");
            }
        }
        before = now.clone();
        now
    };
    check(call(4, 4));
    call(5, 6);
    call(6, 5);
    let shown = check(call(7, 1));
    assert_eq!(shown.values_of("nebula_calls_total", "faas_name"), ["_other", "f4", "f5", "f6"]);
    shown.is("faas_invocations_total", &function("_other"), 1.0);
    check(call(7, 50));
    nebula.put(&names[4], &component).is(200);
    check(call(4, 2)).is("faas_invocations_total", &function("f4"), 6.0);
    for name in ["f5", "f7"] {
        nebula.control("DELETE", &format!("/api/v1/functions/{name}")).send().is(204);
    }
    check(call(0, 1));
    nebula.put("f5", &component).is(200);
    check(call(5, 1)).is("faas_invocations_total", &function("f5"), 7.0);
    nebula.control("GET", "/api/v1/cache").send().is(200);
    check(call(6, 1)).is("faas_invocations_total", &function("_other"), 52.0);
}

/// Two scrapers read while calls come from several connections: no counter ever falls.
#[test]
fn counters_never_fall_under_load() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("adds", guests::ADDS);
    let (nebula, done) = (&nebula, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let scrapers = [(); 2].map(|()| {
            scope.spawn(move || {
                let (mut before, mut scrapes) = (scrape(nebula).series(), 0);
                while !done.load(Ordering::Relaxed) || scrapes < 3 {
                    let now = scrape(nebula).series();
                    for (name, value) in &before {
                        let is_counter = name.contains("_total{") || name.contains("_count{");
                        assert!(
                            !is_counter || now.get(name).is_some_and(|now| now >= value),
                            "{name}: {value}"
                        );
                    }
                    (before, scrapes) = (now, scrapes + 1);
                }
            })
        });
        let callers = [0, 1, 2].map(|caller| {
            scope.spawn(move || {
                for index in 0..150 {
                    nebula.post("/f/adds", &format!("[{caller},{}]", index % 9)).is(200);
                    if caller == 0 && index % 50 == 0 {
                        nebula.redeploy("greets", guests::GREETS);
                    }
                    nebula.post("/f/greets", "\"you\"").is(200);
                }
            })
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        done.store(true, Ordering::Relaxed);
        scrapers.into_iter().for_each(|scraper| scraper.join().unwrap());
    });
    let metrics = scrape(nebula);
    metrics.is("faas_invocations_total", &function("adds"), 450.0);
    metrics.is("faas_invocations_total", &function("greets"), 450.0);
}

/// docs/metrics.md lists exactly the metrics that a server has.
#[test]
fn the_document_lists_the_metrics() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let kinds = ["counter", "gauge", "histogram", "info"];
    let is_metric = |(_, rest): &(&str, &str)| kinds.iter().any(|kind| rest.starts_with(kind));
    let documented: BTreeSet<_> = rows.filter(is_metric).map(|(name, _)| name.to_owned()).collect();
    let served = scrape(&Nebula::start());
    let served: BTreeSet<_> = served.families().into_iter().map(str::to_owned).collect();
    assert_eq!(documented, served);
}

#[test]
#[ignore = "needs promtool, which `cargo xtask test` downloads"]
fn promtool_finds_no_fault() {
    let nebula = mixed_traffic();
    let metrics = scrape(&nebula);
    assert!(metrics.text().len() > 10_000);
    lint(&metrics);
}

/// Prometheus scrapes both addresses while calls come, in OpenMetrics, which it parses strictly.
#[test]
#[ignore = "needs Prometheus, which `cargo xtask test` downloads"]
fn prometheus_scrapes_under_load() {
    let nebula = Nebula::start_with(&["--metrics", "127.0.0.1:0"]).deploy("adds", guests::ADDS);
    let prometheus = Prometheus::scraping(&nebula, &metrics_address(&nebula));
    let (mut calls, jobs) = (0, ["nebula", "nebula-private"]);
    let both = |found: &std::collections::BTreeMap<String, f64>, value: f64| {
        jobs.iter().all(|job| found.get(*job).is_some_and(|it| (it - value).abs() < 1e-9))
    };
    eventually("Prometheus has scraped both", || {
        nebula.post("/f/adds", &format!("[{calls},1]")).is(200);
        calls += 1;
        both(&prometheus.query("up"), 1.0).then_some(())
    });
    let expected = f64::from(calls);
    eventually("Prometheus has counted all calls", || {
        both(&prometheus.query("faas_invocations_total"), expected).then_some(())
    });
    let buckets = prometheus.query(r#"faas_invoke_duration_seconds_bucket{le="+Inf"}"#);
    assert!(both(&buckets, expected), "{buckets:?}");
}
