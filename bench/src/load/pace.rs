//! When the next request is due.
//!
//! An open loop asks whether or not it was answered: requests fall due at random moments (a Poisson process,
//! as many independent callers make it), and one that finds no connection free is late from the moment it
//! was due. The moments come from a fixed seed: every server gets the same ones at the same rate.

use std::time::{Duration, Instant};

/// How the load asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each connection asks again once it was answered.
    Closed,
    /// So many requests a second on average, whatever the answers.
    Open {
        /// Over all connections.
        requests_per_s: f64,
    },
}

/// The moments at which one load thread's requests are due.
#[derive(Debug)]
pub(crate) enum Due {
    /// At once, for as long as there are connections.
    AtOnce,
    /// At random.
    AtRandom {
        /// The next one, perhaps in the past already.
        next: Instant,
        /// Until which they fall due.
        end: Instant,
        /// Between two, on average, seconds.
        mean_s: f64,
        /// The state of the random stream.
        random: u64,
    },
}

impl Due {
    /// For one of `threads` load threads, from now to `end`.
    pub(crate) fn new(pace: Pace, thread: usize, threads: usize, end: Instant) -> Self {
        match pace {
            Pace::Closed => Self::AtOnce,
            Pace::Open { requests_per_s } => {
                let mean_s = threads as f64 / requests_per_s;
                Self::AtRandom { next: Instant::now(), end, mean_s, random: thread as u64 }
            }
        }
    }

    /// The moment of the next request that is due by now, once.
    pub(crate) fn take(&mut self) -> Option<Instant> {
        let now = Instant::now();
        match self {
            Self::AtOnce => Some(now),
            Self::AtRandom { next, end, mean_s, random } => {
                if *next > now || *next >= *end {
                    return None;
                }
                let due = *next;
                // The time between two events of a Poisson process; `1 - uniform` is never 0.
                let gap_s = -(1.0 - uniform(random)).ln() * *mean_s;
                *next += Duration::from_secs_f64(gap_s);
                Some(due)
            }
        }
    }

    /// Whether none will be due any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::AtOnce => false,
            Self::AtRandom { next, end, .. } => *next >= *end && now >= *end,
        }
    }
}

/// From 0 to just below 1: the upper bits of SplitMix64.
pub(super) fn uniform(state: &mut u64) -> f64 {
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
    fn requests_fall_due_at_the_rate_asked_for() {
        let end = Instant::now() + Duration::from_secs(1000);
        let mut due = Due::new(Pace::Open { requests_per_s: 50.0 }, 1, 2, end);
        let Due::AtRandom { next, .. } = &mut due else { panic!() };
        // As if all of it were past.
        let start = end - Duration::from_secs(3000);
        *next = start;
        let mut taken = Vec::new();
        while let Some(at) = due.take() {
            if at >= start + Duration::from_secs(1000) {
                break;
            }
            taken.push(at);
        }
        // One of two threads at 50 a second: 25,000 in a thousand seconds, give or take three deviations.
        assert!((24_500..25_500).contains(&taken.len()), "{}", taken.len());
        assert!(taken.is_sorted());
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let mut due = Due::new(Pace::Open { requests_per_s: 1e9 }, 0, 1, Instant::now());
        assert_eq!(due.take(), None);
        assert!(due.is_over(Instant::now()));
    }
}
