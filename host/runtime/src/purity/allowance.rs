//! How long a guest may run, counted in ticks of the engine's clock.
//!
//! The clock is the wall's: a tick may pass while another process has the core. On the fast lane that
//! would send short calls to the compute lane whenever the machine is busy, so there a tick only counts
//! once the thread has spent processor time too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

/// Processor time that a call may spend on the fast lane after its first tick.
const FAST_SPENT_MAX: Duration = Duration::from_millis(1);

/// What a call may still spend.
#[derive(Clone, Debug)]
pub(crate) enum Allowance {
    /// A short while: until [`FAST_SPENT_MAX`] is spent, or the ticks are over.
    Fast {
        /// Of the call's deadline.
        ticks_left: u64,
        /// What the thread had spent when the first tick passed.
        spent_at_first: Option<Duration>,
    },
    /// Until the ticks are over, or nobody waits for the answer any more.
    Long {
        /// Of the call's deadline.
        ticks_left: u64,
        /// Set by whoever gives up waiting.
        abandoned: Arc<AtomicBool>,
    },
}

impl Allowance {
    /// A short while, and at most `ticks`.
    pub(crate) fn fast(ticks: u64) -> Self {
        Self::Fast { ticks_left: ticks, spent_at_first: None }
    }

    /// `ticks`, unless `abandoned` is set.
    pub(crate) fn long(ticks: u64, abandoned: Arc<AtomicBool>) -> Self {
        Self::Long { ticks_left: ticks, abandoned }
    }

    /// A tick passed: what now?
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        let over = match self {
            Self::Fast { ticks_left, spent_at_first } => {
                *ticks_left = ticks_left.saturating_sub(1);
                let now = spent();
                let spent = now.saturating_sub(*spent_at_first.get_or_insert(now));
                *ticks_left == 0 || spent >= FAST_SPENT_MAX
            }
            Self::Long { ticks_left, abandoned } => {
                *ticks_left = ticks_left.saturating_sub(1);
                *ticks_left == 0 || abandoned.load(Ordering::Relaxed)
            }
        };
        if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
    }
}

/// Processor time of this thread so far.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn is_cut_off(update: &UpdateDeadline) -> bool {
        matches!(update, UpdateDeadline::Interrupt)
    }

    #[test]
    fn a_tick_spent_waiting_for_a_core_costs_nothing() {
        let mut allowance = Allowance::fast(1_000);
        for _ in 0..5 {
            assert!(!is_cut_off(&allowance.tick()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_tick_spent_running_ends_the_stay() {
        let mut allowance = Allowance::fast(u64::MAX);
        assert!(!is_cut_off(&allowance.tick()));
        let from = spent();
        let begun = Instant::now();
        while spent() - from < FAST_SPENT_MAX && begun.elapsed() < Duration::from_secs(10) {}
        assert!(is_cut_off(&allowance.tick()));
    }

    #[test]
    fn the_calls_own_deadline_holds_on_both_lanes() {
        for mut allowance in [Allowance::fast(2), Allowance::long(2, Arc::default())] {
            assert!(!is_cut_off(&allowance.tick()));
            assert!(is_cut_off(&allowance.tick()));
        }
    }

    #[test]
    fn a_call_that_nobody_waits_for_ends() {
        let abandoned = Arc::new(AtomicBool::new(false));
        let mut allowance = Allowance::long(u64::MAX, Arc::clone(&abandoned));
        assert!(!is_cut_off(&allowance.tick()));
        abandoned.store(true, Ordering::Relaxed);
        assert!(is_cut_off(&allowance.tick()));
    }
}
