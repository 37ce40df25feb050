//! Signals: the notice before a server stops, and what ends it.

use std::time::{Duration, Instant};

use nebula_tests::{Nebula, eventually, guests};

/// Longer than any test waits.
const LONG_NOTICE: [&str; 2] = ["--notice-seconds", "600"];

fn noticed(nebula: &Nebula) {
    eventually("the server announces that it stops", || {
        (nebula.get("/readyz").status() == 503).then_some(())
    });
}

/// Load balancers see the 503 and send no more requests. Those that come all the same are answered.
#[test]
fn sigterm_gives_notice_before_the_server_stops() {
    let mut nebula = Nebula::start_with(&["--notice-seconds", "2"]).deploy("greets", guests::GREETS);
    nebula.get("/readyz").is(200).says("ok\n");
    let begun = Instant::now();
    nebula.terminate();
    noticed(&nebula);
    nebula.get("/readyz").is(503).problem("stopping");
    nebula.request("HEAD", "/readyz").send().is(503);
    nebula.get("/healthz").is(200);
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.wait_for_exit();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(nebula.stderr().contains("stopping in 2 s"), "{}", nebula.stderr());
}

#[test]
fn a_second_signal_ends_the_notice() {
    for second in [Nebula::terminate, Nebula::interrupt] {
        let mut nebula = Nebula::start_with(&LONG_NOTICE);
        nebula.terminate();
        noticed(&nebula);
        second(&nebula);
        nebula.wait_for_exit();
    }
}

#[test]
fn sigint_stops_without_notice() {
    let mut nebula = Nebula::start_with(&LONG_NOTICE);
    nebula.interrupt();
    nebula.wait_for_exit();
}

/// A server that was started in a terminal outlives it.
#[test]
fn sighup_does_not_end_the_server() {
    let mut nebula = Nebula::start_with(&LONG_NOTICE).deploy("greets", guests::GREETS);
    for _ in 0..3 {
        nebula.hang_up();
        std::thread::sleep(Duration::from_millis(50));
        nebula.get("/readyz").is(200);
    }
    nebula.interrupt();
    nebula.wait_for_exit();
}
