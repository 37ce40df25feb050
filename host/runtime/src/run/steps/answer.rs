//! The answer of a pipeline, and the trace of its steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nebula_model::answer::{Answer, Content};
use nebula_pipeline::{ErrorMapping, ErrorType, OutputType, Value};
use wasmtime::component::Val;

use super::evaluation::{End, Evaluation};
use super::values::{EncodedValue, json};
use crate::call::invoke::{Encoded, StepTrace};
use crate::error::{CallError, StepFailure};

impl Evaluation {
    /// Encodes the pipeline's answer.
    pub(super) fn answer(&self, outcome: Result<Value, End>, raw: bool) -> Result<Encoded, CallError> {
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

    /// Returns a record of each step: its calls, its hits, and whether it ended the pipeline.
    pub(super) fn trace(&self, outcome: &Result<Value, End>) -> Arc<[StepTrace]> {
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
            interval: counts.interval(),
        });
        trace.collect()
    }
}
