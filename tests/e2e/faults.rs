//! Functions that fail: the answer says what happened and where, and the server keeps serving.

use nebula_tests::{Nebula, foreach_guest_in_faults, guests, wat};

foreach_guest_in_faults!(is_tested);

/// Asserts that the server still deploys and calls another function.
fn assert_still_serves(nebula: &Nebula) {
    nebula.redeploy("greets", guests::GREETS);
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
}

/// A panic is answered with 502, its message, the backtrace and the end of the log.
#[test]
fn panics() {
    let nebula = Nebula::start().deploy("panics", guests::PANICS);
    nebula
        .post("/f/panics", "3")
        .is(502)
        .problem("trap")
        .mentions("reason", "the depth of 3 is not enough")
        .mentions("reason", "faults/panics.rs:")
        .mentions("log_tail", "the depth of 3 is not enough")
        .frame("inner_named_function")
        .frame("outer_named_function");
    nebula.post("/f/panics", "2000000").is(200).says("2000001");
    assert_still_serves(&nebula);
}

/// A failure carries the same headers about the function as any answer.
#[test]
fn failures_name_their_function() {
    let nebula = Nebula::start().deploy("panics", guests::PANICS);
    let answer = nebula.post("/f/panics", "3").is(502).has("cache-control", "no-store");
    assert!(answer.header("etag").is_some());
    assert!(
        answer.header("nebula-function").is_some_and(|value| value.starts_with("panics@v1; digest=sha256:"))
    );
    assert!(answer.header("server-timing").is_some_and(|value| value.contains("run;dur=")));
}

/// A trap is answered with 502, its reason and the backtrace.
#[test]
fn traps() {
    let nebula = Nebula::start().deploy("traps", guests::TRAPS);
    nebula.post("/f/traps", "").is(502).problem("trap").mentions("reason", "unreachable").frame("handle");
    assert_still_serves(&nebula);
}

/// A call that exceeds its deadline is answered with 504 and the end of the log.
#[test]
fn loops_forever() {
    let nebula = Nebula::start();
    nebula.put("loops?deadline_ms=100", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    for _ in 0..2 {
        nebula
            .post("/f/loops", "")
            .is(504)
            .problem("deadline-exceeded")
            .member("deadline_ms", 100)
            .mentions("log_tail", "round and round");
    }
    assert_still_serves(&nebula);
}

/// A guest that fails after it reached its memory limit is answered with 502 and the limit.
#[test]
fn eats_memory() {
    let nebula = Nebula::start();
    // Long enough on a busy machine.
    nebula.put("eats?deadline_ms=60000", &std::fs::read(guests::EATS_MEMORY).unwrap()).is(200);
    nebula
        .post("/f/eats", "")
        .is(502)
        .problem("resource-limit")
        .member("limit", "memory")
        .member("max", 64 * 1024 * 1024);
    assert_still_serves(&nebula);
}

/// A denied allocation isn't a failure if the function handles it.
#[test]
fn asks_for_memory() {
    let nebula = Nebula::start();
    let component = std::fs::read(guests::ASKS_FOR_MEMORY).unwrap();
    nebula.put("asks", &component).is(200);
    nebula.post("/f/asks", "32").is(200).says("\"got 32 MiB\"");
    nebula.post("/f/asks", "80").is(200).says("\"denied 80 MiB\"");
    nebula.put(&format!("asks?memory_bytes_max={}", 128 << 20), &component).is(200);
    nebula.post("/f/asks", "80").is(200).says("\"got 80 MiB\"");
    nebula.post("/f/asks", "200").is(200).says("\"denied 200 MiB\"");
}

/// An output over the limit is answered with 502, as plain bytes and as JSON.
#[test]
fn returns_too_much() {
    let nebula = Nebula::start();
    nebula.put("much?output_bytes_max=1000", &std::fs::read(guests::RETURNS_TOO_MUCH).unwrap()).is(200);
    let raw = |bytes: &str| {
        let call = nebula.request("POST", "/f/much").header("content-type", "application/json");
        call.header("accept", "application/octet-stream").body(bytes).send()
    };
    raw("1000").is(200).bytes(&[b'x'; 1000]);
    raw("1001").is(502).problem("output-too-large").member("bytes_max", 1000);
    raw("50000000").is(502).problem("output-too-large");
    // JSON holds the bytes as base64, which is longer.
    nebula.post("/f/much", "900").is(502).problem("output-too-large");
    assert_still_serves(&nebula);
}

/// A stack overflow is answered with 502 and the backtrace.
#[test]
fn overflows_stack() {
    let nebula = Nebula::start().deploy("overflows", guests::OVERFLOWS_STACK);
    nebula
        .post("/f/overflows", "0")
        .is(502)
        .problem("trap")
        .mentions("reason", "call stack exhausted")
        .frame("deeper");
    assert_still_serves(&nebula);
}

/// A guest that calls `exit` is answered with 502, whatever the exit code.
#[test]
fn exits() {
    let nebula = Nebula::start().deploy("exits", guests::EXITS);
    for code in ["0", "1"] {
        nebula.post("/f/exits", code).is(502).problem("trap").mentions("reason", "exited");
    }
    assert_still_serves(&nebula);
}

/// A component with one memory and one table whose core module holds `body`.
struct CoreFunction<'a> {
    /// The result of `handle`, as WAT.
    signature: &'a str,
    /// Options of `canon lift`.
    options: &'a str,
    /// The core function `handle` and anything else in the module.
    body: &'a str,
}

fn component(function: CoreFunction<'_>) -> Vec<u8> {
    let CoreFunction { signature, options, body } = function;
    wat(&format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (table 1 funcref)
                {body})
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (func (export "handle") {signature} (canon lift (core func $i "handle") {options})))"#
    ))
}

/// Assembles a component whose `handle` returns a `u32`.
fn returning_u32(body: &str) -> Vec<u8> {
    component(CoreFunction { signature: "(result u32)", options: "", body })
}

#[test]
fn growing_a_table_stops_at_the_limit() {
    let bomb = returning_u32(
        r#"(func (export "handle") (result i32)
            (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1))))
            unreachable)"#,
    );
    let nebula = Nebula::start();
    nebula.put("bomb", &bomb).is(200);
    nebula.post("/f/bomb", "").is(502).problem("resource-limit").member("limit", "table");
    assert_still_serves(&nebula);
}

/// `memory.fill` is a single instruction, which can't be interrupted. The memory limit bounds its
/// duration.
#[test]
fn long_instructions_are_bounded_by_the_memory_limit() {
    let fill = returning_u32(
        r#"(func (export "handle") (result i32)
            (drop (memory.grow (i32.const 1000)))
            (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65000000)) (br 0))
            unreachable)"#,
    );
    let nebula = Nebula::start();
    nebula.put("fill?deadline_ms=50", &fill).is(200);
    nebula.post("/f/fill", "").is(504).problem("deadline-exceeded");
    assert_still_serves(&nebula);
}

/// The deadline holds although nothing can interrupt the guest inside one instruction.
#[test]
fn an_answer_after_the_deadline_is_504() {
    let fill = returning_u32(
        r#"(func (export "handle") (result i32)
            (drop (memory.grow (i32.const 16000)))
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048000000))
            (i32.const 7))"#,
    );
    let nebula = Nebula::start();
    nebula.put("fill?deadline_ms=10&memory_bytes_max=1073741824", &fill).is(200);
    nebula.post("/f/fill", "").is(504).problem("deadline-exceeded");
    nebula.put("fill?deadline_ms=60000&memory_bytes_max=1073741824", &fill).is(200);
    nebula.post("/f/fill", "").is(200).says("7");
    assert_still_serves(&nebula);
}

/// The canonical ABI forbids text that isn't UTF-8 and pointers out of bounds.
#[test]
fn answers_that_violate_the_abi_are_502() {
    let nebula = Nebula::start();
    for (name, bytes) in [("invalid-text", "\\ff\\fe"), ("out-of-bounds", "")] {
        let (pointer, length) = if bytes.is_empty() { (70_000, 70_000) } else { (16, 2) };
        let broken = component(CoreFunction {
            signature: "(result string)",
            options: "(memory $memory)",
            body: &format!(
                r#"(data (i32.const 16) "{bytes}")
                (func (export "handle") (result i32)
                    (i32.store (i32.const 0) (i32.const {pointer}))
                    (i32.store (i32.const 4) (i32.const {length}))
                    (i32.const 0))"#
            ),
        });
        nebula.put(name, &broken).is(200);
        nebula.post(&format!("/f/{name}"), "").is(502).problem("invalid-answer");
    }
    assert_still_serves(&nebula);
}
