//! Tasks of this repository: `cargo xtask TASK`.
//!
//! ```text
//! ci         everything that decides whether a change lands, or one phase of it: [PHASE]
//! test       installs what the tests need and runs all of them: [PHASE]
//! functions  builds functions/ in both ways and compares their answers with their samples
//! openapi    validates the OpenAPI document of a server with every function deployed
//! units      checks that no two commands build wasmtime with different features
//! fuzz       fuzzes: [TARGET] [--seconds N], all targets a minute each by default
//! dist       builds the binary that is benchmarked and packaged
//! full       ci and dist, then what is too long for every commit
//! ```

mod ci;
mod dist;
mod functions;
mod fuzz;
mod openapi;
mod phases;
mod test;
mod tools;
mod units;

use std::path::Path;
use std::process::{Command, ExitCode};

use phases::Phases;

const USAGE: &str = "usage: cargo xtask ci [PHASE] | test [PHASE] | functions | openapi | units | fuzz [TARGET] [--seconds N] | dist | full";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut phases = match arguments.as_slice() {
        ["ci" | "test", phase] => Phases::only(phase),
        _ => Phases::default(),
    };
    let done = match arguments.as_slice() {
        ["ci"] | ["ci", _] => ci::ci(&mut phases).and_then(|()| phases.finish()),
        ["test"] | ["test", _] => test::test(&mut phases).and_then(|()| phases.finish()),
        ["full"] => ci::full(&mut phases),
        ["functions"] => functions::check(),
        ["openapi"] => openapi::check(),
        ["units"] => units::check(),
        ["fuzz", options @ ..] => fuzz::fuzz(options),
        ["dist"] => dist::build(),
        _ => Err(USAGE.to_owned()),
    };
    phases.print();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository.
fn root() -> &'static Path {
    // Its parent exists: this crate is one folder of it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// cargo in a folder of the repository.
fn cargo(directory: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root().join(directory));
    cargo
}

/// Runs a command to its success.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// Runs a command to its success, for what it writes to stdout.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("`{shown}` failed: {}", output.status))
    }
}
