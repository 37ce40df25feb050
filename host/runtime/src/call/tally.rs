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
use nebula_telemetry::histogram::{BOUNDED_BUCKETS, Histogram, HistogramCounts, nanoseconds};

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
    /// Other calls that were answered with a result in memory.
    MemoryHits;
    /// Time saved by hits and merged calls, microseconds: the computation times of their results.
    SavedUs;
    /// Bytes of inputs.
    InputBytes;
    /// Bytes of answers.
    OutputBytes;
    /// Calls that were answered with a result on disk.
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

/// Counts of calls. Most of them are 0 and take no memory, because a host keeps the counts of every
/// function that was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Those that aren't 0, in order.
    cells: Vec<CountCell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CountCell {
    /// The place of the count among all: [`Count`]s, then errors by code, then the phases.
    index: u8,
    value: u64,
}

/// The place of the first error.
const ERRORS_AT: usize = Count::ALL.len();

/// The place of the first phase. Each has its buckets and the sum of its durations.
const PHASES_AT: usize = ERRORS_AT + CODES;
const PHASE_CELLS: usize = BOUNDED_BUCKETS + 2;

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
        let before = self.hits();
        self.add(if on_disk { Count::DiskHits } else { Count::MemoryHits }, 1);
        before
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
        self.get(Count::Repeats) + self.get(Count::MemoryHits) + self.get(Count::DiskHits)
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
        let counts = self.counts.iter().chain(&self.errors).map(|count| count.load(Ordering::Relaxed));
        let phases = self.phases.get().into_iter().flat_map(|phases| phases.iter());
        let phases = phases.flat_map(|phase| {
            let HistogramCounts { buckets, sum_ns } = phase.counts();
            buckets.into_iter().chain([sum_ns])
        });
        let cells = (0..).zip(counts.chain(phases)).map(|(index, value)| CountCell { index, value });
        CallCounts { cells: cells.filter(|cell| cell.value > 0).collect() }
    }
}

impl CallCounts {
    /// Creates counts of which these aren't 0.
    pub(crate) fn of(counts: &[(Count, u64)]) -> Self {
        let mut all = Self::default();
        for (count, value) in counts {
            *all.at(*count as u8) += value;
        }
        all
    }

    /// Returns the count at a place, which is added if it is 0.
    fn at(&mut self, index: u8) -> &mut u64 {
        let at = self.cells.binary_search_by_key(&index, |cell| cell.index).unwrap_or_else(|at| {
            self.cells.insert(at, CountCell { index, value: 0 });
            at
        });
        &mut self.cells[at].value
    }

    fn get(&self, index: usize) -> &u64 {
        let at = self.cells.binary_search_by_key(&index, |cell| usize::from(cell.index));
        at.map_or(&0, |at| &self.cells[at].value)
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Returns the calls that ended with an error of this code.
    pub fn errors(&self, code: ErrorCode) -> u64 {
        *self.get(ERRORS_AT + code as usize)
    }

    /// Returns the calls that returned an answer.
    pub fn ok(&self) -> u64 {
        self[Count::Ok] + self[Count::Repeats]
    }

    /// Returns all calls.
    pub fn calls(&self) -> u64 {
        self.ok() + ErrorCode::ALL.iter().map(|code| self.errors(*code)).sum::<u64>()
    }

    /// Returns the durations of a phase; `None` if no call had the phase.
    pub fn phase(&self, phase: Phase) -> Option<HistogramCounts> {
        let at = PHASES_AT + phase as usize * PHASE_CELLS;
        let durations = HistogramCounts {
            buckets: std::array::from_fn(|bucket| *self.get(at + bucket)),
            sum_ns: *self.get(at + BOUNDED_BUCKETS + 1),
        };
        (durations.count() > 0).then_some(durations)
    }

    /// Returns how often a call waited for the function's code.
    pub fn cold_starts(&self) -> u64 {
        self.phase(Phase::Load).map_or(0, |durations| durations.count())
    }

    /// Returns the counts of the cache.
    pub(crate) fn cache(&self) -> Counts {
        Counts {
            hits: self[Count::Repeats] + self[Count::MemoryHits] + self[Count::DiskHits],
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
        self.get(count as usize)
    }
}

impl AddAssign<&Self> for CallCounts {
    fn add_assign(&mut self, other: &Self) {
        for CountCell { index, value } in &other.cells {
            *self.at(*index) += value;
        }
    }
}

/// Subtracts earlier counts of the same calls.
impl SubAssign<&Self> for CallCounts {
    fn sub_assign(&mut self, earlier: &Self) {
        for CountCell { index, value } in &earlier.cells {
            let own = self.at(*index);
            *own = own.saturating_sub(*value);
        }
        self.cells.retain(|cell| cell.value > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nebula_model::cost::CallCost;

    use super::*;

    fn tally() -> CallTally {
        let tally = CallTally::default();
        let cost = CallCost { run: Duration::from_secs(2), ..CallCost::default() };
        let failed = CallOutcome::failed(Arc::new(CallError::Internal(String::new())), cost);
        tally.end(&failed, true, 7);
        tally.hit(Duration::from_secs(3), true);
        tally.repeat(Duration::from_secs(1), 5, 6);
        tally
    }

    #[test]
    fn everything_that_a_tally_has_is_in_its_counts() {
        let counts = tally().counts();
        assert_eq!(counts.errors(ErrorCode::Internal), 1);
        assert_eq!((counts.ok(), counts.calls(), counts[Count::Misses]), (1, 2, 1));
        assert_eq!((counts[Count::InputBytes], counts[Count::OutputBytes]), (12, 6));
        assert_eq!((counts[Count::DiskHits], counts[Count::SavedUs]), (1, 4_000_000));
        assert_eq!(counts[Count::ProcessorNs], 2_000_000_000);
        let run = counts.phase(Phase::Run).unwrap();
        assert_eq!((run.count(), run.buckets[11], run.sum_ns), (1, 1, 2_000_000_000));
        assert_eq!(counts.phase(Phase::Queue).unwrap().buckets[0], 1);
        assert_eq!((counts.phase(Phase::Load), counts.cold_starts()), (None, 0));
        // The last cell of the last phase has a place.
        assert!(PHASES_AT + Phase::ALL.len() * PHASE_CELLS <= usize::from(u8::MAX));
    }

    #[test]
    fn counts_are_added_and_subtracted() {
        let once = tally().counts();
        let mut twice = once.clone();
        twice += &once;
        assert_eq!(twice.phase(Phase::Run).unwrap().sum_ns, 4_000_000_000);
        assert_eq!(twice.calls(), 4);
        twice -= &once;
        assert_eq!(twice, once);
        twice -= &once;
        assert!(twice.is_empty() && twice == CallCounts::default());
    }

    #[test]
    fn a_call_that_did_not_run_has_no_durations() {
        let tally = CallTally::default();
        tally.end(&CallOutcome::failed(CallError::NoSlot, CallCost::default()), true, 0);
        let counts = tally.counts();
        assert_eq!((counts[Count::Refused], counts.errors(ErrorCode::Overloaded)), (1, 1));
        assert!(tally.phases.get().is_none());
    }
}
