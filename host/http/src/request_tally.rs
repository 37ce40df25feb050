//! The counts of one serving thread's connections and requests.
//!
//! Invariants:
//! * Only the serving thread writes its tally, so no two threads write the same cache line.
//! * A request counts once: as a response by its status, or as a repeated response.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::StatusCode;
use nebula_telemetry::histogram::{Histogram, HistogramCounts};

/// One of so many repeated responses is timed. A power of two.
const REPEATS_PER_SAMPLE: u64 = 64;

/// The first status code (RFC 9110 §15), and the number of codes that a response may have.
const STATUS_MIN: u16 = 100;
const STATUSES: usize = 900;

/// Counts that are being kept.
#[derive(Debug)]
pub(crate) struct RequestTally {
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    durations: Histogram,
    repeated: AtomicU64,
    repeat_durations: Histogram,
    /// Responses by status, from [`STATUS_MIN`] on.
    statuses: [AtomicU64; STATUSES],
}

/// The counts of one or several threads.
#[derive(Clone, Debug)]
pub(crate) struct RequestCounts {
    /// Connections that were accepted.
    pub(crate) accepted: u64,
    /// Connections that the system couldn't give, mostly because of too many open files.
    pub(crate) accept_errors: u64,
    /// Times from the head of a request to its reply, without repeated responses.
    pub(crate) durations: HistogramCounts,
    /// Responses of the cached fast path.
    pub(crate) repeated: u64,
    /// Times of a sample of them, from the last byte of the request to the response.
    pub(crate) repeat_durations: HistogramCounts,
    statuses: Box<[u64]>,
}

impl Default for RequestTally {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            durations: Histogram::default(),
            repeated: AtomicU64::new(0),
            repeat_durations: Histogram::default(),
            statuses: [const { AtomicU64::new(0) }; STATUSES],
        }
    }
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            accepted: 0,
            accept_errors: 0,
            durations: HistogramCounts::default(),
            repeated: 0,
            repeat_durations: HistogramCounts::default(),
            statuses: vec![0; STATUSES].into(),
        }
    }
}

impl RequestTally {
    /// Counts a connection that was accepted.
    pub(crate) fn accepted(&self) {
        increase(&self.accepted);
    }

    /// Counts a connection that couldn't be accepted.
    pub(crate) fn not_accepted(&self) {
        increase(&self.accept_errors);
    }

    /// Counts a response to a request whose head came at `started`.
    pub(crate) fn responded(&self, status: StatusCode, started: Instant) {
        self.refused(status);
        self.durations.record(started.elapsed());
    }

    /// Counts a response to a request that no plane has seen.
    pub(crate) fn refused(&self, status: StatusCode) {
        let index = usize::from(status.as_u16() - STATUS_MIN);
        if let Some(count) = self.statuses.get(index) {
            increase(count);
        }
    }

    /// Returns the time if the next repeated response belongs to the sample.
    pub(crate) fn begin_sample(&self) -> Option<Instant> {
        let repeated = self.repeated.load(Ordering::Relaxed);
        repeated.is_multiple_of(REPEATS_PER_SAMPLE).then(Instant::now)
    }

    /// Counts a repeated response, and its time if it was [sampled](Self::begin_sample).
    pub(crate) fn repeated(&self, sample: Option<Instant>) {
        increase(&self.repeated);
        if let Some(started) = sample {
            self.repeat_durations.record(started.elapsed());
        }
    }

    /// Adds the counts so far.
    pub(crate) fn add_to(&self, counts: &mut RequestCounts) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counts.accepted += read(&self.accepted);
        counts.accept_errors += read(&self.accept_errors);
        counts.durations += self.durations.counts();
        counts.repeated += read(&self.repeated);
        counts.repeat_durations += self.repeat_durations.counts();
        for (sum, count) in counts.statuses.iter_mut().zip(&self.statuses) {
            *sum += read(count);
        }
    }
}

impl RequestCounts {
    /// Returns the responses by status, without repeated ones. Statuses that no response had are
    /// left out.
    pub(crate) fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        (STATUS_MIN..).zip(self.statuses.iter().copied()).filter(|(_, count)| *count > 0)
    }
}

/// Adds one. There is one writer, so no read-modify-write is needed.
fn increase(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_repeated_responses_is_timed() {
        let tally = RequestTally::default();
        for _ in 0..=REPEATS_PER_SAMPLE {
            tally.repeated(tally.begin_sample());
        }
        let mut counts = RequestCounts::default();
        tally.add_to(&mut counts);
        assert_eq!((counts.repeated, counts.repeat_durations.count()), (REPEATS_PER_SAMPLE + 1, 2));
    }

    #[test]
    fn every_status_is_counted() {
        let tally = RequestTally::default();
        for status in [100, 200, 200, 999] {
            tally.responded(StatusCode::from_u16(status).unwrap(), Instant::now());
        }
        let mut counts = RequestCounts::default();
        tally.add_to(&mut counts);
        tally.add_to(&mut counts);
        assert_eq!(counts.by_status().collect::<Vec<_>>(), [(100, 2), (200, 4), (999, 2)]);
        assert_eq!(counts.durations.count(), 8);
    }
}
