//! The checks that every change must pass ([`ci`]), and the longer ones before a release
//! ([`full`]).
//!
//! Each check is a phase with a name, so that it can run alone: `cargo xtask ci lints`. The phases
//! that run tests are in [`mod@test`].

use std::process::Command;

use crate::command::{cargo, root, run};
use crate::experiment::Machine;
use crate::phases::Phases;
use crate::{dist, experiment, fuzz, test, tools, units};

/// The folders of the cargo workspaces in this repository.
const WORKSPACES: [&str; 5] = [".", "bench/native", "guest-sdk", "functions", "tests/guests"];

/// Builds for the target of guests.
const WASM: [&str; 2] = ["--target", "wasm32-wasip2"];

/// The time that [`full`] fuzzes each target.
const FUZZ_SECONDS: u64 = 300;

/// The number of times that [`full`] repeats the tests. Each repetition generates other inputs.
const REPEATS: &str = "3";

/// Checks formatting, wasmtime's features, dependencies, lints, documentation and the packages of
/// the guest SDK, runs all tests, and calls the arms of the experiment.
pub(crate) fn ci(phases: &mut Phases) -> Result<(), String> {
    phases.run("format", format)?;
    phases.run("units", units::check)?;
    phases.run("dependencies", dependencies)?;
    phases.run("lints", lints)?;
    phases.run("documentation", documentation)?;
    phases.run("publish", publish)?;
    test::test(phases)?;
    phases.run("arms", || experiment::check(Machine::Busy))
}

/// Runs [`ci`], builds the packaged binary, checks the experiment, repeats the tests and fuzzes each
/// target.
pub(crate) fn full(phases: &mut Phases) -> Result<(), String> {
    ci(phases)?;
    phases.run("dist", dist::build)?;
    phases.run("experiment", || experiment::check(Machine::Idle))?;
    phases.run("tests-again", || test::nextest(&["--stress-count", REPEATS]))?;
    phases.run("fuzzing", || fuzz::all(FUZZ_SECONDS))
}

fn format() -> Result<(), String> {
    WORKSPACES.iter().try_for_each(|workspace| run(cargo(workspace).args(["fmt", "--all", "--check"])))
}

/// Checks the licenses and sources of all dependencies, and that no banned crate is among them.
///
/// Advisories are checked by hand before a release (docs/release-checklist.md), because they need
/// an external database.
fn dependencies() -> Result<(), String> {
    let deny = tools::deny()?;
    for workspace in WORKSPACES {
        let manifest = root().join(workspace).join("Cargo.toml");
        let mut check = Command::new(&deny);
        check.args(["deny", "--all-features", "--manifest-path"]).arg(manifest);
        check.arg("--config").arg(root().join("deny.toml"));
        check.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
        run(&mut check)?;
    }
    Ok(())
}

fn lints() -> Result<(), String> {
    tools::targets()?;
    let clippy = |workspace: &str, arguments: &[&str]| {
        run(cargo(workspace).arg("clippy").args(arguments).args(["--", "-D", "warnings"]))
    };
    clippy(".", &["--workspace", "--all-targets"])?;
    clippy(
        "bench/native",
        &["--workspace", "--all-targets", "--features", "nebula-native/serve,nebula-native/init"],
    )?;
    clippy("guest-sdk", &["--workspace", "--all-targets"])?;
    clippy("functions", &["--workspace", "--all-targets"])?;
    clippy("functions", &[&["--workspace"][..], &WASM].concat())?;
    clippy("tests/guests", &[&["--all-targets"][..], &WASM].concat())
}

fn documentation() -> Result<(), String> {
    [".", "guest-sdk"].iter().try_for_each(|workspace| {
        let mut doc = cargo(workspace);
        run(doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps", "--quiet"]))
    })
}

/// Packages the guest SDK as a release would be, and builds the packages.
///
/// The packages may have changes that aren't committed: this also runs before a commit. Cargo asks
/// the registry whether the version exists, so this phase needs a network.
fn publish() -> Result<(), String> {
    let mut publish = cargo("guest-sdk");
    publish.args(["publish", "--dry-run", "--allow-dirty"]);
    run(publish.args(["-p", "nebula-sdk-macros", "-p", "nebula-sdk"]))
}
