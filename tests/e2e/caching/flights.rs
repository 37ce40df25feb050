//! Flights: identical calls in progress share one execution.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nebula_tests::{Nebula, eventually};

use super::{Counts, HIT, counts, deploy, function};

const COLLAPSED: &str = "nebula; fwd=miss; collapsed";

/// A thousand callers that send the same call at the same time share one execution.
#[test]
fn a_stampede_is_one_execution() {
    const CALLERS: usize = 1000;
    let nebula = Nebula::start();
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    // The call takes long, so most of the others join while it runs; the rest hit the cache.
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
    let counts = counts(&nebula);
    assert_eq!((counts.hits + counts.collapsed, counts.misses), (CALLERS as u64 - 1, 1));
    assert!(counts.collapsed > 0, "no caller joined the execution: {counts:?}");
}

/// Sends a call of `fib` and returns the connection without reading the answer.
fn send_fib(nebula: &Nebula, n: u32) -> TcpStream {
    let mut caller = TcpStream::connect(nebula.calls_address()).unwrap();
    let head = "POST /f/fib HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2";
    write!(caller, "{head}\r\n\r\n{n}").unwrap();
    caller
}

/// Waits until a call runs on the compute lane, whose first thread starts with its first call.
fn wait_until_running(nebula: &Nebula) {
    eventually("a call runs on the compute lane", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", nebula.pid())).unwrap();
        let mut names =
            tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.any(|name| name.starts_with("nebula-compute")).then_some(())
    });
}

/// If the caller that started the execution disconnects, the execution continues for the others.
#[test]
fn a_disconnecting_caller_does_not_cancel_the_others() {
    let nebula = Nebula::start();
    deploy(&nebula, "fib?deadline_ms=60000", function("fibonacci-recursive"));
    let fib = |n: u32| (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
    let mut executions = 0;
    // If the first caller disconnects before the second has joined, the attempt proves nothing and
    // is repeated with a slower call.
    let collapsed = (38..43).any(|n| {
        let first = send_fib(&nebula, n);
        wait_until_running(&nebula);
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| nebula.post("/f/fib", &n.to_string()));
            std::thread::sleep(Duration::from_millis(20 << (n - 38)));
            drop(first);
            second.join().unwrap()
        });
        executions += 1;
        second.is(200).says(&fib(n).to_string()).header("cache-status") == Some(COLLAPSED)
    });
    assert!(collapsed, "no second caller got the result of the execution that the first one started");
    // Executions whose first caller has disconnected are counted, too, soon after they end.
    let expected = Counts { hits: 0, collapsed: 1, misses: executions };
    eventually("every execution is counted", || (counts(&nebula) == expected).then_some(()));
}

/// The last caller to disconnect cancels the execution, which frees the only slot of the compute
/// lane.
#[test]
fn an_execution_without_callers_is_cancelled() {
    let nebula = Nebula::start_with(&["--calls-max", "1"]);
    deploy(&nebula, "fib?deadline_ms=600000", function("fibonacci-recursive"));
    let callers = [send_fib(&nebula, 45), send_fib(&nebula, 45)];
    wait_until_running(&nebula);
    drop(callers);
    let begun = std::time::Instant::now();
    nebula.post("/f/fib", "33").is(200).says("3524578");
    let took = begun.elapsed();
    let begun = std::time::Instant::now();
    nebula.post("/f/fib", "40").is(200).says("102334155");
    // `fib(40)` takes a tenth of the time that `fib(45)` would.
    assert!(took < begun.elapsed() * 5, "{took:?}");
}

/// Callers that joined an execution which exceeds its deadline run the call again within their own
/// deadline.
#[test]
fn a_short_deadline_does_not_fail_other_callers() {
    let nebula = Nebula::start();
    deploy(&nebula, "fib?deadline_ms=30", function("fibonacci-recursive"));
    deploy(&nebula, "patient?deadline_ms=60000", function("fibonacci-recursive"));
    std::thread::scope(|scope| {
        let hasty = scope.spawn(|| nebula.post("/f/fib", "38"));
        wait_until_running(&nebula);
        let patient: Vec<_> = (0..4).map(|_| scope.spawn(|| nebula.post("/f/patient", "38"))).collect();
        hasty.join().unwrap().is(504).problem("deadline-exceeded");
        for patient in patient {
            patient.join().unwrap().is(200).says("39088169");
        }
    });
    nebula.post("/f/fib", "38").is(200).has("cache-status", HIT);
}
