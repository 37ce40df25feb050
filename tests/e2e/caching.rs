//! The result cache: which calls share a result, which results are stored and for how long, and
//! which survive a restart or a kill.
//!
//! `flights` tests identical calls in progress. `generated` compares cached with computed results
//! of generated functions.

mod flights;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nebula_tests::{Answer, FUNCTIONS, FunctionCrate, Generator, Nebula, eventually, guests};
use serde_json::json;

const MISS: &str = "nebula; fwd=miss; stored";
const HIT: &str = "nebula; hit";

fn deploy(nebula: &Nebula, name: &str, component: &str) {
    nebula.put(name, &std::fs::read(component).unwrap()).is(200);
}

/// Returns the component of a function of this repository.
fn function(name: &str) -> &'static str {
    FunctionCrate::named(name).component
}

/// The calls of a function by the source of their result.
#[derive(Debug, PartialEq)]
struct Counts {
    hits: u64,
    collapsed: u64,
    misses: u64,
}

/// Reads the counts of the only function that was called.
fn counts(nebula: &Nebula) -> Counts {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    let count = |name: &str| report["functions"][0][name].as_u64().unwrap();
    Counts { hits: count("hits"), collapsed: count("collapsed"), misses: count("misses") }
}

fn headers<'a>(answer: &'a Answer, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| answer.header(name)).collect()
}

#[test]
fn a_result_is_computed_once() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let call = || nebula.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    let first = call().has("cache-status", MISS).lacks("age");
    for _ in 0..3 {
        let again = call().has("cache-status", HIT);
        assert!(again.header("age").unwrap().parse::<u64>().unwrap() < 60);
        again.clone().has("server-timing", "queue;dur=0.000, start;dur=0.000, run;dur=0.000");
        let same = ["content-type", "etag", "cache-control", "vary", "nebula-function", "content-length"];
        assert_eq!(headers(&again, &same), headers(&first, &same));
    }
    assert_eq!(counts(&nebula), Counts { hits: 3, collapsed: 0, misses: 1 });
}

#[test]
fn the_fast_path_can_be_turned_off() {
    let nebula = Nebula::start_with(&["--cache-bytes-max", "67108864", "--cached-fast-path", "off"]);
    let nebula = nebula.deploy("adds", guests::ADDS);
    let call = || nebula.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    call().has("cache-status", MISS);
    for _ in 0..5 {
        call().has("cache-status", HIT);
    }
    assert_eq!(counts(&nebula), Counts { hits: 5, collapsed: 0, misses: 1 });
}

/// Inputs with equal values share a result, however the values are spelled.
#[test]
fn spellings_of_an_input_share_a_result() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("searches", guests::SEARCHES);
    nebula.post("/f/adds", r#"{"a": 10, "b": 2}"#).is(200).has("cache-status", MISS);
    for spelled in
        [r#"{"b":2,"a":10}"#, r#"{ "a" : "10", "b" : 2 }"#, "[10, 2]", "[10,\n2]", r#"{"\u0061":10,"b":2}"#]
    {
        // The first request hits by its decoded value, the second by its bytes.
        for _ in 0..2 {
            nebula.post("/f/adds", spelled).is(200).says("12").has("cache-status", HIT);
        }
    }
    nebula.get("/f/adds?a=10&b=2").is(200).has("cache-status", HIT);
    nebula.get("/f/adds?b=2&a=10").is(200).has("cache-status", HIT);
    nebula.request("HEAD", "/f/adds?b=2&a=10").send().is(200).has("cache-status", HIT);
    let query = nebula.request("QUERY", "/f/adds").header("content-type", "application/json");
    query.body(r#"[10,2]"#).send().is(200).has("cache-status", HIT);
    let search = |above: &str| {
        format!(r#"{{"text":"x","limit":1,"exact":true,"above":{above},"order":"newest","tags":[]}}"#)
    };
    nebula.post("/f/searches", &search("100")).is(200).has("cache-status", MISS);
    for spelled in ["1e2", "100.0", "1.0E+2"] {
        nebula.post("/f/searches", &search(spelled)).is(200).has("cache-status", HIT);
    }
    nebula.post("/f/searches", &search("-0.0")).is(200).has("cache-status", MISS);
    nebula.post("/f/searches", &search("0")).is(200).has("cache-status", MISS);
}

/// Long documents are decoded on the compute lane.
#[test]
fn long_documents_are_cached() {
    let nebula = Nebula::start().deploy("echo", function("echo"));
    let document = |space: &str| format!("[{}]", vec!["7"; 50_000].join(&format!(",{space}")));
    nebula.post("/f/echo", &document("")).is(200).has("cache-status", MISS);
    nebula.post("/f/echo", &document(" ")).is(200).has("cache-status", HIT);
    nebula.post("/f/echo", &document(" ")).is(200).has("cache-status", HIT);
    nebula.post("/f/echo", &document("").replace('7', "8")).is(200).has("cache-status", MISS);
}

#[test]
fn inputs_that_differ_do_not_share_a_result() {
    let nebula =
        Nebula::start().deploy("reverses", guests::REVERSES).deploy("payload", guests::MIRRORS_PAYLOAD);
    let send = |path: &str, media_type: &str, body: &str| {
        nebula.request("POST", path).header("content-type", media_type).body(body).send().is(200)
    };
    let raw = "application/octet-stream";
    send("/f/reverses", raw, "ab").says("ba").has("cache-status", MISS);
    send("/f/reverses", raw, "ac").says("ca").has("cache-status", MISS);
    send("/f/reverses", raw, "ab").says("ba").has("cache-status", HIT);
    // JSON of the same bytes has another answer, because its result is JSON.
    send("/f/reverses", "application/json", "\"YWI=\"").says("\"YmE=\"").has("cache-status", MISS);
    // A raw function sees the media type.
    send("/f/payload", "text/a", "x").has("content-type", "text/a").has("cache-status", MISS);
    send("/f/payload", "text/b", "x").has("content-type", "text/b").has("cache-status", MISS);
    send("/f/payload", "text/a", "x").has("content-type", "text/a").has("cache-status", HIT);
}

#[test]
fn http_functions_are_cached_by_the_whole_request() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let send = |method: &str, path: &str, mark: &str| {
        nebula.request(method, path).header("x-mark", mark).send().has("x-own", "kept")
    };
    let first = send("GET", "/f/mirror/a?b=c", "1").is(200).has("cache-status", MISS);
    send("GET", "/f/mirror/a?b=c", "1").is(200).has("cache-status", HIT).says(first.text());
    for (method, path, mark) in
        [("POST", "/f/mirror/a?b=c", "1"), ("GET", "/f/mirror/a?b=d", "1"), ("GET", "/f/mirror/a?b=c", "2")]
    {
        send(method, path, mark).is(200).has("cache-status", MISS);
    }
    send("GET", "/f/mirror/teapot", "1").is(418).has("cache-status", MISS);
    send("GET", "/f/mirror/teapot", "1").is(418).has("cache-status", HIT);
}

/// Results belong to a component, not to a name or version.
#[test]
fn names_of_the_same_component_share_results() {
    let nebula = Nebula::start().deploy("one", guests::ADDS).deploy("other", guests::ADDS);
    let call = |name: &str| nebula.post(&format!("/f/{name}"), "[1, 2]").is(200);
    call("one").has("cache-status", MISS);
    call("other").has("cache-status", HIT);
    // A rollback to the component finds its results.
    deploy(&nebula, "one", guests::SAYS_NOTHING);
    nebula.cli(&["rollback", "one"]).exits(0);
    call("one").has("cache-status", HIT);
    // Only limits that can affect a result separate the results.
    deploy(&nebula, "one?deadline_ms=500&log_bytes_max=10", guests::ADDS);
    call("one").has("cache-status", HIT);
    deploy(&nebula, "one?memory_bytes_max=4194304", guests::ADDS);
    call("one").has("cache-status", MISS);
}

#[test]
fn the_functions_own_errors_are_cached_and_failures_are_not() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("traps", guests::TRAPS);
    deploy(&nebula, "slow?deadline_ms=50", guests::LOOPS_FOREVER);
    let error = || nebula.post("/f/adds", "[9223372036854775807, 1]").is(422);
    error().has("cache-status", MISS);
    error().has("cache-status", HIT);
    for _ in 0..2 {
        nebula.post("/f/adds", "[1]").is(400).has("cache-status", "nebula; fwd=miss");
        nebula.post("/f/traps", "").is(502).has("cache-status", "nebula; fwd=miss");
        nebula.post("/f/slow", "").is(504).has("cache-status", "nebula; fwd=miss");
    }
}

/// A stack overflow and a missed deadline depend on the machine and are never cached.
#[test]
fn traps_are_cached_only_if_the_function_allows_it() {
    let nebula = Nebula::start();
    for (name, component) in [
        ("panics", guests::PANICS),
        ("traps", guests::TRAPS),
        ("eats", guests::EATS_MEMORY),
        ("returns", guests::RETURNS_TOO_MUCH),
        ("overflows", guests::OVERFLOWS_STACK),
        ("loops", guests::LOOPS_FOREVER),
    ] {
        deploy(&nebula, &format!("{name}?cache_traps=on&deadline_ms=500"), component);
    }
    for (name, input) in [("panics", "3"), ("traps", ""), ("eats", ""), ("returns", "9000000")] {
        let first = nebula.post(&format!("/f/{name}"), input).is(502).has("cache-status", MISS);
        let again = nebula.post(&format!("/f/{name}"), input).is(502).has("cache-status", HIT);
        assert_eq!(first.text(), again.text(), "{name}");
    }
    for _ in 0..2 {
        nebula.post("/f/overflows", "0").is(502).has("cache-status", "nebula; fwd=miss");
        nebula.post("/f/loops", "").is(504).has("cache-status", "nebula; fwd=miss");
        nebula.post("/f/panics", "[").is(400).has("cache-status", "nebula; fwd=miss");
    }
    // The answer to a trap holds the log, so functions with other log limits don't share it. Nor
    // does a function that doesn't allow traps to be cached.
    deploy(&nebula, "quiet?cache_traps=on&log_bytes_max=0", guests::PANICS);
    nebula.post("/f/quiet", "3").is(502).has("cache-status", MISS);
    deploy(&nebula, "forgets", guests::PANICS);
    nebula.post("/f/forgets", "3").is(502).has("cache-status", "nebula; fwd=miss");
    let no_store = nebula.request("POST", "/f/traps").header("cache-control", "no-cache, no-store").send();
    no_store.is(502).has("cache-status", "nebula; fwd=request");
}

/// The directives are those of RFC 9111 §5.2.1.
#[test]
fn request_directives_force_a_run_or_prevent_storing() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let call = |directive: &str| {
        let call = nebula.request("POST", "/f/adds").header("content-type", "application/json");
        call.header("cache-control", directive).body("[1, 2]").send().is(200).says("3")
    };
    call("no-store").has("cache-status", "nebula; fwd=miss");
    call("max-age=0").has("cache-status", MISS);
    call("no-store").has("cache-status", HIT);
    call("no-cache").has("cache-status", "nebula; fwd=request; stored");
    call("no-cache, no-store").has("cache-status", "nebula; fwd=request");
    call("max-age=0").has("cache-status", HIT);
}

#[test]
fn function_settings_control_caching() {
    let nebula = Nebula::start();
    let call = |name: &str| nebula.post(&format!("/f/{name}"), "[1, 2]").is(200).says("3");
    deploy(&nebula, "never?cache=off", guests::ADDS);
    deploy(&nebula, "briefly?cache_ttl_s=4", guests::ADDS);
    deploy(&nebula, "small?cache_bytes_max=0", guests::ADDS);
    for _ in 0..2 {
        call("never").has("cache-status", "nebula; fwd=bypass");
        // Its results exceed the size limit.
        call("small").has("cache-status", "nebula; fwd=miss");
    }
    call("briefly").has("cache-status", MISS);
    let hit = call("briefly");
    assert!(hit.header("cache-status").unwrap().starts_with("nebula; hit; ttl="), "{hit:?}");
    eventually("the result expires", || {
        let again = call("briefly");
        (again.header("cache-status") == Some(MISS)).then_some(())
    });
    let hit = call("briefly");
    assert!(hit.header("cache-status").unwrap().starts_with("nebula; hit; ttl="), "{hit:?}");
    for wrong in ["cache=maybe", "cache_ttl_s=0", "cache_ttl_s=x", "cache_traps=1", "cache_size=1"] {
        let refused = nebula.put(&format!("wrong?{wrong}"), &std::fs::read(guests::ADDS).unwrap());
        refused.is(400).problem("bad-limit");
    }
}

#[test]
fn a_hit_with_a_matching_entity_tag_gets_304() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let first = nebula.get("/f/adds?a=1&b=2").is(200).has("cache-status", MISS);
    let etag = first.header("etag").unwrap();
    let again = nebula.request("GET", "/f/adds?a=1&b=2").header("if-none-match", etag).send();
    again.is(304).has("cache-status", HIT).has("etag", etag).says("");
}

/// The server recomputes a share of hits while the machine is idle, and compares.
#[test]
fn hits_are_verified_while_idle() {
    let nebula = Nebula::start_with(&["--verify-share", "1"])
        .deploy("adds", guests::ADDS)
        .deploy("mirror", guests::MIRRORS_REQUEST)
        .deploy("dice", guests::ROLLS_DICE);
    let call_all = || {
        nebula.post("/f/adds", "[1, 2]").is(200);
        nebula.get("/f/adds?a=1&b=2").is(200);
        nebula.request("PUT", "/f/mirror/x?y=z").header("x-mark", "1").body("body").send().is(200);
        nebula.post("/f/dice", r#"{"times": 3, "ignored": "a"}"#).is(200);
    };
    let count = |name: &str, counter: &str| {
        let report = nebula.cli(&["cache", name, "--json"]).exits(0).json();
        report["functions"][0][counter].as_u64().unwrap()
    };
    eventually("hits of each function are verified", || {
        // On a busy machine a check may exceed its deadline. Such a check isn't counted.
        call_all();
        let names = ["adds", "mirror", "dice"];
        assert!(names.iter().all(|name| count(name, "disagreed") == 0));
        names.iter().all(|name| count(name, "verified") > 0).then_some(())
    });
    assert!(!nebula.stderr().contains("ALARM"), "{}", nebula.stderr());
    for share in ["2", "-1", "NaN", "x"] {
        let option = format!("--verify-share={share}");
        nebula_tests::nebula(&["serve", option.as_str()]).exits(2).explains("from 0 to 1");
    }
}

#[test]
fn the_cache_command_reports_and_clears() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("reverses", guests::REVERSES);
    let call = || nebula.post("/f/adds", "[1, 2]").is(200);
    call();
    call();
    nebula.request("POST", "/f/reverses").body("ab").send().is(200);
    let report = nebula.cli(&["cache", "--json"]).exits(0).json();
    assert_eq!(report["bytes_max"], json!(67_108_864));
    let adds = &report["functions"][0];
    assert_eq!(adds["name"], "adds");
    assert_eq!([&adds["entries"], &adds["hits"], &adds["misses"]], [1, 1, 1]);
    assert!(adds["bytes"].as_u64().unwrap() > 0);
    let table = nebula.cli(&["cache"]).exits(0).stdout();
    assert!(table.contains("50.0 %") && table.contains("compiled code: 2 components"), "{table}");
    assert_eq!(table.lines().count(), 5, "{table}");
    nebula.cli(&["cache", "adds", "--clear"]).exits(0);
    call().has("cache-status", MISS);
    nebula.request("POST", "/f/reverses").body("ab").send().is(200).has("cache-status", HIT);
    nebula.cli(&["cache", "--clear"]).exits(0);
    nebula.request("POST", "/f/reverses").body("ab").send().is(200).has("cache-status", MISS);
    for arguments in [&["cache", "unknown", "--clear"][..], &["cache", "unknown"]] {
        nebula.cli(arguments).exits(7).explains("hint: `nebula list` shows what is deployed");
    }
}

/// Only results that took long to compute are stored on disk.
#[test]
fn slow_results_survive_a_restart() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    let short = |nebula: &Nebula, a: u32| nebula.post("/f/adds", &format!("[{a}, 2]")).is(200);
    (0..20).for_each(|a| drop(short(&nebula, a).has("cache-status", MISS)));
    let first = nebula.post("/f/fib", "36").is(200).says("14930352").has("cache-status", MISS);
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    let again =
        nebula.post("/f/fib", "36").is(200).says("14930352").has("cache-status", "nebula; hit; detail=disk");
    assert_eq!(again.header("etag"), first.header("etag"));
    nebula.post("/f/fib", "36").is(200).has("cache-status", HIT);
    // Fast results aren't stored on disk. On a busy machine some of them may have taken long.
    let computed = |a: &u32| short(&nebula, *a).header("cache-status") == Some(MISS);
    assert!((0..20).filter(computed).count() > 10);
    let report = nebula.cli(&["cache", "fib", "--json"]).exits(0).json();
    assert_eq!(report["functions"][0]["disk_entries"], 1);
    nebula.cli(&["cache", "--clear"]).exits(0);
    nebula.post("/f/fib", "36").is(200).has("cache-status", MISS);
}

/// Returns the primes below `end` in order.
fn primes_below(end: usize) -> Vec<usize> {
    let mut is_prime = vec![true; end];
    for n in 2..end.isqrt() + 1 {
        if is_prime[n] {
            (n * n..end).step_by(n).for_each(|multiple| is_prime[multiple] = false);
        }
    }
    (2..end).filter(|n| is_prime[*n]).collect()
}

/// The server is killed at random moments while it writes results. Each time it starts again and
/// gives no wrong answer.
#[test]
fn no_answer_is_wrong_after_a_kill() {
    let mut generator = Generator::new();
    let primes = primes_below(7_000_000);
    let nebula = Nebula::start();
    deploy(&nebula, "prime?deadline_ms=60000", function("nth-prime"));
    let home = nebula.home();
    nebula.terminate_and_wait();
    // The load requests each number once. They are large enough for the results to be stored on
    // disk.
    let (first, next) = (400_000, AtomicUsize::new(400_000));
    let mut from_disk = 0;
    for _ in 0..14 {
        let nebula = Nebula::start_over(Arc::clone(&home), &[]);
        let call = |n: usize| nebula.request("POST", "/f/prime").body(n.to_string()).try_send();
        let check = |n: usize, answer: Answer| answer.is(200).says(&primes[n - 1].to_string());
        // The last results before the kill may have been written, partly written or lost.
        let end = next.load(Ordering::Relaxed);
        for n in first.max(end - 20)..end {
            let answer = check(n, call(n).unwrap());
            from_disk += u32::from(answer.header("cache-status") == Some("nebula; hit; detail=disk"));
        }
        let (stored, is_killed) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        match call(n) {
                            Ok(answer) => check(n, answer).has("cache-status", MISS),
                            Err(error) => {
                                assert!(is_killed.load(Ordering::SeqCst), "{n}: {error}");
                                break;
                            }
                        };
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let written = || std::fs::metadata(nebula.data_dir().join("results.redb")).is_ok();
            eventually("results are written", || {
                (stored.load(Ordering::Relaxed) > 4 && written()).then_some(())
            });
            std::thread::sleep(Duration::from_micros(generator.next(0_u64..40_000)));
            is_killed.store(true, Ordering::SeqCst);
            nebula.send_kill();
        });
    }
    assert!(from_disk > 0, "no result came from disk");
}

/// The two servers are independent of each other, and only one has a cache.
#[test]
fn cached_results_equal_computed_ones() {
    let (caching, computing) = (Nebula::start(), Nebula::start_uncached());
    let mut compared = 0;
    for function in FUNCTIONS {
        let name = function.name();
        let Some(sample) = function.sample("input") else { continue };
        let input = std::fs::read(sample).unwrap();
        for nebula in [&caching, &computing] {
            nebula.put_function(name, "deadline_ms=60000").is(200);
        }
        let call = |nebula: &Nebula| nebula.request("POST", &format!("/f/{name}")).body(&input).send();
        let expected = call(&computing);
        for _ in 0..3 {
            let answer = call(&caching);
            assert_eq!(answer.status(), expected.status(), "{name}");
            let same = ["content-type", "etag", "cache-control", "vary"];
            assert_eq!(headers(&answer, &same), headers(&expected, &same), "{name}");
            assert!(answer.body() == expected.body(), "{name}");
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}
