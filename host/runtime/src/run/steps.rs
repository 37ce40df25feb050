//! Execution of a pipeline, on one thread of the compute lane and on its helpers.
//!
//! ```text
//! value --(a call)--> in memory? | on disk? | run on a fresh instance and cached --> value
//!       --(all, each, group)--> parts, in parallel (`fan_out`) --> gathered in order
//! ```
//!
//! Values pass from step to step without being encoded. Each call is cached under its own
//! function's key, as if it had been made directly: if one of ten functions changes, nine results
//! are still cached.
//!
//! Invariants:
//! * A pipeline has one budget: its deadline, its number of calls and the memory for gathered
//!   values hold for all its calls, those of nested pipelines included.
//! * The outcome doesn't depend on which part ran first: of several failures, the first in order
//!   counts.
//! * No thread waits for a slot on the lane while it holds one.
//!
//! This file has the ways to start a run. `evaluation` runs one pipeline, `nodes` walks its plan,
//! `call` looks up or runs a step's call, `component` runs a component, and `answer` encodes the
//! pipeline's answer.

mod answer;
mod call;
mod component;
mod evaluation;
mod fan_out;
mod nodes;
mod run;
mod values;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nebula_engine::{Allowance, CancelFlag, TICK};
use nebula_model::caching::CacheDirectives;

use self::component::{ComponentRun, run_component};
use self::evaluation::{PipelineOutcome, run_pipeline};
pub use self::run::Explained;
use self::run::{Calls, Purpose, Run, Scope};
use super::code::{Code, Staged};
use crate::call::function::Function;
use crate::call::invoke::{CallOutcome, Decoded};
use crate::deploy::fused_deadline;
use crate::runtime::Runtime;

/// The terms of a call on the compute lane.
pub(crate) struct LongCall {
    /// Start of the deadline.
    pub(crate) admitted: Instant,
    pub(crate) cancel: CancelFlag,
    pub(crate) directives: CacheDirectives,
    /// Other hosts may compute results that the call needs.
    pub(crate) may_offer: bool,
}

impl Runtime {
    /// Runs a call to its end, on a thread of the compute lane.
    pub(crate) fn run_long(
        &self,
        function: &Arc<Function>,
        code: &Code,
        decoded: &Decoded,
        long: LongCall,
    ) -> CallOutcome {
        let LongCall { admitted, cancel, directives, may_offer } = long;
        let until = admitted + function.limits().deadline();
        match code {
            Code::Component(loaded) => {
                let allowance = Allowance::long(until, cancel);
                run_component(function, loaded, decoded, admitted, allowance).called
            }
            Code::Pipeline(staged) => {
                let run = Run { may_offer, ..Run::new(self, function, directives, Purpose::Answer) };
                let scope = Scope { cancel, calls: Arc::new(Calls::up_to(staged.plan.calls_max)), until };
                let begun = Instant::now();
                let PipelineOutcome { mut called, .. } =
                    run_pipeline(&Arc::new(run), function, staged, decoded, &scope);
                // A short chain may run fused on the fast lane.
                if called.result.is_ok() && called.cost.run < TICK {
                    function.history().was_short();
                } else {
                    function.history().was_long();
                }
                called.cost.queue = begun.saturating_duration_since(admitted);
                called
            }
        }
    }

    /// Runs a chain as the component that it is linked into. `None` if that gives no value: the
    /// caller then runs the steps, which report the error.
    pub(crate) fn run_fused(
        &self,
        function: &Arc<Function>,
        decoded: &Decoded,
        admitted: Instant,
        cancel: &CancelFlag,
    ) -> Option<CallOutcome> {
        let loaded = self.executor().load_fused(self.executor().fused_pool()?, function)?;
        let allowance = Allowance::long(admitted + fused_deadline(function), cancel.clone());
        let ComponentRun { called, .. } = run_component(function, &loaded, decoded, admitted, allowance);
        called.is_whole().then_some(called)
    }

    /// Runs a pipeline without helpers, and records the input and output of each call.
    pub(crate) fn run_explained(
        &self,
        function: &Arc<Function>,
        staged: &Arc<Staged>,
        decoded: &Decoded,
    ) -> (CallOutcome, Vec<Explained>) {
        let purpose = Purpose::Explain(Mutex::default());
        let run = Arc::new(Run::new(self, function, CacheDirectives::default(), purpose));
        let PipelineOutcome { called, .. } =
            run_pipeline(&run, function, staged, decoded, &Scope::of(function, staged));
        let explained = match &run.purpose {
            Purpose::Explain(explained) => {
                std::mem::take(&mut *explained.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Purpose::Answer | Purpose::Check => Vec::new(),
        };
        (called, explained)
    }

    /// Runs a pipeline without helpers, and recomputes all its calls. The result is only for
    /// comparison.
    pub(super) fn run_again(
        &self,
        function: &Arc<Function>,
        staged: &Arc<Staged>,
        decoded: &Decoded,
    ) -> CallOutcome {
        let directives = CacheDirectives { no_cache: true, no_store: true };
        let run = Arc::new(Run::new(self, function, directives, Purpose::Check));
        run_pipeline(&run, function, staged, decoded, &Scope::of(function, staged)).called
    }
}
