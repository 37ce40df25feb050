//! Chains of functions, linked to one component and compiled: a hop is a call inside one instance then.
//!
//! ```text
//! deployed, or called and not there --(a chain)--> queue --> linked, compiled (one thread) --> its code may be used
//! ```
//!
//! Which of the two ways a call takes is the shard's to say, by what both have taken
//! ([`FusionTrial`](nebula_pipeline::FusionTrial)).
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
use nebula_engine::{Engine, Loaded};
use nebula_linker::{Link, fuse};
use nebula_model::description::Fuse;
use nebula_model::form::Form;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::COMPONENT_BYTES_MAX;
use nebula_model::record::VersionRecord;
use nebula_pipeline::OutputType;
use nebula_store::StoreError;
use sha2::{Digest as _, Sha256};

use super::compose::Names;
use super::{Runtime, Shared};
use crate::function::Function;
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
        let limits = step.limits();
        let may_have_it = own.memory_bytes_max <= limits.memory_bytes_max
            && (index > 0 || own.input_bytes_max <= limits.input_bytes_max)
            && (index + 1 < calls.len() || own.output_bytes_max <= limits.output_bytes_max);
        if step.composed().is_some() || step.record.description.form != Form::Typed || !may_have_it {
            return None;
        }
        hasher.update(step.record.digest.bytes());
        hasher.update(limits.input_bytes_max.to_le_bytes());
        hasher.update(limits.output_bytes_max.to_le_bytes());
    }
    Some(Digest::from_bytes(hasher.finalize().into()))
}

/// The time that a call of it may take as one component: none of its functions may have longer.
pub(super) fn fused_deadline(function: &Function) -> Duration {
    let steps = function.composed().into_iter().flat_map(|composed| composed.steps().values());
    steps.map(|step| step.limits().deadline()).fold(function.limits().deadline(), Duration::min)
}

impl Runtime {
    /// Has chains linked and compiled, if they can be; nobody waits for it.
    pub(crate) fn fuse_later<'a>(&self, records: impl IntoIterator<Item = &'a VersionRecord>) {
        let mut queue = self.lock_fusing();
        for record in records {
            if record.pipeline.is_some() && queue.chains.len() < QUEUE_MAX {
                queue.chains.insert(record.name.clone(), record.version);
            }
        }
        if queue.chains.is_empty() || queue.has_thread {
            return;
        }
        let runtime = Arc::downgrade(&self.0);
        let work = move || {
            while let Some(runtime) = runtime.upgrade().map(Runtime) {
                let next = {
                    let mut queue = runtime.lock_fusing();
                    let name = queue.chains.keys().next().cloned();
                    let next = name.and_then(|name| queue.chains.remove_entry(&name));
                    queue.has_thread = next.is_some();
                    next
                };
                let Some((name, version)) = next else { return };
                // What can't be linked or compiled runs step by step.
                let _ = runtime.fuse(name, version);
            }
        };
        queue.has_thread = thread::Builder::new().name("nebula-fuse".to_owned()).spawn(work).is_ok();
    }

    fn lock_fusing(&self) -> MutexGuard<'_, Queue> {
        self.0.fusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links and compiles one. `None` where it isn't to be had.
    fn fuse(&self, name: FunctionName, version: Version) -> Option<()> {
        let Shared { registry, compiler, compatibility, .. } = &*self.0;
        let function = self.resolve(&FunctionRef { name, selector: Selector::Version(version) }).ok()?;
        let (composed, composition) = (function.composed()?, function.record.pipeline.as_ref()?);
        let id = fused_id(&function)?;
        if registry.open_compiled(&id, compatibility).ok()?.is_some() {
            return Some(());
        }
        let plan = Names::new(self).pinned_plan(composition).ok()?;
        let calls = plan.chain()?;
        let mut links = Vec::new();
        for call in &calls {
            let call = &plan.calls[*call];
            let step = composed.steps().get(&call.function.to_string())?;
            // Between steps there is one NaN, and a map has each key once; as one component values pass on as they are.
            let is_last = links.len() + 1 == calls.len();
            if !is_last && matches!(&call.callee.output, OutputType::Value(ty) if is_ambiguous(ty)) {
                return None;
            }
            let signature = self.describe(&step.record.digest).ok()?.types?;
            links.push((registry.read_component(&step.record.digest).ok()?, signature, step));
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
        let artefact = compiler.compile(&fuse(&chain).ok()?).ok()?;
        // One that takes more than an instance is given would be read for nothing by every call.
        self.fused_pool()?.engine().describe_compiled(&artefact).ok()?;
        registry.store_compiled(&id, compatibility, &artefact).ok()
    }

    /// Under which the code of chains is kept that may be called.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn fused_ids(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut ids = HashSet::new();
        for name in self.0.registry.pipelines()? {
            let current = self.resolve(&FunctionRef { name, selector: Selector::Current });
            ids.extend(current.ok().and_then(|function| fused_id(&function)));
        }
        Ok(ids)
    }

    /// An engine for fused components, with its part of the room for loaded ones.
    pub(crate) fn new_fused_pool(&self) -> Option<Pool> {
        let Shared { compiler, ticker, loaded_bytes_max, .. } = &*self.0;
        let engine = Engine::for_fused(compiler.codegen(), ticker).ok()?;
        Some(Pool::new(engine, *loaded_bytes_max))
    }

    /// The compute lane's.
    pub(super) fn fused_pool(&self) -> Option<&Pool> {
        self.0.fused_pool.get_or_init(|| self.new_fused_pool()).as_ref()
    }

    /// A pipeline's one component, if it is linked and compiled.
    pub(crate) fn load_fused(&self, pool: &Pool, function: &Function) -> Option<Arc<Loaded>> {
        let id = fused_id(function)?;
        match pool.get(&id) {
            Some(loaded) => Some(loaded),
            None => pool.load(&self.0.registry, &self.0.compatibility, &id).ok()?,
        }
    }
}
