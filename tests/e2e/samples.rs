//! The functions of this repository, each called with its sample.

use std::path::{Path, PathBuf};

use nebula_tests::{FUNCTIONS, Nebula, functions};

/// The sample's `input` or `output`, whatever its ending.
fn sample(directory: &str, stem: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(Path::new(directory).join("sample")).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.file_stem().is_some_and(|name| name == stem))
}

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
        other => panic!("a sample that ends in `{other}`"),
    }
}

/// Limits of the function's own, as its `nebula.toml` has them, for the deploy's query.
fn limits(directory: &str) -> String {
    let Ok(text) = std::fs::read_to_string(Path::new(directory).join("nebula.toml")) else {
        return String::new();
    };
    let limits = text.split("[limits]").nth(1).unwrap_or_default();
    let pairs = limits.lines().filter_map(|line| {
        let (name, value) = line.split('#').next()?.split_once('=')?;
        Some(format!("{}={}", name.trim(), value.trim().replace('_', "")))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn name(directory: &str) -> &str {
    directory.rsplit('/').next().unwrap()
}

/// Deploys a function as its crate says.
fn deploy(nebula: &Nebula, directory: &str) {
    nebula.put_function(name(directory), &limits(directory)).is(200);
}

#[test]
fn samples_are_answered() {
    let nebula = Nebula::start();
    let mut answered = 0;
    for (directory, _) in FUNCTIONS {
        deploy(&nebula, directory);
        let Some(input) = sample(directory, "input") else { continue };
        let call = || {
            let call = nebula.request("POST", &format!("/f/{}", name(directory)));
            let call = call.header("content-type", media_type(&input));
            call.body(std::fs::read(&input).unwrap()).send().is(200)
        };
        let answer = call();
        match sample(directory, "output") {
            Some(output) => {
                answer.bytes(&std::fs::read(&output).unwrap());
            }
            // One whose answer depends on its own digest: the same each time is all there is to say.
            None => {
                call().bytes(answer.body());
            }
        }
        answered += 1;
    }
    assert!(answered > 0, "no function has a sample");
}

/// The one of the http form answers requests, whole.
#[test]
fn hello_http_routes() {
    let nebula = Nebula::start().deploy("hello", functions::HELLO_HTTP);
    nebula.get("/f/hello").is(200).says("Hello from Nebula\n");
    nebula.get("/f/hello/hello/Ada").is(200).says("Hello, Ada\n");
    nebula.get("/f/hello/nowhere").is(404);
    let body = "x".repeat(100_000);
    let echo = nebula.request("POST", "/f/hello/echo").header("content-type", "text/x-own").body(&body);
    echo.send().is(200).has("content-type", "text/x-own").says(&body);
}

/// `nebula up` is for people who look at the samples first.
#[test]
fn every_function_has_a_sample() {
    for (directory, _) in FUNCTIONS {
        let is_http = name(directory).contains("http");
        assert!(is_http || sample(directory, "input").is_some(), "{directory} has no sample/input.*");
    }
}

/// Growing memory costs two system calls on each call: functions built with the SDK find their heap
/// inside the memory that they begin with.
#[test]
fn small_inputs_need_no_more_memory_than_there_is() {
    let nebula = Nebula::start();
    for (directory, path) in FUNCTIONS {
        let name = name(directory);
        if !["add", "slugify", "word-count", "sha256"].contains(&name) {
            continue;
        }
        let component = std::fs::read(path).unwrap();
        let initial = initial_memory_bytes(&component);
        nebula.put(&format!("{name}?memory_bytes_max={initial}"), &component).is(200);
        let input = sample(directory, "input").unwrap();
        let call = nebula.request("POST", &format!("/f/{name}")).header("content-type", media_type(&input));
        call.body(std::fs::read(&input).unwrap()).send().is(200);
    }
}

/// The memories that a component's modules begin with, all together.
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
