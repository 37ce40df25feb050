//! Allowances: the time that a guest may run, checked at every tick of the engine's clock that
//! interrupts it.
//!
//! A deadline is wall-clock time, even if the thread saw few of the ticks. The stay on the fast
//! lane is measured in processor time: a tick may pass while another process has the core, and on a
//! busy machine short calls would otherwise move to the compute lane. So a tick there counts only
//! once the thread has also used processor time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

/// Processor time that a call may use on the fast lane after its first tick.
const FAST_SPENT_MAX: Duration = Duration::from_millis(1);

/// The remaining time of a call.
#[derive(Clone, Debug)]
pub enum Allowance {
    /// Runs until `FAST_SPENT_MAX` is used up, or until the deadline.
    Fast {
        /// The call's deadline.
        until: Instant,
        /// The thread's processor time at the first tick.
        spent_at_first: Option<Duration>,
    },
    /// Runs until the deadline, or until the caller cancels.
    Long {
        /// The call's deadline.
        until: Instant,
        /// Cancels the call when no caller waits for its result.
        cancel: CancelFlag,
    },
}

/// A flag that cancels a call when no caller waits for its result. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<CancelSource>);

#[derive(Debug)]
enum CancelSource {
    /// A caller, until it gives up.
    Caller { cancelled: AtomicBool },
    /// One part of a larger wait. Parts are evaluated in order, so a failure of an earlier part
    /// makes this part useless.
    Part { of: CancelFlag, index: usize, failed_at: Arc<AtomicUsize> },
}

impl Default for CancelSource {
    fn default() -> Self {
        Self::Caller { cancelled: AtomicBool::new(false) }
    }
}

impl CancelFlag {
    /// Returns the flag of part `index`; `failed_at` holds the index of the earliest failed part.
    pub fn part(&self, index: usize, failed_at: &Arc<AtomicUsize>) -> Self {
        Self(Arc::new(CancelSource::Part { of: self.clone(), index, failed_at: Arc::clone(failed_at) }))
    }

    /// Cancels: the caller no longer waits.
    pub fn cancel(&self) {
        match &*self.0 {
            CancelSource::Caller { cancelled } => cancelled.store(true, Ordering::Relaxed),
            CancelSource::Part { of, .. } => of.cancel(),
        }
    }

    /// Returns whether the result has become useless.
    pub fn is_cancelled(&self) -> bool {
        match &*self.0 {
            CancelSource::Caller { cancelled } => cancelled.load(Ordering::Relaxed),
            CancelSource::Part { of, index, failed_at } => {
                failed_at.load(Ordering::Relaxed) < *index || of.is_cancelled()
            }
        }
    }
}

impl Allowance {
    /// Returns the allowance of the fast lane, ending at `until` at the latest.
    pub fn fast(until: Instant) -> Self {
        Self::Fast { until, spent_at_first: None }
    }

    /// Returns the allowance of the compute lane: until `until`, unless `cancel` is cancelled.
    pub fn long(until: Instant, cancel: CancelFlag) -> Self {
        Self::Long { until, cancel }
    }

    /// Handles a tick: interrupts the guest if the allowance has run out.
    pub fn tick(&mut self) -> UpdateDeadline {
        let over = match self {
            Self::Fast { until, spent_at_first } => {
                let now = thread_time();
                let spent = now.saturating_sub(*spent_at_first.get_or_insert(now));
                spent >= FAST_SPENT_MAX || Instant::now() >= *until
            }
            Self::Long { until, cancel } => cancel.is_cancelled() || Instant::now() >= *until,
        };
        if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
    }
}

/// Returns the processor time that this thread has used.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither field is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn is_cut_off(update: &UpdateDeadline) -> bool {
        matches!(update, UpdateDeadline::Interrupt)
    }

    #[test]
    fn tick_spent_waiting_for_a_core_does_not_count() {
        let mut allowance = Allowance::fast(Instant::now() + LONG);
        for _ in 0..5 {
            assert!(!is_cut_off(&allowance.tick()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn tick_spent_running_ends_the_stay() {
        let mut allowance = Allowance::fast(Instant::now() + LONG);
        assert!(!is_cut_off(&allowance.tick()));
        let from = thread_time();
        let begun = Instant::now();
        while thread_time() - from < FAST_SPENT_MAX && begun.elapsed() < Duration::from_secs(10) {}
        assert!(is_cut_off(&allowance.tick()));
    }

    /// The deadline applies even if this is the first tick that the thread sees.
    #[test]
    fn deadline_applies_on_both_lanes() {
        let (past, future) = (Instant::now(), Instant::now() + LONG);
        assert!(is_cut_off(&Allowance::fast(past).tick()));
        assert!(is_cut_off(&Allowance::long(past, CancelFlag::default()).tick()));
        assert!(!is_cut_off(&Allowance::fast(future).tick()));
        assert!(!is_cut_off(&Allowance::long(future, CancelFlag::default()).tick()));
    }

    #[test]
    fn cancelled_call_ends() {
        let cancel = CancelFlag::default();
        let mut allowance = Allowance::long(Instant::now() + LONG, cancel.clone());
        assert!(!is_cut_off(&allowance.tick()));
        cancel.cancel();
        assert!(is_cut_off(&allowance.tick()));
    }

    #[test]
    fn part_is_cancelled_when_an_earlier_part_fails() {
        let (cancel, failed_at) = (CancelFlag::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let parts = [0, 1, 2].map(|index| cancel.part(index, &failed_at));
        let over = || parts.each_ref().map(CancelFlag::is_cancelled);
        assert_eq!(over(), [false, false, false]);
        failed_at.fetch_min(1, Ordering::Relaxed);
        assert_eq!(over(), [false, false, true]);
        cancel.cancel();
        assert_eq!(over(), [true, true, true]);
    }
}
