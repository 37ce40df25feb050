//! What a call of a pipeline is for, and what it may spend.
//!
//! Invariant: the counts of parts that run at once are added up in order, so that whether there were too many calls
//! doesn't depend on which part was faster.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nebula_engine::Wanted;
use nebula_model::remember::CacheDirectives;

use super::super::code::Staged;
use crate::call::function::Function;
use crate::runtime::Runtime;

/// One call of a pipeline, with all that comes of it.
pub(super) struct Run {
    pub(super) runtime: Runtime,
    /// The outermost pipeline, whose share of the lane it takes.
    pub(super) function: Arc<Function>,
    /// The caller's, which hold for the calls of steps too.
    pub(super) directives: CacheDirectives,
    /// Processor time of the threads that helped.
    pub(super) helped_ns: AtomicU64,
    pub(super) purpose: Purpose,
}

/// What a pipeline runs for.
pub(super) enum Purpose {
    /// Somebody waits for it.
    Answer,
    /// To tell of every call, here.
    Explain(Mutex<Vec<Explained>>),
    /// To be compared with what is remembered: it leaves no trace.
    Check,
}

/// A call of a pipeline's step, for people.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// What the step is called.
    pub step: String,
    /// `hit`, `disk` or `miss`.
    pub cache: String,
    /// On the wall's clock, microseconds.
    pub took_us: u64,
    /// What it was given: JSON, text, or how many bytes of which media type.
    pub input: String,
    /// What it gave; likewise.
    pub output: String,
    /// Whether that is an error.
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
        Self { runtime, function, directives, helped_ns: AtomicU64::new(0), purpose }
    }
}

/// What a part of a run is done for, and what it may still spend.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) wanted: Wanted,
    pub(super) calls: Arc<Calls>,
    pub(super) until: Instant,
}

impl Scope {
    /// All that a call of a pipeline may spend, from now.
    pub(super) fn of(function: &Function, staged: &Staged) -> Self {
        Self {
            wanted: Wanted::default(),
            calls: Arc::new(Calls::up_to(staged.plan.calls_max)),
            until: Instant::now() + function.limits().deadline(),
        }
    }
}

/// Calls that were made, of those that may be. Parts that run at once have counts of their own, which are added up in
/// order: what comes of a call doesn't depend on which of them was faster.
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

    /// Whether there were so many left.
    pub(super) fn spend(&self, count: u64) -> bool {
        self.spent.fetch_add(count, Ordering::Relaxed).saturating_add(count) <= self.max
    }
}
