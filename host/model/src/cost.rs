//! The cost of a call.
//!
//! Every field is a measured quantity with its unit; limits are in [`limits`](crate::limits).

use std::time::Duration;

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
