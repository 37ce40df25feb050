//! Native code without a platform: a call in a process that runs already, and a process per call.

use std::process::Command;

use anyhow::Context;

use crate::cores;
use crate::experiment::answer::Answer;
use crate::experiment::arm::{AFTERWARDS, Arm, Setup};
use crate::experiment::pipe::PipedProcess;

/// A process that answers one call after the other.
#[derive(Debug)]
pub(crate) struct NativeCall {
    process: PipedProcess,
    input: Vec<u8>,
}

impl NativeCall {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        // A child inherits the cores of the thread that starts it.
        cores::pin(&setup.cores.server)?;
        let process = PipedProcess::start(&mut native(setup));
        cores::pin(&setup.cores.load)?;
        Ok(Self { process: process?, input: setup.input.to_vec() })
    }
}

impl Arm for NativeCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        self.process.send(&self.input)?;
        self.process.receive()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        std::thread::sleep(AFTERWARDS);
        Ok(())
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        self.process.wait()
    }
}

/// A process for each call, started by a command.
#[derive(Debug)]
pub(crate) struct ProcessPerCall {
    command: Command,
    input: Vec<u8>,
    process: Option<PipedProcess>,
}

impl ProcessPerCall {
    pub(crate) fn open(setup: Setup<'_>) -> Self {
        Self::of(native(setup), setup.input)
    }

    /// Makes an arm of a command that becomes or starts the native program.
    pub(crate) fn of(command: Command, input: &[u8]) -> Self {
        Self { command, input: input.to_vec(), process: None }
    }
}

impl Arm for ProcessPerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        let process = self.process.insert(PipedProcess::start(&mut self.command)?);
        process.send(&self.input)?;
        process.finish();
        process.receive()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.process.take().context("no call was made")?.wait()
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Prepares the native program.
fn native(setup: Setup<'_>) -> Command {
    let mut command = Command::new(&setup.tools.native.call);
    command.arg(setup.function.name());
    command.args(setup.delay.map(|delay| delay.as_millis().to_string()));
    command
}
