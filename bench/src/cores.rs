//! The cores on which servers and load run, and how to pin threads to them.

use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, divided between servers and load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The cores of the servers.
    pub(crate) server: Vec<usize>,
    /// The cores of the load, which runs a thread on each.
    pub(crate) load: Vec<usize>,
}

impl Cores {
    /// Divides the cores on which this thread may run.
    ///
    /// # Errors
    /// Returns an error if the system call fails.
    pub(crate) fn available() -> io::Result<Self> {
        Ok(Self::divide(&allowed()?))
    }

    /// Returns the same cores without a division: servers and load share all of them.
    pub(crate) fn undivided(&self) -> Self {
        let mut all = [&self.server[..], &self.load].concat();
        all.sort_unstable();
        all.dedup();
        Self { server: all.clone(), load: all }
    }

    /// Assigns two cores each, or one each if there are fewer than four. A single core is shared.
    fn divide(allowed: &[usize]) -> Self {
        match *allowed {
            [a, b, c, d, ..] => Self { server: vec![a, b], load: vec![c, d] },
            [a, b, ..] => Self { server: vec![a], load: vec![b] },
            _ => Self { server: allowed.to_vec(), load: allowed.to_vec() },
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "servers on cores {:?}, load on cores {:?}", self.server, self.load)?;
        if self.server == self.load {
            write!(f, " (a single core for both: the figures are not meaningful)")?;
        } else if self.server.len() < 2 {
            write!(f, " (fewer than four cores: one each)")?;
        }
        Ok(())
    }
}

/// Returns the cores on which this thread may run.
///
/// # Errors
/// Returns an error if the system call fails.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Pins the calling thread, and the threads and processes that it starts from now on.
///
/// # Errors
/// Returns an error if the system call fails.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_load_share_a_core_only_if_there_is_one() {
        let divide = |allowed: &[usize]| {
            let cores = Cores::divide(allowed);
            (cores.server, cores.load)
        };
        assert_eq!(divide(&[0, 1, 2, 3, 4]), (vec![0, 1], vec![2, 3]));
        assert_eq!(divide(&[0, 2, 5]), (vec![0], vec![2]));
        assert_eq!(divide(&[1, 3]), (vec![1], vec![3]));
        assert_eq!(divide(&[3]), (vec![3], vec![3]));
    }

    #[test]
    fn undivided_cores_are_all_of_them_once() {
        let undivided = |allowed: &[usize]| Cores::divide(allowed).undivided();
        for allowed in [&[0, 1, 2, 3][..], &[1, 3], &[3]] {
            let all = Cores { server: allowed.to_vec(), load: allowed.to_vec() };
            assert_eq!(undivided(allowed), all);
        }
    }
}
