//! Concurrent calls: deploys during calls, overload, long calls beside short ones, callers that
//! disconnect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nebula_tests::{Nebula, eventually, guests};

/// A call in flight finishes on the version it started with; the next call uses the new version.
#[test]
fn no_call_fails_during_deploys() {
    let nebula = Nebula::start_uncached().deploy("f", guests::GREETS);
    let component = std::fs::read(guests::GREETS).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut calls, mut newest) = (0, 0);
                    while !done.load(Ordering::Relaxed) {
                        let answer = nebula.post("/f/f", "\"you\"").is(200).says("\"Hello, you!\"");
                        let function = answer.header("nebula-function").unwrap();
                        let version: u32 = function.split(['@', ';']).nth(1).unwrap()[1..].parse().unwrap();
                        assert!(version >= newest, "v{version} answered after v{newest}");
                        newest = version;
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for version in 2..=20 {
            nebula.put(&format!("f?log_bytes_max={version}"), &component).is(200);
            // The deploy is acknowledged: the next call sees the new version.
            let answer = nebula.post("/f/f", "\"you\"").is(200);
            assert!(answer.header("nebula-function").unwrap().starts_with(&format!("f@v{version};")));
        }
        // Deploys and removals of other functions don't disturb these calls either.
        nebula.redeploy("other", guests::ADDS);
        nebula.control("DELETE", "/api/v1/functions/other").send().is(204);
        done.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0, "a caller sent no request");
        }
    });
}

#[test]
fn identical_calls_get_identical_answers() {
    let nebula = Nebula::start_uncached().deploy("rolls", guests::ROLLS_DICE);
    let input = r#"{"times": 5, "ignored": "x"}"#;
    let expected = nebula.post("/f/rolls", input).is(200).text().to_owned();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    nebula.post("/f/rolls", input).is(200).says(&expected);
                }
            });
        }
    });
}

/// Calls beyond the limits of running and waiting calls are shed at once; the others are answered.
#[test]
fn overload_is_shed() {
    let nebula = Nebula::start_uncached_with(&["--calls-max", "1", "--queue-max", "1"])
        .deploy("greets", guests::GREETS);
    nebula.put("slow?deadline_ms=500", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    // After this call the function is routed to the compute lane.
    nebula.post("/f/slow", "").is(504);
    let answers: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| nebula.post("/f/slow", ""))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let shed: Vec<_> = answers.iter().filter(|answer| answer.status() == 503).collect();
    assert!(!shed.is_empty(), "{answers:?}");
    for answer in shed {
        answer.clone().problem("overloaded").has("retry-after", "1");
    }
    let ran: Vec<_> = answers.iter().filter(|answer| answer.status() == 504).collect();
    assert!(!ran.is_empty(), "{answers:?}");
    assert!(answers.iter().all(|answer| [503, 504].contains(&answer.status())), "{answers:?}");
    nebula.post("/f/greets", "\"you\"").is(200);
}

/// Without a queue, calls are shed only while the lane is busy.
#[test]
fn a_queue_of_zero_still_runs_calls() {
    let nebula = Nebula::start_uncached_with(&["--calls-max", "1", "--queue-max", "0"]);
    nebula.put("slow?deadline_ms=200", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    for _ in 0..3 {
        nebula.post("/f/slow", "").is(504);
    }
}

#[test]
fn short_calls_do_not_wait_for_long_calls() {
    let nebula = Nebula::start_uncached().deploy("greets", guests::GREETS);
    nebula.put("slow?deadline_ms=4000", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    nebula.post("/f/greets", "\"you\"").is(200);
    thread::scope(|scope| {
        let long: Vec<_> = (0..8).map(|_| scope.spawn(|| nebula.post("/f/slow", ""))).collect();
        for _ in 0..100 {
            nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
        }
        assert!(long.iter().all(|call| !call.is_finished()), "the short calls took as long as the long ones");
        for call in long {
            call.join().unwrap().is(504);
        }
    });
}

#[test]
fn disconnecting_callers_leave_the_server_working() {
    use std::io::Write;

    let nebula = Nebula::start_uncached_with(&["--calls-max", "1"]).deploy("greets", guests::GREETS);
    nebula.put("slow?deadline_ms=300", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    for _ in 0..5 {
        let mut stream = std::net::TcpStream::connect(nebula.calls_address()).unwrap();
        stream.write_all(b"POST /f/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
    nebula.post("/f/greets", "\"you\"").is(200);
    // The lane is free again once the calls that had started have ended.
    eventually("a slow call runs", || (nebula.post("/f/slow", "").status() == 504).then_some(()));
}

/// A call whose caller has disconnected frees the lane before its deadline.
#[test]
fn abandoned_calls_are_cancelled() {
    use std::io::Write;

    let nebula = Nebula::start_uncached_with(&["--calls-max", "1"]);
    let component = std::fs::read(guests::LOOPS_FOREVER).unwrap();
    nebula.put("endless?deadline_ms=600000", &component).is(200);
    nebula.put("slow?deadline_ms=200", &component).is(200);
    let mut stream = std::net::TcpStream::connect(nebula.calls_address()).unwrap();
    stream.write_all(b"POST /f/endless HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
    // A call whose deadline passes in the queue gets 503, which shows that the other call occupies
    // the lane.
    eventually("the lane is busy", || (nebula.post("/f/slow", "").status() == 503).then_some(()));
    drop(stream);
    eventually("the lane is free", || (nebula.post("/f/slow", "").status() == 504).then_some(()));
}

/// Many long calls of one function don't keep another function's calls from running.
#[test]
fn one_function_cannot_occupy_the_whole_lane() {
    let nebula = Nebula::start_uncached_with(&["--calls-max", "2"]);
    let component = std::fs::read(guests::LOOPS_FOREVER).unwrap();
    nebula.put("greedy?deadline_ms=3000", &component).is(200);
    nebula.put("modest?deadline_ms=300", &component).is(200);
    thread::scope(|scope| {
        let greedy: Vec<_> = (0..6).map(|_| scope.spawn(|| nebula.post("/f/greedy", ""))).collect();
        for _ in 0..3 {
            // 504: the call ran. One that waited until its deadline would get 503.
            nebula.post("/f/modest", "").is(504);
        }
        assert!(greedy.iter().any(|call| !call.is_finished()));
    });
}
