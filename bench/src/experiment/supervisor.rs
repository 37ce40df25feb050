//! The process that starts a run, waits for its end, and removes what it has left on the machine.
//!
//! ```text
//! supervisor --starts--> worker: the run --starts--> servers, containers, compilers
//!     |                     ^ killed if the supervisor ends
//!     on the worker's end, or on a signal: kill the worker and its descendants, remove the rest
//! ```
//!
//! A run can't clean up after itself at any moment: it may be waiting for a container that it has
//! just started. Another process can, when the run is dead. What stays if the supervisor itself is
//! killed is removed by the next one.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::remains::{self, RunId};
use crate::cpu;

/// Runs this program again with the same arguments and `--supervisor PID`, until it ends or this
/// process is told to end.
///
/// # Errors
/// Returns an error if the worker can't be started, or if something of it stays.
pub(crate) fn run_worker() -> anyhow::Result<ExitCode> {
    remains::remove_abandoned();
    let id = std::process::id();
    let mut worker = Command::new(std::env::current_exe()?);
    worker.args(std::env::args_os().skip(1)).arg("--supervisor").arg(id.to_string());
    Ok(supervise(worker, RunId::of(id))?.exit_code())
}

/// Binds the life of this process, which is the worker, to that of its supervisor.
///
/// # Errors
/// Returns an error if the supervisor has ended.
pub(crate) fn follow(supervisor: u32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map(Pid::as_raw_nonzero);
    let is_parent = parent.is_some_and(|parent| u32::try_from(parent.get()) == Ok(supervisor));
    ensure!(is_parent, "process {supervisor} hasn't started this one, or has ended");
    Ok(())
}

/// The way in which a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this code.
    Exit(u8),
    /// By this signal, which the worker or the supervisor has received.
    Signal(u8),
}

impl End {
    /// Returns the code that a shell has for this end.
    fn exit_code(self) -> ExitCode {
        match self {
            Self::Exit(code) => code.into(),
            Self::Signal(number) => number.saturating_add(128).into(),
        }
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        let number = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
        match number(status.signal()) {
            Some(signal) => Self::Signal(signal),
            None => Self::Exit(number(status.code()).unwrap_or(1)),
        }
    }
}

/// Starts a worker and removes everything that it has when it ends, or is told to.
fn supervise(mut worker: Command, run: RunId) -> anyhow::Result<End> {
    // A run of the same number, long ago.
    run.remove()?;
    for directory in [run.files(), run.files_in_memory()] {
        // Without a file system in memory, nothing is kept there.
        if directory.parent().is_some_and(std::path::Path::is_dir) {
            std::fs::create_dir(&directory)
                .with_context(|| format!("cannot create `{}`", directory.display()))?;
        }
    }
    // Temporary files of the worker and of what it starts are where they will be removed.
    worker.env("TMPDIR", run.files());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        // Before the worker starts, so that no signal is missed.
        let mut ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut child = worker.spawn().with_context(|| format!("cannot run {worker:?}"))?;
        let received = loop {
            if let Some(status) = child.try_wait()? {
                return Ok(End::from(status));
            }
            tokio::select! {
                _ = ended.recv() => {}
                _ = terminate.recv() => break Signal::TERM,
                _ = interrupt.recv() => break Signal::INT,
                _ = hang_up.recv() => break Signal::HUP,
            }
        };
        eprintln!("stopping, and removing what the run has started");
        kill_tree(&mut child)?;
        anyhow::Ok(End::Signal(u8::try_from(received.as_raw())?))
    });
    // Also after an error.
    run.remove()?;
    end
}

/// Kills a process and its descendants.
fn kill_tree(child: &mut Child) -> anyhow::Result<()> {
    // A process that is stopped starts no others. So all are found when there are no new ones.
    let mut stopped = Vec::new();
    loop {
        // An error means that the child has ended: it has no descendants then.
        let tree = cpu::tree(child.id()).unwrap_or_default();
        let new: Vec<u32> = tree.into_iter().filter(|process| !stopped.contains(process)).collect();
        if new.is_empty() {
            break;
        }
        new.iter().for_each(|process| remains::signal(*process, Signal::STOP));
        stopped.extend(new);
    }
    stopped.into_iter().for_each(remains::kill);
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests;
