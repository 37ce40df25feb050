//! The clock that enforces deadlines.
//!
//! ```text
//! ticking --(no call for LINGER)--> parked --(a call begins)--> ticking
//! ```
//!
//! One thread serves all engines of a host. Each engine counts its own calls, on its own cache
//! line: beginning a call writes nothing that another core reads often.
//!
//! Invariant: while a call is in flight, its engine's epoch advances by one every [`TICK`] on
//! average; after waking late the thread catches up. While no call is in flight, nothing wakes up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::priority;

/// Interval at which the deadline of a running call is checked.
pub const TICK: Duration = Duration::from_millis(1);

/// Delay between the last call and parking, long enough that steady traffic doesn't pay for waking
/// the thread.
const LINGER: Duration = Duration::from_millis(50);

/// Maximum number of ticks to catch up with at once, after the machine stood still.
const TICKS_MADE_UP_MAX: u128 = 10_000;

/// The clock of a host. Stops when it is dropped.
#[derive(Debug)]
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    clocks: Mutex<Vec<Arc<Clock>>>,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// One engine's part of the clock.
#[repr(align(128))]
struct Clock {
    in_flight: AtomicUsize,
    engine: wasmtime::Engine,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Clock").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// Counts the calls in flight on one engine.
#[derive(Debug)]
pub(crate) struct Counter {
    clock: Arc<Clock>,
    shared: Arc<Shared>,
    thread: Thread,
}

/// Keeps the clock ticking while it lives.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Clock);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the clock.
    ///
    /// # Errors
    /// Fails when the system can't start a thread: deadlines need it.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared { parked: AtomicBool::new(true), ..Shared::default() });
        let thread = thread::Builder::new().name("nebula-ticker".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || tick(&shared)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds an engine to the clock.
    pub(super) fn counter(&self, engine: &wasmtime::Engine) -> Option<Counter> {
        let clock = Arc::new(Clock { in_flight: AtomicUsize::new(0), engine: engine.clone() });
        self.shared.lock_clocks().push(Arc::clone(&clock));
        let thread = self.thread.as_ref()?.thread().clone();
        Some(Counter { clock, shared: Arc::clone(&self.shared), thread })
    }
}

impl Counter {
    /// Marks a call as in flight.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.clock.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        InFlight(&self.clock)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.shared.lock_clocks().retain(|clock| !Arc::ptr_eq(clock, &self.clock));
    }
}

impl Shared {
    fn lock_clocks(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Clock>>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self) -> bool {
        self.lock_clocks().iter().any(|clock| clock.in_flight.load(Ordering::SeqCst) > 0)
    }

    fn advance(&self, ticks: u128) {
        for clock in &*self.lock_clocks() {
            for _ in 0..ticks {
                clock.engine.increment_epoch();
            }
        }
    }
}

fn tick(shared: &Shared) {
    // Deadlines must be checked on time while long calls keep the cores busy.
    priority::serve();
    let mut busy_at = Instant::now();
    let mut ticked_at = Instant::now();
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.is_busy() {
            busy_at = Instant::now();
        } else if busy_at.elapsed() > LINGER {
            shared.parked.store(true, Ordering::SeqCst);
            // Check again now that `parked` is visible, to see a call that began in between.
            while !shared.is_busy() && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            (busy_at, ticked_at) = (Instant::now(), Instant::now());
        }
        thread::sleep(TICK);
        let ticks = ticked_at.elapsed().as_nanos() / TICK.as_nanos();
        shared.advance(ticks.min(TICKS_MADE_UP_MAX));
        // The remaining fraction of a tick counts towards the next one.
        ticked_at += TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread runs no code that panics, and a drop couldn't report it.
            let _ = thread.join();
        }
    }
}
