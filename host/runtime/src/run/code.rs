//! The loaded code of a function: a component, or a pipeline with all the functions it calls.
//!
//! Invariant: all functions of a pipeline are loaded before it starts, each once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use nebula_engine::{Kind, Loaded};
use nebula_model::id::{Digest, FunctionName, FunctionRef, Version};
use nebula_pipeline as pipeline;
use nebula_pipeline::{Callee, InputType, Plan};

use crate::call::function::Function;
use crate::call::invoke::{Intake, Interface};
use crate::error::LoadError;
use crate::pool::Pool;
use crate::runtime::Runtime;

/// The loaded code of a function.
#[derive(Clone)]
pub(crate) enum Code {
    Component(Arc<Loaded>),
    Pipeline(Arc<Staged>),
}

/// A pipeline with the loaded code of all the functions it calls.
pub(crate) struct Staged {
    pub(super) plan: Arc<Plan>,
    /// One for each call of the plan.
    pub(super) steps: Vec<Stage>,
}

#[derive(Clone)]
pub(super) struct Stage {
    pub(super) function: Arc<Function>,
    pub(super) code: Code,
}

/// Code for the compute lane.
pub(crate) struct LaneCode {
    pub(crate) code: Code,
    /// Some of it had to be loaded.
    pub(crate) is_cold: bool,
}

impl Staged {
    /// Returns whether the pipeline may be linked into one component.
    pub(crate) fn is_chain(&self) -> bool {
        self.plan.is_chain
    }
}

impl Code {
    /// Returns how the function decodes requests.
    pub(crate) fn interface(&self) -> Interface<'_> {
        match self {
            Self::Component(loaded) => Interface::of(&loaded.kind),
            Self::Pipeline(staged) => Interface {
                intake: match &staged.plan.callee.input {
                    InputType::Values(params) => Intake::Values(params),
                    InputType::Payload => Intake::Payload,
                },
                gives_flat: staged.plan.callee.output.flat().is_some(),
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
    /// Loads the code of a function for the compute lane.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) async fn lane_code(&self, function: &Function) -> Result<LaneCode, LoadError> {
        let (mut loaded, mut is_cold) = (HashMap::new(), false);
        for digest in components(function) {
            let pool = self.executor().lane_pool();
            let component = match pool.get(digest) {
                Some(component) => component,
                None => {
                    is_cold = true;
                    Box::pin(self.executor().load(pool, digest)).await?
                }
            };
            loaded.insert(*digest, component);
        }
        Ok(LaneCode { code: assemble(function, &loaded, &mut HashMap::new())?, is_cold })
    }

    /// Loads the code of a function into `pool`, for work that may wait. `None` if a component of
    /// it isn't compiled.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) fn code_in(&self, pool: &Pool, function: &Function) -> Result<Option<Code>, LoadError> {
        let mut loaded = HashMap::new();
        for digest in components(function) {
            let Some(component) = self.executor().load_compiled(pool, digest)? else { return Ok(None) };
            loaded.insert(*digest, component);
        }
        assemble(function, &loaded, &mut HashMap::new()).map(Some)
    }
}

/// Returns the components that a function runs: its own, or those of all the functions it calls.
pub(super) fn components(function: &Function) -> BTreeSet<&Digest> {
    let (mut found, mut seen) = (BTreeSet::new(), HashSet::new());
    let mut waiting = vec![function];
    while let Some(function) = waiting.pop() {
        let Some(composed) = function.composed() else {
            found.insert(&function.record.digest);
            continue;
        };
        for function in composed.steps().values() {
            if seen.insert((&function.record.name, function.record.version)) {
                waiting.push(function);
            }
        }
    }
    found
}

/// Assembles the code of a function from loaded components. A function that is called several
/// times, or by several pipelines, is assembled once.
fn assemble(
    function: &Function,
    loaded: &HashMap<Digest, Arc<Loaded>>,
    known: &mut HashMap<FunctionVersion, Code>,
) -> Result<Code, LoadError> {
    let broken = |reason: &dyn std::fmt::Display| LoadError::Engine(reason.to_string());
    let (Some(composed), Some(composition)) = (function.composed(), &function.record.pipeline) else {
        let component = loaded.get(&function.record.digest).cloned();
        return component.map(Code::Component).ok_or_else(|| broken(&"its component isn't loaded"));
    };
    let mut stages = BTreeMap::new();
    for (written, function) in composed.steps() {
        let version = (function.record.name.clone(), function.record.version);
        let code = match known.get(&version) {
            Some(code) => code.clone(),
            None => {
                let code = assemble(function, loaded, known)?;
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
    Ok(Code::Pipeline(Arc::new(Staged { plan, steps })))
}
