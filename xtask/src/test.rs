//! Runs the tests of every workspace: unit, end-to-end and documentation tests.

use std::process::Command;

use crate::command::{cargo, root, run};
use crate::phases::Phases;
use crate::{console, dashboard, functions, openapi, tools};

/// Installs the tools that the tests need, then runs all tests.
pub(crate) fn test(phases: &mut Phases) -> Result<(), String> {
    phases.run("tools", || {
        tools::targets()?;
        tools::nginx()?;
        tools::prometheus()?;
        tools::chromium()?;
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
    phases.run("openapi", openapi::check)?;
    phases.run("dashboard", dashboard::check)?;
    phases.run("console", console::check)
}

/// Runs the tests of the main workspace with nextest, ignored ones included: those need a tool that
/// the phase `tools` has installed.
pub(crate) fn nextest(arguments: &[&str]) -> Result<(), String> {
    // The end-to-end tests start this binary. nextest runs each test in its own process, and
    // without the variable each of them would run cargo to build it.
    let nebula = tools::nebula()?;
    let mut nextest = Command::new(tools::nextest()?);
    nextest.current_dir(root()).env("NEBULA_TEST_BINARY", nebula);
    run(nextest.args(["nextest", "run", "--workspace", "--run-ignored", "all"]).args(arguments))
}
