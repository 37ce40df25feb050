//! CPU time and peak memory of everything that an arm's calls cause: its servers, and the processes
//! that a call starts, however they are related.
//!
//! ```text
//! cgroup v1 or v2:  ROOT/RUN/ARM/caller      this process while it calls
//!                   ROOT/RUN/ARM/container   what a container runtime starts
//! otherwise:        procfs: descendants that run and that have ended, in ticks; no memory
//! ```
//!
//! A child inherits the group of its parent. So this process enters the group of an arm before it
//! prepares a call, and leaves it afterwards; its own CPU time in between is subtracted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::cpu;

/// The way in which the machine accounts for processes.
#[derive(Clone, Debug)]
pub(crate) enum Accounts {
    V1 { run: String, home_cpu: PathBuf, home_memory: PathBuf },
    V2 { run: String, home: PathBuf },
    Procfs,
}

/// The folder where the control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The longest time that what a container runtime leaves behind takes to end.
const END_TIMEOUT: Duration = Duration::from_secs(20);

impl Accounts {
    /// Creates the groups' parent, or falls back to procfs if this process may not. The supervisor of
    /// the run removes it.
    pub(crate) fn open(run: &str) -> Self {
        let run = run.to_owned();
        let home =
            |controller: &str| home_of(controller, &std::fs::read_to_string("/proc/self/cgroup").ok()?);
        let mount = Path::new(MOUNT);
        if mount.join("cgroup.controllers").exists() {
            let enable = || {
                std::fs::create_dir(mount.join(&run))?;
                std::fs::write(mount.join(&run).join("cgroup.subtree_control"), "+cpu +memory")
            };
            if let (Some(home), Ok(())) = (home(""), enable()) {
                return Self::V2 { run, home: mount.join(home) };
            }
        } else if let (Some(cpu), Some(memory)) = (home("cpuacct"), home("memory")) {
            let create = |controller: &str| std::fs::create_dir(mount.join(controller).join(&run));
            if create("cpuacct").and_then(|()| create("memory")).is_ok() {
                let home_cpu = mount.join("cpuacct").join(cpu);
                return Self::V1 { run, home_cpu, home_memory: mount.join("memory").join(memory) };
            }
        }
        Self::Procfs
    }

    /// Describes the accounting in a sentence.
    pub(crate) fn description(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "CPU time and peak memory are those of a control group (cgroup v1) per arm.",
            Self::V2 { .. } => {
                "CPU time and peak memory are those of a control group (cgroup v2) per arm; the peak is that of all calls \
                 of an arm so far, because it can't be reset."
            }
            Self::Procfs => {
                "CPU time is that of processes in procfs, in ticks of 10 ms; peak memory isn't measured, because \
                 this process may not create control groups."
            }
        }
    }

    /// Creates the group of an arm.
    ///
    /// # Errors
    /// Returns an error if it can't be created.
    pub(crate) fn group(&self, arm: &str) -> anyhow::Result<Group> {
        let mount = Path::new(MOUNT);
        let create = |directory: PathBuf| {
            for part in ["caller", "container"] {
                std::fs::create_dir_all(directory.join(part))
                    .with_context(|| format!("cannot create `{}`", directory.display()))?;
            }
            anyhow::Ok(directory)
        };
        Ok(match self {
            Self::V1 { run, home_cpu, home_memory } => Group::V1 {
                name: format!("/{run}/{arm}"),
                cpu: create(mount.join("cpuacct").join(run).join(arm))?,
                memory: create(mount.join("memory").join(run).join(arm))?,
                home_cpu: home_cpu.clone(),
                home_memory: home_memory.clone(),
            },
            Self::V2 { run, home } => {
                let directory = mount.join(run).join(arm);
                Group::V2 { name: format!("/{run}/{arm}"), directory: create(directory)?, home: home.clone() }
            }
            Self::Procfs => Group::Procfs,
        })
    }
}

/// Finds the group of this process in the text of `/proc/self/cgroup`, relative to the mount.
fn home_of(controller: &str, text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_this = controllers.split(',').any(|found| found == controller);
        is_this.then(|| PathBuf::from(path.trim_start_matches('/')))
    })
}

/// The group of one arm.
#[derive(Debug)]
pub(crate) enum Group {
    V1 { name: String, cpu: PathBuf, memory: PathBuf, home_cpu: PathBuf, home_memory: PathBuf },
    V2 { name: String, directory: PathBuf, home: PathBuf },
    Procfs,
}

/// The CPU time of an arm up to a moment, and of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    arm: Duration,
    own: Duration,
}

impl Reading {
    /// Returns the CPU time from `self` to `later` without that of this process.
    pub(crate) fn until(&self, later: &Self) -> Duration {
        (later.arm - self.arm).saturating_sub(later.own - self.own)
    }
}

/// The outcome of an action and what an arm used meanwhile.
pub(crate) struct Accounted<T> {
    pub(crate) value: T,
    pub(crate) cpu: Duration,
    /// `None` if the machine doesn't account for memory.
    pub(crate) memory_bytes: Option<u64>,
}

impl Group {
    /// Accounts for everything in the group during `action`. This process must be in the group.
    ///
    /// # Errors
    /// Returns the error of `action`, or an error if the group can't be read.
    pub(crate) fn account<T>(
        &self,
        action: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<Accounted<T>> {
        self.reset_peak();
        let before = self.read()?;
        let value = action()?;
        let cpu = before.until(&self.read()?);
        Ok(Accounted { value, cpu, memory_bytes: self.peak_bytes() })
    }

    /// Returns the path in which a container runtime creates its groups.
    pub(crate) fn container_path(&self) -> Option<String> {
        match self {
            Self::V1 { name, .. } | Self::V2 { name, .. } => Some(format!("{name}/container")),
            Self::Procfs => None,
        }
    }

    /// Calls `action` while this process is in the group, and moves back also if it fails.
    ///
    /// # Errors
    /// Returns an error if this process may not move, or the error of `action`.
    pub(crate) fn within<T>(&self, action: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let outcome = self.enter().and_then(|()| action());
        self.leave()?;
        outcome
    }

    /// Moves this process to the group.
    fn enter(&self) -> anyhow::Result<()> {
        match self {
            Self::V1 { cpu, memory, .. } => {
                join(&cpu.join("caller")).and_then(|()| join(&memory.join("caller")))
            }
            Self::V2 { directory, .. } => join(&directory.join("caller")),
            Self::Procfs => Ok(()),
        }
    }

    /// Moves this process back to where it was.
    fn leave(&self) -> anyhow::Result<()> {
        match self {
            Self::V1 { home_cpu, home_memory, .. } => join(home_cpu).and_then(|()| join(home_memory)),
            Self::V2 { home, .. } => join(home),
            Self::Procfs => Ok(()),
        }
    }

    /// Reads the CPU time so far.
    pub(crate) fn read(&self) -> anyhow::Result<Reading> {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::new(now.tv_sec.try_into()?, now.tv_nsec.try_into()?);
        let arm = match self {
            Self::V1 { cpu, .. } => Duration::from_nanos(number(&cpu.join("cpuacct.usage"))?),
            Self::V2 { directory, .. } => {
                let path = directory.join("cpu.stat");
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
                Duration::from_micros(usage.with_context(|| format!("`{}` has no usage", path.display()))?)
            }
            Self::Procfs => {
                // This process is in the tree, so its own time is subtracted here as well.
                cpu::of_tree(std::process::id())? + cpu::of_ended_children()?
            }
        };
        Ok(Reading { arm, own })
    }

    /// Forgets the peak of memory so far, where the kernel can.
    fn reset_peak(&self) {
        if let Self::V1 { memory, .. } = self {
            // Without this, the peak is that of all calls so far.
            let _ = std::fs::write(memory.join("memory.max_usage_in_bytes"), "0");
        }
    }

    /// Returns the peak of memory, if the machine accounts for it.
    fn peak_bytes(&self) -> Option<u64> {
        match self {
            Self::V1 { memory, .. } => number(&memory.join("memory.max_usage_in_bytes")).ok(),
            Self::V2 { directory, .. } => number(&directory.join("memory.peak")).ok(),
            Self::Procfs => None,
        }
    }
}

/// Waits until no process is left in the group in which a container runtime creates its own.
///
/// # Errors
/// Returns an error if one stays.
pub(crate) fn wait_until_empty(container_path: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    let groups = || mounts().into_iter().map(|mount| mount.join(container_path.trim_start_matches('/')));
    while groups().any(|group| !processes(&group).is_empty()) {
        ensure!(begun.elapsed() < END_TIMEOUT, "processes of the container runtime don't end");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Returns the processes of a group and of those below it.
pub(crate) fn processes(group: &Path) -> Vec<u32> {
    // A group that was removed meanwhile has none.
    let own = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|process| process.parse().ok());
    own.chain(below(group).iter().flat_map(|group| processes(group))).collect()
}

/// Removes a group and those below it. A group that isn't empty stays.
pub(crate) fn remove(group: &Path) {
    for group in below(group) {
        remove(&group);
    }
    let _ = std::fs::remove_dir(group);
}

/// Returns the groups directly below one.
fn below(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
}

impl Drop for Group {
    fn drop(&mut self) {
        let name = match self {
            Self::V1 { name, .. } | Self::V2 { name, .. } => name.trim_start_matches('/').to_owned(),
            Self::Procfs => return,
        };
        for mount in mounts() {
            remove(&mount.join(&name));
        }
    }
}

/// Returns the mounts of all controllers: a container runtime creates groups in each.
pub(crate) fn mounts() -> Vec<PathBuf> {
    let controllers = std::fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|entry| entry.path());
    controllers.chain([PathBuf::from(MOUNT)]).collect()
}

fn join(group: &Path) -> anyhow::Result<()> {
    let path = group.join("cgroup.procs");
    std::fs::write(&path, std::process::id().to_string())
        .with_context(|| format!("cannot move to `{}`", path.display()))
}

fn number(path: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    text.trim().parse().with_context(|| format!("`{}` is not a number", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found() {
        let text = "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/user.slice\n";
        let home = |controller| home_of(controller, text).unwrap();
        assert_eq!(home("memory"), Path::new("a/b"));
        assert_eq!(home("cpuacct"), Path::new(""));
        assert_eq!(home(""), Path::new("user.slice"));
        assert_eq!(home_of("pids", text), None);
    }

    #[test]
    fn a_reading_excludes_this_process() {
        let reading = |arm, own| Reading { arm: Duration::from_millis(arm), own: Duration::from_millis(own) };
        assert_eq!(reading(10, 3).until(&reading(30, 8)), Duration::from_millis(15));
        assert_eq!(reading(10, 3).until(&reading(10, 8)), Duration::ZERO);
    }
}
