//! The thread that exports spans.
//!
//! ```text
//! sleeping --(spans)--> a batch --(delivered | lost)--> sleeping
//!                          \-(the collector may take it later)--> a pause, then again
//! ```

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nebula_telemetry::trace::{Batch, SpanQueue, Tracer};

use crate::config::OtlpConfig;
use crate::delivery::{Delivery, Payload, attempt};
use crate::wire::{ExportRequest, Resource};

/// The pause before the second attempt. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause that isn't the collector's wish.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The time between two reports of lost spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The longest time that a server which stops waits for its last spans.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Spans that no collector has got, since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSpans {
    /// Their number.
    pub count: u64,
    /// The latest reason.
    pub reason: String,
}

impl fmt::Display for LostSpans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, reason } = self;
        let spans = if *count == 1 { "span was" } else { "spans were" };
        write!(formatter, "{count} {spans} lost: {reason}")
    }
}

/// A running export.
pub struct Exporter {
    tracer: Tracer,
    queue: SpanQueue,
    /// The spans of the batch that is being delivered.
    in_flight: Arc<AtomicU64>,
    /// Closed when the thread ends.
    ended: mpsc::Receiver<()>,
    report: fn(&LostSpans),
}

impl Exporter {
    /// Starts the thread. It calls `report` for lost spans: at once, then at most once a minute.
    ///
    /// # Errors
    /// If the thread or its event loop can't be created.
    pub fn start(config: OtlpConfig, report: fn(&LostSpans)) -> io::Result<Self> {
        let queue = SpanQueue::new(config.queue);
        let tracer = Tracer::new(config.sampler, queue.clone());
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ending, ended) = mpsc::channel();
        let resource = Resource::new(&config.resource);
        let losses = Losses { report, pending: None, reported: None };
        let in_flight = Arc::new(AtomicU64::new(0));
        let in_flight_of_work = Arc::clone(&in_flight);
        let work =
            Work { config, resource, queue: queue.clone(), in_flight: in_flight_of_work, executor, losses };
        thread::Builder::new().name("nebula-traces".to_owned()).spawn(move || {
            let _ending: mpsc::Sender<()> = ending;
            work.run();
        })?;
        Ok(Self { tracer, queue, in_flight, ended, report })
    }

    /// Returns the tracer whose spans are exported.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Exports the spans that are left, for a few seconds at most, and stops.
    pub fn stop(self) {
        self.queue.close();
        // Nothing is sent: the receiver waits for the end of the thread.
        if self.ended.recv_timeout(FLUSH_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            let count = self.queue.len() as u64 + self.in_flight.load(Ordering::Relaxed);
            let reason = format!("the collector did not take them within {} s", FLUSH_MAX.as_secs());
            (self.report)(&LostSpans { count, reason });
        }
    }
}

/// The state of the thread.
struct Work {
    config: OtlpConfig,
    resource: Resource,
    queue: SpanQueue,
    in_flight: Arc<AtomicU64>,
    executor: tokio::runtime::Runtime,
    losses: Losses,
}

impl Work {
    fn run(mut self) {
        while let Some(Batch { spans, dropped }) = self.queue.next_batch() {
            if dropped > 0 {
                self.losses.add(dropped, "the queue was full");
            }
            if spans.is_empty() {
                continue;
            }
            let count = spans.len() as u64;
            self.in_flight.store(count, Ordering::Relaxed);
            let message = ExportRequest::new(&self.resource, spans, &self.config.limits);
            match Payload::new(&message, &self.config) {
                Ok(payload) => self.deliver(&payload, count),
                Err(error) => self.losses.add(count, &error.to_string()),
            }
            self.in_flight.store(0, Ordering::Relaxed);
            self.losses.report_if_due();
        }
        self.losses.report();
    }

    /// Delivers a batch, in several attempts if need be.
    fn deliver(&mut self, payload: &Payload, count: u64) {
        let until = Instant::now() + self.config.export_timeout;
        let mut pause = PAUSE_MIN;
        let mut is_last = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = self.config.timeout.min(left);
            match self.executor.block_on(attempt(&self.config, payload, timeout)) {
                Delivery::Taken { rejected: 0, .. } => return,
                Delivery::Taken { rejected, reason } => return self.losses.add(rejected, &reason),
                Delivery::Refused { reason } => return self.losses.add(count, &reason),
                Delivery::Later { after, reason } => {
                    let wait = after.unwrap_or_else(|| jittered(pause));
                    // The collector may ask for more time than an instant can express.
                    if is_last || wait >= until.saturating_duration_since(Instant::now()) {
                        return self.losses.add(count, &reason);
                    }
                    // When the server stops, there is time for one more attempt.
                    is_last = self.queue.wait_until_closed(wait);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// Changes a pause by up to a fifth, so that hosts don't try again all at once.
fn jittered(pause: Duration) -> Duration {
    let mut seed = [0; 8];
    // Without random numbers, the pause is the same each time.
    let _ = getrandom::fill(&mut seed);
    let factor = 0.8 + 0.4 * fastrand::Rng::with_seed(u64::from_le_bytes(seed)).f64();
    pause.mul_f64(factor)
}

/// Spans that were lost, reported at a bounded rate. No timer runs for it.
struct Losses {
    report: fn(&LostSpans),
    pending: Option<LostSpans>,
    reported: Option<Instant>,
}

impl Losses {
    fn add(&mut self, count: u64, reason: &str) {
        let before = self.pending.take().map_or(0, |pending| pending.count);
        self.pending = Some(LostSpans { count: before + count, reason: reason.to_owned() });
    }

    fn report_if_due(&mut self) {
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            self.report();
        }
    }

    fn report(&mut self) {
        if let Some(lost) = self.pending.take() {
            (self.report)(&lost);
            self.reported = Some(Instant::now());
        }
    }
}
