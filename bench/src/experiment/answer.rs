//! The answer to one call.

use std::time::Duration;

/// The answer to one call, and what the platform says about it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The time until the function ran, if the platform itself tells it.
    pub(crate) start: Option<Duration>,
    /// The time inside the function, by the clock of the program that calls it.
    pub(crate) run: Duration,
    /// True if the platform had the answer already.
    pub(crate) is_cached: bool,
}

/// A delay to add to each call, with which the clock is checked.
pub(crate) type Delay = Duration;
