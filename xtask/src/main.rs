//! The repository's build and test tasks: `cargo xtask TASK`.
//!
//! ```text
//! ci [PHASE]      runs every check that a change must pass, or one phase
//! test [PHASE]    installs the tools that the tests need and runs all tests, or one phase
//! functions       tests functions/, builds them in both ways and checks their samples
//! openapi         generates clients and requests from the OpenAPI documents, and calls with them
//! dashboard       checks the types of the dashboard in deploy/ against Grafana's schema
//! units           checks that no two cargo commands build wasmtime with different features
//! fuzz [TARGET] [--seconds N]
//!                 fuzzes one target, or all of them; a minute each by default, and two
//!                 minutes of fast_path
//! dist            builds the binary that is benchmarked and packaged
//! experiment [--quick] [--only ARM] [--out DIR]
//!                 compares functions under Nebula with processes, wasmtime and containers: an
//!                 hour, or some minutes
//! experiment --check
//!                 checks the arms of the comparison that are installed, with small builds
//! full [PHASE]    runs ci, dist, experiment --check, the tests three more times, and five
//!                 minutes of each fuzz target, ten of fast_path; or one of these phases
//! ```
//!
//! Errors are messages (`String`): every task ends at the first one, and only `main` prints them.

mod ci;
mod command;
mod console;
mod dashboard;
mod dist;
mod experiment;
mod functions;
mod fuzz;
mod openapi;
mod phases;
mod test;
mod tools;
mod units;

use std::process::ExitCode;

use phases::Phases;

const USAGE: &str = "usage: cargo xtask ci [PHASE] | test [PHASE] | functions | openapi | dashboard | units | fuzz [TARGET] [--seconds N] | dist | experiment [--check | OPTION…] | full [PHASE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut phases = match arguments.as_slice() {
        ["ci" | "test" | "full", phase] => Phases::only(phase),
        _ => Phases::default(),
    };
    let outcome = match arguments.as_slice() {
        ["ci"] | ["ci", _] => ci::ci(&mut phases).and_then(|()| phases.finish()),
        ["test"] | ["test", _] => test::test(&mut phases).and_then(|()| phases.finish()),
        ["full"] | ["full", _] => ci::full(&mut phases).and_then(|()| phases.finish()),
        ["functions"] => functions::check(),
        ["openapi"] => openapi::check(),
        ["dashboard"] => dashboard::check(),
        ["units"] => units::check(),
        ["fuzz", options @ ..] => fuzz::fuzz(options),
        ["dist"] => dist::build(),
        ["experiment", "--check"] => experiment::check(experiment::Machine::Idle),
        ["experiment", options @ ..] => experiment::run_with(options),
        _ => Err(USAGE.to_owned()),
    };
    phases.print();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
