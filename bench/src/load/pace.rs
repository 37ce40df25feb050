//! The moments at which requests are due.
//!
//! An open loop doesn't wait for answers: requests are due at random moments (a Poisson process,
//! like many independent callers), and a request that finds no free connection is late from the
//! moment it was due. The moments have a fixed seed, so every server gets the same ones at the same
//! rate.

use std::time::{Duration, Instant};

/// The rule by which the load sends requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends a request after each answer.
    Closed,
    /// Requests are sent at an average rate, independently of the answers.
    Open {
        /// The rate over all connections.
        requests_per_s: f64,
    },
}

/// The moments at which the requests of one load thread are due.
#[derive(Debug)]
pub(crate) enum DueTimes {
    /// A request is due whenever a connection is free.
    AtOnce,
    /// Requests are due at random moments.
    AtRandom {
        /// The next moment, which may have passed.
        next: Instant,
        /// The end of the moments.
        end: Instant,
        /// The average time between two moments.
        mean_s: f64,
        /// The state of the random number generator.
        random: u64,
    },
}

impl DueTimes {
    /// Creates the moments of one of `threads` load threads from now to `end`.
    pub(crate) fn new(pace: Pace, thread: usize, threads: usize, end: Instant) -> Self {
        match pace {
            Pace::Closed => Self::AtOnce,
            Pace::Open { requests_per_s } => {
                let mean_s = threads as f64 / requests_per_s;
                Self::AtRandom { next: Instant::now(), end, mean_s, random: thread as u64 }
            }
        }
    }

    /// Takes the next moment if it has come.
    pub(crate) fn take(&mut self) -> Option<Instant> {
        let now = Instant::now();
        match self {
            Self::AtOnce => Some(now),
            Self::AtRandom { next, end, mean_s, random } => {
                if *next > now || *next >= *end {
                    return None;
                }
                let due = *next;
                // The time between two events of a Poisson process. `1 - uniform` is never 0.
                let gap_s = -(1.0 - uniform(random)).ln() * *mean_s;
                *next += Duration::from_secs_f64(gap_s);
                Some(due)
            }
        }
    }

    /// Returns whether no further request will be due.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::AtOnce => false,
            Self::AtRandom { next, end, .. } => *next >= *end && now >= *end,
        }
    }
}

/// Returns a number of at least 0 and below 1: the upper bits of SplitMix64.
pub(crate) fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_configured_rate() {
        let end = Instant::now() + Duration::from_secs(1000);
        let mut due = DueTimes::new(Pace::Open { requests_per_s: 50.0 }, 1, 2, end);
        let DueTimes::AtRandom { next, .. } = &mut due else { panic!() };
        // Move the moments to the past, so that all have come.
        let start = end - Duration::from_secs(3000);
        *next = start;
        let mut taken = Vec::new();
        while let Some(at) = due.take() {
            if at >= start + Duration::from_secs(1000) {
                break;
            }
            taken.push(at);
        }
        // One of two threads at 50 requests a second sends 25,000 in 1,000 seconds, with a
        // tolerance of three deviations.
        assert!((24_500..25_500).contains(&taken.len()), "{}", taken.len());
        assert!(taken.is_sorted());
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let mut due = DueTimes::new(Pace::Open { requests_per_s: 1e9 }, 0, 1, Instant::now());
        assert_eq!(due.take(), None);
        assert!(due.is_over(Instant::now()));
    }
}
