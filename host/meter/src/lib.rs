//! What a call cost.
//!
//! Everything here is a measured quantity with its unit; nothing is a limit (those are the
//! runtime's) and nothing is a wire format (that is `nebula-http`'s).

use std::time::{Duration, Instant};

/// The time of one call. Its phases, on the wall's clock, follow one another and don't overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCost {
    /// From admission until a thread took the call up.
    pub queue: Duration,
    /// Loading the component, where it wasn't.
    pub load: Duration,
    /// Decoding the input and making a fresh instance.
    pub start: Duration,
    /// Running the guest and encoding the output.
    pub run: Duration,
    /// Processor time of `start` and `run`, where it was measured.
    pub processor: Option<Duration>,
}

impl CallCost {
    /// The sum of the phases.
    pub fn total(&self) -> Duration {
        self.queue + self.load + self.start + self.run
    }
}

/// Splits elapsed time into consecutive laps.
#[derive(Debug)]
pub struct Stopwatch {
    last: Instant,
}

impl Stopwatch {
    /// Starts the first lap now.
    pub fn start() -> Self {
        Self { last: Instant::now() }
    }

    /// Starts the first lap at a moment that has been read already.
    pub fn started_at(moment: Instant) -> Self {
        Self { last: moment }
    }

    /// From `earlier` to the beginning of this lap.
    pub fn since(&self, earlier: Instant) -> Duration {
        self.last.saturating_duration_since(earlier)
    }

    /// Ends the lap, gives its length and starts the next.
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap
    }
}

#[cfg(test)]
mod tests {
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
