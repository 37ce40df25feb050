//! Chains of functions, linked to one component and compiled: a hop is a call inside one instance then.
//!
//! ```text
//! deployed --(a chain)--> linked, compiled (a thread of its own) --> its code is there, and may be used
//! ```
//!
//! Which of the two ways a call takes is the shard's to say, by what both have taken ([`Arms`](crate::pipeline::Arms)).
//!
//! Invariants:
//! * What a fused chain answers is what its steps answer one after the other. Where it gives no answer it says nothing:
//!   the steps run.
//! * One chain is compiled at a time, and no deploy waits for it.

use std::sync::{Arc, PoisonError};
use std::thread;

use super::compose::Names;
use super::{Runtime, Shared};
use crate::codec::is_ambiguous;
use crate::engine::{Engine, Form, Link, Loaded, fuse};
use crate::pipeline::{Fuse, Gives, Plan};
use crate::pool::Pool;
use crate::registry::{VersionRecord, fused_id};

impl Runtime {
    /// Has chains linked and compiled, if they can be; nobody waits for it.
    pub(super) fn fuse_later(&self, records: &[VersionRecord]) {
        let chains: Vec<_> = records.iter().filter(|record| record.pipeline.is_some()).cloned().collect();
        if chains.is_empty() {
            return;
        }
        let runtime = Arc::downgrade(&self.0);
        let work = move || {
            for record in chains {
                let Some(runtime) = runtime.upgrade().map(Runtime) else { return };
                // What can't be linked or compiled runs step by step.
                let _ = runtime.fuse(&record);
            }
        };
        let _ = thread::Builder::new().name("nebula-fuse".to_owned()).spawn(work);
    }

    /// Links and compiles one. `None` where it isn't to be had.
    fn fuse(&self, record: &VersionRecord) -> Option<()> {
        let Shared { registry, compiler, compatibility, fusing, .. } = &*self.0;
        let composition = record.pipeline.as_ref()?;
        if composition.description.fuse == Fuse::Never {
            return None;
        }
        let id = fused_id(&record.digest);
        let _fusing = fusing.lock().unwrap_or_else(PoisonError::into_inner);
        if registry.open_compiled(&id, compatibility).ok()?.is_some() {
            return Some(());
        }
        let limits = self.0.limits.with(&record.limits).ok()?;
        let plan: Plan = Names::new(self).pinned_plan(composition).ok()?;
        let mut links = Vec::new();
        let calls = plan.chain()?;
        for call in &calls {
            // Between steps there is one NaN, and a map has each key once; as one component values pass on as they are.
            let is_ambiguous =
                matches!(&plan.calls[*call].callee.gives, Gives::Value(ty) if is_ambiguous(ty));
            if is_ambiguous && Some(call) != calls.last() {
                return None;
            }
            let step = registry.resolve(&composition.version_of(&plan.calls[*call].function)?).ok()?;
            if step.pipeline.is_some() || step.description.form != Form::Typed {
                return None;
            }
            let own = self.0.limits.with(&step.limits).ok()?;
            // All of them share one, and none is to have more than by itself.
            if own.memory_bytes_max < limits.memory_bytes_max {
                return None;
            }
            let signature = self.describe(&step.digest).ok()?.types?;
            // What it gives is what the next one takes.
            let bytes_max = own.output_bytes_max.min(own.input_bytes_max);
            links.push((registry.read_component(&step.digest).ok()?, signature, bytes_max));
        }
        let least = links.iter().map(|(.., bytes_max)| *bytes_max).min()?;
        let chain: Vec<_> = links
            .iter()
            .map(|(component, signature, _)| Link { component, signature, output_bytes_max: least })
            .collect();
        let fused = fuse(&chain).ok()?;
        let artefact = compiler.compile(&fused).ok()?;
        registry.store_compiled(&id, compatibility, &artefact).ok()
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
    pub(crate) fn load_fused(&self, pool: &Pool, record: &VersionRecord) -> Option<Arc<Loaded>> {
        let id = fused_id(&record.digest);
        match pool.get(&id) {
            Some(loaded) => Some(loaded),
            None => pool.load(&self.0.registry, &self.0.compatibility, &id).ok()?,
        }
    }
}
