//! Initialisers: `wizer-initialize` runs once, when a component is deployed, and every call begins
//! with its state.

use nebula_tests::{Nebula, foreach_guest_in_initialise, functions, guests, nebula, wat};
use serde_json::{Value, json};

foreach_guest_in_initialise!(is_tested);

const PROBLEM: &str = "initialisation-failed";

/// Asserts that a deploy is refused with a problem and that another function keeps serving.
fn assert_refused(component: &str) -> nebula_tests::Problem {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let problem = nebula.put("first", &std::fs::read(component).unwrap()).is(422).problem(PROBLEM);
    nebula.post("/f/first", "").is(404).problem("unknown-function");
    nebula.post("/f/adds", "[1, 2]").is(200).says("3");
    problem
}

/// Every call begins with the state of the snapshot; changes of a call don't reach the next.
#[test]
fn counts_from_snapshot() {
    let nebula = Nebula::start_uncached();
    let record = nebula.redeploy("counts-from-snapshot", guests::COUNTS_FROM_SNAPSHOT).json();
    assert_eq!(record["form"], "typed");
    assert_eq!(record["signature"], "handle: func() -> tuple<u32, u32>");
    assert_eq!(record["size_bytes"], std::fs::metadata(guests::COUNTS_FROM_SNAPSHOT).unwrap().len());
    for _ in 0..20 {
        nebula.post("/f/counts-from-snapshot", "").is(200).says("[1,41]");
    }
}

/// The snapshot is the same from the stored compiled code and after compiling again.
#[test]
fn the_snapshot_survives_a_restart_and_a_recompilation() {
    let nebula = Nebula::start().deploy("counts-from-snapshot", guests::COUNTS_FROM_SNAPSHOT);
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/counts-from-snapshot", "").is(200).says("[1,41]");
    let (home, compiled) = (nebula.home(), nebula.data_dir().join("compiled"));
    nebula.terminate_and_wait();
    std::fs::remove_dir_all(compiled).unwrap();
    Nebula::start_over(home, &[]).post("/f/counts-from-snapshot", "").is(200).says("[1,41]");
}

#[test]
fn commands_initialise_component_files() {
    nebula(&["invoke", guests::COUNTS_FROM_SNAPSHOT, ""]).exits(0).says("[1,41]");
    nebula(&["verify", guests::COUNTS_FROM_SNAPSHOT, ""]).exits(0);
    nebula(&["verify", functions::PRIME_COUNT, "1000"]).exits(0);
    let inspected = nebula(&["inspect", guests::INITIALISES_HTTP, "--json"]).exits(0).json();
    assert_eq!(inspected["form"], "http");
}

/// A raw function can be initialised.
#[test]
fn initialises_raw() {
    let nebula = Nebula::start();
    assert_eq!(nebula.redeploy("initialises-raw", guests::INITIALISES_RAW).json()["form"], "raw");
    nebula.post("/f/initialises-raw", "1").is(200).says("made at init");
}

/// A function of the http form can be initialised.
#[test]
fn initialises_http() {
    let nebula = Nebula::start();
    assert_eq!(nebula.redeploy("initialises-http", guests::INITIALISES_HTTP).json()["form"], "http");
    nebula.get("/f/initialises-http").is(200).says("made at init");
}

/// The initialiser sees clocks and random numbers that depend on the component only, not on the
/// server or the call.
#[test]
fn looks_around_at_init() {
    let sights = |nebula: &Nebula, input: &str| -> [Value; 2] {
        let sights = nebula.post("/f/looks", input).is(200).json();
        [sights[0].clone(), sights[1].clone()]
    };
    let nebula = Nebula::start().deploy("looks", guests::LOOKS_AROUND_AT_INIT);
    let [at_init, in_call] = sights(&nebula, "\"a\"");
    let (minute, start_ns) = (60_u64, 1_000_000_000);
    assert_eq!(at_init["wall-seconds"], json!(946_684_800 + minute));
    assert_eq!(at_init["monotonic-ns"], json!(start_ns + minute * 1_000_000_000));
    // The clocks of a call start afresh.
    assert_eq!(in_call["wall-seconds"], json!(946_684_800));
    assert_eq!(in_call["monotonic-ns"], json!(start_ns));
    assert_ne!(at_init["secure"], in_call["secure"]);

    let [at_init_again, in_other_call] = sights(&nebula, "\"b\"");
    assert_eq!(at_init_again, at_init);
    assert_ne!(in_other_call["secure"], in_call["secure"]);
    let elsewhere = Nebula::start().deploy("looks", guests::LOOKS_AROUND_AT_INIT);
    assert_eq!(sights(&elsewhere, "\"a\""), [at_init, in_call]);
}

/// The C library keeps the stream that it opens for printing, and the handle would be invalid in a
/// call.
#[test]
fn prints_at_init() {
    assert_refused(guests::PRINTS_AT_INIT)
        .detail("left a handle of the host's open")
        .detail("printing opens a stream")
        .mentions("log_tail", "out at init\nerr at init\n");
}

/// A panic in the initialiser refuses the deploy, with its message, the backtrace and the log.
#[test]
fn panics_at_init() {
    assert_refused(guests::PANICS_AT_INIT)
        .detail("its `wizer-initialize` trapped")
        .mentions("reason", "the table has no rows")
        .mentions("reason", "initialise/panics_at_init.rs:")
        .mentions("log_tail", "here it comes")
        .frame("a_named_function");
    for command in ["invoke", "verify", "inspect"] {
        nebula(&[command, guests::PANICS_AT_INIT])
            .exits(1)
            .explains("caused by: its `wizer-initialize` trapped: panicked at initialise/panics_at_init.rs")
            .explains("at panics_at_init::a_named_function")
            .explains("hint: \"Work done once\" describes what `wizer-initialize` may do: https://");
    }
}

/// An initialiser that exceeds its deadline refuses the deploy.
#[test]
fn loops_at_init() {
    assert_refused(guests::LOOPS_AT_INIT)
        .detail("passed the deadline of 10000 ms")
        .member("deadline_ms", 10_000)
        .mentions("log_tail", "round and round");
}

/// An initialiser that exceeds its memory limit refuses the deploy.
#[test]
fn eats_memory_at_init() {
    assert_refused(guests::EATS_MEMORY_AT_INIT)
        .detail("hit the memory limit")
        .member("limit", "memory")
        .member("max", 64 * 1024 * 1024)
        .frame("handle_alloc_error");
}

/// A handle belongs to the instance that the initialiser ran in; a call couldn't use it.
#[test]
fn keeps_a_handle() {
    assert_refused(guests::KEEPS_A_HANDLE).detail("left a handle of the host's open").member("log_tail", "");
}

#[test]
fn unlinkable_imports_are_refused_before_the_initialiser_runs() {
    let component = wat(r#"(component
        (import "own:thing/of" (instance))
        (import "own:thing/other" (instance (export "f" (func))))
        (core module $m (func (export "f") unreachable))
        (core instance $i (instantiate $m))
        (func (export "wizer-initialize") (canon lift (core func $i "f")))
        (func (export "handle") (canon lift (core func $i "f"))))"#);
    let nebula = Nebula::start();
    nebula.put("imports", &component).is(422).problem("refused").detail("it imports `own:thing/other`");
}

#[test]
fn state_that_a_snapshot_cannot_hold_is_refused() {
    let component = |memory: &str, body: &str| {
        wat(&format!(
            r#"(component
                (core module $m (memory {memory}) (table $t 1 funcref)
                    (func (export "f") {body}) (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "wizer-initialize") (canon lift (core func $i "f")))
                (func (export "handle") (canon lift (core func $i "handle"))))"#
        ))
    };
    let nebula = Nebula::start();
    let table = component("1", "(table.set $t (i32.const 0) (ref.null func))");
    nebula.put("first", &table).is(422).problem(PROBLEM).detail("table.set");
    let large = component("600", "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x2100000))");
    nebula.put("first", &large).is(422).problem(PROBLEM).detail("at most 33554432 are kept");
    let other = wat(r#"(component
        (core module $m (func (export "f") (result i32) i32.const 1))
        (core instance $i (instantiate $m))
        (func (export "wizer-initialize") (result u32) (canon lift (core func $i "f")))
        (func (export "handle") (result u32) (canon lift (core func $i "f"))))"#);
    nebula.put("first", &other).is(422).problem(PROBLEM).detail("is not a `func()`");
    nebula.put("first", &component("1", "")).is(200);
}
