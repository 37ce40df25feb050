//! Fused chains: a pipeline's functions are linked into one component and compiled, so that a hop
//! is a call inside one instance.
//!
//! ```text
//! deployed, or called but missing --(a chain)--> queue --> linked, compiled (one thread) --> used
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
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nebula_codec::is_ambiguous;
use nebula_engine::Loaded;
use nebula_linker::{Link, fuse};
use nebula_model::description::Fuse;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::{COMPONENT_BYTES_MAX, Limits};
use nebula_model::record::VersionRecord;
use nebula_pipeline::OutputType;
use nebula_store::StoreError;
use sha2::{Digest as _, Sha256};

pub(super) use self::queue::Queue;
use super::Deployer;
use crate::call::function::Function;
use crate::error::LoadError;
use crate::executor::Executor;
use crate::pool::Pool;

/// Rises with every change of how chains are linked.
const LINKER: u32 = 1;

/// Most chains in the queue. Further chains run stepwise until they are called again.
const QUEUE_MAX: usize = 4096;

/// Returns the digest under which a pipeline's fused code is stored. `None` if the chain must not
/// be fused: its description forbids it, a step isn't a typed component, or a function has lower
/// limits than the pipeline. In one component all functions share the pipeline's limits.
fn fused_id(function: &Function) -> Option<Digest> {
    let (composed, composition) = (function.composed()?, function.record.pipeline.as_ref()?);
    let own = function.limits();
    if composition.description.fuse == Fuse::Never {
        return None;
    }
    let calls = composition.description.steps.calls();
    let mut hasher = Sha256::new();
    hasher.update(b"nebula fused pipeline");
    hasher.update(LINKER.to_le_bytes());
    hasher.update(function.record.digest.bytes());
    for (index, call) in calls.iter().enumerate() {
        let step = composed.steps().get(&call.to_string())?;
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // The shortest deadline holds for the whole chain: `fused_deadline`.
            deadline_ms: _,
            // The pipeline's limit holds for the log of the chain.
            log_bytes_max: _,
        } = step.limits();
        let may_have_it = own.memory_bytes_max <= *memory_bytes_max
            && (index > 0 || own.input_bytes_max <= *input_bytes_max)
            && (index + 1 < calls.len() || own.output_bytes_max <= *output_bytes_max);
        if step.composed().is_some() || step.record.description.form != Form::Typed || !may_have_it {
            return None;
        }
        hasher.update(step.record.digest.bytes());
        hasher.update(input_bytes_max.to_le_bytes());
        hasher.update(output_bytes_max.to_le_bytes());
    }
    Some(Digest::from_bytes(hasher.finalize().into()))
}

/// Returns the deadline of a fused call: the shortest deadline of the pipeline and its functions.
pub(crate) fn fused_deadline(function: &Function) -> Duration {
    let steps = function.composed().into_iter().flat_map(|composed| composed.steps().values());
    steps.map(|step| step.limits().deadline()).fold(function.limits().deadline(), Duration::min)
}

impl Deployer {
    /// Queues chains to be linked and compiled in the background, if possible.
    pub(crate) fn fuse_later<'a>(self: &Arc<Self>, records: impl IntoIterator<Item = &'a VersionRecord>) {
        let mut queue = self.lock_fusing();
        for record in records {
            if record.pipeline.is_some() && queue.chains.len() < QUEUE_MAX {
                queue.chains.insert(record.name.clone(), record.version);
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
                let Some((name, version)) = next else { return };
                // A chain that can't be linked or compiled runs stepwise.
                let _ = deployer.fuse(name, version);
            }
        };
        queue.has_thread = thread::Builder::new().name("nebula-fuse".to_owned()).spawn(work).is_ok();
    }

    fn lock_fusing(&self) -> MutexGuard<'_, Queue> {
        self.fusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links and compiles one chain. `None` if that isn't possible.
    fn fuse(&self, name: FunctionName, version: Version) -> Option<()> {
        let code = self.executor.code();
        let function =
            self.functions.resolve(&FunctionRef { name, selector: Selector::Version(version) }).ok()?;
        let (composed, composition) = (function.composed()?, function.record.pipeline.as_ref()?);
        let id = fused_id(&function)?;
        if code.open(&id).ok()?.is_some() {
            return Some(());
        }
        let plan = self.with_names(|names| names.pinned_plan(composition)).ok()?;
        let calls = plan.chain()?;
        let mut links = Vec::new();
        for call in &calls {
            let call = &plan.calls[*call];
            let step = composed.steps().get(&call.function.to_string())?;
            // Between steps there is one NaN, and a map has each key once. A fused chain passes
            // values on unchanged, so a chain with such a type isn't fused.
            let is_last = links.len() + 1 == calls.len();
            if !is_last && matches!(&call.callee.output, OutputType::Value(ty) if is_ambiguous(ty)) {
                return None;
            }
            let signature = self.executor.describe(&step.record.digest).ok()??.types?;
            links.push((self.store.read_component(&step.record.digest).ok()?, signature, step));
        }
        let bytes: usize = links.iter().map(|(component, ..)| component.len()).sum();
        if bytes > COMPONENT_BYTES_MAX {
            return None;
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
        let engine = self.executor.fused_pool()?.engine();
        let component = fuse(&chain).ok()?;
        // Without this check, every call would read code that needs more than an instance may have.
        let accept = |code: &[u8]| match engine.describe_compiled(code) {
            Ok(_) => Ok(()),
            Err(refused) => Err(LoadError::Engine(refused.to_string())),
        };
        code.get_or_compile_bytes(&id, || Ok(component.into()), accept).ok().map(drop)
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
