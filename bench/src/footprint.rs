//! The memory and the wake-ups of a process, read from `/proc`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::cpu;

/// The memory of a process and its descendants, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// The resident set.
    pub(crate) resident: u64,
    /// The resident set with shared pages divided among the processes that map them.
    pub(crate) proportional: u64,
    /// The part of the resident set that isn't backed by a file.
    pub(crate) anonymous: u64,
}

impl Memory {
    fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for memory in all {
            sum.resident += memory.resident;
            sum.proportional += memory.proportional;
            sum.anonymous += memory.anonymous;
        }
        sum
    }
}

/// Returns the memory that `pid` and its descendants use now.
///
/// # Errors
/// Returns an error if the process has ended.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    Ok(Memory::sum(cpu::of_each(pid, memory_of_process)?))
}

/// Returns the memory that the descendants of `pid` use now, without that of `pid`.
///
/// # Errors
/// Returns an error if the process has ended.
pub(crate) fn memory_of_descendants(pid: u32) -> anyhow::Result<Memory> {
    let of_descendant = |found| if found == pid { Ok(Memory::default()) } else { memory_of_process(found) };
    Ok(Memory::sum(cpu::of_each(pid, of_descendant)?))
}

fn memory_of_process(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    parse_rollup(&rollup).with_context(|| format!("`{path}` doesn't have the format of proc(5)"))
}

fn parse_rollup(rollup: &str) -> Option<Memory> {
    let bytes = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { resident: bytes("Rss")?, proportional: bytes("Pss")?, anonymous: bytes("Anonymous")? })
}

/// The context switches of each thread of a process and its descendants, and their CPU time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    switches: HashMap<PathBuf, u64>,
    run_times: HashMap<PathBuf, Duration>,
    cpu: Duration,
}

impl Activity {
    /// Reads the activity so far.
    ///
    /// # Errors
    /// Returns an error if the process has ended.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let of_each = cpu::of_each(pid, |pid| {
            let tasks = format!("/proc/{pid}/task");
            let tasks = std::fs::read_dir(&tasks).with_context(|| format!("cannot read `{tasks}`"))?;
            let tasks = tasks.flatten().map(|task| task.path());
            Ok(tasks.collect::<Vec<_>>())
        })?;
        let (mut switches, mut run_times) = (HashMap::new(), HashMap::new());
        for task in of_each.into_iter().flatten() {
            run_times.extend(run_time_of(&task).map(|time| (task.clone(), time)));
            switches.extend(switches_of(&task).map(|count| (task, count)));
        }
        Ok(Self { switches, run_times, cpu: cpu::of_tree(pid)? })
    }

    /// Returns the context switches since `before`. A thread wakes up once for every switch away
    /// from it. Threads that have both started and ended since then aren't counted.
    pub(crate) fn wakeups_since(&self, before: &Self) -> u64 {
        self.switches
            .iter()
            .map(|(task, count)| count.saturating_sub(before.switches.get(task).copied().unwrap_or(0)))
            .sum()
    }

    /// Returns the threads' CPU time since `before` in nanoseconds, if the kernel counts it.
    /// Threads that have both started and ended since then aren't counted.
    pub(crate) fn run_time_since(&self, before: &Self) -> Duration {
        let since = |(task, time): (&PathBuf, &Duration)| {
            time.saturating_sub(before.run_times.get(task).copied().unwrap_or_default())
        };
        self.run_times.iter().map(since).sum()
    }

    /// Returns the CPU time since `before`.
    pub(crate) fn cpu_since(&self, before: &Self) -> Duration {
        self.cpu.saturating_sub(before.cpu)
    }
}

/// Returns the CPU time of a thread: the first number in its `schedstat`
/// (Documentation/scheduler/sched-stats.rst).
fn run_time_of(task: &Path) -> Option<Duration> {
    let schedstat = std::fs::read_to_string(task.join("schedstat")).ok()?;
    schedstat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn switches_of(task: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(task.join("status")).ok()?;
    let count = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    Some(count("voluntary_ctxt_switches:")? + count("nonvoluntary_ctxt_switches:")?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_rollup_is_parsed_as_kibibytes() {
        let rollup = "0-1 ---p 0 00:00 0 [rollup]\nRss: 8 kB\nPss: 4 kB\nPss_Anon: 1 kB\nAnonymous: 2 kB\n";
        let expected = Memory { resident: 8192, proportional: 4096, anonymous: 2048 };
        assert_eq!(parse_rollup(rollup), Some(expected));
        assert_eq!(parse_rollup("Rss: 8 kB"), None);
    }

    /// The child is a zombie, which has no memory.
    #[test]
    fn a_child_that_has_ended_is_skipped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            thread::yield_now();
        }
        assert!(memory(child.id()).is_err());
        assert!(memory(std::process::id()).unwrap().resident > 0);
        assert!(Activity::of(std::process::id()).is_ok());
        child.wait().unwrap();
    }

    #[test]
    fn wake_ups_of_a_waiting_thread_are_counted() {
        let (request, requests) = mpsc::channel::<()>();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || requests.iter().for_each(|()| answer.send(()).unwrap()));
        let before = Activity::of(std::process::id()).unwrap();
        for _ in 0..100 {
            request.send(()).unwrap();
            answers.recv().unwrap();
            thread::sleep(Duration::from_micros(100));
        }
        let after = Activity::of(std::process::id()).unwrap();
        assert!(after.wakeups_since(&before) >= 100);
        assert!(after.run_time_since(&before) > Duration::ZERO);
        assert!(memory(std::process::id()).unwrap().resident > 0);
    }
}
