//! A virtual machine for each call.

use std::sync::Arc;

use anyhow::Context;

use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::micro_vm::Boot;
use crate::experiment::pipe::PipedProcess;

/// A machine for each call. The input is in its initial file system.
#[derive(Debug)]
pub(crate) struct PerCall {
    boot: Boot,
    /// The name of the function, and the delay.
    arguments: Vec<String>,
    /// The initial file system, which all callers share, and the file to which each writes it.
    files: Arc<[u8]>,
    file: tempfile::NamedTempFile,
    process: Option<PipedProcess>,
}

impl PerCall {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let machine = setup.tools.micro_vm()?;
        let mut arguments = vec![setup.function.name().to_owned()];
        arguments.extend(setup.delay.map(|delay| delay.as_millis().to_string()));
        Self::of(machine.boot.clone(), arguments, machine.files_with(setup.input).into())
    }

    fn of(boot: Boot, arguments: Vec<String>, files: Arc<[u8]>) -> anyhow::Result<Self> {
        Ok(Self { boot, arguments, files, file: tempfile::NamedTempFile::new()?, process: None })
    }
}

impl Caller for PerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        std::fs::write(self.file.path(), &self.files).context("cannot write the machine's files")?;
        let mut boot = self.boot.command(self.file.path(), &self.arguments);
        self.process.insert(PipedProcess::start(&mut boot)?).receive()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.process.take().context("no call was made")?.wait()
    }
}

impl Arm for PerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        Caller::call(self)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Caller::settle(self)
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        let another = |_| {
            let another = Self::of(self.boot.clone(), self.arguments.clone(), Arc::clone(&self.files))?;
            Ok(Box::new(another) as Box<dyn Caller>)
        };
        (0..count).map(another).collect()
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}
