//! Bounds how often an event is logged, so that a fault that repeats doesn't fill the disk.
//!
//! Events beyond the bound are counted, and the next one that is logged tells how many there were.
//! Nothing runs in between: an idle host doesn't wake up for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The events of one kind that are logged in each [`WINDOW`].
const EVENTS_MAX: u32 = 10;

/// The time after which events are logged again.
const WINDOW: Duration = Duration::from_secs(1);

/// The rate of one kind of event.
#[derive(Debug, Default)]
pub struct EventRate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    events: u32,
    skipped: u64,
}

impl EventRate {
    /// Creates the rate of a kind that has had no event.
    pub const fn new() -> Self {
        Self(Mutex::new(Window { began: None, events: 0, skipped: 0 }))
    }

    /// Counts an event. If it may be logged, returns how many before it weren't.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            (window.began, window.events) = (Some(now), 0);
        }
        if window.events < EVENTS_MAX {
            window.events += 1;
            Some(std::mem::take(&mut window.skipped))
        } else {
            window.skipped += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_rate_are_counted_and_told_once() {
        let (rate, start) = (EventRate::new(), Instant::now());
        let at = |ms| rate.admit_at(start + Duration::from_millis(ms));
        for _ in 0..EVENTS_MAX {
            assert_eq!(at(0), Some(0));
        }
        for ms in 0..7 {
            assert_eq!(at(ms), None);
        }
        assert_eq!(at(999), None);
        assert_eq!([at(1000), at(1001)], [Some(8), Some(0)]);
        // A quiet time earns no more than one window.
        for _ in 0..EVENTS_MAX {
            assert_eq!(at(60_000), Some(0));
        }
        assert_eq!(at(60_000), None);
    }
}
