//! One version of a function, as calls see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use nebula_cache::FunctionKey;
use nebula_model::id::FunctionRef;
use nebula_model::limits::Limits;
use nebula_model::record::VersionRecord;
use nebula_pipeline::{FusionTrial, Plan};

use crate::call::lane::Share;

/// Short calls on the compute lane after which a function returns to the fast lane.
const SHORT_CALLS_TO_RETURN: u32 = 16;

/// Which results of a component the host caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CachePolicy {
    /// No results of any component.
    Off,
    /// The results that its functions allow.
    PerFunction,
    /// No results, because they aren't reliable.
    Distrusted,
}

/// One version of a function. All references to a version share one `Function`.
#[derive(Debug)]
pub struct Function {
    /// The version's record in the store.
    pub record: VersionRecord,
    limits: Limits,
    key: FunctionKey,
    cache_policy: CachePolicy,
    identity: HeaderValue,
    history: History,
    share: Share,
    composed: Option<Composed>,
}

/// The functions of a pipeline.
#[derive(Debug)]
pub(crate) struct Composed {
    /// Keyed by their names in the description.
    steps: BTreeMap<String, Arc<Function>>,
    /// Created by the first call.
    plan: OnceLock<Arc<Plan>>,
    /// The measured times of running it as one component and step by step.
    fusion_trial: FusionTrial,
}

impl Composed {
    pub(crate) fn new(steps: BTreeMap<String, Arc<Function>>) -> Self {
        Self { steps, plan: OnceLock::new(), fusion_trial: FusionTrial::default() }
    }

    pub(crate) fn steps(&self) -> &BTreeMap<String, Arc<Function>> {
        &self.steps
    }

    pub(crate) fn plan(&self) -> &OnceLock<Arc<Plan>> {
        &self.plan
    }

    pub(crate) fn fusion_trial(&self) -> &FusionTrial {
        &self.fusion_trial
    }
}

impl Function {
    /// Creates a version of a function. `share` is its share of the compute lane.
    pub(crate) fn new(
        record: VersionRecord,
        limits: Limits,
        share: Share,
        cache_policy: CachePolicy,
        composed: Option<Composed>,
    ) -> Arc<Self> {
        let identity = format!("{}@{}; digest={}", record.name, record.version, record.digest);
        // A name is letters, digits and hyphens, so this is a valid header value.
        let identity = HeaderValue::try_from(identity).unwrap_or(HeaderValue::from_static(""));
        // One instruction over a large memory can run for long, and the clock can't interrupt it.
        let history = History::new(limits.memory_bytes_max > Limits::default().memory_bytes_max);
        let key =
            FunctionKey::new(&record.digest, record.description.form, &limits, &record.cache, &record.config);
        let key = match &composed {
            Some(Composed { steps, .. }) => {
                let calls = record.pipeline.iter().flat_map(|it| it.description.steps.calls());
                let step = |call: &FunctionRef| steps.get(&call.to_string()).map(|step| step.key);
                FunctionKey::of_pipeline(&key, &calls.filter_map(step).collect::<Vec<_>>())
            }
            None => key,
        };
        Arc::new(Self { record, limits, key, cache_policy, identity, history, share, composed })
    }

    /// Returns the limits of its calls.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns `name@version; digest=sha256:…`, which answers carry in a header. Created once.
    pub fn identity(&self) -> &HeaderValue {
        &self.identity
    }

    /// Returns the [identity](Self::identity) as text.
    pub(crate) fn identity_text(&self) -> String {
        self.identity.to_str().unwrap_or_default().to_owned()
    }

    /// Returns the key that its results are cached under.
    pub(crate) fn key(&self) -> &FunctionKey {
        &self.key
    }

    /// Returns whether its results are cached.
    pub(crate) fn caches(&self) -> bool {
        self.cache_policy == CachePolicy::PerFunction && !self.record.cache.off
    }

    /// Returns whether [two computations](crate::Disagreement) of a call of its component
    /// disagreed.
    pub fn is_distrusted(&self) -> bool {
        self.cache_policy == CachePolicy::Distrusted
    }

    /// Returns the functions of a pipeline; `None` for a component.
    pub(crate) fn composed(&self) -> Option<&Composed> {
        self.composed.as_ref()
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }
}

/// A summary of how long recent calls of a function took. It decides on which lane the next one
/// starts.
#[derive(Debug)]
pub(crate) struct History {
    /// Short calls still to come on the compute lane; at 0 calls start on the fast lane.
    ///
    /// Every core reads it, so it is written only when it changes.
    short_calls_owed: AtomicU32,
}

impl History {
    fn new(long: bool) -> Self {
        Self { short_calls_owed: AtomicU32::new(if long { SHORT_CALLS_TO_RETURN } else { 0 }) }
    }

    /// Returns whether the next call starts on the compute lane.
    pub(crate) fn is_long(&self) -> bool {
        self.short_calls_owed.load(Ordering::Relaxed) > 0
    }

    /// Records a call that took too long for the fast lane.
    pub(crate) fn was_long(&self) {
        self.short_calls_owed.store(SHORT_CALLS_TO_RETURN, Ordering::Relaxed);
    }

    /// Records a call on the compute lane that was short enough for the fast lane.
    pub(crate) fn was_short(&self) {
        let less = |owed: u32| owed.checked_sub(1);
        // At 0 there is nothing to write.
        let _ = self.short_calls_owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_call_counts_until_enough_short_ones_came() {
        let history = History::new(false);
        assert!(!history.is_long());
        history.was_long();
        for _ in 0..SHORT_CALLS_TO_RETURN {
            assert!(history.is_long());
            history.was_short();
        }
        assert!(!history.is_long());
        history.was_short();
        assert!(!history.is_long());
    }
}
