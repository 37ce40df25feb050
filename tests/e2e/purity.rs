//! Purity, enforced: what a function sees of the world is the same thing, each time.

use nebula_tests::{Nebula, foreach_guest_in_purity, guests, nebula, wat};
use serde_json::json;

foreach_guest_in_purity!(is_tested);

#[test]
fn looks_around() {
    let nebula = Nebula::start().deploy("looks-around", guests::LOOKS_AROUND);
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

/// Nothing of a call is there in the next one, on either lane, whatever it wrote to.
#[test]
fn leaves_behind() {
    let nebula = Nebula::start_with(&["--threads", "1"]);
    let component = std::fs::read(guests::LEAVES_BEHIND).unwrap();
    // One component: on a lane they use the same slots. What may have more than the usual memory starts on the
    // compute lane; what has overrun the fast lane goes on there, so afterwards another name looks at what it left.
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
            let input = format!(r#"{{"turned-previous":{},"mark":{mark},"words":{words}}}"#, !previous);
            let found = nebula.post(&format!("/f/{function}"), &input).is(200).json();
            assert_eq!(found[0], 0, "{function} found what the call before has left");
            // It looks where it leaves things.
            assert!(found[1].as_u64().unwrap() > 4 * words, "{function} found only {found}");
            previous = mark;
        }
    }
}

/// The same input rolls the same numbers, on another server too; another input rolls others.
#[test]
fn rolls_dice() {
    let roll = |nebula: &Nebula, input: &str| {
        let json = format!(r#"{{"times": 3, "ignored": "{input}"}}"#);
        nebula.post("/f/rolls-dice", &json).is(200).json()
    };
    let nebula = Nebula::start().deploy("rolls-dice", guests::ROLLS_DICE);
    let rolled = roll(&nebula, "a");
    assert_eq!(rolled, roll(&nebula, "a"));
    let elsewhere = Nebula::start().deploy("rolls-dice", guests::ROLLS_DICE);
    assert_eq!(rolled, roll(&elsewhere, "a"));

    let others = roll(&nebula, "b");
    for source in ["secure", "insecure"] {
        assert_ne!(rolled[source], others[source], "{source}");
        let rolls = rolled[source].as_array().unwrap();
        assert!(rolls.len() == 3 && rolls[0] != rolls[1], "{source}: {rolls:?}");
    }
    assert_ne!(rolled["secure"], rolled["insecure"]);
}

/// How an input travels is no part of it.
#[test]
fn draws() {
    let nebula = Nebula::start().deploy("draws", guests::DRAWS);
    let as_json = nebula.post("/f/draws", "\"abc\"").is(200).text().to_owned();
    let plain = nebula.request("POST", "/f/draws").header("content-type", "text/plain").body("abc").send();
    plain.is(200).says(&as_json);
    nebula.get("/f/draws?text=abc").is(200).says(&as_json);
    assert_ne!(nebula.post("/f/draws", "\"abd\"").is(200).text(), as_json);
}

/// Sleeping moves the clock that the function sees, and no other.
#[test]
fn sleeps() {
    let nebula = Nebula::start().deploy("sleeps", guests::SLEEPS);
    // An hour, under a deadline of a second.
    nebula.post("/f/sleeps", "3600000").is(200).says("3600000");
    nebula.post("/f/sleeps", "0").is(200).says("0");
}

/// What is printed is the call's log and no part of the answer, and there is a limit to it.
#[test]
fn prints() {
    let nebula = Nebula::start().deploy("prints", guests::PRINTS);
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

#[test]
fn counts() {
    let nebula = Nebula::start().deploy("counts", guests::COUNTS);
    for _ in 0..20 {
        nebula.post("/f/counts", "").is(200).says("1");
    }
}

/// Linked, because language runtimes import it, and denied at each use; deploying says so.
#[test]
fn reaches_out() {
    let nebula = Nebula::start();
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

/// An instruction that machines may round in two ways is rounded in one.
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
    // (1 + 2^-12)^2 - (1 + 2^-11): 2^-24 where it is rounded once, 0 where it is rounded twice.
    let input = "[1.000244140625, 1.000244140625, -1.00048828125]";
    nebula(&["verify", path.to_str().unwrap(), input]).exits(0);
    let server = Nebula::start();
    server.put("madd", &madd).is(200);
    server.post("/f/madd", input).is(200).says("5.9604645e-8");
}
