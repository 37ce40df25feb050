//! The measured cost of a call. Limits are in [`limits`](crate::limits).

use std::time::Duration;

/// The time of one call. Its phases are wall-clock time and follow each other without overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCost {
    /// From admission until a thread starts the call.
    pub queue: Duration,
    /// Loading the compiled code, if it wasn't loaded.
    pub load: Duration,
    /// Decoding the input and creating an instance.
    pub start: Duration,
    /// Running the guest and encoding the output.
    pub run: Duration,
    /// Processor time of `start` and `run`, if it was measured.
    pub processor: Option<Duration>,
}

impl CallCost {
    /// Returns the sum of the phases.
    pub fn total(&self) -> Duration {
        self.queue + self.load + self.start + self.run
    }
}
