//! The functions of this repository: samples, limits, and the memory that they need.

use std::path::Path;

use nebula_tests::{FUNCTIONS, FunctionCrate, Nebula, functions};

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "json" => "application/json",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" => "text/html",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "bin" => "application/octet-stream",
        other => panic!("unknown extension `{other}` of a sample"),
    }
}

/// Returns the limits in the function's `nebula.toml` as the query of a deploy.
fn limits(function: &FunctionCrate) -> String {
    let Ok(text) = std::fs::read_to_string(Path::new(function.directory).join("nebula.toml")) else {
        return String::new();
    };
    let limits = text.split("[limits]").nth(1).unwrap_or_default();
    let pairs = limits.lines().filter_map(|line| {
        let (name, value) = line.split('#').next()?.split_once('=')?;
        Some(format!("{}={}", name.trim(), value.trim().replace('_', "")))
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn functions_answer_their_samples() {
    let nebula = Nebula::start_uncached();
    let mut answered = 0;
    for function in FUNCTIONS {
        nebula.put_function(function.name(), &limits(function)).is(200);
        let Some(input) = function.sample("input") else { continue };
        let call = || {
            let call = nebula.request("POST", &format!("/f/{}", function.name()));
            let call = call.header("content-type", media_type(&input));
            call.body(std::fs::read(&input).unwrap()).send().is(200)
        };
        let answer = call();
        match function.sample("output") {
            Some(output) => {
                answer.bytes(&std::fs::read(&output).unwrap());
            }
            // The answer depends on the function's digest, so the test only checks that it stays
            // the same.
            None => {
                call().bytes(answer.body());
            }
        }
        answered += 1;
    }
    assert!(answered > 0, "no function has a sample");
}

#[test]
fn hello_http_routes_by_path() {
    let nebula = Nebula::start().deploy("hello", functions::HELLO_HTTP);
    nebula.get("/f/hello").is(200).says("Hello from Nebula\n");
    nebula.get("/f/hello/hello/Ada").is(200).says("Hello, Ada\n");
    nebula.get("/f/hello/nowhere").is(404);
    let body = "x".repeat(100_000);
    let echo = nebula.request("POST", "/f/hello/echo").header("content-type", "text/x-own").body(&body);
    echo.send().is(200).has("content-type", "text/x-own").says(&body);
}

/// `nebula up` prints the call of each function's sample.
#[test]
fn every_function_but_http_ones_has_a_sample() {
    for function in FUNCTIONS {
        let is_http = function.name().contains("http");
        assert!(
            is_http || function.sample("input").is_some(),
            "{} has no sample/input.*",
            function.directory
        );
    }
}

/// Growing the memory costs two system calls per call. Functions built with the SDK have their heap
/// inside the initial memory.
#[test]
fn small_inputs_fit_the_initial_memory() {
    let nebula = Nebula::start();
    for name in ["add", "slugify", "word-count", "sha256"] {
        let function = FunctionCrate::named(name);
        let component = std::fs::read(function.component).unwrap();
        let initial = initial_memory_bytes(&component);
        nebula.put(&format!("{name}?memory_bytes_max={initial}"), &component).is(200);
        let input = function.sample("input").unwrap();
        let call = nebula.request("POST", &format!("/f/{name}")).header("content-type", media_type(&input));
        call.body(std::fs::read(&input).unwrap()).send().is(200);
    }
}

/// Returns the initial size of all memories of a component's modules.
fn initial_memory_bytes(component: &[u8]) -> u64 {
    let payloads = wasmparser::Parser::new(0).parse_all(component);
    let mut pages = 0;
    for payload in payloads {
        if let wasmparser::Payload::MemorySection(memories) = payload.unwrap() {
            pages += memories.into_iter().map(|memory| memory.unwrap().initial).sum::<u64>();
        }
    }
    pages * 65_536
}
