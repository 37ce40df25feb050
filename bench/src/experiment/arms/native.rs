//! Native code without a platform: a call in a process that runs already, and a process per call.

use std::process::Command;

use anyhow::Context;

use crate::cores::{self, Cores};
use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::pipe::PipedProcess;

/// A process that answers one call after the other. Each of several callers has its own.
#[derive(Debug)]
pub(crate) struct NativeCall {
    command: Command,
    cores: Cores,
    called: CalledProcess,
}

impl NativeCall {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let mut command = native(setup);
        let called = CalledProcess::start(&mut command, setup.cores, setup.input)?;
        Ok(Self { command, cores: setup.cores.clone(), called })
    }
}

impl Arm for NativeCall {
    fn wake(&mut self) -> anyhow::Result<()> {
        self.called.call()?;
        Ok(())
    }

    fn call(&mut self) -> anyhow::Result<Answer> {
        self.called.call()
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        let start = |_| {
            let called = CalledProcess::start(&mut again(&self.command), &self.cores, &self.called.input)?;
            Ok(Box::new(called) as Box<dyn Caller>)
        };
        (0..count).map(start).collect()
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        self.called.process.wait()
    }
}

/// A process that waits for inputs, and the input.
#[derive(Debug)]
struct CalledProcess {
    process: PipedProcess,
    input: Vec<u8>,
}

impl CalledProcess {
    fn start(command: &mut Command, cores: &Cores, input: &[u8]) -> anyhow::Result<Self> {
        // A child inherits the cores of the thread that starts it.
        cores::pin(&cores.server)?;
        let process = PipedProcess::start(command);
        cores::pin(&cores.load)?;
        Ok(Self { process: process?, input: input.to_vec() })
    }
}

impl Caller for CalledProcess {
    fn call(&mut self) -> anyhow::Result<Answer> {
        self.process.send(&self.input)?;
        self.process.receive()
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

    fn another(&self) -> Self {
        Self::of(again(&self.command), &self.input)
    }
}

impl Caller for ProcessPerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        let process = self.process.insert(PipedProcess::start(&mut self.command)?);
        process.send(&self.input)?;
        process.finish();
        process.receive()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.process.take().context("no call was made")?.wait()
    }
}

impl Arm for ProcessPerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        Caller::call(self)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Caller::settle(self)
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        Ok((0..count).map(|_| Box::new(self.another()) as Box<dyn Caller>).collect())
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

/// Prepares the same program with the same arguments.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    again
}
