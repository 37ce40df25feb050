//! Random numbers from a seed, for inputs and for resampling: the same in every run.

use crate::load::uniform;

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns a number of at least 0 and below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        uniform(&mut self.state)
    }

    /// Returns an index below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.unit() * end as f64) as usize).min(end.saturating_sub(1))
    }
}
