//! Polls for the next request for some microseconds before the thread sleeps.
//!
//! Waking a thread takes longer than sending a cached response. A client that sends its next
//! request as soon as it has a response would wait for the server to wake each time. So after a
//! cached response the thread keeps polling its event loop for up to [`SPIN_MAX`], if the last
//! responses followed each other quickly.
//!
//! ```text
//! response --(responses in quick succession)--> polling --(no request for SPIN_MAX)--> back off, asleep
//!                                                  |  ^
//!                                                  +--+ request, response
//! ```
//!
//! Invariants:
//! * Other connections aren't delayed: polling yields to the event loop, which handles every socket
//!   and timer.
//! * An idle server doesn't poll, and has no timer for it.
//! * A core that other threads need isn't polled on: see [`CoreWait`].

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The longest time without a request that a thread polls for.
const SPIN_MAX: Duration = Duration::from_micros(50);

/// Consecutive short intervals between responses before a thread polls.
const SHORT_INTERVALS_MIN: u32 = 4;

/// The most that backing off raises [`SHORT_INTERVALS_MIN`] to.
const SHORT_INTERVALS_MAX: u32 = 1024;

/// Requests that have to come while a thread polls: fewer aren't worth [`SPIN_MAX`] of processor
/// time at the end.
const HITS_MIN: u32 = 32;

/// The time between two checks of whether other threads need the core.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The shortest time that such a check can judge.
const CHECK_MIN: Duration = Duration::from_millis(1);

/// The time without polling after other threads needed the core.
const CONTENTION_PAUSE: Duration = Duration::from_secs(1);

/// The busy polling of one serving thread. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct BusyPoll(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Set once [`BusyPoll::run`] runs.
    is_on: AtomicBool,
    state: Mutex<State>,
    start: Notify,
}

#[derive(Default)]
struct State {
    policy: Policy,
    last_response: Option<Instant>,
    /// Don't poll before this time.
    paused_until: Option<Instant>,
    is_polling: bool,
    /// A response was sent since the polling task ran.
    has_responded: bool,
}

impl BusyPoll {
    /// Records that a cached response was sent, and starts to poll if the policy says so.
    pub(super) fn record_response(&self) {
        if !self.0.is_on.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        state.has_responded = true;
        if let Some(last) = state.last_response.replace(now) {
            state.policy.record(now - last);
        }
        let starts = !state.is_polling
            && state.policy.polls()
            && state.paused_until.is_none_or(|paused_until| now >= paused_until);
        if starts {
            state.is_polling = true;
            state.policy.begin_polling();
            drop(state);
            self.0.start.notify_one();
        }
    }

    /// Polls whenever [`record_response`](Self::record_response) starts it. Runs on the serving
    /// thread, until dropped; returns at once on a machine where polling can't help. `tidy` is
    /// called when the thread has nothing else to do.
    pub(super) async fn run(self, tidy: impl Fn()) {
        let Some(core_wait) = CoreWait::of_this_thread().filter(|_| has_several_cores()) else { return };
        self.0.is_on.store(true, Ordering::Relaxed);
        loop {
            self.0.start.notified().await;
            let mut check = core_wait.begin_check(Instant::now());
            while self.keeps_polling(&core_wait, &mut check) {
                // The event loop handles what is ready before this task runs again.
                tokio::task::yield_now().await;
                if std::mem::take(&mut self.lock().has_responded) {
                    tidy();
                }
            }
        }
    }

    /// Returns whether to go on polling. Otherwise the next response may start it again.
    fn keeps_polling(&self, core_wait: &CoreWait, check: &mut Check) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let has_timed_out =
            state.last_response.is_none_or(|last| now.saturating_duration_since(last) > SPIN_MAX);
        let checked_for = now.saturating_duration_since(check.begun);
        if checked_for >= CHECK_INTERVAL || (has_timed_out && checked_for >= CHECK_MIN) {
            if core_wait.is_contended(check, now) {
                state.paused_until = Some(now + CONTENTION_PAUSE);
                state.is_polling = false;
                return false;
            }
            *check = core_wait.begin_check(now);
        }
        if has_timed_out {
            state.policy.end_polling();
            state.is_polling = false;
        }
        !has_timed_out
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides whether to poll from the intervals between responses.
#[derive(Debug)]
struct Policy {
    /// The number of consecutive short intervals up to now.
    short_intervals: u32,
    /// Polls from this number of short intervals on.
    short_intervals_min: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { short_intervals: 0, short_intervals_min: SHORT_INTERVALS_MIN }
    }
}

impl Policy {
    fn polls(&self) -> bool {
        self.short_intervals >= self.short_intervals_min
    }

    /// Records the interval between two responses.
    fn record(&mut self, interval: Duration) {
        if interval > SPIN_MAX {
            self.short_intervals = 0;
            return;
        }
        self.short_intervals = self.short_intervals.saturating_add(1);
    }

    /// Begins to poll: intervals are hits from now on.
    fn begin_polling(&mut self) {
        self.short_intervals = self.short_intervals_min;
    }

    /// Ends polling, after no request has come for [`SPIN_MAX`]. Backs off if few came before.
    fn end_polling(&mut self) {
        let hits = self.short_intervals.saturating_sub(self.short_intervals_min);
        self.short_intervals_min = match hits {
            HITS_MIN.. => SHORT_INTERVALS_MIN,
            _ => (self.short_intervals_min * 2).min(SHORT_INTERVALS_MAX),
        };
        self.short_intervals = 0;
    }
}

/// The time that a thread has waited for its core while it was ready to run. For a thread that
/// polls all the time, it measures the demand of other threads for that core.
struct CoreWait(File);

/// A measurement of [`CoreWait`].
struct Check {
    begun: Instant,
    /// `None` if it can't be read.
    waited: Option<Duration>,
}

impl CoreWait {
    /// Returns `None` where the kernel doesn't count it (`CONFIG_SCHED_INFO`).
    fn of_this_thread() -> Option<Self> {
        let this = Self(File::open("/proc/thread-self/schedstat").ok()?);
        this.waited().map(|_| this)
    }

    fn waited(&self) -> Option<Duration> {
        let mut line = [0; 80];
        let bytes = self.0.read_at(&mut line, 0).ok()?;
        parse_schedstat(std::str::from_utf8(&line[..bytes]).ok()?)
    }

    fn begin_check(&self, now: Instant) -> Check {
        Check { begun: now, waited: self.waited() }
    }

    fn is_contended(&self, check: &Check, now: Instant) -> bool {
        // If it can't be read any more, others may need the core.
        let waited = self.waited().zip(check.waited).map(|(now, before)| now.saturating_sub(before));
        let elapsed = now.saturating_duration_since(check.begun);
        waited.is_none_or(|waited| WaitShare { waited, elapsed }.is_contended())
    }
}

/// The part of some time for which a thread waited for its core.
struct WaitShare {
    waited: Duration,
    elapsed: Duration,
}

impl WaitShare {
    /// Returns whether other threads need the core. Beside one long call of the compute lane, whose
    /// threads have about a tenth of its weight, a thread waits for 9 % of the time; beside a
    /// thread of its own weight for half.
    fn is_contended(&self) -> bool {
        self.waited * 16 > self.elapsed
    }
}

/// Parses the time waited on a run queue: the second number, nanoseconds
/// (Documentation/scheduler/sched-stats.rst).
fn parse_schedstat(line: &str) -> Option<Duration> {
    line.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Returns whether the client may run at the same time as this thread.
fn has_several_cores() -> bool {
    // The machine counts, not the process: the client may run on a core that the process may not
    // use.
    std::fs::read_to_string("/sys/devices/system/cpu/online").is_ok_and(|cpus| cpus.contains(['-', ',']))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    const SHORT: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_millis(10);

    fn record(policy: &mut Policy, interval: Duration, times: u32) {
        for _ in 0..times {
            policy.record(interval);
        }
    }

    #[test]
    fn polls_after_short_intervals_only() {
        let mut policy = Policy::default();
        record(&mut policy, LONG, 1000);
        assert!(!policy.polls());
        record(&mut policy, SHORT, SHORT_INTERVALS_MIN - 1);
        assert!(!policy.polls());
        record(&mut policy, SHORT, 1);
        assert!(policy.polls());
        record(&mut policy, LONG, 1);
        assert!(!policy.polls());
    }

    #[test]
    fn backs_off_when_no_request_comes() {
        let mut policy = Policy::default();
        let needed = [(); 10].map(|()| {
            let mut count = 0;
            while !policy.polls() {
                policy.record(SHORT);
                count += 1;
            }
            policy.end_polling();
            count
        });
        assert_eq!(needed, [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]);
    }

    /// Sends bursts of requests, and returns how many ended with polling in vain.
    fn polled_bursts(requests: u32) -> u32 {
        let mut policy = Policy::default();
        let mut polled = 0;
        for _ in 0..1000 {
            record(&mut policy, SHORT, requests);
            if policy.polls() {
                policy.end_polling();
                polled += 1;
            }
            policy.record(LONG);
        }
        polled
    }

    #[test]
    fn polls_in_long_bursts_only() {
        assert_eq!(polled_bursts(3), 0);
        assert_eq!(polled_bursts(10), 2);
        assert_eq!(polled_bursts(100), 1000);
    }

    #[test]
    fn long_burst_ends_the_backing_off() {
        let mut policy = Policy { short_intervals: 0, short_intervals_min: SHORT_INTERVALS_MAX };
        record(&mut policy, SHORT, SHORT_INTERVALS_MAX + HITS_MIN);
        policy.end_polling();
        record(&mut policy, SHORT, SHORT_INTERVALS_MIN);
        assert!(policy.polls());
    }

    #[test]
    fn shared_core_is_contended() {
        assert_eq!(parse_schedstat("2039333 120 7\n"), Some(Duration::from_nanos(120)));
        assert_eq!(parse_schedstat(""), None);
        let is_contended = |waited_us, elapsed_us| {
            let [waited, elapsed] = [waited_us, elapsed_us].map(Duration::from_micros);
            WaitShare { waited, elapsed }.is_contended()
        };
        assert!(is_contended(5000, 10_000));
        assert!(is_contended(1000, 10_000));
        assert!(!is_contended(500, 10_000));
        assert!(!is_contended(0, 0));
    }

    #[test]
    fn polling_ends_by_itself_and_tidies() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (busy_poll, tidied) = (BusyPoll::default(), Arc::new(AtomicU32::new(0)));
            let task = {
                let tidied = Arc::clone(&tidied);
                tokio::spawn(busy_poll.clone().run(move || {
                    tidied.fetch_add(1, Ordering::Relaxed);
                }))
            };
            tokio::task::yield_now().await;
            if task.is_finished() {
                // One core, or a kernel that doesn't count waits.
                return;
            }
            let begun = Instant::now();
            while tidied.load(Ordering::Relaxed) == 0 {
                // On a busy machine some intervals aren't short.
                assert!(begun.elapsed() < Duration::from_secs(20), "it never polls");
                busy_poll.record_response();
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(!busy_poll.lock().is_polling);
        });
    }
}
