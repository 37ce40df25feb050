//! One version of a function, as calls see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use nebula_cache::FunctionKey;
use nebula_model::id::FunctionRef;
use nebula_model::limits::Limits;
use nebula_model::record::VersionRecord;
use nebula_pipeline::{Arms, Plan};

use crate::call::lane::Share;

/// How many short calls on the compute lane earn a function its place on the fast lane again.
const SHORT_CALLS_TO_RETURN: u32 = 16;

/// What the host remembers of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nothing of any.
    Off,
    /// What its functions say.
    Usual,
    /// Nothing, as its results can't be relied on.
    Distrusted,
}

/// One version of a function: there is one of these however it is asked for.
#[derive(Debug)]
pub struct Function {
    /// What the registry says of it.
    pub record: VersionRecord,
    limits: Limits,
    key: FunctionKey,
    memory: Memory,
    identity: HeaderValue,
    history: History,
    share: Share,
    composed: Option<Composed>,
}

/// A pipeline's functions.
#[derive(Debug)]
pub(crate) struct Composed {
    /// By how the description names them.
    steps: BTreeMap<String, Arc<Function>>,
    /// Made by the first call.
    plan: OnceLock<Arc<Plan>>,
    /// What running it as one component has taken, and step by step.
    arms: Arms,
}

impl Composed {
    pub(crate) fn new(steps: BTreeMap<String, Arc<Function>>) -> Self {
        Self { steps, plan: OnceLock::new(), arms: Arms::default() }
    }

    pub(crate) fn steps(&self) -> &BTreeMap<String, Arc<Function>> {
        &self.steps
    }

    pub(crate) fn plan(&self) -> &OnceLock<Arc<Plan>> {
        &self.plan
    }

    pub(crate) fn arms(&self) -> &Arms {
        &self.arms
    }
}

impl Function {
    /// `share` is its part of the compute lane.
    pub(crate) fn new(
        record: VersionRecord,
        limits: Limits,
        share: Share,
        memory: Memory,
        composed: Option<Composed>,
    ) -> Arc<Self> {
        let identity = format!("{}@{}; digest={}", record.name, record.version, record.digest);
        // A name is letters, digits and hyphens.
        let identity = HeaderValue::try_from(identity).unwrap_or(HeaderValue::from_static(""));
        // Much memory can keep a single instruction busy for long, and no clock interrupts one.
        let history = History::new(limits.memory_bytes_max > Limits::default().memory_bytes_max);
        let key = FunctionKey::new(&record.digest, record.description.form, &limits, &record.remember);
        let key = match &composed {
            Some(Composed { steps, .. }) => {
                let calls = record.pipeline.iter().flat_map(|it| it.description.steps.calls());
                let step = |call: &FunctionRef| steps.get(&call.to_string()).map(|step| step.key);
                FunctionKey::of_pipeline(&key, &calls.filter_map(step).collect::<Vec<_>>())
            }
            None => key,
        };
        Arc::new(Self { record, limits, key, memory, identity, history, share, composed })
    }

    /// The limits its calls run under.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// `name@version; digest=sha256:…`: what an answer says of who gave it, made once.
    pub fn identity(&self) -> &HeaderValue {
        &self.identity
    }

    /// The same as text.
    pub(crate) fn identity_text(&self) -> String {
        self.identity.to_str().unwrap_or_default().to_owned()
    }

    /// What names its results.
    pub(crate) fn key(&self) -> &FunctionKey {
        &self.key
    }

    /// Whether its results are remembered.
    pub(crate) fn remembers(&self) -> bool {
        self.memory == Memory::Usual && !self.record.remember.off
    }

    /// Whether [two computations](crate::Disagreement) of a call of its component came to different answers.
    pub fn is_distrusted(&self) -> bool {
        self.memory == Memory::Distrusted
    }

    /// If it is a pipeline: its functions.
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

/// What a function's calls have been like: it decides where its next one starts.
#[derive(Debug)]
pub(crate) struct History {
    /// Short calls still to be seen on the compute lane; at 0 calls start on the fast lane.
    ///
    /// Every core reads it, so it is written only when it changes.
    short_calls_owed: AtomicU32,
}

impl History {
    fn new(long: bool) -> Self {
        Self { short_calls_owed: AtomicU32::new(if long { SHORT_CALLS_TO_RETURN } else { 0 }) }
    }

    /// Whether the next call starts on the compute lane.
    pub(crate) fn is_long(&self) -> bool {
        self.short_calls_owed.load(Ordering::Relaxed) > 0
    }

    /// A call took too long for the fast lane.
    pub(crate) fn was_long(&self) {
        self.short_calls_owed.store(SHORT_CALLS_TO_RETURN, Ordering::Relaxed);
    }

    /// A call on the compute lane would have done on the fast one.
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
    fn a_long_call_is_remembered_until_enough_short_ones_came() {
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
