//! What runs when a function is called: a component, or a pipeline with all that it calls.
//!
//! Invariant: what a pipeline calls is loaded before it begins, each function once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Runtime;
use crate::engine::{Kind, Loaded};
use crate::error::LoadError;
use crate::function::Function;
use crate::id::{FunctionName, FunctionRef, Version};
use crate::invoke::{Intake, Interface};
use crate::pipeline::{self, Callee, Plan, Takes};

/// What runs when a function is called.
#[derive(Clone)]
pub(crate) enum Code {
    Component(Arc<Loaded>),
    Pipeline(Arc<Staged>),
}

/// A pipeline with everything that it calls.
pub(crate) struct Staged {
    pub(super) plan: Arc<Plan>,
    /// Of each call of the plan.
    pub(super) steps: Vec<Stage>,
}

#[derive(Clone)]
pub(super) struct Stage {
    pub(super) function: Arc<Function>,
    pub(super) code: Code,
}

impl Staged {
    /// Whether it may be linked to one component.
    pub(crate) fn is_chain(&self) -> bool {
        self.plan.is_chain
    }
}

impl Code {
    /// How it reads requests.
    pub(crate) fn interface(&self) -> Interface<'_> {
        match self {
            Self::Component(loaded) => loaded.kind.interface(),
            Self::Pipeline(staged) => Interface {
                intake: match &staged.plan.callee.takes {
                    Takes::Values(params) => Intake::Values(params),
                    Takes::Payload => Intake::Payload,
                },
                gives_flat: staged.plan.callee.gives.flat().is_some(),
            },
        }
    }

    fn callee(&self) -> Option<Callee> {
        match self {
            Self::Component(loaded) => match &loaded.kind {
                Kind::Typed(typed) => Some(Callee::typed(&typed.signature)),
                Kind::Raw(_) => Some(Callee::raw()),
                Kind::Http(_) => None,
            },
            Self::Pipeline(staged) => Some(staged.plan.callee.clone()),
        }
    }
}

type FunctionVersion = (FunctionName, Version);

impl Runtime {
    /// What runs where a function is called on the compute lane.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) async fn code(&self, function: &Function) -> Result<Code, LoadError> {
        self.code_among(function, &mut HashMap::new()).await
    }

    /// A pipeline with all that it calls.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) async fn stage(&self, function: &Function) -> Result<Arc<Staged>, LoadError> {
        self.stage_among(function, &mut HashMap::new()).await.map(Arc::new)
    }

    async fn code_among(
        &self,
        function: &Function,
        known: &mut HashMap<FunctionVersion, Code>,
    ) -> Result<Code, LoadError> {
        if function.composed().is_some() {
            return Box::pin(self.stage_among(function, known))
                .await
                .map(|staged| Code::Pipeline(Arc::new(staged)));
        }
        let (pool, digest) = (self.lane_pool(), &function.record.digest);
        match pool.get(digest) {
            Some(loaded) => Ok(Code::Component(loaded)),
            None => Box::pin(self.load(pool, digest)).await.map(Code::Component),
        }
    }

    /// Each function once, however often it is called, by whichever of the pipelines.
    async fn stage_among(
        &self,
        function: &Function,
        known: &mut HashMap<FunctionVersion, Code>,
    ) -> Result<Staged, LoadError> {
        let broken = |reason: &dyn std::fmt::Display| LoadError::Engine(reason.to_string());
        let (Some(composed), Some(composition)) = (function.composed(), &function.record.pipeline) else {
            return Err(broken(&"it is no pipeline"));
        };
        let mut stages = BTreeMap::new();
        for (written, function) in composed.steps() {
            let version = (function.record.name.clone(), function.record.version);
            let code = match known.get(&version) {
                Some(code) => code.clone(),
                None => {
                    let code = Box::pin(self.code_among(function, known)).await?;
                    known.insert(version, code.clone());
                    code
                }
            };
            stages.insert(written.as_str(), Stage { function: Arc::clone(function), code });
        }
        let plan = match composed.plan().get() {
            Some(plan) => Arc::clone(plan),
            None => {
                let mut lookup = |function: &FunctionRef| {
                    let callee = stages.get(function.to_string().as_str()).map(|stage| stage.code.callee());
                    callee.flatten().ok_or_else(|| "it isn't there".to_owned())
                };
                let plan = pipeline::check(&composition.description, &mut lookup);
                let plan = Arc::new(plan.map_err(|error| broken(&error))?);
                Arc::clone(composed.plan().get_or_init(|| plan))
            }
        };
        let stage = |call: &pipeline::Call| stages.get(call.function.to_string().as_str()).cloned();
        let steps: Option<Vec<_>> = plan.calls.iter().map(stage).collect();
        let steps = steps.ok_or_else(|| broken(&"a function that it calls isn't there"))?;
        Ok(Staged { plan, steps })
    }
}
