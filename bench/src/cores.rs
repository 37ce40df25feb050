//! Which cores serve and which ask.

use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores this process may use, shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Where servers run.
    pub(crate) server: Vec<usize>,
    /// Where the load runs, a thread a core.
    pub(crate) load: Vec<usize>,
}

impl Cores {
    /// Shares out what this thread may run on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn available() -> io::Result<Self> {
        Ok(Self::share(&allowed()?))
    }

    /// Two for the servers and two for the load; of fewer than four, one each; of one, that one for both.
    fn share(allowed: &[usize]) -> Self {
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
            write!(f, " (one core for both: the figures mean little)")?;
        } else if self.server.len() < 2 {
            write!(f, " (fewer than four cores: one each)")?;
        }
        Ok(())
    }
}

/// What this thread may run on.
///
/// # Errors
/// The system's.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Pins the calling thread, and what it starts from now on.
///
/// # Errors
/// The system's.
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
    fn cores_are_shared_out_as_far_as_they_go() {
        let share = |allowed: &[usize]| {
            let cores = Cores::share(allowed);
            (cores.server, cores.load)
        };
        assert_eq!(share(&[0, 1, 2, 3, 4]), (vec![0, 1], vec![2, 3]));
        assert_eq!(share(&[0, 2, 5]), (vec![0], vec![2]));
        assert_eq!(share(&[1, 3]), (vec![1], vec![3]));
        assert_eq!(share(&[3]), (vec![3], vec![3]));
    }
}
