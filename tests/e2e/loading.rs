//! Compiled code: read once, and loaded once by each thread that calls it.

use std::io::{Read, Write};
use std::net::TcpStream;

use nebula_tests::{Nebula, PATIENCE};

/// Functions of this repository that take a text.
const FUNCTIONS: [&str; 3] = ["markdown", "slugify", "sha256"];

const THREADS: u64 = 64;

/// What the server says of compiled code.
fn loaded(nebula: &Nebula, what: &str) -> u64 {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    report["loaded"][what].as_u64().unwrap_or_else(|| panic!("no `{what}` in {report}"))
}

/// Calls `function` `calls` times over a connection of its own, which one thread serves.
fn call(nebula: &Nebula, function: &str, calls: usize) {
    let mut stream = TcpStream::connect(nebula.calls_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
    // Of some 300 loads that each call would make otherwise; the compute lane may have them too.
    let loads = loaded(&nebula, "loads");
    assert!(loads <= functions * (THREADS + 1), "{loads} loads");
    for function in FUNCTIONS {
        let before = loaded(&nebula, "loads");
        call(&nebula, function, 50);
        let loads = loaded(&nebula, "loads") - before;
        // The first call may be the thread's first of that function, and one may be cut off and run on the compute lane.
        assert!(loads <= 2, "{loads} loads in 50 calls of `{function}`");
    }
    assert!(loaded(&nebula, "bytes") <= loaded(&nebula, "bytes_max"));
}

#[test]
fn the_budget_for_compiled_code_is_an_option() {
    let nebula = Nebula::start_with(&["--loaded-bytes-max", "0"]);
    for function in FUNCTIONS {
        nebula.put_function(function, "").is(200);
        call(&nebula, function, 3);
    }
    assert_eq!(loaded(&nebula, "bytes_max"), 0);
    // The one that was called last.
    assert_eq!(loaded(&nebula, "components"), 1);
    assert_eq!(loaded(&nebula, "evictions"), FUNCTIONS.len() as u64 - 1);
}
