//! Chains of functions, linked to one component and compiled: a hop is a call inside one instance then.
//!
//! ```text
//! deployed, or called and not there --(a chain)--> queue --> linked, compiled (one thread) --> its code may be used
//! ```
//!
//! Which of the two ways a call takes is the shard's to say, by what both have taken
//! ([`Arms`](nebula_pipeline::Arms)).
//!
//! Invariants:
//! * What a fused chain answers is what its steps answer one after the other. Where it gives no answer it says nothing:
//!   the steps run.
//! * Code is found by everything that it depends on: the functions, and what each of them may use.
//! * One chain is linked and compiled at a time, and no deploy or call waits for it.

use std::collections::{HashMap, HashSet};
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
use nebula_pipeline::Gives;
use nebula_store::StoreError;
use sha2::{Digest as _, Sha256};

use super::Deployer;
use crate::call::function::Function;
use crate::error::LoadError;
use crate::executor::Executor;
use crate::pool::Pool;

/// Goes up with every change of what linking makes of a chain.
const LINKER: u32 = 1;

/// Chains that wait to be linked; of more some run step by step until they are called again.
const QUEUE_MAX: usize = 4096;

/// Chains that wait, and whether somebody is at it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The version of each name, and the latest alone.
    chains: HashMap<FunctionName, Version>,
    has_thread: bool,
}

/// Under which the code of a pipeline is kept that was linked to one component. `None` of one that isn't to be, by what
/// its functions may use: as one component all of them share what the pipeline may.
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
            // The shortest of them is the whole's: `fused_deadline`.
            deadline_ms: _,
            // The log of a whole has the pipeline's limit.
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

/// The time that a call of it may take as one component: none of its functions may have longer.
pub(crate) fn fused_deadline(function: &Function) -> Duration {
    let steps = function.composed().into_iter().flat_map(|composed| composed.steps().values());
    steps.map(|step| step.limits().deadline()).fold(function.limits().deadline(), Duration::min)
}

impl Deployer {
    /// Has chains linked and compiled, if they can be; nobody waits for it.
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
                // What can't be linked or compiled runs step by step.
                let _ = deployer.fuse(name, version);
            }
        };
        queue.has_thread = thread::Builder::new().name("nebula-fuse".to_owned()).spawn(work).is_ok();
    }

    fn lock_fusing(&self) -> MutexGuard<'_, Queue> {
        self.fusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links and compiles one. `None` where it isn't to be had.
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
            // Between steps there is one NaN, and a map has each key once; as one component values pass on as they are.
            let is_last = links.len() + 1 == calls.len();
            if !is_last && matches!(&call.callee.gives, Gives::Value(ty) if is_ambiguous(ty)) {
                return None;
            }
            let signature = self.executor.describe(&step.record.digest).ok()??.types?;
            links.push((self.registry.read_component(&step.record.digest).ok()?, signature, step));
        }
        let bytes: usize = links.iter().map(|(component, ..)| component.len()).sum();
        if bytes > COMPONENT_BYTES_MAX {
            return None;
        }
        // What one gives the next one takes.
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
        // Code that takes more than an instance is given would be read in vain by every call.
        let accept = |code: &[u8]| match engine.describe_compiled(code) {
            Ok(_) => Ok(()),
            Err(refused) => Err(LoadError::Engine(refused.to_string())),
        };
        code.get_or_compile_bytes(&id, || Ok(component.into()), accept).ok().map(drop)
    }

    /// Under which the code of chains is kept that may be called.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn fused_ids(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut ids = HashSet::new();
        for name in self.registry.pipelines()? {
            let current = self.functions.resolve(&FunctionRef { name, selector: Selector::Current });
            ids.extend(current.ok().and_then(|function| fused_id(&function)));
        }
        Ok(ids)
    }
}

impl Executor {
    /// Loads the fused component of a pipeline into `pool`, if it is linked and compiled.
    pub(crate) fn load_fused(&self, pool: &Pool, function: &Function) -> Option<Arc<Loaded>> {
        self.load_compiled(pool, &fused_id(function)?).ok()?
    }
}
