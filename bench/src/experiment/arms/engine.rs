//! A container by Podman for each call.

use anyhow::Context;

use crate::experiment::account;
use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::arms::native::ProcessPerCall;
use crate::experiment::engine::IMAGE;

/// Limits that any host grants. The engine's own are higher than a host may allow.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// A container for each call. The input goes to the program's standard input.
#[derive(Debug)]
pub(crate) struct PerCall {
    process: ProcessPerCall,
    /// The group of containers and of the processes that watch over them.
    group: String,
}

impl PerCall {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let group = setup.container_path.context(
            "without control groups, the processes that Podman leaves behind a call can't be accounted for",
        )?;
        let mut run = setup.tools.engine()?.command();
        run.args(["run", "--rm", "--interactive", "--pull=never", "--network=none", "--log-driver=none"]);
        run.args(LIMITS).arg("--cgroup-parent").arg(group).args([IMAGE, "/nebula-native"]);
        run.arg(setup.function.name()).args(setup.delay.map(|delay| delay.as_millis().to_string()));
        Ok(Self { process: ProcessPerCall::of(run, setup.input), group: group.to_owned() })
    }
}

impl Arm for PerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        Caller::call(&mut self.process)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Caller::settle(&mut self.process)?;
        self.rest()
    }

    /// Waits for the processes that remove the containers.
    fn rest(&mut self) -> anyhow::Result<()> {
        account::wait_until_empty(&self.group)
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        self.process.callers(count)
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}
