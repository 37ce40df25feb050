//! Results that are remembered: what is, what isn't, and how HTTP tells it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nebula_tests::{Answer, FUNCTIONS, Nebula, Seeded, eventually, guests};
use serde_json::json;

const MISS: &str = "nebula; fwd=miss; stored";
const HIT: &str = "nebula; hit";
const COLLAPSED: &str = "nebula; fwd=miss; collapsed";

/// With the defaults of a server, which remembers.
fn remembering() -> Nebula {
    Nebula::start_with(&["--cache-bytes-max", "67108864"])
}

fn deploy(nebula: &Nebula, name: &str, component: &str) {
    nebula.put(name, &std::fs::read(component).unwrap()).is(200);
}

/// A function of this repository.
fn function(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|(directory, _)| directory.ends_with(&format!("/{name}"))).unwrap().1
}

/// Counts of the only function called.
fn counts(nebula: &Nebula) -> (u64, u64, u64) {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    let count = |name: &str| report["functions"][0][name].as_u64().unwrap();
    (count("hits"), count("collapsed"), count("misses"))
}

fn headers<'a>(answer: &'a Answer, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| answer.header(name)).collect()
}

#[test]
fn a_result_is_computed_once() {
    let nebula = remembering().deploy("adds", guests::ADDS);
    let call = || nebula.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    let first = call().has("cache-status", MISS).lacks("age");
    for _ in 0..3 {
        let again = call().has("cache-status", HIT);
        assert!(again.header("age").unwrap().parse::<u64>().unwrap() < 60);
        again.clone().has("server-timing", "queue;dur=0.000, start;dur=0.000, run;dur=0.000");
        let same = ["content-type", "etag", "cache-control", "vary", "nebula-function", "content-length"];
        assert_eq!(headers(&again, &same), headers(&first, &same));
    }
    assert_eq!(counts(&nebula), (3, 0, 1));
}

#[test]
fn fast_path_can_be_turned_off() {
    let nebula = Nebula::start_with(&["--cache-bytes-max", "67108864", "--cached-fast-path", "off"]);
    let nebula = nebula.deploy("adds", guests::ADDS);
    let call = || nebula.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    call().has("cache-status", MISS);
    for _ in 0..5 {
        call().has("cache-status", HIT);
    }
    assert_eq!(counts(&nebula), (5, 0, 1));
}

/// However a value is written, it is the same input.
#[test]
fn spelling_does_not_matter() {
    let nebula = remembering().deploy("adds", guests::ADDS).deploy("searches", guests::SEARCHES);
    nebula.post("/f/adds", r#"{"a": 10, "b": 2}"#).is(200).has("cache-status", MISS);
    for spelled in
        [r#"{"b":2,"a":10}"#, r#"{ "a" : "10", "b" : 2 }"#, "[10, 2]", "[10,\n2]", r#"{"\u0061":10,"b":2}"#]
    {
        // By its value first, and then by its spelling.
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

/// A long document is decoded elsewhere, and found all the same.
#[test]
fn long_documents_are_remembered_too() {
    let nebula = remembering().deploy("echo", function("echo"));
    let document = |space: &str| format!("[{}]", vec!["7"; 50_000].join(&format!(",{space}")));
    nebula.post("/f/echo", &document("")).is(200).has("cache-status", MISS);
    nebula.post("/f/echo", &document(" ")).is(200).has("cache-status", HIT);
    nebula.post("/f/echo", &document(" ")).is(200).has("cache-status", HIT);
    nebula.post("/f/echo", &document("").replace('7', "8")).is(200).has("cache-status", MISS);
}

#[test]
fn one_byte_makes_another_call() {
    let nebula =
        remembering().deploy("reverses", guests::REVERSES).deploy("payload", guests::MIRRORS_PAYLOAD);
    let send = |path: &str, media_type: &str, body: &str| {
        nebula.request("POST", path).header("content-type", media_type).body(body).send().is(200)
    };
    let raw = "application/octet-stream";
    send("/f/reverses", raw, "ab").says("ba").has("cache-status", MISS);
    send("/f/reverses", raw, "ac").says("ca").has("cache-status", MISS);
    send("/f/reverses", raw, "ab").says("ba").has("cache-status", HIT);
    // The same bytes as JSON are the same input, answered otherwise.
    send("/f/reverses", "application/json", "\"YWI=\"").says("\"YmE=\"").has("cache-status", MISS);
    // A raw function sees the media type.
    send("/f/payload", "text/a", "x").has("content-type", "text/a").has("cache-status", MISS);
    send("/f/payload", "text/b", "x").has("content-type", "text/b").has("cache-status", MISS);
    send("/f/payload", "text/a", "x").has("content-type", "text/a").has("cache-status", HIT);
}

#[test]
fn functions_of_the_http_form_are_remembered_by_the_whole_request() {
    let nebula = remembering().deploy("mirror", guests::MIRRORS_REQUEST);
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

/// Results belong to the component, not to its name or version.
#[test]
fn the_same_component_shares_its_results() {
    let nebula = remembering().deploy("one", guests::ADDS).deploy("other", guests::ADDS);
    let call = |name: &str| nebula.post(&format!("/f/{name}"), "[1, 2]").is(200);
    call("one").has("cache-status", MISS);
    call("other").has("cache-status", HIT);
    // Another function in between, and back again.
    deploy(&nebula, "one", guests::SAYS_NOTHING);
    nebula.cli(&["rollback", "one"]).exits(0);
    call("one").has("cache-status", HIT);
    // Limits that may show in a result make another function; those that don't don't.
    deploy(&nebula, "one?deadline_ms=500&log_bytes_max=10", guests::ADDS);
    call("one").has("cache-status", HIT);
    deploy(&nebula, "one?memory_bytes_max=4194304", guests::ADDS);
    call("one").has("cache-status", MISS);
}

#[test]
fn errors_of_the_functions_own_are_remembered_and_failures_are_not() {
    let nebula = remembering().deploy("adds", guests::ADDS).deploy("traps", guests::TRAPS);
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

/// Only what the function itself does: how deep a stack goes, or how long a call takes, is the machine's.
#[test]
fn traps_are_remembered_where_the_function_says_so() {
    let nebula = remembering();
    for (name, component) in [
        ("panics", guests::PANICS),
        ("traps", guests::TRAPS),
        ("eats", guests::EATS_MEMORY),
        ("returns", guests::RETURNS_TOO_MUCH),
        ("overflows", guests::OVERFLOWS_STACK),
        ("loops", guests::LOOPS_FOREVER),
    ] {
        deploy(&nebula, &format!("{name}?remember_traps=on&deadline_ms=500"), component);
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
    // A trap tells what was logged, and a function that doesn't say so has none of another's.
    deploy(&nebula, "quiet?remember_traps=on&log_bytes_max=0", guests::PANICS);
    nebula.post("/f/quiet", "3").is(502).has("cache-status", MISS);
    deploy(&nebula, "forgets", guests::PANICS);
    nebula.post("/f/forgets", "3").is(502).has("cache-status", "nebula; fwd=miss");
    let no_store = nebula.request("POST", "/f/traps").header("cache-control", "no-cache, no-store").send();
    no_store.is(502).has("cache-status", "nebula; fwd=request");
}

/// RFC 9111 §5.2.1, in requests.
#[test]
fn a_caller_may_have_it_run_or_not_kept() {
    let nebula = remembering().deploy("adds", guests::ADDS);
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
fn a_function_may_say_what_is_remembered_of_it() {
    let nebula = remembering();
    let call = |name: &str| nebula.post(&format!("/f/{name}"), "[1, 2]").is(200).says("3");
    deploy(&nebula, "never?remember=off", guests::ADDS);
    deploy(&nebula, "briefly?remember_ttl_s=4", guests::ADDS);
    deploy(&nebula, "small?remember_bytes_max=0", guests::ADDS);
    for _ in 0..2 {
        call("never").has("cache-status", "nebula; fwd=bypass");
        // Its results are too long.
        call("small").has("cache-status", "nebula; fwd=miss");
    }
    call("briefly").has("cache-status", MISS);
    let hit = call("briefly");
    assert!(hit.header("cache-status").unwrap().starts_with("nebula; hit; ttl="), "{hit:?}");
    eventually("it is computed again", || {
        let again = call("briefly");
        (again.header("cache-status") == Some(MISS)).then_some(())
    });
    let hit = call("briefly");
    assert!(hit.header("cache-status").unwrap().starts_with("nebula; hit; ttl="), "{hit:?}");
    for wrong in
        ["remember=maybe", "remember_ttl_s=0", "remember_ttl_s=x", "remember_traps=1", "remember_size=1"]
    {
        let refused = nebula.put(&format!("wrong?{wrong}"), &std::fs::read(guests::ADDS).unwrap());
        refused.is(400).problem("bad-limit");
    }
}

#[test]
fn what_the_caller_has_is_not_sent_again() {
    let nebula = remembering().deploy("adds", guests::ADDS);
    let first = nebula.get("/f/adds?a=1&b=2").is(200).has("cache-status", MISS);
    let etag = first.header("etag").unwrap();
    let again = nebula.request("GET", "/f/adds?a=1&b=2").header("if-none-match", etag).send();
    again.is(304).has("cache-status", HIT).has("etag", etag).says("");
}

/// A thousand who ask the same at the same time are one execution.
#[test]
fn a_stampede_is_one_execution() {
    const CALLERS: usize = 1000;
    let nebula = remembering();
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    // It is long, so the others come while it runs; those that don't find it remembered.
    let request = "POST /f/fib HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 2\r\nconnection: close\r\n\r\n36";
    let mut callers: Vec<_> =
        (0..CALLERS).map(|_| TcpStream::connect(nebula.calls_address()).unwrap()).collect();
    for caller in &mut callers {
        caller.write_all(request.as_bytes()).unwrap();
    }
    for caller in &mut callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n14930352"), "{answer}");
    }
    let (hits, collapsed, misses) = counts(&nebula);
    assert_eq!((hits + collapsed, misses), (CALLERS as u64 - 1, 1));
    assert!(collapsed > 0, "nobody came while it ran");
}

fn fib_of(nebula: &Nebula, n: u32) -> TcpStream {
    let mut caller = TcpStream::connect(nebula.calls_address()).unwrap();
    let head = "POST /f/fib HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2";
    write!(caller, "{head}\r\n\r\n{n}").unwrap();
    caller
}

/// Waits until a call is on the compute lane, which has had none before.
fn until_it_runs(nebula: &Nebula) {
    eventually("a call runs on the compute lane", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", nebula.pid())).unwrap();
        let mut names =
            tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.any(|name| name.starts_with("nebula-compute")).then_some(())
    });
}

/// Who began the execution may leave: it goes on for the others.
#[test]
fn callers_leave_without_the_others() {
    let nebula = remembering();
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    let fib = |n: u32| (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
    let mut ran = 0;
    // Where the first leaves before the second has come, which nobody sees, it proves nothing: once more, slower.
    let collapsed = (38..43).any(|n| {
        let first = fib_of(&nebula, n);
        until_it_runs(&nebula);
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| nebula.post("/f/fib", &n.to_string()));
            std::thread::sleep(Duration::from_millis(20 << (n - 38)));
            drop(first);
            second.join().unwrap()
        });
        ran += 1;
        second.is(200).says(&fib(n).to_string()).header("cache-status") == Some(COLLAPSED)
    });
    assert!(collapsed, "no second caller got what the first began");
    // Also what its own caller didn't wait for was run, and is counted.
    assert_eq!(counts(&nebula), (0, 1, ran));
}

/// When all have left, it ends: the only place on the compute lane is free again.
#[test]
fn an_execution_that_nobody_waits_for_ends() {
    let nebula = Nebula::start_with(&["--cache-bytes-max", "67108864", "--calls-max", "1"]);
    deploy(&nebula, "fib?deadline_ms=600000", function("fibonacci-recursive"));
    let callers = [fib_of(&nebula, 45), fib_of(&nebula, 45)];
    until_it_runs(&nebula);
    drop(callers);
    let begun = std::time::Instant::now();
    nebula.post("/f/fib", "33").is(200).says("3524578");
    let took = begun.elapsed();
    let begun = std::time::Instant::now();
    nebula.post("/f/fib", "40").is(200).says("102334155");
    // A tenth of what 45 takes.
    assert!(took < begun.elapsed() * 5, "{took:?}");
}

/// Whoever waits for an execution that is cut off isn't: it has a deadline of its own.
#[test]
fn a_short_deadline_is_nobody_elses() {
    let nebula = remembering();
    deploy(&nebula, "fib?deadline_ms=30", function("fibonacci-recursive"));
    deploy(&nebula, "patient?deadline_ms=60000", function("fibonacci-recursive"));
    std::thread::scope(|scope| {
        let hasty = scope.spawn(|| nebula.post("/f/fib", "38"));
        until_it_runs(&nebula);
        let patient: Vec<_> = (0..4).map(|_| scope.spawn(|| nebula.post("/f/patient", "38"))).collect();
        hasty.join().unwrap().is(504).problem("deadline-exceeded");
        for patient in patient {
            patient.join().unwrap().is(200).says("39088169");
        }
    });
    nebula.post("/f/fib", "38").is(200).has("cache-status", HIT);
}

/// Some time when the machine has nothing else to do.
#[test]
fn hits_are_verified_while_idle() {
    let nebula = Nebula::start_with(&["--cache-bytes-max", "67108864", "--verify-share", "1"])
        .deploy("adds", guests::ADDS)
        .deploy("mirror", guests::MIRRORS_REQUEST)
        .deploy("dice", guests::ROLLS_DICE);
    let call_all = || {
        nebula.post("/f/adds", "[1, 2]").is(200);
        nebula.get("/f/adds?a=1&b=2").is(200);
        nebula.request("PUT", "/f/mirror/x?y=z").header("x-mark", "1").body("body").send().is(200);
        nebula.post("/f/dice", r#"{"times": 3, "ignored": "a"}"#).is(200);
    };
    let verified = |name: &str| {
        let report = nebula.cli(&["cache", name, "--json"]).exits(0).json();
        let function = &report["functions"][0];
        (function["verified"].as_u64().unwrap(), function["disagreed"].as_u64().unwrap())
    };
    eventually("hits of each are verified", || {
        // On a busy machine a check may pass its deadline, and says nothing then.
        call_all();
        let all = [verified("adds"), verified("mirror"), verified("dice")];
        assert!(all.iter().all(|(_, disagreed)| *disagreed == 0), "{all:?}");
        all.iter().all(|(verified, _)| *verified > 0).then_some(())
    });
    assert!(!nebula.stderr().contains("ALARM"), "{}", nebula.stderr());
    for share in ["2", "-1", "NaN", "x"] {
        let option = format!("--verify-share={share}");
        nebula_tests::nebula(&["serve", option.as_str()]).exits(2).explains("from 0 to 1");
    }
}

#[test]
fn the_command_line_shows_and_forgets() {
    let nebula = remembering().deploy("adds", guests::ADDS).deploy("reverses", guests::REVERSES);
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
    for arguments in [&["cache", "nobody", "--clear"][..], &["cache", "nobody"]] {
        nebula.cli(arguments).exits(1).explains("hint: `nebula list` shows what is deployed");
    }
}

/// A server over the same directory finds what took long to compute.
#[test]
fn results_survive_a_restart() {
    let nebula = remembering().deploy("adds", guests::ADDS);
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    let short = |nebula: &Nebula, a: u32| nebula.post("/f/adds", &format!("[{a}, 2]")).is(200);
    (0..20).for_each(|a| drop(short(&nebula, a).has("cache-status", MISS)));
    let first = nebula.post("/f/fib", "32").is(200).says("2178309").has("cache-status", MISS);
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &["--cache-bytes-max", "67108864"]);
    let again =
        nebula.post("/f/fib", "32").is(200).says("2178309").has("cache-status", "nebula; hit; detail=disk");
    assert_eq!(again.header("etag"), first.header("etag"));
    nebula.post("/f/fib", "32").is(200).has("cache-status", HIT);
    // What is soon computed again isn't kept; on a busy machine one or the other may have taken long.
    let computed = |a: &u32| short(&nebula, *a).header("cache-status") == Some(MISS);
    assert!((0..20).filter(computed).count() > 10);
    let report = nebula.cli(&["cache", "fib", "--json"]).exits(0).json();
    assert_eq!(report["functions"][0]["disk_entries"], 1);
    nebula.cli(&["cache", "--clear"]).exits(0);
    nebula.post("/f/fib", "32").is(200).has("cache-status", MISS);
}

/// The primes below `end`, in order.
fn primes_below(end: usize) -> Vec<usize> {
    let mut is_prime = vec![true; end];
    for n in 2..end.isqrt() + 1 {
        if is_prime[n] {
            (n * n..end).step_by(n).for_each(|multiple| is_prime[multiple] = false);
        }
    }
    (2..end).filter(|n| is_prime[*n]).collect()
}

/// Killed at any moment while results are written, a server gives no wrong answer afterwards, and starts.
#[test]
fn no_answer_is_wrong_after_a_kill() {
    let mut seeded = Seeded::new();
    let primes = primes_below(7_000_000);
    let nebula = remembering();
    deploy(&nebula, "prime?deadline_ms=60000", function("nth-prime"));
    let home = nebula.home();
    nebula.terminate_and_wait();
    // Each is asked for once by the load: it takes longer than what isn't worth a place on disk.
    let (first, next) = (400_000, AtomicUsize::new(400_000));
    let mut from_disk = 0;
    for _ in 0..14 {
        let nebula = Nebula::start_over(Arc::clone(&home), &["--cache-bytes-max", "67108864"]);
        let call = |n: usize| nebula.request("POST", "/f/prime").body(n.to_string()).try_send();
        let check = |n: usize, answer: Answer| answer.is(200).says(&primes[n - 1].to_string());
        // What came last before the kill, and may have been written, or not, or in part.
        let asked = next.load(Ordering::Relaxed);
        for n in first.max(asked - 20)..asked {
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
            std::thread::sleep(Duration::from_micros(seeded.next(0_u64..40_000)));
            is_killed.store(true, Ordering::SeqCst);
            nebula.strike();
        });
    }
    assert!(from_disk > 0, "nothing came from disk");
}

/// Two servers that know nothing of one another, one of which remembers, agree.
#[test]
fn what_is_remembered_is_what_is_computed() {
    let (remembers, computes) = (remembering(), Nebula::start());
    let mut compared = 0;
    for (directory, _) in FUNCTIONS {
        let name = directory.rsplit('/').next().unwrap();
        let Some(input) = sample(directory) else { continue };
        for nebula in [&remembers, &computes] {
            nebula.put_function(name, "deadline_ms=60000").is(200);
        }
        let call = |nebula: &Nebula| nebula.request("POST", &format!("/f/{name}")).body(&input).send();
        let expected = call(&computes);
        for _ in 0..3 {
            let answer = call(&remembers);
            assert_eq!(answer.status(), expected.status(), "{name}");
            let same = ["content-type", "etag", "cache-control", "vary"];
            assert_eq!(headers(&answer, &same), headers(&expected, &same), "{name}");
            assert!(answer.body() == expected.body(), "{name}");
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

/// A function's sample input.
fn sample(directory: &str) -> Option<Vec<u8>> {
    let entries = std::fs::read_dir(std::path::Path::new(directory).join("sample")).ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let path = paths.find(|path| path.file_stem().is_some_and(|stem| stem == "input"))?;
    std::fs::read(path).ok()
}
