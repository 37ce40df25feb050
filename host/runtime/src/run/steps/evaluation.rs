//! The evaluation of one pipeline: its state, the ways in which it ends, and the checks of its
//! budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nebula_engine::{CallLog, thread_time};
use nebula_model::cost::CallCost;
use nebula_model::id::Digest;
use wasmtime::component::Val;

use super::super::code::Staged;
use super::run::{Purpose, Run, Scope};
use super::values::input_value;
use crate::call::function::Function;
use crate::call::invoke::{CallOutcome, Decoded, Encoded, StepInterval};
use crate::call::tally::CallTally;
use crate::error::CallError;

/// Approximate memory of one part of a fan-out, bytes.
const PART_BYTES: u64 = 192;

/// One pipeline of a run: the outermost, or one that it calls.
pub(super) struct Evaluation {
    pub(super) run: Arc<Run>,
    /// The pipeline. Its limits hold for the values it gathers and its answer.
    pub(super) function: Arc<Function>,
    pub(super) staged: Arc<Staged>,
    /// It may make fewer calls than its plan allows, because its caller has no more left.
    is_short_of_calls: bool,
    /// One for each call of the plan.
    pub(super) counts: Vec<StepCounts>,
    /// The time at which the pipeline started.
    pub(super) begun: Instant,
}

/// The calls of one step: their number, hits and wall-clock time.
pub(super) struct StepCounts {
    pub(super) tally: CallTally,
    pub(super) calls: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) took_us: AtomicU64,
    /// The start of the first call from the start of the pipeline, microseconds.
    began_us: AtomicU64,
    /// The end of the last one.
    ended_us: AtomicU64,
}

impl Default for StepCounts {
    fn default() -> Self {
        Self {
            tally: CallTally::default(),
            calls: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            took_us: AtomicU64::new(0),
            began_us: AtomicU64::new(u64::MAX),
            ended_us: AtomicU64::new(0),
        }
    }
}

impl StepCounts {
    /// Records a call by its start and end from the start of the pipeline, and returns its length,
    /// microseconds.
    pub(super) fn record(&self, began: Duration, ended: Duration, is_hit: bool) -> u64 {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let took_us = us(ended.saturating_sub(began));
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
        self.took_us.fetch_add(took_us, Ordering::Relaxed);
        self.began_us.fetch_min(us(began), Ordering::Relaxed);
        self.ended_us.fetch_max(us(ended), Ordering::Relaxed);
        took_us
    }

    /// Returns the time in which the calls were made.
    pub(super) fn interval(&self) -> Option<StepInterval> {
        let [began_us, ended_us] = [&self.began_us, &self.ended_us].map(|time| time.load(Ordering::Relaxed));
        (began_us <= ended_us).then_some(StepInterval { began_us, ended_us })
    }
}

/// Why a step returned no value.
#[derive(Debug)]
pub(super) enum End {
    /// The function of a call returned its own error.
    Error { call: usize, input: Digest, error: Option<Val> },
    /// A call failed.
    Failed { call: usize, input: Digest, error: Arc<CallError> },
    /// The pipeline itself failed.
    Own(CallError),
    /// The budget of the caller is exhausted. This isn't a failure of the pipeline.
    Outer(CallError),
    /// The run was cancelled, because no caller waits for it.
    Cancelled,
}

/// The outcome of running a pipeline.
pub(super) struct PipelineOutcome {
    pub(super) called: CallOutcome,
    /// The value that the answer encodes as JSON, if it does.
    pub(super) value: Option<Val>,
    /// The run was ended by its caller's budget or by cancellation, not by a failure of its own.
    pub(super) outer: Option<End>,
}

/// Runs a pipeline on this thread.
pub(super) fn run_pipeline(
    run: &Arc<Run>,
    function: &Arc<Function>,
    staged: &Arc<Staged>,
    decoded: &Decoded,
    scope: &Scope,
) -> PipelineOutcome {
    let (begun, before) = (Instant::now(), thread_time());
    let helped_before = run.helped_ns.load(Ordering::Relaxed);
    let counts = staged.steps.iter().map(|_| StepCounts::default()).collect();
    let evaluation = Arc::new(Evaluation {
        run: Arc::clone(run),
        function: Arc::clone(function),
        staged: Arc::clone(staged),
        is_short_of_calls: scope.calls.max < staged.plan.calls_max,
        counts,
        begun,
    });
    let plan = &staged.plan;
    let outcome = evaluation.eval(plan.root, input_value(&plan.callee.input, &decoded.input), scope);
    let trace = evaluation.trace(&outcome);
    let (outcome, outer) = match outcome {
        Err(end @ (End::Outer(_) | End::Cancelled)) => (Err(End::Cancelled), Some(end)),
        outcome => (outcome, None),
    };
    let answer = evaluation.answer(outcome, decoded.raw);
    let (result, value) = match answer {
        Ok(Encoded { answer, value }) => (Ok(answer), value),
        Err(error) => (Err(error), None),
    };
    let took = begun.elapsed();
    let helped = run.helped_ns.load(Ordering::Relaxed).saturating_sub(helped_before);
    let processor = thread_time().saturating_sub(before) + Duration::from_nanos(helped);
    let cost = CallCost { run: took, processor: Some(processor), ..CallCost::default() };
    let mut called = CallOutcome::ran(result.map_err(Arc::new), cost, CallLog::default());
    called.trace = Some(trace);
    for (stage, counts) in staged.steps.iter().zip(&evaluation.counts) {
        if let Purpose::Check = run.purpose {
            break;
        }
        run.runtime.results().tallies().add(&stage.function.record.name, &counts.tally.counts());
    }
    PipelineOutcome { called, value, outer }
}

impl Evaluation {
    pub(super) fn too_many_calls(&self) -> End {
        let error = CallError::PipelineLimit { limit: "calls", max: self.staged.plan.calls_max };
        if self.is_short_of_calls { End::Outer(error) } else { End::Own(error) }
    }

    /// Checks that the run isn't cancelled and its deadline hasn't passed.
    pub(super) fn check(&self, scope: &Scope) -> Result<(), End> {
        if scope.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        if Instant::now() >= scope.until { Err(End::Own(self.too_late())) } else { Ok(()) }
    }

    /// Returns the deadline error of this pipeline. If the deadline of an enclosing pipeline passed
    /// first, that one reports its own.
    pub(super) fn too_late(&self) -> CallError {
        let deadline_ms = self.function.limits().deadline_ms.get();
        CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() }
    }

    /// Checks that this many parts fit in the memory limit.
    pub(super) fn check_room_for(&self, parts: usize) -> Result<(), End> {
        let max = self.function.limits().memory_bytes_max;
        match (parts as u64).saturating_mul(PART_BYTES) <= max {
            true => Ok(()),
            false => Err(End::Own(CallError::PipelineLimit { limit: "memory", max })),
        }
    }
}
