//! How long a guest may run. It is looked at with every tick of the engine's clock that finds it running.
//!
//! A deadline is the wall's, however few of its ticks the thread got to see. The stay on the fast lane isn't:
//! a tick may pass while another process has the core, and then short calls would go to the compute lane
//! whenever the machine is busy. There a tick only counts once the thread has spent processor time too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

/// Processor time that a call may spend on the fast lane after its first tick.
const FAST_SPENT_MAX: Duration = Duration::from_millis(1);

/// What a call may still spend.
#[derive(Clone, Debug)]
pub enum Allowance {
    /// A short while: until [`FAST_SPENT_MAX`] is spent, or the deadline.
    Fast {
        /// The call's deadline.
        until: Instant,
        /// What the thread had spent when the first tick passed.
        spent_at_first: Option<Duration>,
    },
    /// Until the deadline, or until nobody waits for the answer any more.
    Long {
        /// The call's deadline.
        until: Instant,
        /// Says whether anybody waits.
        wanted: CancelFlag,
    },
}

/// Whether anybody waits for what is computed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<Waits>);

#[derive(Debug)]
enum Waits {
    /// A caller, until it gives up.
    Caller { gave_up: AtomicBool },
    /// Whoever waits for all parts of something, unless a part before this one has failed: parts are looked at in order.
    Part { of: CancelFlag, index: usize, failed_at: Arc<AtomicUsize> },
}

impl Default for Waits {
    fn default() -> Self {
        Self::Caller { gave_up: AtomicBool::new(false) }
    }
}

impl CancelFlag {
    /// As part `index` of what is wanted, of which none before the part `failed_at` has failed so far.
    pub fn part(&self, index: usize, failed_at: &Arc<AtomicUsize>) -> Self {
        Self(Arc::new(Waits::Part { of: self.clone(), index, failed_at: Arc::clone(failed_at) }))
    }

    /// The caller waits no longer.
    pub fn give_up(&self) {
        match &*self.0 {
            Waits::Caller { gave_up } => gave_up.store(true, Ordering::Relaxed),
            Waits::Part { of, .. } => of.give_up(),
        }
    }

    /// Whether it is of use to nobody now.
    pub fn is_over(&self) -> bool {
        match &*self.0 {
            Waits::Caller { gave_up } => gave_up.load(Ordering::Relaxed),
            Waits::Part { of, index, failed_at } => {
                failed_at.load(Ordering::Relaxed) < *index || of.is_over()
            }
        }
    }
}

impl Allowance {
    /// A short while, at most `until` then.
    pub fn fast(until: Instant) -> Self {
        Self::Fast { until, spent_at_first: None }
    }

    /// Until then, while it is `wanted`.
    pub fn long(until: Instant, wanted: CancelFlag) -> Self {
        Self::Long { until, wanted }
    }

    /// A tick passed: what now?
    pub fn tick(&mut self) -> UpdateDeadline {
        let over = match self {
            Self::Fast { until, spent_at_first } => {
                let now = thread_time();
                let spent = now.saturating_sub(*spent_at_first.get_or_insert(now));
                spent >= FAST_SPENT_MAX || Instant::now() >= *until
            }
            Self::Long { until, wanted } => wanted.is_over() || Instant::now() >= *until,
        };
        if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
    }
}

/// Processor time of this thread so far.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
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
    fn a_tick_spent_waiting_for_a_core_costs_nothing() {
        let mut allowance = Allowance::fast(Instant::now() + LONG);
        for _ in 0..5 {
            assert!(!is_cut_off(&allowance.tick()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_tick_spent_running_ends_the_stay() {
        let mut allowance = Allowance::fast(Instant::now() + LONG);
        assert!(!is_cut_off(&allowance.tick()));
        let from = thread_time();
        let begun = Instant::now();
        while thread_time() - from < FAST_SPENT_MAX && begun.elapsed() < Duration::from_secs(10) {}
        assert!(is_cut_off(&allowance.tick()));
    }

    /// Also if this is the first tick that the thread got to see.
    #[test]
    fn the_calls_own_deadline_holds_on_both_lanes() {
        let (past, future) = (Instant::now(), Instant::now() + LONG);
        assert!(is_cut_off(&Allowance::fast(past).tick()));
        assert!(is_cut_off(&Allowance::long(past, CancelFlag::default()).tick()));
        assert!(!is_cut_off(&Allowance::fast(future).tick()));
        assert!(!is_cut_off(&Allowance::long(future, CancelFlag::default()).tick()));
    }

    #[test]
    fn a_call_that_nobody_waits_for_ends() {
        let wanted = CancelFlag::default();
        let mut allowance = Allowance::long(Instant::now() + LONG, wanted.clone());
        assert!(!is_cut_off(&allowance.tick()));
        wanted.give_up();
        assert!(is_cut_off(&allowance.tick()));
    }

    #[test]
    fn a_part_is_of_no_use_once_one_before_it_has_failed() {
        let (wanted, failed_at) = (CancelFlag::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let parts = [0, 1, 2].map(|index| wanted.part(index, &failed_at));
        let over = || parts.each_ref().map(CancelFlag::is_over);
        assert_eq!(over(), [false, false, false]);
        failed_at.fetch_min(1, Ordering::Relaxed);
        assert_eq!(over(), [false, false, true]);
        wanted.give_up();
        assert_eq!(over(), [true, true, true]);
    }
}
