//! All tests.

use std::process::Command;

use crate::phases::Phases;
use crate::{cargo, functions, openapi, root, run, tools};

pub(crate) fn test(phases: &mut Phases) -> Result<(), String> {
    phases.run("tools", || {
        tools::targets()?;
        tools::nginx()?;
        tools::nextest()?;
        tools::cargo_component()
    })?;
    phases.run("test-builds", || nextest(&["--no-run"]))?;
    phases.run("tests", || nextest(&[]))?;
    phases.run("doc-tests", || run(cargo(".").args(["test", "--doc", "--workspace"])))?;
    phases.run("guest-sdk", || {
        run(Command::new(tools::nextest()?)
            .current_dir(root().join("guest-sdk"))
            .args(["nextest", "run"])
            .arg("--workspace"))?;
        run(cargo("guest-sdk").args(["test", "--doc", "--workspace"]))
    })?;
    phases.run("functions", functions::check)?;
    phases.run("openapi", openapi::check)
}

/// Runs the tests of the main workspace, those that need an installed tool too.
pub(crate) fn nextest(arguments: &[&str]) -> Result<(), String> {
    // The end-to-end tests drive this binary. Each is a process of its own and would ask cargo for it.
    let nebula = tools::nebula()?;
    let mut nextest = Command::new(tools::nextest()?);
    nextest.current_dir(root()).env("NEBULA_TEST_BINARY", nebula);
    run(nextest.args(["nextest", "run", "--workspace", "--run-ignored", "all"]).args(arguments))
}
