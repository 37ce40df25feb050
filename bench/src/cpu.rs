//! CPU time of processes and of the machine, read from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// Returns the user and system time of all threads of a process and its descendants so far.
///
/// # Errors
/// Returns an error if the process has ended.
pub(crate) fn of_tree(pid: u32) -> anyhow::Result<Duration> {
    Ok(of_each(pid, of_process)?.into_iter().sum())
}

/// Returns the user and system time of this process, without its children, so far.
///
/// # Errors
/// Returns an error if `/proc` can't be read.
pub(crate) fn of_self() -> anyhow::Result<Duration> {
    of_process(std::process::id())
}

/// Returns the user and system time of the children of this process that have ended.
///
/// # Errors
/// Returns an error if `/proc` can't be read.
pub(crate) fn of_ended_children() -> anyhow::Result<Duration> {
    let path = "/proc/self/stat";
    let stat = std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
    ended_ticks(&stat).map(ticks).with_context(|| format!("`{path}` doesn't have the format of proc(5)"))
}

fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    process_ticks(&stat).map(ticks).with_context(|| format!("`{path}` doesn't have the format of proc(5)"))
}

/// Applies `read` to a process and its descendants. Skips descendants that end meanwhile.
///
/// # Errors
/// Returns the errors of `read`, including that the process itself has ended.
pub(crate) fn of_each<T>(pid: u32, read: impl Fn(u32) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    for process in tree(pid)? {
        match read(process) {
            Ok(value) => all.push(value),
            Err(error) if process != pid && is_ended(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Returns whether the error means that the process has ended: its directory is missing, or it is a
/// zombie.
fn is_ended(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(|cause| {
        cause.kind() == std::io::ErrorKind::NotFound
            || cause.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
    })
}

/// Returns a process and its descendants: a server may be a program that starts another one.
///
/// # Errors
/// Returns an error if the process has ended.
pub(crate) fn tree(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut tree = vec![pid];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        let tasks_path = format!("/proc/{parent}/task");
        let tasks = match std::fs::read_dir(&tasks_path) {
            // The descendant has ended meanwhile.
            Err(_) if at > 0 => None,
            tasks => Some(tasks.with_context(|| format!("cannot read `{tasks_path}`"))?),
        };
        for task in tasks.into_iter().flatten() {
            // A thread that has ended meanwhile has no children.
            let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            tree.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(tree)
}

/// Returns the user and system time of the whole machine so far, without interrupts and idle time.
///
/// # Errors
/// Returns an error if `/proc` can't be read.
pub(crate) fn of_machine() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("cannot read `/proc/stat`")?;
    machine_ticks(&stat).map(ticks).context("`/proc/stat` doesn't have the format of proc(5)")
}

/// Sums `utime` and `stime`, the 12th and 13th field after the command, which may contain any
/// character and ends with the last parenthesis.
fn process_ticks(stat: &str) -> Option<u64> {
    two_ticks(stat, 11)
}

/// Sums `cutime` and `cstime`, the next two fields.
fn ended_ticks(stat: &str) -> Option<u64> {
    two_ticks(stat, 13)
}

fn two_ticks(stat: &str, before: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(before).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Sums `user`, `nice` and `system` of all cores.
fn machine_ticks(stat: &str) -> Option<u64> {
    let mut times = stat.strip_prefix("cpu ")?.split_ascii_whitespace().map(str::parse::<u64>);
    let mut sum = 0;
    for _ in 0..3 {
        sum += times.next()?.ok()?;
    }
    Some(sum)
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_contain_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 5 0 100 0 0";
        assert_eq!(process_ticks(stat), Some(300));
        assert_eq!(ended_ticks(stat), Some(7));
        assert_eq!(process_ticks("7 (a"), None);
    }

    #[test]
    fn idle_time_is_excluded() {
        assert_eq!(machine_ticks("cpu  1 2 3 400 5 6 7\ncpu0 1 2 3"), Some(6));
        assert_eq!(machine_ticks("intr 1"), None);
    }
}
