//! The purpose of one run of a pipeline, and its budget.
//!
//! Invariant: parts that run in parallel count their calls separately, and the counts are added up
//! in order. Which part was faster doesn't decide whether there were too many calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nebula_engine::CancelFlag;
use nebula_model::caching::CacheDirectives;

use super::super::code::Staged;
use crate::call::function::Function;
use crate::runtime::Runtime;

/// One run of a pipeline, with all the calls it makes.
pub(super) struct Run {
    pub(super) runtime: Runtime,
    /// The outermost pipeline. The run uses its share of the lane.
    pub(super) function: Arc<Function>,
    /// The caller's cache directives. They hold for the calls of steps, too.
    pub(super) directives: CacheDirectives,
    /// Processor time of the helper threads, nanoseconds.
    pub(super) helped_ns: AtomicU64,
    pub(super) purpose: Purpose,
    /// Other hosts may compute results that the run needs.
    pub(super) may_offer: bool,
}

/// The purpose of a run.
pub(super) enum Purpose {
    /// Answer a caller.
    Answer,
    /// Record each call in this list.
    Explain(Mutex<Vec<Explained>>),
    /// Recompute a cached result to compare it. Such a run leaves no trace.
    Check,
}

/// A call of a pipeline's step, described for people.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// The name of the step.
    pub step: String,
    /// `hit`, `disk` or `miss`.
    pub cache: String,
    /// Wall-clock time, microseconds.
    pub took_us: u64,
    /// The input: JSON, text, or the number of bytes and their media type.
    pub input: String,
    /// The output, in the same form.
    pub output: String,
    /// The output is an error.
    pub failed: bool,
}

impl Run {
    pub(super) fn new(
        runtime: &Runtime,
        function: &Arc<Function>,
        directives: CacheDirectives,
        purpose: Purpose,
    ) -> Self {
        let (runtime, function) = (runtime.clone(), Arc::clone(function));
        Self { runtime, function, directives, helped_ns: AtomicU64::new(0), purpose, may_offer: false }
    }
}

/// The budget of a part of a run, and its cancel flag.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) cancel: CancelFlag,
    pub(super) calls: Arc<Calls>,
    pub(super) until: Instant,
}

impl Scope {
    /// Returns the full budget of a pipeline's call that starts now.
    pub(super) fn of(function: &Function, staged: &Staged) -> Self {
        Self {
            cancel: CancelFlag::default(),
            calls: Arc::new(Calls::up_to(staged.plan.calls_max)),
            until: Instant::now() + function.limits().deadline(),
        }
    }
}

/// The calls spent, out of those allowed. Parts that run in parallel count separately, and their
/// counts are added up in order, so that the outcome doesn't depend on which of them was faster.
pub(super) struct Calls {
    spent: AtomicU64,
    pub(super) max: u64,
}

impl Calls {
    pub(super) fn up_to(max: u64) -> Self {
        Self { spent: AtomicU64::new(0), max }
    }

    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    pub(super) fn left(&self) -> u64 {
        self.max.saturating_sub(self.spent())
    }

    /// Spends `count` calls and returns whether that many were left.
    pub(super) fn spend(&self, count: u64) -> bool {
        self.spent.fetch_add(count, Ordering::Relaxed).saturating_add(count) <= self.max
    }
}
