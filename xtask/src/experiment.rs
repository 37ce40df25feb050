//! Runs the comparison of `bench/src/experiment.rs`: complete, or only to check that it works.

use std::process::Command;

use crate::command::{cargo, root, run};
use crate::{dist, tools};

/// Builds the packaged binary, and runs the experiment on it with the options of `nebula-bench
/// experiment`, which builds and installs the rest.
pub(crate) fn run_with(options: &[&str]) -> Result<(), String> {
    tools::targets()?;
    dist::build()?;
    let mut bench = cargo(".");
    bench.args(["run", "--locked", "--profile", "dist", "--package", "nebula-bench", "--", "experiment"]);
    run(bench.args(["--nebula", "target/dist/package/nebula"]).args(options))
}

/// The machine that a check runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Idle,
    /// Others work on it, so that calls may take longer.
    Busy,
}

/// Tests the native programs. Then checks that every arm that is installed works, that answers
/// agree, and that the clock of the experiment sees a delay in each arm. Builds nothing that the
/// tests haven't built, except the native programs.
pub(crate) fn check(machine: Machine) -> Result<(), String> {
    tools::targets()?;
    // As the check builds them, so that both share the dependencies.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut test = cargo("bench/native");
    test.args(["test", "--package", "nebula-native", "--features", "serve,init", "--target", &target]);
    run(test.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    let (nebula, bench) = (tools::nebula()?, tools::binary("nebula-bench")?);
    let mut check = Command::new(bench);
    check.current_dir(root()).args(["experiment", "--check", "--out", "target/experiment-check", "--nebula"]);
    check.arg(nebula).args((machine == Machine::Busy).then_some("--busy"));
    run(&mut check)
}
