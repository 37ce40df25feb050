//! The end of a call: its result is cached, if it may be, and lands for the callers who wait for
//! it.

use std::sync::Arc;
use std::time::Duration;

use nebula_cache::EXPENSIVE_FROM;
use nebula_model::answer::Answer;
use nebula_model::caching::{Because, Source};
use nebula_model::cost::CallCost;

use crate::cache::{CachedResult, FlightOutcome, Lead};
use crate::call::function::Function;
use crate::call::invoke::CallOutcome;
use crate::call::lookup::CacheSlot;
use crate::peers::Host;
use crate::results::Results;

impl Results {
    /// Caches the result of a call and lands it for the callers who wait.
    pub(crate) fn keep(
        &self,
        function: &Function,
        mut called: CallOutcome,
        mut slot: CacheSlot<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        if called.answered_by == Host::Peer {
            land(&called, function, lead);
            return called;
        }
        let cost = cost(&called.cost);
        let engine = called.engine.clone();
        let settings = &function.record.cache;
        let new = |result| Arc::new(CachedResult::new(result, function.record.digest, cost, engine));
        match &called.result {
            Ok(answer) => {
                let fits = answer.bytes() as u64 <= settings.answer_bytes_max();
                let may_keep = fits && !slot.no_store && !says_no_store(answer);
                // A cached answer holds no more memory than it is counted for.
                let cached = new(Ok(if may_keep { answer.compact() } else { answer.clone() }));
                called.content_hash = cached.content_hash;
                let stored = may_keep && self.insert(&mut slot, Arc::clone(&cached));
                if stored && cost >= EXPENSIVE_FROM {
                    self.result_store().keep(slot.key, Arc::clone(&cached));
                }
                called.source = Source::Ran { because: Because::Missed, stored };
                if let Some(lead) = lead {
                    lead.land(FlightOutcome::Answer(cached));
                }
            }
            Err(error) => {
                let may_keep = settings.traps && !slot.no_store && error.is_the_functions();
                let stored = may_keep && self.insert(&mut slot, new(Err(Arc::clone(error))));
                called.source = Source::Ran { because: Because::Missed, stored };
                if let Some(lead) = lead.filter(|_| error.is_everybodys()) {
                    lead.land(FlightOutcome::Failed(Arc::clone(error)));
                }
            }
        }
        called
    }
}

/// Lands another host's answer for the callers who wait. That host has cached it, with its age and
/// its cost.
fn land(called: &CallOutcome, function: &Function, lead: Option<Lead>) {
    let Some(lead) = lead else { return };
    match &called.result {
        Ok(answer) => {
            let (cost, engine) = (cost(&called.cost), called.engine.clone());
            let result = CachedResult::new(Ok(answer.clone()), function.record.digest, cost, engine);
            lead.land(FlightOutcome::Answer(Arc::new(result)));
        }
        Err(error) if error.is_everybodys() => lead.land(FlightOutcome::Failed(Arc::clone(error))),
        Err(_) => {}
    }
}

/// Returns the cost of repeating a call, without loading and without waiting for a core.
fn cost(cost: &CallCost) -> Duration {
    match cost.processor {
        Some(processor) => processor,
        // It ended on the fast lane, where long calls don't, whatever the wall clock says.
        None => (cost.start + cost.run).min(EXPENSIVE_FROM.saturating_sub(Duration::from_nanos(1))),
    }
}

/// Returns whether a function of the http form forbids storing its response (RFC 9111 §5.2.2.5).
fn says_no_store(answer: &Answer) -> bool {
    let Answer::Http(response) = answer else { return false };
    let lines = response.headers().get_all(http::header::CACHE_CONTROL);
    lines.iter().any(|line| line.to_str().is_ok_and(|line| line.to_ascii_lowercase().contains("no-store")))
}
