//! Who used the processor, read from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// User and system time of a process and its children so far, all threads.
///
/// # Errors
/// When the process is gone.
pub(crate) fn of_tree(pid: u32) -> anyhow::Result<Duration> {
    Ok(of_each(pid, of_process)?.into_iter().sum())
}

/// User and system time of this process alone so far.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn of_self() -> anyhow::Result<Duration> {
    of_process(std::process::id())
}

/// User and system time of the children of this process that have ended.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn of_ended_children() -> anyhow::Result<Duration> {
    let path = "/proc/self/stat";
    let stat = std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
    ended_ticks(&stat).map(ticks).with_context(|| format!("`{path}` is not as proc(5) says"))
}

fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    process_ticks(&stat).map(ticks).with_context(|| format!("`{path}` is not as proc(5) says"))
}

/// What `read` tells of a process, its children, and theirs. A child that has ended in between has nothing to tell.
///
/// # Errors
/// Those of `read`, also when the process itself is gone.
pub(crate) fn of_each<T>(pid: u32, read: impl Fn(u32) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    for one in tree(pid)? {
        match read(one) {
            Ok(told) => all.push(told),
            Err(error) if one != pid && says_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// The directory isn't there any more, or the process has ended and isn't waited for yet.
fn says_gone(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(|cause| {
        cause.kind() == std::io::ErrorKind::NotFound
            || cause.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
    })
}

/// A process, its children, and theirs: a server may be a program that starts another.
fn tree(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut tree = vec![pid];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        let tasks_path = format!("/proc/{parent}/task");
        let tasks = match std::fs::read_dir(&tasks_path) {
            // A child that has ended.
            Err(_) if at > 0 => None,
            tasks => Some(tasks.with_context(|| format!("cannot read `{tasks_path}`"))?),
        };
        for task in tasks.into_iter().flatten() {
            // A thread that ended in between has no children any more.
            let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            tree.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(tree)
}

/// User and system time of the whole machine so far, without interrupts and idling.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn of_machine() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("cannot read `/proc/stat`")?;
    machine_ticks(&stat).map(ticks).context("`/proc/stat` is not as proc(5) says")
}

/// `utime` and `stime`: the 12th and 13th field after the command, which may hold any character but
/// ends with the last parenthesis.
fn process_ticks(stat: &str) -> Option<u64> {
    two_ticks(stat, 11)
}

/// `cutime` and `cstime`, which come next.
fn ended_ticks(stat: &str) -> Option<u64> {
    two_ticks(stat, 13)
}

fn two_ticks(stat: &str, before: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(before).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// `user`, `nice` and `system` of all cores.
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
    fn a_command_with_parentheses_is_no_trouble() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 5 0 100 0 0";
        assert_eq!(process_ticks(stat), Some(300));
        assert_eq!(ended_ticks(stat), Some(7));
        assert_eq!(process_ticks("7 (a"), None);
    }

    #[test]
    fn idle_time_is_nobodys() {
        assert_eq!(machine_ticks("cpu  1 2 3 400 5 6 7\ncpu0 1 2 3"), Some(6));
        assert_eq!(machine_ticks("intr 1"), None);
    }
}
