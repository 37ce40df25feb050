//! Compiled code: it is read from disk once, and each thread that calls it loads it once.

use std::io::{Read, Write};
use std::net::TcpStream;

use nebula_tests::{Nebula, WAIT_MAX};

/// Functions of this repository that take text.
const FUNCTIONS: [&str; 3] = ["markdown", "slugify", "sha256"];

const THREADS: u64 = 64;

/// Returns a count from the server's report on loaded compiled code.
fn loaded(nebula: &Nebula, count: &str) -> u64 {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    report["loaded"][count].as_u64().unwrap_or_else(|| panic!("no `{count}` in {report}"))
}

/// Calls `function` `calls` times over a new connection, which a single thread serves.
fn call(nebula: &Nebula, function: &str, calls: usize) {
    let mut stream = TcpStream::connect(nebula.calls_address()).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    for number in 1..=calls {
        let connection = if number == calls { "close" } else { "keep-alive" };
        let head = format!(
            "POST /f/{function} HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\nconnection: {connection}\r\n"
        );
        stream.write_all(format!("{head}content-length: 7\r\n\r\n# Title").as_bytes()).unwrap();
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), calls, "{answers}");
}

#[test]
fn functions_stay_loaded_on_each_of_64_threads() {
    let nebula = Nebula::start_with(&["--threads", &THREADS.to_string()]);
    for function in FUNCTIONS {
        nebula.put_function(function, "").is(200);
    }
    for _ in 0..100 {
        for function in FUNCTIONS {
            call(&nebula, function, 1);
        }
    }
    let functions = FUNCTIONS.len() as u64;
    assert_eq!(loaded(&nebula, "reads"), functions);
    assert_eq!(loaded(&nebula, "components"), functions);
    assert_eq!(loaded(&nebula, "evictions"), 0);
    // One load for each thread, and perhaps one on the compute lane. If components didn't stay
    // loaded, each of the 300 calls would load one.
    let loads = loaded(&nebula, "loads");
    assert!(loads <= functions * (THREADS + 1), "{loads} loads");
    for function in FUNCTIONS {
        let before = loaded(&nebula, "loads");
        call(&nebula, function, 50);
        let loads = loaded(&nebula, "loads") - before;
        // The first call loads the component if the thread hasn't called the function yet. Another
        // call may move to the compute lane and load it there.
        assert!(loads <= 2, "{loads} loads in 50 calls of `{function}`");
    }
    assert!(loaded(&nebula, "bytes") <= loaded(&nebula, "bytes_max"));
}

#[test]
fn code_over_the_budget_is_unloaded() {
    let nebula = Nebula::start_with(&["--loaded-bytes-max", "0"]);
    for function in FUNCTIONS {
        nebula.put_function(function, "").is(200);
        call(&nebula, function, 3);
    }
    assert_eq!(loaded(&nebula, "bytes_max"), 0);
    // The function that was called last stays loaded.
    assert_eq!(loaded(&nebula, "components"), 1);
    assert_eq!(loaded(&nebula, "evictions"), FUNCTIONS.len() as u64 - 1);
}
