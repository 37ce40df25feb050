//! The run of a component's function on the current thread.

use std::time::Instant;

use nebula_engine::{Allowance, Loaded, TICK, thread_time};
use wasmtime::component::Val;

use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallTimes, Decoded, RunEnd};

/// The outcome of running a component.
pub(super) struct ComponentRun {
    pub(super) called: CallOutcome,
    /// The value that the answer encodes as JSON, if it does.
    pub(super) value: Option<Val>,
}

/// Runs a component's function on this thread, and records in its history how long the call took.
pub(super) fn run_component(
    function: &Function,
    loaded: &Loaded,
    decoded: &Decoded,
    admitted: Instant,
    allowance: Allowance,
) -> ComponentRun {
    let run = run_apart(function, loaded, decoded, admitted, allowance);
    if run.called.result.is_ok() && run.called.cost.start + run.called.cost.run < TICK {
        function.history().was_short();
    } else {
        function.history().was_long();
    }
    run
}

/// Runs a component's function on this thread, without recording how long it took.
pub(super) fn run_apart(
    function: &Function,
    loaded: &Loaded,
    decoded: &Decoded,
    admitted: Instant,
    allowance: Allowance,
) -> ComponentRun {
    let begun = Instant::now();
    let before = thread_time();
    let invoke::Run { end, value, spent } =
        invoke::run(function, loaded, decoded, CallTimes { admitted, begun }, allowance, None);
    let processor = thread_time().saturating_sub(before);
    drop(spent);
    let mut called = match end {
        RunEnd::Over(called) | RunEnd::CutOff(called) => called,
    };
    called.cost.processor = Some(processor);
    ComponentRun { called, value }
}
