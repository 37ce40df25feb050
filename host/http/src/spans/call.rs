//! The spans of a call's phases, and of the steps of a pipeline.
//!
//! The phases follow each other and end when the call ends: their lengths are measured, so their
//! starts follow. A step's span covers the time from its first call to its last.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nebula_model::cost::CallCost;
use nebula_runtime::{Because, CallOutcome, Source, StepInterval, StepTrace};
use nebula_telemetry::trace::{AttributeValue, Span};

/// A call that is over, of a request that is traced.
#[derive(Debug)]
pub(crate) struct TracedCall {
    ended: SystemTime,
    cost: CallCost,
    source: Source,
    steps: Option<Arc<[StepTrace]>>,
}

impl TracedCall {
    /// Takes the facts of a call that has ended now.
    pub(crate) fn of(outcome: &CallOutcome) -> Self {
        Self {
            ended: SystemTime::now(),
            cost: outcome.cost,
            source: outcome.source,
            steps: outcome.trace.clone(),
        }
    }

    /// Adds what is known about the call to the span of its request.
    pub(super) fn describe(&self, span: &mut Span) {
        span.add("nebula.cache", cache(self.source));
        if let Source::Ran { stored, .. } = self.source {
            span.add("faas.coldstart", !self.cost.load.is_zero());
            span.add("nebula.cache.stored", stored);
            if let Some(processor) = self.cost.processor {
                span.add("nebula.processor_time_us", micros(processor));
            }
        }
    }

    /// Returns the spans of the phases and steps below that of the request, whose status tells whether
    /// the call `failed`.
    pub(super) fn children(&self, request: &Span, failed: bool) -> Vec<Span> {
        if !matches!(self.source, Source::Ran { .. } | Source::Collapsed) {
            return Vec::new();
        }
        let CallCost { queue, load, start, run, processor: _ } = self.cost;
        let before = |time: SystemTime, length| time.checked_sub(length).unwrap_or(time);
        let mut began = before(self.ended, self.cost.total());
        let mut spans = Vec::new();
        for (name, length) in [("queue", queue), ("load", load), ("start", start), ("run", run)] {
            let ended = began + length;
            if !length.is_zero() {
                spans.push(request.child(name, began, ended));
            }
            began = ended;
        }
        if let Some(last) = spans.last_mut() {
            last.failure = failed.then(|| request.failure.clone()).flatten();
            let steps: Vec<_> = self.steps.iter().flat_map(|steps| steps.iter()).collect();
            let parent = last.clone();
            spans.extend(steps.into_iter().filter_map(|step| step_span(&parent, step)));
        }
        spans
    }
}

/// Returns the span of a step; `None` if the step made no call.
fn step_span(run: &Span, step: &StepTrace) -> Option<Span> {
    let StepTrace { step: name, calls, hits, took_us, interval, failed } = step;
    let StepInterval { began_us, ended_us } = (*interval)?;
    let at = |us| (run.began + Duration::from_micros(us)).min(run.ended);
    let mut span = run.child(format!("step {name}"), at(began_us), at(ended_us));
    span.add("nebula.step", AttributeValue::text(name));
    span.add("nebula.step.calls", *calls);
    span.add("nebula.step.hits", *hits);
    span.add("nebula.step.took_us", *took_us);
    let cache = match hits {
        0 => "miss",
        hits if hits == calls => "hit",
        _ => "partial",
    };
    span.add("nebula.cache", cache);
    if failed.is_some() {
        span.failure = Some("the step ended the pipeline with an error".into());
    }
    Some(span)
}

/// Returns the source of an answer as an attribute.
fn cache(source: Source) -> &'static str {
    match source {
        Source::Ran { because: Because::Missed, .. } => "miss",
        Source::Ran { because: Because::Asked, .. } => "bypass",
        Source::Ran { because: Because::Off, .. } => "off",
        Source::Cached { on_disk: true, .. } => "disk",
        Source::Cached { on_disk: false, .. } => "hit",
        Source::Collapsed => "merged",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
