//! Virtual time, which only waiting advances.
//!
//! Every call begins at the same instant: 2000-01-01T00:00:00Z on the wall clock, one second on the
//! monotonic clock. Reading a clock doesn't advance it. Waiting for a deadline does, immediately:
//! [`wait`](super::wait) moves both clocks to the earliest awaited deadline. So a timer loop runs
//! to its end instantly and in order.
//!
//! The monotonic clock never reads 0, because language runtimes take that for a failed clock: Go's
//! aborts with "nanotime returning zero".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, async_trait};

/// Seconds from the Unix epoch to the instant at which every call begins.
const WALL_EPOCH_SECONDS: u64 = 946_684_800;

/// Reading of the monotonic clock at that instant, nanoseconds.
const MONOTONIC_START_NS: u64 = 1_000_000_000;

/// Both clocks of one call.
///
/// Shared and atomic because `wasmtime-wasi` requires `Send` clocks; only the call's thread
/// accesses it.
#[derive(Clone, Debug)]
pub(super) struct VirtualClock(Arc<Instants>);

#[derive(Debug)]
struct Instants {
    /// The monotonic time, in which deadlines are expressed too.
    now_ns: AtomicU64,
    /// The earliest pending deadline polled since the last advance, or `u64::MAX`.
    earliest_ns: AtomicU64,
}

impl VirtualClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Instants {
            now_ns: AtomicU64::new(MONOTONIC_START_NS),
            earliest_ns: AtomicU64::new(u64::MAX),
        }))
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.0.now_ns.load(Ordering::Relaxed)
    }

    /// Returns a pollable that is ready once the clock reaches `at_ns`.
    pub(super) fn deadline(&self, at_ns: u64) -> Deadline {
        Deadline { at_ns, clock: self.clone() }
    }

    /// Moves time to the earliest pending deadline that was polled. Returns false without one.
    pub(super) fn advance(&self) -> bool {
        let earliest = self.0.earliest_ns.swap(u64::MAX, Ordering::Relaxed);
        if earliest == u64::MAX {
            return false;
        }
        self.0.now_ns.fetch_max(earliest, Ordering::Relaxed);
        true
    }

    /// Drops deadlines from a poll that wasn't a wait.
    pub(super) fn forget_deadlines(&self) {
        self.0.earliest_ns.store(u64::MAX, Ordering::Relaxed);
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.now_ns()
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        // The clock only moves forward.
        let elapsed_ns = self.now_ns() - MONOTONIC_START_NS;
        Duration::from_secs(WALL_EPOCH_SECONDS) + Duration::from_nanos(elapsed_ns)
    }
}

/// A pollable that is ready once virtual time reaches `at_ns`.
pub(super) struct Deadline {
    at_ns: u64,
    clock: VirtualClock,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        std::future::poll_fn(|_| {
            if self.clock.now_ns() >= self.at_ns {
                return Poll::Ready(());
            }
            self.clock.0.earliest_ns.fetch_min(self.at_ns, Ordering::Relaxed);
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(clock: &VirtualClock) -> (u64, Duration) {
        (HostMonotonicClock::now(clock), HostWallClock::now(clock))
    }

    #[test]
    fn every_call_begins_at_the_same_nonzero_instant() {
        let start = (MONOTONIC_START_NS, Duration::from_secs(WALL_EPOCH_SECONDS));
        for _ in 0..2 {
            let clock = VirtualClock::new();
            assert_eq!(read(&clock), start);
            assert_eq!(read(&clock), start, "reading a clock moved it");
        }
        assert_ne!(start.0, 0);
    }

    #[test]
    fn waiting_moves_both_clocks_by_the_same_time() {
        let clock = VirtualClock::new();
        let (monotonic, wall) = read(&clock);
        clock.0.earliest_ns.store(monotonic + 5, Ordering::Relaxed);
        assert!(clock.advance());
        assert_eq!(read(&clock), (monotonic + 5, wall + Duration::from_nanos(5)));
        assert!(!clock.advance(), "no deadline is pending");
    }

    #[test]
    fn waiting_for_a_past_instant_moves_no_clock() {
        let clock = VirtualClock::new();
        let before = read(&clock);
        clock.0.earliest_ns.store(0, Ordering::Relaxed);
        clock.advance();
        assert_eq!(read(&clock), before);
    }
}
