//! Work done once: a component that initialises itself does so when it is deployed, and calls begin there.

use nebula_tests::{Nebula, foreach_guest_in_initialise, functions, guests, nebula, wat};
use serde_json::{Value, json};

foreach_guest_in_initialise!(is_tested);

const PROBLEM: &str = "initialisation-failed";

/// Refused with a problem, and others are served as ever.
fn refused(component: &str) -> nebula_tests::Problem {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let problem = nebula.put("first", &std::fs::read(component).unwrap()).is(422).problem(PROBLEM);
    nebula.post("/f/first", "").is(404).problem("unknown-function");
    nebula.post("/f/adds", "[1, 2]").is(200).says("3");
    problem
}

/// The state is there in every call, and what a call does to it isn't there in the next.
#[test]
fn counts_on() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("counts-on", guests::COUNTS_ON).json();
    assert_eq!(record["form"], "typed");
    assert_eq!(record["signature"], "handle: func() -> tuple<u32, u32>");
    assert_eq!(record["size_bytes"], std::fs::metadata(guests::COUNTS_ON).unwrap().len());
    for _ in 0..20 {
        nebula.post("/f/counts-on", "").is(200).says("[1,41]");
    }
}

/// From what was compiled before, and from what is compiled again.
#[test]
fn a_restart_changes_nothing() {
    let nebula = Nebula::start().deploy("counts-on", guests::COUNTS_ON);
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/counts-on", "").is(200).says("[1,41]");
    let (home, compiled) = (nebula.home(), nebula.data_dir().join("compiled"));
    nebula.terminate_and_wait();
    std::fs::remove_dir_all(compiled).unwrap();
    Nebula::start_over(home, &[]).post("/f/counts-on", "").is(200).says("[1,41]");
}

#[test]
fn files_are_initialised_as_a_server_does_it() {
    nebula(&["invoke", guests::COUNTS_ON, ""]).exits(0).says("[1,41]");
    nebula(&["verify", guests::COUNTS_ON, ""]).exits(0);
    nebula(&["verify", functions::PRIME_COUNT, "1000"]).exits(0);
    let inspected = nebula(&["inspect", guests::BEGINS_HTTP, "--json"]).exits(0).json();
    assert_eq!(inspected["form"], "http");
}

#[test]
fn begins_raw() {
    let nebula = Nebula::start();
    assert_eq!(nebula.redeploy("begins-raw", guests::BEGINS_RAW).json()["form"], "raw");
    nebula.post("/f/begins-raw", "1").is(200).says("made at first");
}

#[test]
fn begins_http() {
    let nebula = Nebula::start();
    assert_eq!(nebula.redeploy("begins-http", guests::BEGINS_HTTP).json()["form"], "http");
    nebula.get("/f/begins-http").is(200).says("made at first");
}

/// What it draws is the component's alone: the same on every server, whatever the call.
#[test]
fn looks_at_first() {
    let sights = |nebula: &Nebula, input: &str| -> [Value; 2] {
        let sights = nebula.post("/f/looks", input).is(200).json();
        [sights[0].clone(), sights[1].clone()]
    };
    let nebula = Nebula::start().deploy("looks", guests::LOOKS_AT_FIRST);
    let [at_first, in_a_call] = sights(&nebula, "\"a\"");
    let minute = 60_u64;
    assert_eq!(at_first["wall-seconds"], json!(946_684_800 + minute));
    assert_eq!(at_first["monotonic-ns"], json!(minute * 1_000_000_000));
    // A call's clocks are its own.
    assert_eq!(in_a_call["wall-seconds"], json!(946_684_800));
    assert_eq!(in_a_call["monotonic-ns"], json!(0));
    assert_ne!(at_first["secure"], in_a_call["secure"]);

    let [again_at_first, in_another] = sights(&nebula, "\"b\"");
    assert_eq!(again_at_first, at_first);
    assert_ne!(in_another["secure"], in_a_call["secure"]);
    let elsewhere = Nebula::start().deploy("looks", guests::LOOKS_AT_FIRST);
    assert_eq!(sights(&elsewhere, "\"a\""), [at_first, in_a_call]);
}

/// The C library keeps the stream that it has got for printing, and no call would know that.
#[test]
fn prints_at_first() {
    refused(guests::PRINTS_AT_FIRST)
        .detail("left a handle of the host's open")
        .detail("printing opens a stream")
        .mentions("log_tail", "out at first\nerr at first\n");
}

#[test]
fn panics_at_first() {
    refused(guests::PANICS_AT_FIRST)
        .detail("its `wizer-initialize` trapped")
        .mentions("reason", "the table has no rows")
        .mentions("reason", "initialise/panics_at_first.rs:")
        .mentions("log_tail", "here it comes")
        .frame("a_named_function");
    for command in ["invoke", "verify", "inspect"] {
        nebula(&[command, guests::PANICS_AT_FIRST])
            .exits(1)
            .explains("caused by: its `wizer-initialize` trapped: panicked at initialise/panics_at_first.rs")
            .explains("at panics_at_first::a_named_function")
            .explains("hint: docs/writing-functions.md describes what `wizer-initialize` may do");
    }
}

#[test]
fn loops_at_first() {
    refused(guests::LOOPS_AT_FIRST)
        .detail("passed the deadline of 10000 ms")
        .member("deadline_ms", 10_000)
        .mentions("log_tail", "round and round");
}

#[test]
fn eats_at_first() {
    refused(guests::EATS_AT_FIRST)
        .detail("hit the memory limit")
        .member("limit", "memory")
        .member("max", 64 * 1024 * 1024)
        .frame("handle_alloc_error");
}

/// A handle is the host's word, and no call knows it.
#[test]
fn keeps_a_handle() {
    refused(guests::KEEPS_A_HANDLE).detail("left a handle of the host's open").member("log_tail", "");
}

/// What can't be linked is refused for that, though it has something to initialise.
#[test]
fn imports_are_refused_before_anything_runs() {
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
fn what_cannot_be_kept_is_refused() {
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
