//! The clock that deadlines are counted on.
//!
//! ```text
//! ticking --(no call for LINGER_TICKS)--> parked --(a call begins)--> ticking
//! ```
//!
//! Invariant: while a call is in flight the engine's epoch advances every [`TICK`]; while none is,
//! nothing wakes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::TICK;

/// Ticks without a call after which the thread parks: long enough that steady traffic doesn't pay
/// for waking it.
const LINGER_TICKS: u32 = 50;

#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    in_flight: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the clock ticking while it lives.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(super) fn start(engine: &wasmtime::Engine) -> Self {
        let shared = Arc::new(Shared::default());
        let engine = engine.clone();
        let thread = thread::Builder::new().name("nebula-ticker".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || tick(&shared, &engine)
        });
        // Without a thread there would be no deadlines: `begin` reports it.
        Self { shared, thread: thread.ok() }
    }

    /// Marks a call as in flight. `None` if the machine gave no thread for the clock.
    pub(super) fn begin(&self) -> Option<InFlight<'_>> {
        let thread = self.thread.as_ref()?;
        self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            thread.thread().unpark();
        }
        Some(InFlight(&self.shared))
    }
}

fn tick(shared: &Shared, engine: &wasmtime::Engine) {
    let mut idle_ticks = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.in_flight.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
        } else {
            idle_ticks += 1;
        }
        if idle_ticks > LINGER_TICKS {
            shared.parked.store(true, Ordering::SeqCst);
            // Looked at again after `parked` is visible: a call that began in between is seen here.
            while shared.in_flight.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            idle_ticks = 0;
        }
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does nothing that panics; there is nobody to tell if it did.
            let _ = thread.join();
        }
    }
}
