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

mod fan_out;
mod run;
mod values;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nebula_cache::Tally;
use nebula_engine::{Allowance, CallLog, CancelFlag, thread_time};
use nebula_engine::{Loaded, TICK};
use nebula_model::answer::{Answer, Content};
use nebula_model::cost::CallCost;
use nebula_model::id::{Digest, FunctionRef, Selector};
use nebula_model::remember::CacheDirectives;
use nebula_model::request::Prefer;
use nebula_pipeline::{Callee, Conversion, ErrorMapping, ErrorType, Node, OutputType, Value};
use wasmtime::component::Val;

pub use self::run::Explained;
use self::run::{Calls, Purpose, Run, Scope};
use self::values::{
    EncodedValue, StepOutput, case_of, describe_input, document_of, flat_bytes, input_of, input_value, json,
    key_text, request_of,
};
use super::code::{Code, Stage, Staged};
use crate::cache::{FlightOutcome, Lead};
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallTimes, Decoded, Encoded, RunEnd, StepTrace};
use crate::call::lookup::{CacheSlot, Lookup};
use crate::deploy::fused_deadline;
use crate::error::{CallError, StepFailure};
use crate::peers::PeerCall;
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

/// Approximate memory of one part of a fan-out, bytes.
const PART_BYTES: u64 = 192;

/// Check for cancellation every this many items.
const CANCEL_CHECK_INTERVAL: usize = 256;

/// Most calls that are recorded; further ones are only counted.
const EXPLAINED_MAX: usize = 1000;

/// The outcome of running a component.
struct ComponentRun {
    called: CallOutcome,
    /// The value that the answer encodes as JSON, if it does.
    value: Option<Val>,
}

/// Runs a component's function on this thread, and records in its history how long the call took.
fn run_component(
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
fn run_apart(
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

/// One pipeline of a run: the outermost, or one that it calls.
struct Evaluation {
    run: Arc<Run>,
    /// The pipeline. Its limits hold for the values it gathers and its answer.
    function: Arc<Function>,
    staged: Arc<Staged>,
    /// It may make fewer calls than its plan allows, because its caller has no more left.
    is_short_of_calls: bool,
    /// One for each call of the plan.
    counts: Vec<StepCounts>,
}

#[derive(Default)]
struct StepCounts {
    tally: Tally,
    calls: AtomicU64,
    hits: AtomicU64,
    took_us: AtomicU64,
}

/// Why a step returned no value.
#[derive(Debug)]
enum End {
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
struct PipelineOutcome {
    called: CallOutcome,
    /// The value that the answer encodes as JSON, if it does.
    value: Option<Val>,
    /// The run was ended by its caller's budget or by cancellation, not by a failure of its own.
    outer: Option<End>,
}

/// Runs a pipeline on this thread.
fn run_pipeline(
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
        run.runtime.results().count(&stage.function.record.name, counts.tally.counts());
    }
    PipelineOutcome { called, value, outer }
}

impl Evaluation {
    fn eval(self: &Arc<Self>, node: usize, value: Value, scope: &Scope) -> Result<Value, End> {
        match &self.staged.plan.nodes[node] {
            Node::Call(call) => self.call(*call, value, scope),
            Node::Sequence(nodes) => {
                nodes.iter().try_fold(value, |value, node| self.eval(*node, value, scope))
            }
            Node::All(nodes) => {
                let work = nodes.iter().map(|node| (*node, value.clone()));
                self.fan_out(work, scope).map(|values| Value::Parts(Arc::new(values)))
            }
            Node::Each(node) => {
                self.check_room_for(value.part_count())?;
                let work = value.into_parts().into_iter().map(|item| (*node, item));
                self.fan_out(work, scope).map(|values| Value::Parts(Arc::new(values)))
            }
            Node::Group { items, by, each } => self.group(items, by, *each, value, scope),
            Node::Choice(branches) => {
                let (name, payload) = case_of(value.into_val());
                let payload = payload.map_or(Value::Nothing, |payload| (*payload).into());
                match branches.iter().find(|branch| branch.case == name) {
                    Some(branch) => Ok(branch.output.apply(self.eval(branch.node, payload, scope)?)),
                    None => Err(End::Own(CallError::Internal(format!("there is no case `{name}`")))),
                }
            }
            Node::Select(path) => Ok(value.select(path)),
            Node::Constant(val) => Ok(val.as_ref().map_or(Value::Nothing, |val| Value::Val(Arc::clone(val)))),
        }
    }

    fn group(
        self: &Arc<Self>,
        items: &Conversion,
        by: &[usize],
        each: usize,
        value: Value,
        scope: &Scope,
    ) -> Result<Value, End> {
        self.check_room_for(value.part_count())?;
        let mut groups: Vec<(Value, Vec<Val>)> = Vec::new();
        let mut known = HashMap::new();
        for (index, item) in value.into_parts().into_iter().enumerate() {
            if index % CANCEL_CHECK_INTERVAL == 0 {
                self.check(scope)?;
            }
            let item = items.apply(item);
            let key = item.select(by);
            let at = *known.entry(key_text(&key.clone().into_val())).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((_, items)) => items.push(item.into_val()),
                None => groups.push((key, vec![item.into_val()])),
            }
        }
        let (keys, work): (Vec<_>, Vec<_>) =
            groups.into_iter().map(|(key, items)| (key, (each, Val::List(items).into()))).unzip();
        let values = self.fan_out(work.into_iter(), scope)?;
        let pair = |(key, value)| Value::Parts(Arc::new(vec![key, value]));
        Ok(Value::Parts(Arc::new(keys.into_iter().zip(values).map(pair).collect())))
    }

    /// Checks that this many parts fit in the memory limit.
    fn check_room_for(&self, parts: usize) -> Result<(), End> {
        let max = self.function.limits().memory_bytes_max;
        match (parts as u64).saturating_mul(PART_BYTES) <= max {
            true => Ok(()),
            false => Err(End::Own(CallError::PipelineLimit { limit: "memory", max })),
        }
    }

    /// Returns the first call that a node makes with this value, if its result may be shared.
    fn first_call(&self, node: usize, value: &Value) -> Option<PeerCall> {
        let call = match &self.staged.plan.nodes[node] {
            Node::Call(call) => *call,
            Node::Sequence(nodes) => return self.first_call(*nodes.first()?, value),
            Node::All(_)
            | Node::Each(_)
            | Node::Group { .. }
            | Node::Choice(_)
            | Node::Select(_)
            | Node::Constant(_) => return None,
        };
        let (planned, function) = (&self.staged.plan.calls[call], &self.staged.steps[call].function);
        let CacheDirectives { no_cache, no_store } = self.run.directives;
        if !function.caches() || !function.history().is_long() || no_cache || no_store {
            return None;
        }
        let input = input_of(&planned.step.input, value.clone());
        let (results, raw) = (self.run.runtime.results(), planned.callee.output.flat().is_some());
        if results.cache().get(&function.key().of(&input, raw), function.record.remember.ttl()).is_some() {
            return None;
        }
        let selector = Selector::Version(function.record.version);
        Some(PeerCall {
            function: FunctionRef { name: function.record.name.clone(), selector },
            key: *function.key(),
            request: request_of(&input, &planned.callee),
            prefer: if raw { Prefer::Raw } else { Prefer::Json },
            directives: self.run.directives,
        })
    }

    /// Calls a function, or finds its cached result.
    fn call(self: &Arc<Self>, call: usize, value: Value, scope: &Scope) -> Result<Value, End> {
        let run = &self.run;
        if !scope.calls.spend(1) {
            return Err(self.too_many_calls());
        }
        self.check(scope)?;
        let begun = Instant::now();
        let (planned, counts) = (&self.staged.plan.calls[call], &self.counts[call]);
        let input = input_of(&planned.step.input, value);
        let decoded = Decoded { input, raw: planned.callee.output.flat().is_some() };
        let input_digest = || Digest::of(&document_of(&decoded.input, &planned.callee));
        let bytes_max = self.staged.steps[call].function.limits().input_bytes_max;
        if flat_bytes(&decoded.input) > bytes_max {
            let error = Arc::new(CallError::InputTooLarge { bytes_max });
            return Err(End::Failed { call, input: input_digest(), error });
        }
        let AnsweredStep { output, source } = self.look_up_or_run(call, &decoded, scope)?;
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.hits.fetch_add(u64::from(source != StepSource::Run), Ordering::Relaxed);
        counts.took_us.fetch_add(took_us, Ordering::Relaxed);
        if let Purpose::Explain(explained) = &run.purpose {
            let explanation = Explained {
                step: planned.label.clone(),
                cache: source.text().to_owned(),
                took_us,
                input: describe_input(&decoded.input, &planned.callee),
                output: output.description(&planned.callee),
                failed: !matches!(output, StepOutput::Value(_)),
            };
            let mut explained = explained.lock().unwrap_or_else(PoisonError::into_inner);
            if explained.len() < EXPLAINED_MAX {
                explained.push(explanation);
            }
        }
        match (output, planned.step.keeps_result) {
            (StepOutput::Value(value), false) => Ok(value),
            (StepOutput::Error(error), false) => Err(End::Error { call, input: input_digest(), error }),
            (StepOutput::Value(Value::Nothing), true) => Ok(Val::Result(Ok(None)).into()),
            (StepOutput::Value(value), true) => Ok(Val::Result(Ok(Some(Box::new(value.into_val())))).into()),
            (StepOutput::Error(error), true) => Ok(Val::Result(Err(error.map(Box::new))).into()),
            // The call was cancelled, whatever the cause.
            (StepOutput::Failed(_), _) if scope.cancel.is_cancelled() => Err(End::Cancelled),
            (StepOutput::Failed(_), _) if Instant::now() >= scope.until => Err(End::Own(self.too_late())),
            (StepOutput::Failed(error), _) => Err(End::Failed { call, input: input_digest(), error }),
        }
    }

    fn look_up_or_run(
        self: &Arc<Self>,
        call: usize,
        decoded: &Decoded,
        scope: &Scope,
    ) -> Result<AnsweredStep, End> {
        let (runtime, Stage { function, code }) = (&self.run.runtime, &self.staged.steps[call]);
        let callee = &self.staged.plan.calls[call].callee;
        let (tally, directives) = (&self.counts[call].tally, self.run.directives);
        if !function.caches() {
            let output = self.run(function, code, decoded, scope, callee, None)?;
            return Ok(AnsweredStep { output, source: StepSource::Run });
        }
        let key = function.key().of(&decoded.input, decoded.raw);
        let mut slot = CacheSlot { key, spelling: None, no_store: directives.no_store };
        let mut lead = None;
        if !directives.no_cache {
            let results = runtime.results();
            lead = match results.look_up(function, &mut slot) {
                // A result that can't be decoded any more is recomputed.
                Lookup::Hit(found) => match StepOutput::read(callee, &found.result) {
                    Ok(output) => {
                        tally.hit(found.cost);
                        return Ok(AnsweredStep { output, source: StepSource::Memory });
                    }
                    Err(_) => None,
                },
                Lookup::Lead(lead) => Some(lead),
                // The leader may wait for the slot that this thread holds: run the call here.
                Lookup::Wait(_) => None,
            };
            // Read the store only for functions whose calls take long.
            if function.history().is_long()
                && results.may_have_stored(function)
                && let Some(found) = results.find_stored(&key, function.record.remember.ttl(), scope.until)
                && let Ok(output) = StepOutput::read(callee, &found.result)
            {
                results.promote(&mut slot, &found);
                if let Some(lead) = lead {
                    lead.land(FlightOutcome::Answer(Arc::clone(&found)));
                }
                tally.hit(found.cost);
                return Ok(AnsweredStep { output, source: StepSource::Store });
            }
        }
        tally.miss();
        let output = self.run(function, code, decoded, scope, callee, Some(UncachedStep { slot, lead }))?;
        Ok(AnsweredStep { output, source: StepSource::Run })
    }

    /// Runs a call and caches its result.
    fn run(
        self: &Arc<Self>,
        function: &Arc<Function>,
        code: &Code,
        decoded: &Decoded,
        scope: &Scope,
        callee: &Callee,
        uncached: Option<UncachedStep<'_>>,
    ) -> Result<StepOutput, End> {
        let runtime = &self.run.runtime;
        let now = Instant::now();
        let until = scope.until.min(now + function.limits().deadline());
        let ComponentRun { called, value } = match code {
            Code::Component(loaded) => {
                let allowance = Allowance::long(until, scope.cancel.clone());
                match self.run.purpose {
                    Purpose::Answer | Purpose::Explain(_) => {
                        run_component(function, loaded, decoded, now, allowance)
                    }
                    Purpose::Check => run_apart(function, loaded, decoded, now, allowance),
                }
            }
            Code::Pipeline(staged) => {
                let left = scope.calls.left();
                let calls = Arc::new(Calls::up_to(left.min(staged.plan.calls_max)));
                let inner = Scope { cancel: scope.cancel.clone(), calls: Arc::clone(&calls), until };
                let ran = run_pipeline(&self.run, function, staged, decoded, &inner);
                scope.calls.spend(calls.spent().min(left));
                match ran.outer {
                    Some(End::Outer(_)) => return Err(self.too_many_calls()),
                    Some(end) if scope.cancel.is_cancelled() => return Err(end),
                    Some(_) | None => ComponentRun { called: ran.called, value: ran.value },
                }
            }
        };
        // A failure caused by cancellation says nothing about the function.
        if called.result.is_err() && scope.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        let called = match (&self.run.purpose, uncached) {
            (Purpose::Check, _) => called,
            (Purpose::Answer | Purpose::Explain(_), uncached) => {
                runtime.results().record_log(function, &called);
                match uncached {
                    Some(UncachedStep { slot, lead }) => runtime.results().keep(function, called, slot, lead),
                    None => called,
                }
            }
        };
        let output = StepOutput::of(callee, called.result, value);
        output.or_else(|reason| {
            let error = CallError::Internal(format!("an answer of another type: {reason}"));
            Ok(StepOutput::Failed(Arc::new(error)))
        })
    }

    fn too_many_calls(&self) -> End {
        let error = CallError::PipelineLimit { limit: "calls", max: self.staged.plan.calls_max };
        if self.is_short_of_calls { End::Outer(error) } else { End::Own(error) }
    }

    /// Checks that the run isn't cancelled and its deadline hasn't passed.
    fn check(&self, scope: &Scope) -> Result<(), End> {
        if scope.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        if Instant::now() >= scope.until { Err(End::Own(self.too_late())) } else { Ok(()) }
    }

    /// Returns the deadline error of this pipeline. If the deadline of an enclosing pipeline passed
    /// first, that one reports its own.
    fn too_late(&self) -> CallError {
        let deadline_ms = self.function.limits().deadline_ms.get();
        CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() }
    }

    /// Encodes the pipeline's answer.
    fn answer(&self, outcome: Result<Value, End>, raw: bool) -> Result<Encoded, CallError> {
        let plan = &self.staged.plan;
        let bytes_max = self.function.limits().output_bytes_max;
        let encoded = match outcome {
            Ok(value) => match (plan.output.apply(value), &plan.callee.output) {
                (Value::Payload { media_type, body }, _) => {
                    let content = Content { media_type: media_type.into(), body };
                    Encoded { answer: Answer::Value(content), value: None }
                }
                (_, OutputType::Nothing | OutputType::Payload) => {
                    Encoded { answer: Answer::Value(Content::json(b"null".to_vec())), value: None }
                }
                (value, OutputType::Value(ty)) => {
                    let EncodedValue { content, value } = EncodedValue::new(ty, value, raw);
                    Encoded { answer: Answer::Value(content), value }
                }
            },
            Err(End::Error { call, error, .. }) => {
                let label = &plan.calls[call].label;
                let error = match plan.errors {
                    ErrorMapping::Unchanged => error,
                    ErrorMapping::CasePerStep => Some(Val::Variant(label.clone(), error.map(Box::new))),
                };
                let content = match (&plan.callee.error, &error) {
                    (ErrorType::Value(ty), Some(error)) => json(ty, error),
                    (ErrorType::Value(_), None) | (ErrorType::Empty | ErrorType::Never, _) => {
                        Content::json(b"null".to_vec())
                    }
                };
                Encoded { answer: Answer::Error(content), value: error }
            }
            Err(End::Own(error) | End::Outer(error)) => return Err(error),
            Err(End::Failed { call, input, error }) => {
                let function = self.staged.steps[call].function.identity_text();
                let step = plan.calls[call].label.clone();
                let failure = StepFailure { step, function, input, cause: error };
                return Err(CallError::Step(Box::new(failure)));
            }
            Err(End::Cancelled) => return Err(self.too_late()),
        };
        if encoded.answer.body().len() as u64 > bytes_max {
            return Err(CallError::OutputTooLarge { bytes_max });
        }
        Ok(encoded)
    }

    fn trace(&self, outcome: &Result<Value, End>) -> Arc<[StepTrace]> {
        let failed = match outcome {
            Err(End::Error { call, input, .. } | End::Failed { call, input, .. }) => Some((*call, *input)),
            Ok(_) | Err(End::Own(_) | End::Outer(_) | End::Cancelled) => None,
        };
        let steps = self.staged.plan.calls.iter().zip(&self.counts).enumerate();
        let trace = steps.map(|(index, (call, counts))| StepTrace {
            step: call.label.clone(),
            failed: failed.filter(|(call, _)| *call == index).map(|(_, input)| input),
            calls: counts.calls.load(Ordering::Relaxed),
            hits: counts.hits.load(Ordering::Relaxed),
            took_us: counts.took_us.load(Ordering::Relaxed),
        });
        trace.collect()
    }
}

/// A step's call whose result isn't cached.
struct UncachedStep<'a> {
    slot: CacheSlot<'a>,
    /// The lead of the call's flight, unless another call leads it.
    lead: Option<Lead>,
}

/// The outcome of a step's call, and its source.
struct AnsweredStep {
    output: StepOutput,
    source: StepSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepSource {
    Memory,
    Store,
    Run,
}

impl StepSource {
    fn text(self) -> &'static str {
        match self {
            Self::Memory => "hit",
            Self::Store => "disk",
            Self::Run => "miss",
        }
    }
}
