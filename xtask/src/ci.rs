//! What decides whether a change lands, and what is too long for every change.

use std::process::Command;

use crate::phases::Phases;
use crate::{cargo, dist, fuzz, root, run, test, tools, units};

/// The workspaces of this repository.
const WORKSPACES: [&str; 4] = [".", "guest-sdk", "functions", "tests/guests"];

/// The target of guests.
const WASM: [&str; 2] = ["--target", "wasm32-wasip2"];

/// Each target is fuzzed so long by [`full`].
const FUZZ_SECONDS: u64 = 600;

/// How often [`full`] runs the tests again. Generated inputs differ each time.
const REPEATS: &str = "3";

/// Formatting, lints, dependencies, documentation and tests.
pub(crate) fn ci(phases: &mut Phases) -> Result<(), String> {
    phases.run("format", format)?;
    phases.run("units", units::check)?;
    phases.run("dependencies", dependencies)?;
    phases.run("lints", lints)?;
    phases.run("documentation", documentation)?;
    test::test(phases)
}

/// [`ci`], the binary to package, the tests several times over, and a long run of each fuzz target.
pub(crate) fn full(phases: &mut Phases) -> Result<(), String> {
    ci(phases)?;
    phases.run("dist", dist::build)?;
    phases.run("tests-again", || test::nextest(&["--stress-count", REPEATS]))?;
    phases.run("fuzzing", || fuzz::all(FUZZ_SECONDS))
}

fn format() -> Result<(), String> {
    WORKSPACES.iter().try_for_each(|workspace| run(cargo(workspace).args(["fmt", "--all", "--check"])))
}

/// Licenses, banned crates and sources of all dependencies. Advisories need a database from elsewhere, so they are
/// checked by hand: docs/release-checklist.md.
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
