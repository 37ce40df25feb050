//! The compute lane: the threads on which long calls run.
//!
//! ```text
//! enter --(a slot is free)---------------> running -> done
//!   |                                        ^
//!   +--(all taken, the queue has room)-> waiting
//!   +--(the queue is full)-> shed
//! ```
//!
//! Its threads have a lower priority than the serving threads (`priority`). The kernel divides the
//! cores among them by time slices: a call that never ends takes its slice like any other, until
//! its deadline. Threads start when calls come and end when none have come for a while.
//!
//! Invariants:
//! * At most `calls_max` calls run and `queue_max` wait. One function has at most half of either
//!   (see [`Share`]), so that its long calls leave room for other functions.
//! * A call is shed only before any of its work has started.
//! * Work beside calls has threads of its own, as many as cores, and a queue of its own of the same
//!   length.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nebula_engine::priority;
use nebula_model::limits::HostLimits;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Idle time after which a thread ends.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Stack of a thread, bytes: guests run on it, up to wasmtime's own half a megabyte.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// The lane of one host.
#[derive(Debug)]
pub(crate) struct ComputeLane {
    /// Only its blocking threads are used. `None` while it is dropped.
    threads: Option<runtime::Runtime>,
    running: Arc<Semaphore>,
    waiting: Waiting,
    calls_max: usize,
    aside: Arc<Semaphore>,
    waiting_aside: Waiting,
}

/// Why work beside calls has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// The queue is full, or no thread became free in time.
    Overloaded,
    /// It panicked, or the host is stopping.
    Failed,
}

/// The use of the lane at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneUsage {
    /// Calls that hold a slot.
    pub running: u64,
    /// Limit on calls that hold a slot.
    pub running_max: u64,
    /// Calls that wait for a slot.
    pub waiting: u64,
    /// Limit on calls that wait. Calls that have started elsewhere may exceed it.
    pub waiting_max: u64,
}

/// One function's share of the lane.
#[derive(Debug)]
pub(crate) struct Share {
    running: Arc<Semaphore>,
    waiting: Waiting,
}

/// A slot on the lane, released when dropped.
#[derive(Debug)]
pub(crate) struct LaneSlot {
    _share: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

/// Why a call gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// The queue is full.
    Full,
    /// No slot became free in time.
    TooLate,
}

impl ComputeLane {
    /// Creates the lane, with `aside` threads for work beside calls.
    ///
    /// # Errors
    /// [`std::io::Error`] if the system provides no event loop.
    pub(crate) fn new(limits: &HostLimits, aside: usize) -> std::io::Result<Self> {
        let HostLimits {
            calls_max,
            queue_max,
            // These bound instances, code and results.
            instances_max: _,
            loaded_bytes_max: _,
            cache_bytes_max: _,
            cache_disk_bytes_max: _,
            inputs_bytes_max: _,
        } = *limits;
        let threads = runtime::Builder::new_current_thread()
            .max_blocking_threads(calls_max.saturating_add(aside))
            .thread_keep_alive(THREAD_KEEP_ALIVE)
            .thread_stack_size(STACK_BYTES)
            .thread_name("nebula-compute")
            .on_thread_start(priority::compute)
            .build()?;
        Ok(Self {
            threads: Some(threads),
            running: Arc::new(Semaphore::new(calls_max)),
            waiting: Waiting::up_to(queue_max),
            calls_max,
            aside: Arc::new(Semaphore::new(aside)),
            waiting_aside: Waiting::up_to(queue_max),
        })
    }

    /// Returns a new share of the lane, for one function.
    pub(crate) fn share(&self) -> Share {
        Share {
            running: Arc::new(Semaphore::new(self.calls_max.div_ceil(2))),
            waiting: Waiting::up_to(self.waiting.max.div_ceil(2)),
        }
    }

    /// Returns the most calls that may wait.
    pub(crate) fn waiting_max(&self) -> usize {
        self.waiting.max
    }

    /// Returns the use of the lane now.
    pub(crate) fn usage(&self) -> LaneUsage {
        LaneUsage {
            running: self.calls_max.saturating_sub(self.running.available_permits()) as u64,
            running_max: self.calls_max as u64,
            waiting: self.waiting.count.load(Ordering::Relaxed) as u64,
            waiting_max: self.waiting.max as u64,
        }
    }

    /// Waits for a slot, at most for `patience`. A full queue refuses only a `sheddable` call, not
    /// one that has started elsewhere.
    ///
    /// # Errors
    /// [`NoSlot`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue.
    pub(crate) async fn enter(
        &self,
        share: &Share,
        patience: Duration,
        sheddable: bool,
    ) -> Result<LaneSlot, NoSlot> {
        let (of_function, of_host) = (&share.running, &self.running);
        if let Ok(share) = Arc::clone(of_function).try_acquire_owned()
            && let Ok(running) = Arc::clone(of_host).try_acquire_owned()
        {
            return Ok(LaneSlot { _share: share, _running: running });
        }
        let (of_share, of_all) = (share.waiting.begin(), self.waiting.begin());
        if sheddable && (of_share.is_beyond || of_all.is_beyond) {
            return Err(NoSlot::Full);
        }
        let slot = async {
            // The share comes first: a call that waits for its own share blocks no other function.
            let share = Arc::clone(of_function).acquire_owned().await.ok()?;
            let running = Arc::clone(of_host).acquire_owned().await.ok()?;
            Some(LaneSlot { _share: share, _running: running })
        };
        match tokio::time::timeout(patience, slot).await {
            Ok(Some(slot)) => Ok(slot),
            Ok(None) | Err(_) => Err(NoSlot::TooLate),
        }
    }

    /// Returns a slot that is free now and that no call waits for.
    pub(crate) fn idle_slot(&self, share: &Share) -> Option<LaneSlot> {
        if self.is_waited_for() {
            return None;
        }
        let of_share = Arc::clone(&share.running).try_acquire_owned().ok()?;
        let running = Arc::clone(&self.running).try_acquire_owned().ok()?;
        Some(LaneSlot { _share: of_share, _running: running })
    }

    /// Returns whether a call waits for a slot.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.count.load(Ordering::Relaxed) > 0
    }

    /// Runs `work` that belongs to a call and isn't one, without a slot. Waits for a thread, at most
    /// for `patience`.
    ///
    /// # Errors
    /// [`NotRun`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels work that waits. Work that has started runs to its end, and its
    /// result is dropped.
    pub(crate) async fn run_aside<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let free = Arc::clone(&self.aside).try_acquire_owned().ok();
        let permit = match free {
            Some(permit) => permit,
            None => {
                let queued = self.waiting_aside.begin();
                if queued.is_beyond {
                    return Err(NotRun::Overloaded);
                }
                let waited = tokio::time::timeout(patience, Arc::clone(&self.aside).acquire_owned()).await;
                waited.map_err(|_| NotRun::Overloaded)?.map_err(|_| NotRun::Failed)?
            }
        };
        let work = move || {
            let _permit = permit;
            work()
        };
        self.run(work).await.map_err(|_| NotRun::Failed)
    }

    /// Runs `work` on a thread of the lane, detached.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(threads) = &self.threads {
            threads.spawn_blocking(work);
        }
    }

    /// Runs `work` on a thread of the lane.
    ///
    /// # Errors
    /// A message if `work` panicked or the lane is being dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let threads = self.threads.as_ref().ok_or("the compute lane is closed")?;
        threads.spawn_blocking(work).await.map_err(|error| error.to_string())
    }
}

impl Drop for ComputeLane {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Running calls end at their deadlines; no caller waits for them.
            threads.shutdown_background();
        }
    }
}

/// Counts the waiting calls.
#[derive(Debug)]
struct Waiting {
    count: AtomicUsize,
    max: usize,
}

/// A waiting call, until dropped: also when its caller disconnects.
struct InQueue<'a> {
    waiting: &'a Waiting,
    is_beyond: bool,
}

impl Waiting {
    fn up_to(max: usize) -> Self {
        Self { count: AtomicUsize::new(0), max }
    }

    fn begin(&self) -> InQueue<'_> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        InQueue { waiting: self, is_beyond: before >= self.max }
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.waiting.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(10);

    fn lane(calls_max: usize, queue_max: usize) -> ComputeLane {
        ComputeLane::new(&HostLimits { calls_max, queue_max, ..HostLimits::default() }, 0).unwrap()
    }

    #[tokio::test]
    async fn one_function_leaves_slots_for_another() {
        let lane = lane(4, 8);
        let (greedy, other) = (lane.share(), lane.share());
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(lane.enter(&greedy, PATIENCE, true).await.unwrap());
        }
        assert_eq!(lane.enter(&greedy, PATIENCE, true).await.unwrap_err(), NoSlot::TooLate);
        assert!(lane.enter(&other, PATIENCE, true).await.is_ok());
        held.clear();
        assert!(lane.enter(&greedy, PATIENCE, true).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_sheds_only_what_has_not_begun() {
        let lane = lane(1, 0);
        let share = lane.share();
        let _held = lane.enter(&share, PATIENCE, true).await.unwrap();
        assert_eq!(lane.enter(&share, PATIENCE, true).await.unwrap_err(), NoSlot::Full);
        assert_eq!(lane.enter(&share, PATIENCE, false).await.unwrap_err(), NoSlot::TooLate);
    }

    /// Work beside calls is refused at the end of its queue and of its patience, and takes no slot.
    #[tokio::test]
    async fn work_beside_calls_is_bounded() {
        let limits = HostLimits { calls_max: 1, queue_max: 1, ..HostLimits::default() };
        let lane = ComputeLane::new(&limits, 1).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let first = lane.run_aside(PATIENCE, move || blocked.recv().unwrap());
        let long = Duration::from_secs(60);
        let others = async {
            // The queue has room for one.
            let (waits, refused) = tokio::join!(lane.run_aside(PATIENCE, || 1), lane.run_aside(long, || 2));
            assert_eq!((waits, refused), (Err(NotRun::Overloaded), Err(NotRun::Overloaded)));
            let share = lane.share();
            assert!(lane.enter(&share, PATIENCE, true).await.is_ok(), "calls have their own threads");
            release.send(()).unwrap();
            assert_eq!(lane.run_aside(long, || 3).await, Ok(3));
        };
        assert_eq!(tokio::join!(first, others).0, Ok(()));
        assert_eq!(lane.run_aside(long, || panic!("on purpose")).await, Err::<(), _>(NotRun::Failed));
    }

    #[tokio::test]
    async fn work_runs_below_the_priority_of_its_caller() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let lane = lane(1, 0);
        let below = (nice() + priority::COMPUTE_NICE_STEPS).min(priority::NICE_MAX);
        assert_eq!(lane.run(nice).await.unwrap(), below);
    }
}
