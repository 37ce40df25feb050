//! Fused chains: a pipeline's functions are linked into one component and compiled, so that a hop
//! is a call inside one instance.
//!
//! ```text
//! deployed, or called but missing --(a chain)--> queue --> linked, compiled (one thread) --> used
//! deployed with `fuse = "always"` --> linked, compiled --> published, or refused with the reason
//! ```
//!
//! The shard chooses for each call whether to run it fused or stepwise, by the measured times of
//! both ([`FusionTrial`](nebula_pipeline::FusionTrial)).
//!
//! Invariants:
//! * A fused chain gives the same answer as its steps one after the other. If it gives none, the
//!   steps run.
//! * The id of the code covers everything that it depends on: the functions, and the limits of
//!   each.
//! * One chain is linked and compiled at a time. It takes one of the places for compilers, so a
//!   deploy or a first call that has to compile may wait for it; other calls don't.

mod queue;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nebula_codec::is_ambiguous;
use nebula_engine::{CompileError, Loaded};
use nebula_linker::{Link, fuse};
use nebula_model::description::Fuse;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::{COMPONENT_BYTES_MAX, Limits};
use nebula_model::record::{Composition, VersionRecord};
use nebula_pipeline::{Call, InvalidPipeline, OutputType, Plan};
use nebula_store::{MayConflict, StoreError};
use nebula_telemetry::trace::Scope;
use sha2::{Digest as _, Sha256};

pub(super) use self::queue::Queue;
use self::queue::QueuedChain;
use super::component::Deploying;
use super::names::Names;
use super::pipelines::{DeployedPipeline, PlanError, PlannedPipeline};
use super::{DeployError, Deployer};
use crate::call::function::{Composed, Function};
use crate::error::LoadError;
use crate::executor::Executor;
use crate::pool::Pool;

/// Rises with every change of how chains are linked.
const LINKER: u32 = 1;

/// Most chains in the queue. Further chains run stepwise until they are called again.
const QUEUE_MAX: usize = 4096;

/// Why a call of a pipeline can't be part of one component.
#[derive(Clone, Copy, Debug)]
struct Obstacle<'a> {
    function: &'a FunctionRef,
    kind: ObstacleKind,
}

#[derive(Clone, Copy, Debug)]
enum ObstacleKind {
    /// No version of the function is known.
    Unresolved,
    /// The function is a pipeline, or takes payloads or whole requests.
    Form,
    /// The function has a lower limit than the pipeline. In one component all functions share the
    /// pipeline's limits.
    LowerLimit(&'static str),
    /// The function has a configuration. In one component all functions would see it.
    Config,
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, kind } = self;
        match kind {
            ObstacleKind::Unresolved => write!(formatter, "`{function}` isn't deployed"),
            ObstacleKind::Form => write!(formatter, "`{function}` is not a typed component"),
            ObstacleKind::LowerLimit(limit) => {
                write!(formatter, "`{function}` has a lower `{limit}` than the pipeline")
            }
            ObstacleKind::Config => {
                write!(formatter, "`{function}` has a configuration, which the other functions would see")
            }
        }
    }
}

/// Returns the digest under which a pipeline's fused code is stored. `None` if the chain must not
/// be fused: its description forbids it, or a function can't be part of one component.
fn fused_id(function: &Function) -> Option<Digest> {
    let composition = function.record.pipeline.as_ref()?;
    if composition.description.fuse == Fuse::Never {
        return None;
    }
    chain_id(function, function.composed()?, composition).ok()
}

/// Returns the digest of everything that the fused code of a chain depends on.
///
/// # Errors
/// The first [`Obstacle`].
fn chain_id<'a>(
    function: &Function,
    composed: &Composed,
    composition: &'a Composition,
) -> Result<Digest, Obstacle<'a>> {
    let own = function.limits();
    let calls = composition.description.steps.calls();
    let mut hasher = Sha256::new();
    hasher.update(b"nebula fused pipeline");
    hasher.update(LINKER.to_le_bytes());
    hasher.update(function.record.digest.bytes());
    for (index, function) in calls.iter().enumerate() {
        let obstacle = |kind| Obstacle { function, kind };
        let step = composed.steps().get(&function.to_string());
        let step = step.ok_or_else(|| obstacle(ObstacleKind::Unresolved))?;
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // The shortest deadline holds for the whole chain: `fused_deadline`.
            deadline_ms: _,
            // The pipeline's limit holds for the log of the chain.
            log_bytes_max: _,
        } = step.limits();
        if step.record.pipeline.is_some() || step.record.description.form != Form::Typed {
            return Err(obstacle(ObstacleKind::Form));
        }
        if !step.record.config.is_empty() {
            return Err(obstacle(ObstacleKind::Config));
        }
        if own.memory_bytes_max > *memory_bytes_max {
            return Err(obstacle(ObstacleKind::LowerLimit("memory_bytes_max")));
        }
        if index == 0 && own.input_bytes_max > *input_bytes_max {
            return Err(obstacle(ObstacleKind::LowerLimit("input_bytes_max")));
        }
        if index + 1 == calls.len() && own.output_bytes_max > *output_bytes_max {
            return Err(obstacle(ObstacleKind::LowerLimit("output_bytes_max")));
        }
        hasher.update(step.record.digest.bytes());
        hasher.update(input_bytes_max.to_le_bytes());
        hasher.update(output_bytes_max.to_le_bytes());
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// Why a chain isn't fused.
#[derive(Debug, thiserror::Error)]
enum NotFused {
    /// The chain can't be one component. The reason is for the pipeline's author.
    #[error("{0}")]
    Impossible(String),
    /// The host failed, or has changed meanwhile.
    #[error(transparent)]
    Host(#[from] DeployError),
}

impl From<StoreError> for NotFused {
    fn from(error: StoreError) -> Self {
        Self::Host(error.into())
    }
}

impl From<LoadError> for NotFused {
    fn from(error: LoadError) -> Self {
        Self::Host(error.into())
    }
}

impl From<CompileError> for NotFused {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Uncompilable(_) | CompileError::TooCostly => Self::Impossible(error.to_string()),
            CompileError::Process(_) => Self::Host(error.into()),
        }
    }
}

fn impossible(reason: &impl fmt::Display) -> NotFused {
    NotFused::Impossible(reason.to_string())
}

/// Returns the deadline of a fused call: the shortest deadline of the pipeline and its functions.
pub(crate) fn fused_deadline(function: &Function) -> Duration {
    let steps = function.composed().into_iter().flat_map(|composed| composed.steps().values());
    steps.map(|step| step.limits().deadline()).fold(function.limits().deadline(), Duration::min)
}

impl Deployer {
    /// Queues chains to be linked and compiled in the background, if possible.
    pub(crate) fn fuse_later<'a>(self: &Arc<Self>, records: impl IntoIterator<Item = &'a VersionRecord>) {
        let scope = Scope::current();
        let mut queue = self.lock_fusing();
        for record in records {
            if record.pipeline.is_some() && queue.chains.len() < QUEUE_MAX {
                let chain = QueuedChain { version: record.version, scope: scope.clone() };
                queue.chains.insert(record.name.clone(), chain);
            }
        }
        if queue.chains.is_empty() || queue.has_thread {
            return;
        }
        let deployer = Arc::downgrade(self);
        let work = move || {
            while let Some(deployer) = deployer.upgrade() {
                let next = {
                    let mut queue = deployer.lock_fusing();
                    let name = queue.chains.keys().next().cloned();
                    let next = name.and_then(|name| queue.chains.remove_entry(&name));
                    queue.has_thread = next.is_some();
                    next
                };
                let Some((name, QueuedChain { version, scope })) = next else { return };
                // A chain that can't be linked or compiled runs stepwise.
                let _ = Scope::enter(scope, || deployer.fuse(name, version));
            }
        };
        queue.has_thread = thread::Builder::new().name("nebula-fuse".to_owned()).spawn(work).is_ok();
    }

    fn lock_fusing(&self) -> MutexGuard<'_, Queue> {
        self.fusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links and compiles one chain, unless its description forbids it. `None` if that isn't
    /// possible.
    fn fuse(&self, name: FunctionName, version: Version) -> Option<()> {
        let function =
            self.functions.resolve(&FunctionRef { name, selector: Selector::Version(version) }).ok()?;
        let id = fused_id(&function)?;
        let (composed, composition) = (function.composed()?, function.record.pipeline.as_ref()?);
        let plan = self.with_names(|names| names.pinned_plan(composition)).ok()?;
        self.fuse_as(&id, composed, &plan).ok()
    }

    /// Links and compiles the chains of a change that are always to run as one component, with the
    /// functions as `plan` plans them, so that the change is refused if one can't. Their code is kept
    /// while the returned guards live. Compiles, so no lock may be held.
    ///
    /// # Errors
    /// [`InvalidPipeline::CannotFuse`], or why that can't be told, and the errors of `plan`.
    pub(super) fn fuse_always<E: From<PlanError> + From<LoadError> + MayConflict>(
        &self,
        deployed: &[DeployedPipeline<'_>],
        mut plan: impl FnMut(&mut Names<'_>) -> Result<Vec<PlannedPipeline>, E>,
    ) -> Result<Vec<Deploying<'_>>, E> {
        if !deployed.iter().any(DeployedPipeline::is_always_fused) {
            return Ok(Vec::new());
        }
        let chains = self.with_names(|names| {
            let mut chains = Vec::new();
            for PlannedPipeline { record, plan, follows, .. } in plan(names)? {
                let Some(composition) = record.pipeline.as_ref().filter(|_| !follows) else { continue };
                if composition.description.fuse == Fuse::Always {
                    let steps = names.steps(composition).map_err(PlanError::from)?;
                    chains.push((self.functions.prospective(record, steps), plan));
                }
            }
            Ok::<_, E>(chains)
        })?;
        let fuse = |(function, plan): &(Arc<Function>, Plan)| {
            self.fuse_now(function, plan).map_err(|error| PlanError::of(&function.record.name, error).into())
        };
        chains.iter().map(fuse).collect()
    }

    /// Links and compiles the chain of a version that isn't published yet, and keeps its code while
    /// the returned guard lives.
    fn fuse_now(&self, function: &Function, plan: &Plan) -> Result<Deploying<'_>, DeployError> {
        let (Some(composed), Some(composition)) = (function.composed(), &function.record.pipeline) else {
            return Err(DeployError::Internal("a version without a pipeline can't be fused".to_owned()));
        };
        let refused = |reason: String| DeployError::from(InvalidPipeline::CannotFuse { reason });
        // A reason of the description comes before one of a function.
        plan.links().map_err(|reason| refused(reason.to_string()))?;
        let id = chain_id(function, composed, composition).map_err(|found| refused(found.to_string()))?;
        let keep = Deploying::begin(self, id);
        match self.fuse_as(&id, composed, plan) {
            Ok(()) => Ok(keep),
            Err(NotFused::Impossible(reason)) => Err(refused(reason)),
            Err(NotFused::Host(error)) => Err(error),
        }
    }

    /// Links and compiles the chain of a pipeline, and stores the code as `id`.
    fn fuse_as(&self, id: &Digest, composed: &Composed, plan: &Plan) -> Result<(), NotFused> {
        let code = self.executor.code();
        if code.open(id)?.is_some() {
            return Ok(());
        }
        let calls = plan.links().map_err(|reason| impossible(&reason))?;
        let mut links = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let Call { label, function, callee, .. } = &plan.calls[*call];
            let step = composed.steps().get(&function.to_string());
            let step = step.ok_or_else(|| impossible(&format!("`{function}` isn't deployed")))?;
            // Between steps there is one NaN, and a map has each key once. A fused chain passes
            // values on unchanged, so a chain with such a type isn't fused.
            let is_last = index + 1 == calls.len();
            if !is_last && matches!(&callee.output, OutputType::Value(ty) if is_ambiguous(ty)) {
                let reason =
                    format!("`{label}` passes on floats or a map, which are normalised between steps");
                return Err(NotFused::Impossible(reason));
            }
            let described = self.executor.describe(&step.record.digest)?;
            let types = described.and_then(|described| described.types);
            let signature = types.ok_or(LoadError::NotCompiled { digest: step.record.digest })?;
            links.push((self.store.read_component(&step.record.digest)?, signature, step));
        }
        let bytes: usize = links.iter().map(|(component, ..)| component.len()).sum();
        if bytes > COMPONENT_BYTES_MAX {
            let reason =
                format!("its components have {bytes} bytes together; the limit is {COMPONENT_BYTES_MAX}");
            return Err(NotFused::Impossible(reason));
        }
        // The output limit of a link is bounded by the input limit of the next one.
        let passed_on = links.windows(2).filter_map(|pair| match pair {
            [(.., step), (.., next)] => {
                Some(step.limits().output_bytes_max.min(next.limits().input_bytes_max))
            }
            _ => None,
        });
        let chain: Vec<_> = links
            .iter()
            .zip(passed_on.chain([u64::MAX]))
            .map(|((component, signature, _), output_bytes_max)| Link {
                component,
                signature,
                output_bytes_max,
            })
            .collect();
        let pool = self.executor.fused_pool();
        let engine = pool.ok_or_else(|| impossible(&"this host has no room for it"))?.engine();
        let component = fuse(&chain).map_err(|error| impossible(&error))?;
        // Without this check, every call would read code that needs more than an instance may have.
        let accept =
            |code: &[u8]| engine.describe_compiled(code).map(drop).map_err(|error| impossible(&error));
        code.get_or_compile_bytes(id, || Ok(component.into()), accept).map(drop)
    }

    /// Returns the digests under which the fused code of current pipelines is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn fused_ids(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut ids = HashSet::new();
        for name in self.store.pipelines()? {
            let current = self.functions.resolve(&FunctionRef { name, selector: Selector::Current });
            ids.extend(current.ok().and_then(|function| fused_id(&function)));
        }
        Ok(ids)
    }
}

impl Executor {
    /// Loads the fused component of a pipeline into `pool`, if it is linked and compiled. Blocks on
    /// the disk.
    pub(crate) fn load_fused(&self, pool: &Pool, function: &Function) -> Option<Arc<Loaded>> {
        self.load_compiled(pool, &fused_id(function)?).ok()?
    }

    /// Loads the fused component of a pipeline into `pool` on another thread, if it is linked and
    /// compiled.
    pub(crate) async fn load_fused_elsewhere(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        function: &Function,
    ) -> Option<Arc<Loaded>> {
        self.load_elsewhere(pool, fused_id(function)?).await.ok()?
    }
}
