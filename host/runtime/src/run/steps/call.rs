//! The call of a step: looked up, or run and cached.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use nebula_engine::Allowance;
use nebula_model::id::Digest;
use nebula_pipeline::Value;
use wasmtime::component::Val;

use super::super::code::{Code, Stage};
use super::component::{ComponentRun, run_apart, run_component};
use super::evaluation::{End, Evaluation, run_pipeline};
use super::run::{Calls, Explained, Purpose, Scope};
use super::values::{StepOutput, describe_input, document_of, flat_bytes, input_of};
use crate::cache::{FlightOutcome, Lead};
use crate::call::events::CallIds;
use crate::call::invoke::Decoded;
use crate::call::lookup::{CacheSlot, Lookup};
use crate::call::tally::Lane;
use crate::error::CallError;

/// Most calls that are recorded; further ones are only counted.
const EXPLAINED_MAX: usize = 1000;

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

/// The source of a step's output.
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

impl Evaluation {
    /// Calls a function, or finds its cached result.
    pub(super) fn call(self: &Arc<Self>, call: usize, value: Value, scope: &Scope) -> Result<Value, End> {
        let run = &self.run;
        if !scope.calls.spend(1) {
            return Err(self.too_many_calls());
        }
        self.check(scope)?;
        let begun = self.begun.elapsed();
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
        let took_us = counts.record(begun, self.begun.elapsed(), source != StepSource::Run);
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
        let (runtime, function) = (&self.run.runtime, &self.staged.steps[call].function);
        let callee = &self.staged.plan.calls[call].callee;
        let (tally, directives) = (&self.counts[call].tally, self.run.directives);
        if !function.caches() {
            let output = self.run(call, decoded, scope, None)?;
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
                        tally.hit(found.cost, false);
                        tally.answered(
                            found.result.as_ref().map_err(|error| &**error),
                            flat_bytes(&decoded.input),
                        );
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
                && let Some(found) = results.find_stored(&key, function.record.cache.ttl(), scope.until)
                && let Ok(output) = StepOutput::read(callee, &found.result)
            {
                results.promote(&mut slot, &found);
                if let Some(lead) = lead {
                    lead.land(FlightOutcome::Answer(Arc::clone(&found)));
                }
                tally.hit(found.cost, true);
                tally.answered(found.result.as_ref().map_err(|error| &**error), flat_bytes(&decoded.input));
                return Ok(AnsweredStep { output, source: StepSource::Store });
            }
        }
        let output = self.run(call, decoded, scope, Some(UncachedStep { slot, lead }))?;
        Ok(AnsweredStep { output, source: StepSource::Run })
    }

    /// Runs a call and caches its result.
    fn run(
        self: &Arc<Self>,
        call: usize,
        decoded: &Decoded,
        scope: &Scope,
        uncached: Option<UncachedStep<'_>>,
    ) -> Result<StepOutput, End> {
        let (runtime, Stage { function, code }) = (&self.run.runtime, &self.staged.steps[call]);
        let callee = &self.staged.plan.calls[call].callee;
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
                runtime.results().record_log(function, &called, CallIds::default());
                let called = match uncached {
                    Some(UncachedStep { slot, lead }) => runtime.results().keep(function, called, slot, lead),
                    None => called,
                };
                let tally = &self.counts[call].tally;
                tally.ran_on(Lane::Compute);
                tally.end(&called, function.caches(), flat_bytes(&decoded.input));
                called
            }
        };
        let output = StepOutput::of(callee, called.result, value);
        output.or_else(|reason| {
            let error = CallError::Internal(format!("an answer of another type: {reason}"));
            Ok(StepOutput::Failed(Arc::new(error)))
        })
    }
}
