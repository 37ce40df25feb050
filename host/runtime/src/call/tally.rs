//! The counts of one function's calls, as one serving thread or one run of a pipeline keeps them.
//!
//! ```text
//! hit | repeat | collapsed | end --> CallTally (one per thread and function) --> CallCounts
//! ```
//!
//! Invariants:
//! * A call that is answered counts once, and as one of: `Ok`, an error, `Repeats`.
//! * No two serving threads write the same tally. Other threads write it only for calls that ran
//!   elsewhere.
//! * A function that has never run has no histograms.
//!
//! [`Tallies`](crate::tallies::Tallies) adds the tallies of a function up.

use std::ops::{AddAssign, Index, SubAssign};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_cache::Counts;
use nebula_model::answer::Answer;
use nebula_model::caching::Source;
use nebula_telemetry::histogram::{Histogram, HistogramCounts, nanoseconds};

use crate::call::invoke::CallOutcome;
use crate::error::{CallError, ErrorCode, Fault};

/// The number of codes of errors.
const CODES: usize = ErrorCode::ALL.len();

/// Declares the counts, and [`Count::ALL`] from all of them.
macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $count:ident;)+) => {
        /// A number that is kept of a function's calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[doc = $doc])+ $count,)+
        }

        impl Count {
            /// Every count, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$count),+];
        }
    };
}

counts! {
    // A repeated hit writes the first of these, which share a cache line.
    /// Hits that were repeated without looking the result up. All returned an answer.
    Repeats;
    /// Other calls that were answered with a cached result.
    Hits;
    /// Time saved by hits and merged calls, microseconds: the computation times of their results.
    SavedUs;
    /// Bytes of inputs.
    InputBytes;
    /// Bytes of answers.
    OutputBytes;
    /// Those of the `Hits` whose result was read from disk.
    DiskHits;
    /// Calls answered by the execution of another call.
    Collapsed;
    /// Calls that ran the function, because their result wasn't cached.
    Misses;
    /// Calls that ran a function whose results aren't cached.
    Uncached;
    /// Calls that nothing ran for: their input was wrong, or the host had no room.
    Refused;
    /// Calls whose result was cached.
    Stored;
    /// Calls that returned an answer, without `Repeats`.
    Ok;
    /// Runs on the fast lane.
    FastRuns;
    /// Runs on the compute lane.
    ComputeRuns;
    /// Runs that the fast lane aborted, and the compute lane restarted.
    Restarts;
    /// Processor time of runs, nanoseconds. On the fast lane: the time for which they had a thread.
    ProcessorNs;
    /// Hits that were recomputed and compared.
    Verified;
    /// Verified hits whose recomputation disagreed.
    Disagreed;
}

/// A phase of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From admission until a thread starts the call.
    Queue,
    /// Waiting for the function's code to be loaded.
    Load,
    /// Creating an instance.
    Start,
    /// Running the function and encoding its output.
    Run,
}

impl Phase {
    /// Every phase, in the order of their discriminants.
    pub const ALL: &[Self] = &[Self::Queue, Self::Load, Self::Start, Self::Run];
}

/// The number of phases.
const PHASES: usize = Phase::ALL.len();

/// The lane on which a call ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Fast,
    Compute,
}

/// Counts that are being kept.
#[derive(Debug, Default)]
pub(crate) struct CallTally {
    counts: [AtomicU64; Count::ALL.len()],
    errors: [AtomicU64; CODES],
    /// Created by the first run.
    phases: OnceLock<Box<[Histogram; PHASES]>>,
}

/// Counts of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    counts: [u64; Count::ALL.len()],
    errors: [u64; CODES],
    /// `None` if nothing ran.
    phases: Option<Box<[HistogramCounts; PHASES]>>,
}

impl CallTally {
    fn add(&self, count: Count, value: u64) {
        self.counts[count as usize].fetch_add(value, Ordering::Relaxed);
    }

    fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Counts a hit and returns the number of hits before it. [`end`](Self::end) counts its outcome.
    pub(crate) fn hit(&self, saved: Duration, on_disk: bool) -> u64 {
        self.save(saved);
        if on_disk {
            self.add(Count::DiskHits, 1);
        }
        let hits = self.counts[Count::Hits as usize].fetch_add(1, Ordering::Relaxed);
        hits + self.get(Count::Repeats)
    }

    /// Counts a repeated hit.
    pub(crate) fn repeat(&self, saved: Duration, input_bytes: u64, output_bytes: u64) {
        self.save(saved);
        self.add(Count::Repeats, 1);
        self.add(Count::InputBytes, input_bytes);
        self.add(Count::OutputBytes, output_bytes);
    }

    /// Returns the number of hits so far.
    pub(crate) fn hits(&self) -> u64 {
        self.get(Count::Hits) + self.get(Count::Repeats)
    }

    /// Counts a call that another call's execution answered. [`end`](Self::end) counts its outcome.
    pub(crate) fn collapsed(&self, saved: Duration) {
        self.add(Count::Collapsed, 1);
        self.save(saved);
    }

    fn save(&self, saved: Duration) {
        let saved = u64::try_from(saved.as_micros()).unwrap_or(u64::MAX);
        self.add(Count::SavedUs, saved);
    }

    /// Counts a wait for the function's code.
    pub(crate) fn cold_start(&self, took: Duration) {
        self.record(Phase::Load, took);
    }

    /// Counts a run.
    pub(crate) fn ran_on(&self, lane: Lane) {
        self.add(if lane == Lane::Fast { Count::FastRuns } else { Count::ComputeRuns }, 1);
    }

    /// Counts a run that was aborted and has to be restarted.
    pub(crate) fn restarted(&self) {
        self.add(Count::Restarts, 1);
    }

    /// Counts the end of a call. `caches` tells whether the function's results are cached.
    pub(crate) fn end(&self, called: &CallOutcome, caches: bool, input_bytes: u64) {
        if let Source::Ran { stored, .. } = called.source {
            let fault = called.result.as_ref().err().map(|error| error.fault());
            self.add(
                match fault {
                    Some(Fault::Caller | Fault::Load) => Count::Refused,
                    Some(Fault::Guest | Fault::Host) | None if caches => Count::Misses,
                    Some(Fault::Guest | Fault::Host) | None => Count::Uncached,
                },
                1,
            );
            if stored {
                self.add(Count::Stored, 1);
            }
            let cost = &called.cost;
            let busy = cost.start + cost.run;
            if !busy.is_zero() {
                self.record(Phase::Queue, cost.queue);
                self.record(Phase::Start, cost.start);
                self.record(Phase::Run, cost.run);
                self.add(Count::ProcessorNs, nanoseconds(cost.processor.unwrap_or(busy)));
            }
        }
        self.answered(called.result.as_ref().map_err(|error| &**error), input_bytes);
    }

    /// Counts the outcome of a call and its bytes.
    pub(crate) fn answered(&self, result: Result<&Answer, &CallError>, input_bytes: u64) {
        self.add(Count::InputBytes, input_bytes);
        match result {
            Ok(answer) => {
                self.add(Count::OutputBytes, answer.body().len() as u64);
                self.add(Count::Ok, 1);
            }
            Err(error) => _ = self.errors[error.code() as usize].fetch_add(1, Ordering::Relaxed),
        }
    }

    fn record(&self, phase: Phase, took: Duration) {
        self.phases.get_or_init(Box::default)[phase as usize].record(took);
    }

    /// Returns the counts so far.
    pub(crate) fn counts(&self) -> CallCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CallCounts {
            counts: std::array::from_fn(|index| read(&self.counts[index])),
            errors: std::array::from_fn(|index| read(&self.errors[index])),
            phases: self.phases.get().map(|phases| Box::new(phases.each_ref().map(Histogram::counts))),
        }
    }
}

impl CallCounts {
    /// Creates counts of which these aren't 0.
    pub(crate) fn of(counts: &[(Count, u64)]) -> Self {
        let mut all = Self::default();
        for (count, value) in counts {
            all.counts[*count as usize] = *value;
        }
        all
    }

    /// Returns the calls that ended with an error of this code.
    pub fn errors(&self, code: ErrorCode) -> u64 {
        self.errors[code as usize]
    }

    /// Returns the calls that returned an answer.
    pub fn ok(&self) -> u64 {
        self[Count::Ok] + self[Count::Repeats]
    }

    /// Returns all calls.
    pub fn calls(&self) -> u64 {
        self.ok() + self.errors.iter().sum::<u64>()
    }

    /// Returns the durations of a phase; `None` if nothing ran.
    pub fn phase(&self, phase: Phase) -> Option<&HistogramCounts> {
        self.phases.as_ref().map(|phases| &phases[phase as usize])
    }

    /// Returns how often a call waited for the function's code.
    pub fn cold_starts(&self) -> u64 {
        self.phase(Phase::Load).map_or(0, HistogramCounts::count)
    }

    /// Returns the counts of the cache.
    pub(crate) fn cache(&self) -> Counts {
        Counts {
            hits: self[Count::Hits] + self[Count::Repeats],
            collapsed: self[Count::Collapsed],
            misses: self[Count::Misses],
            verified: self[Count::Verified],
            disagreed: self[Count::Disagreed],
            saved_us: self[Count::SavedUs],
        }
    }
}

impl Index<Count> for CallCounts {
    type Output = u64;

    fn index(&self, count: Count) -> &u64 {
        &self.counts[count as usize]
    }
}

impl AddAssign<&Self> for CallCounts {
    fn add_assign(&mut self, other: &Self) {
        let Self { counts, errors, phases } = other;
        for (own, other) in self.counts.iter_mut().zip(counts).chain(self.errors.iter_mut().zip(errors)) {
            *own += other;
        }
        if let Some(phases) = phases {
            let own = self.phases.get_or_insert_default();
            own.iter_mut().zip(phases.iter()).for_each(|(own, other)| *own += *other);
        }
    }
}

/// Subtracts earlier counts of the same calls.
impl SubAssign<&Self> for CallCounts {
    fn sub_assign(&mut self, earlier: &Self) {
        let Self { counts, errors, phases } = earlier;
        for (own, earlier) in self.counts.iter_mut().zip(counts).chain(self.errors.iter_mut().zip(errors)) {
            *own = own.saturating_sub(*earlier);
        }
        if let (Some(own), Some(phases)) = (&mut self.phases, phases) {
            own.iter_mut().zip(phases.iter()).for_each(|(own, earlier)| *own -= *earlier);
        }
    }
}
