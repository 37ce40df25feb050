//! The search for the highest rate that holds a goal: by doubling, then by bisection.
//!
//! ```text
//! held        -> twice the rate, until one misses
//! missed      -> half the rate, until one holds
//! held < missed -> between them, until they differ by less than a tenth
//! ```

use std::fmt;
use std::time::Duration;

use super::goal::Goal;
use super::open_loop::Run;
use super::schedule::Rate;

/// The most steps: 24 double the lowest rate to the highest, and 4 bisect. A guess is closer.
const STEPS_MAX: usize = 28;

/// The ratio of two rates that aren't told apart.
const RESOLUTION: f64 = 1.1;

/// The verdict of a load on a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Missed,
    /// It was missed while the load itself fell behind, so the server may hold it.
    GeneratorBehind,
}

impl Verdict {
    /// Returns the name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::GeneratorBehind => "generator-behind",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::GeneratorBehind => "missed, the load generator fell behind",
        })
    }
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) rate: Rate,
    /// The latency at the percentile of the goal.
    pub(crate) seen: Duration,
    pub(crate) failed_share: f64,
    pub(crate) verdict: Verdict,
}

impl Step {
    /// Judges a load.
    pub(crate) fn new(rate: Rate, run: &Run, goal: Goal) -> Self {
        let seen = run.tally.latencies.percentile(goal.percentile());
        let failed_share = run.tally.failed_share();
        // A step in which nothing was due shows nothing.
        let verdict = match run.tally.requests() > 0 && goal.is_held(seen, failed_share) {
            true => Verdict::Held,
            false if run.generator.kept_up => Verdict::Missed,
            false => Verdict::GeneratorBehind,
        };
        Self { rate, seen, failed_share, verdict }
    }
}

/// The state of a search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    first: Rate,
    /// The highest rate that held.
    held: Option<Rate>,
    /// The lowest rate that missed. It is above `held`.
    missed: Option<Rate>,
    steps: usize,
}

impl Search {
    /// Starts a search with a guess.
    pub(crate) fn new(first: Rate) -> Self {
        Self { first, held: None, missed: None, steps: 0 }
    }

    /// Returns the rate to try next. `None` if the search is over.
    pub(crate) fn next(&self) -> Option<Rate> {
        if self.steps >= STEPS_MAX {
            return None;
        }
        match (self.held, self.missed) {
            (None, None) => Some(self.first),
            (Some(held), None) => Some(Rate::nearest(held.per_s() * 2.0)).filter(|next| *next > held),
            (None, Some(missed)) => Some(Rate::nearest(missed.per_s() / 2.0)).filter(|next| *next < missed),
            (Some(held), Some(missed)) if missed.per_s() < held.per_s() * RESOLUTION => None,
            (Some(held), Some(missed)) => {
                let middle = Rate::nearest((held.per_s() * missed.per_s()).sqrt());
                (held < middle && middle < missed).then_some(middle)
            }
        }
    }

    /// Takes the outcome of the rate that was tried.
    pub(crate) fn saw(&mut self, rate: Rate, held: bool) {
        self.steps += 1;
        if held { self.held = Some(rate) } else { self.missed = Some(rate) }
    }

    /// Returns the highest rate that held.
    pub(crate) fn best(&self) -> Option<Rate> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a system that holds the goal up to a rate, and returns the best rate found.
    fn search(first: f64, capacity: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(Rate::nearest(first));
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            assert!(!tried.contains(&rate.per_s()), "{rate} was tried before: {tried:?}");
            tried.push(rate.per_s());
            search.saw(rate, rate.per_s() <= capacity);
        }
        (search.best().map(Rate::per_s), tried.len())
    }

    #[test]
    fn the_highest_rate_is_found_from_any_first_guess() {
        for first in [0.1, 1.0, 37.0, 8000.0, 1e6] {
            for capacity in [0.11, 0.7, 3.0, 99.0, 1234.0, 54_321.0, 999_999.0] {
                let (found, steps) = search(first, capacity);
                let found = found.unwrap();
                assert!(
                    found <= capacity && found * RESOLUTION * 1.01 > capacity,
                    "{first} {capacity}: {found}"
                );
                assert!(steps <= STEPS_MAX, "{first} {capacity}: {steps}");
            }
        }
    }

    #[test]
    fn a_close_guess_takes_few_steps() {
        let (found, steps) = search(500.0, 1700.0);
        assert!(found.is_some() && steps <= 7, "{steps}");
    }

    #[test]
    fn a_system_that_holds_nothing_or_everything_ends_the_search() {
        assert_eq!(search(1000.0, 0.0).0, None);
        assert_eq!(search(1000.0, f64::INFINITY).0, Some(Rate::MAX.per_s()));
    }

    /// Queueing in a server with a fixed time for each request: the latency explodes at 100 %.
    #[test]
    fn the_rate_found_holds_the_goal_in_a_queue() {
        let (service_s, goal_s): (f64, f64) = (0.002, 0.050);
        let latency_s = |rate: f64| {
            let busy = rate * service_s;
            if busy >= 1.0 { f64::INFINITY } else { service_s + service_s * busy / (2.0 * (1.0 - busy)) }
        };
        let mut search = Search::new(Rate::nearest(10.0));
        while let Some(rate) = search.next() {
            search.saw(rate, latency_s(rate.per_s()) <= goal_s);
        }
        let best = search.best().unwrap().per_s();
        assert!(latency_s(best) <= goal_s && latency_s(best * RESOLUTION * 1.01) > goal_s, "{best}");
    }
}
