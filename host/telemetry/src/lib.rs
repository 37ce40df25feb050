//! Measures the time of calls, measures or models their energy and carbon, and makes spans of sampled
//! requests.
//!
//! The measured quantities, such as `CallCost`, are data and live in `nebula-model`.

pub mod carbon;
pub mod energy;
mod event_rate;
pub mod histogram;
pub mod rapl;
pub mod trace;

use std::time::{Duration, Instant};

pub use self::event_rate::EventRate;

/// Splits elapsed time into consecutive laps.
#[derive(Debug)]
pub struct Stopwatch {
    last: Instant,
}

impl Stopwatch {
    /// Starts the first lap.
    pub fn start() -> Self {
        Self { last: Instant::now() }
    }

    /// Starts the first lap at a moment already read from the clock.
    pub fn started_at(moment: Instant) -> Self {
        Self { last: moment }
    }

    /// Returns the time from `earlier` to the start of this lap.
    pub fn since(&self, earlier: Instant) -> Duration {
        self.last.saturating_duration_since(earlier)
    }

    /// Ends the lap, returns its length and starts the next one.
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap
    }
}

#[cfg(test)]
mod tests {
    use nebula_model::cost::CallCost;

    use super::*;

    #[test]
    fn laps_add_up_to_the_whole() {
        let whole = Instant::now();
        let mut watch = Stopwatch::start();
        let (queue, load, start, run) = (watch.lap(), watch.lap(), watch.lap(), watch.lap());
        let cost = CallCost { queue, load, start, run, processor: None };
        assert!(cost.total() <= whole.elapsed());
        assert_eq!(cost.total(), cost.queue + cost.load + cost.start + cost.run);
    }
}
