//! Purity: a function sees the same world in every call.

use nebula_tests::{Nebula, foreach_guest_in_purity, guests, nebula, wat};
use serde_json::json;

foreach_guest_in_purity!(is_tested);

/// Clocks are the same in every call; arguments, environment, stdin and files are absent.
#[test]
fn looks_around() {
    let nebula = Nebula::start_uncached().deploy("looks-around", guests::LOOKS_AROUND);
    let sight = json!({
        "wall-seconds": 946_684_800,
        "wall-again-seconds": 946_684_800,
        // Not 0, at which Go's runtime aborts.
        "monotonic-ns": 1_000_000_000,
        "arguments": 0,
        "variables": 0,
        "stdin-bytes": 0,
        "preopened": 0,
        "file": "denied",
        "directory": "denied",
    });
    for input in ["\"a\"", "\"b\"", "\"a\""] {
        assert_eq!(nebula.post("/f/looks-around", input).is(200).json(), sight);
    }
}

/// A call finds nothing that an earlier call has written, on either lane.
#[test]
fn leaves_behind() {
    let nebula = Nebula::start_uncached_with(&["--threads", "1"]);
    let component = std::fs::read(guests::LEAVES_BEHIND).unwrap();
    // All three names share one component, so on each lane they share instance slots. A function
    // with more memory than the default starts on the compute lane. One that has overrun the fast
    // lane stays on the compute lane, so another name looks at the slots of the fast lane
    // afterwards.
    nebula.put("fast", &component).is(200);
    nebula.put("fast-again", &component).is(200);
    nebula.put("compute?memory_bytes_max=134217728", &component).is(200);
    let mut previous = 0x1234_5678_9abc_def0_u64;
    for (function, words) in
        [("fast", 1024), ("fast", 300_000), ("fast-again", 1024), ("compute", 1024), ("compute", 300_000)]
    {
        for _ in 0..5 {
            let mark =
                previous.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let input = format!(r#"{{"inverted-previous":{},"mark":{mark},"words":{words}}}"#, !previous);
            let found = nebula.post(&format!("/f/{function}"), &input).is(200).json();
            assert_eq!(found[0], 0, "{function} found the mark of the previous call");
            // The function finds its own mark, so the search covers the memory that it writes to.
            assert!(found[1].as_u64().unwrap() > 4 * words, "{function} found only {found}");
            previous = mark;
        }
    }
}

/// Equal inputs draw equal numbers, on another server too; another input draws others.
#[test]
fn rolls_dice() {
    let roll = |nebula: &Nebula, input: &str| {
        let json = format!(r#"{{"times": 3, "ignored": "{input}"}}"#);
        nebula.post("/f/rolls-dice", &json).is(200).json()
    };
    let nebula = Nebula::start_uncached().deploy("rolls-dice", guests::ROLLS_DICE);
    let rolled = roll(&nebula, "a");
    assert_eq!(rolled, roll(&nebula, "a"));
    let elsewhere = Nebula::start_uncached().deploy("rolls-dice", guests::ROLLS_DICE);
    assert_eq!(rolled, roll(&elsewhere, "a"));

    let others = roll(&nebula, "b");
    for source in ["secure", "insecure"] {
        assert_ne!(rolled[source], others[source], "{source}");
        let rolls = rolled[source].as_array().unwrap();
        assert!(rolls.len() == 3 && rolls[0] != rolls[1], "{source}: {rolls:?}");
    }
    assert_ne!(rolled["secure"], rolled["insecure"]);
}

/// Random numbers depend on the input's value, not on the form in which it was sent.
#[test]
fn draws() {
    let nebula = Nebula::start_uncached().deploy("draws", guests::DRAWS);
    let as_json = nebula.post("/f/draws", "\"abc\"").is(200).text().to_owned();
    let plain = nebula.request("POST", "/f/draws").header("content-type", "text/plain").body("abc").send();
    plain.is(200).says(&as_json);
    nebula.get("/f/draws?text=abc").is(200).says(&as_json);
    assert_ne!(nebula.post("/f/draws", "\"abd\"").is(200).text(), as_json);
}

/// Sleeping advances the clock that the function sees and takes no time.
#[test]
fn sleeps() {
    let nebula = Nebula::start_uncached().deploy("sleeps", guests::SLEEPS);
    // An hour passes within a deadline of a second.
    nebula.post("/f/sleeps", "3600000").is(200).says("3600000");
    nebula.post("/f/sleeps", "0").is(200).says("0");
}

/// Output goes to the call's log, up to a limit, and isn't part of the answer.
#[test]
fn prints() {
    let nebula = Nebula::start_uncached().deploy("prints", guests::PRINTS);
    nebula.post("/f/prints", "2").is(200).says("\"the answer\"");
    let logs =
        |name: &str| nebula.control("GET", &format!("/api/v1/functions/{name}/logs")).send().is(200).json();
    let call = &logs("prints")["calls"][0];
    assert_eq!(call["output"], "out 1\nerr 1\nout 2\nerr 2\n");
    assert_eq!(call["outcome"], "ok");

    nebula.put("short?log_bytes_max=20", &std::fs::read(guests::PRINTS).unwrap()).is(200);
    nebula.post("/f/short", "1000").is(200).says("\"the answer\"");
    let output = logs("short")["calls"][0]["output"].as_str().unwrap().to_owned();
    assert!(output.starts_with("out 1\nerr 1\nout 2\ner"), "{output}");
    assert!(output.len() < 200, "{output}");
}

/// The log has what a function prints exactly, control characters included.
#[test]
fn prints_input() {
    let nebula = Nebula::start_uncached().deploy("prints", guests::PRINTS_INPUT);
    let text = "\u{1b}[31mred\r\nnext\tä\u{9b}\u{7f}";
    nebula.post("/f/prints", &serde_json::to_string(text).unwrap()).is(200).says("1");
    let logs = nebula.control("GET", "/api/v1/functions/prints/logs").send().is(200).json();
    assert_eq!(logs["calls"][0]["output"], text);
}

/// Every call gets a fresh instance: a counter in a static is always 1.
#[test]
fn counts() {
    let nebula = Nebula::start_uncached().deploy("counts", guests::COUNTS);
    for _ in 0..20 {
        nebula.post("/f/counts", "").is(200).says("1");
    }
}

/// Network interfaces are linked, because language runtimes import them, and denied at each use.
/// The deploy's notes say so.
#[test]
fn reaches_out() {
    let nebula = Nebula::start_uncached();
    let record = nebula.redeploy("reaches-out", guests::REACHES_OUT).json();
    let notes = record["notes"].to_string();
    assert!(notes.contains("network sockets") && notes.contains("outgoing HTTP requests"), "{notes}");
    for _ in 0..2 {
        let attempts = nebula.post("/f/reaches-out", "").is(200).json();
        assert_eq!(
            attempts,
            json!({
                "tcp": "denied", "listen": "denied", "udp": "denied", "dns": "denied",
                "http": "ErrorCode::HttpRequestDenied",
            })
        );
    }
}

/// A fused multiply-add rounds once or twice, depending on the machine; in the sandbox it always
/// rounds once.
#[test]
fn relaxed_simd_is_deterministic() {
    let madd = wat(r#"(component
            (core module $m
                (func (export "handle") (param f32 f32 f32) (result f32)
                    (f32x4.extract_lane 0 (f32x4.relaxed_madd
                        (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)) (f32x4.splat (local.get 2))))))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "a" f32) (param "b" f32) (param "c" f32) (result f32)
                (canon lift (core func $i "handle"))))"#);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("madd.wasm");
    std::fs::write(&path, &madd).unwrap();
    // (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 if it is rounded once and 0 if it is rounded twice.
    let input = "[1.000244140625, 1.000244140625, -1.00048828125]";
    nebula(&["verify", path.to_str().unwrap(), input]).exits(0);
    let server = Nebula::start_uncached();
    server.put("madd", &madd).is(200);
    server.post("/f/madd", input).is(200).says("5.9604645e-8");
}
