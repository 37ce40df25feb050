//! The answer to one call.

use std::time::Duration;

/// The answer to one call, and what the platform says about it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The time that the platform took until the function ran.
    pub(crate) start: Option<Duration>,
    /// The time of the function itself, input and output included.
    pub(crate) run: Option<Duration>,
    /// True if the platform had the answer already.
    pub(crate) is_cached: bool,
}

/// A delay to add to each call, with which the clock is checked.
pub(crate) type Delay = Duration;
