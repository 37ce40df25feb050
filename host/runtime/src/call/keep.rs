//! The end of a call: its result is cached, if it may be, and lands for the callers who wait for
//! it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use nebula_cache::DEAR;
use nebula_cache::Key;
use nebula_cache::Spelling;
use nebula_model::answer::Answer;
use nebula_model::cost::CallCost;
use nebula_model::remember::{Because, Source};

use crate::cached::{Landed, Lead, Remembered};
use crate::call::function::Function;
use crate::call::invoke::CallOutcome;
use crate::results::Results;

/// The place of a result in the cache.
pub(crate) struct CacheSlot<'a> {
    pub(crate) key: Key,
    /// The spelling to cache, if it isn't cached yet.
    pub(crate) spelling: Option<Spelling<'a>>,
    /// The request said `no-store`: the result isn't stored.
    pub(crate) no_store: bool,
}

impl Results {
    /// Caches the result of a call and lands it for the callers who wait.
    pub(crate) fn keep(
        &self,
        function: &Function,
        mut called: CallOutcome,
        place: CacheSlot<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        let cost = cost(&called.cost);
        let engine = Cow::Borrowed(nebula_engine::identity());
        let remember = &function.record.remember;
        match &called.result {
            Ok(answer) => {
                let fits = answer.bytes() as u64 <= remember.answer_bytes_max();
                let may_keep = fits && !place.no_store && !says_no_store(answer);
                // A cached answer holds no more memory than it is counted for.
                let answer = if may_keep { answer.compact() } else { answer.clone() };
                let remembered = Arc::new(Remembered::new(Ok(answer), function.record.digest, cost, engine));
                called.content_hash = remembered.content_hash;
                let key = place.key;
                let stored = may_keep && self.keep_in_memory(place, Arc::clone(&remembered));
                if stored && cost >= DEAR {
                    self.disk().keep(key, Arc::clone(&remembered));
                }
                called.source = Source::Ran { because: Because::Missed, stored };
                if let Some(lead) = lead {
                    lead.land(Landed::Answer(remembered));
                }
            }
            Err(error) => {
                let stored = remember.traps && !place.no_store && error.is_the_functions() && {
                    let remembered =
                        Remembered::new(Err(Arc::clone(error)), function.record.digest, cost, engine);
                    self.keep_in_memory(place, Arc::new(remembered))
                };
                called.source = Source::Ran { because: Because::Missed, stored };
                if let Some(lead) = lead.filter(|_| error.is_everybodys()) {
                    lead.land(Landed::Failed(Arc::clone(error)));
                }
            }
        }
        called
    }

    /// Stores a result in memory and returns whether it is there now.
    fn keep_in_memory(&self, place: CacheSlot<'_>, remembered: Arc<Remembered>) -> bool {
        let stored = self.cache().insert(place.key, remembered);
        if let (true, Some(spelling)) = (stored, place.spelling) {
            self.cache().learn(spelling, place.key);
        }
        stored
    }
}

/// Returns the cost of repeating a call, without loading and without waiting for a core.
fn cost(cost: &CallCost) -> Duration {
    match cost.processor {
        Some(processor) => processor,
        // It ended on the fast lane, where long calls don't, whatever the wall clock says.
        None => (cost.start + cost.run).min(DEAR.saturating_sub(Duration::from_nanos(1))),
    }
}

/// Returns whether a function of the http form forbids storing its response (RFC 9111 §5.2.2.5).
fn says_no_store(answer: &Answer) -> bool {
    let Answer::Http(response) = answer else { return false };
    let lines = response.headers().get_all(http::header::CACHE_CONTROL);
    lines.iter().any(|line| line.to_str().is_ok_and(|line| line.to_ascii_lowercase().contains("no-store")))
}
