//! Everything that a run has on the machine under its name, and its removal, also after the run was
//! killed.
//!
//! ```text
//! nebula-experiment-PID      PID: the supervisor's
//!   control groups           below the mount of each controller: arms, containers, their processes
//!   directories              in the temporary directory, and in memory: data, bundles, images
//!   mounts                   below these directories, such as those of a container engine
//! ```
//!
//! A run puts nothing elsewhere, so that its name is enough to find all of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::account;

/// The directory of files in memory.
const MEMORY: &str = "/dev/shm";

/// The beginning of each name.
const PREFIX: &str = "nebula-experiment-";

/// The longest time that killed processes take to end.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The name of a run, by the id of its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunId {
    supervisor: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.supervisor)
    }
}

impl RunId {
    /// Names the run whose supervisor is the process `supervisor`.
    pub(crate) fn of(supervisor: u32) -> Self {
        Self { supervisor }
    }

    /// Parses the name of a group or a directory.
    fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(PREFIX)?;
        let supervisor = digits.parse().ok()?;
        // Other spellings of the number, such as `+7`, are no names of runs.
        (RunId { supervisor }.to_string() == name).then_some(Self { supervisor })
    }

    /// Returns the directory of temporary files.
    pub(crate) fn files(self) -> PathBuf {
        std::env::temp_dir().join(self.to_string())
    }

    /// Returns the directory of files in memory.
    pub(crate) fn files_in_memory(self) -> PathBuf {
        Path::new(MEMORY).join(self.to_string())
    }

    /// Returns the groups, of which some may not exist.
    fn groups(self) -> impl Iterator<Item = PathBuf> {
        account::mounts().into_iter().map(move |mount| mount.join(self.to_string()))
    }

    /// Returns whether the supervisor runs. Its number may be that of another program meanwhile, but
    /// each supervisor has the name of its subcommand among its arguments.
    fn is_running(self) -> bool {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.supervisor)).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == b"experiment")
    }

    /// Ends all processes in the groups of the run and removes everything that it has.
    ///
    /// # Errors
    /// Returns an error if something stays.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        for group in self.groups() {
            remove_group(&group)?;
        }
        for directory in [self.files(), self.files_in_memory()] {
            unmount_below(&directory)?;
            match std::fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove `{}`", directory.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Removes what runs have left behind whose supervisors don't run any more. What can't be removed, such
/// as another user's, is named and stays.
pub(crate) fn remove_abandoned() {
    for run in abandoned() {
        eprintln!("removing what an earlier run left behind: {run}");
        if let Err(error) = run.remove() {
            eprintln!("warning: it stays: {error:#}");
        }
    }
}

fn abandoned() -> Vec<RunId> {
    let places = account::mounts().into_iter().chain([std::env::temp_dir(), PathBuf::from(MEMORY)]);
    let entries = places.filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let mut runs: Vec<RunId> =
        entries.filter_map(|entry| RunId::parse(entry.file_name().to_str()?)).collect();
    runs.sort_unstable();
    runs.dedup();
    runs.retain(|run| !run.is_running());
    runs
}

/// Kills the processes of a group and of those below it, and removes the groups.
fn remove_group(group: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    while group.exists() {
        let processes = account::processes(group);
        ensure!(
            begun.elapsed() < END_TIMEOUT,
            "cannot remove the control group `{}` with the processes {processes:?}",
            group.display()
        );
        // Processes that these start meanwhile are in the group, and found again.
        processes.into_iter().for_each(kill);
        account::remove(group);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Kills a process, unless it has ended or is this one.
pub(crate) fn kill(process: u32) {
    signal(process, Signal::KILL);
}

/// Sends a signal to a process, unless it has ended or is this one.
pub(crate) fn signal(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| process != std::process::id()) {
        // An error means that it has ended.
        let _ = kill_process(pid, signal);
    }
}

/// Unmounts everything below a directory.
fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    let mounted = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        anyhow::Ok(mounts_below(&mounts, directory))
    };
    // The last one may lie on the others.
    for mount in mounted()?.into_iter().rev() {
        // With `--lazy`, because a process that was just killed may still hold it.
        let mut unmount = Command::new("umount");
        unmount.arg("--lazy").arg(&mount);
        unmount.output().with_context(|| format!("cannot run {unmount:?}"))?;
    }
    // Files of others may be mounted there, which must not be removed.
    ensure!(mounted()?.is_empty(), "cannot unmount what is below `{}`", directory.display());
    Ok(())
}

/// Finds the mounts below a directory in the text of `/proc/self/mountinfo`.
fn mounts_below(mountinfo: &str, directory: &Path) -> Vec<PathBuf> {
    let path = |line: &str| Some(PathBuf::from(line.split(' ').nth(4)?));
    mountinfo.lines().filter_map(path).filter(|path| path.starts_with(directory)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
