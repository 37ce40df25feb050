//! Loaded components, bounded: the least recently used goes first.
//!
//! A function that nobody calls is not in here: it costs bytes on disk. The first call loads its
//! compiled code; if that is missing, damaged or another engine's, it is compiled again.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::engine::{Compiler, Engine, Loaded};
use crate::error::LoadError;
use crate::id::Digest;
use crate::registry::Registry;

pub(crate) struct Pool {
    engine: Engine,
    compiler: Compiler,
    compatibility: String,
    loaded: Cache<Digest, Arc<Loaded>>,
}

impl Pool {
    pub(crate) fn new(engine: Engine, compiler: Compiler, loaded_max: usize) -> Self {
        let compatibility = engine.compatibility();
        Self { engine, compiler, compatibility, loaded: Cache::new(loaded_max) }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    pub(crate) fn compatibility(&self) -> &str {
        &self.compatibility
    }

    /// The component, if it is loaded.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        self.loaded.get(digest)
    }

    /// Loads the component, once however many ask at the same time. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) fn load(&self, registry: &Registry, digest: &Digest) -> Result<Arc<Loaded>, LoadError> {
        self.loaded.get_or_insert_with(digest, || {
            if let Some(path) = registry.open_compiled(digest, &self.compatibility)? {
                return self.engine.load(&path).map(Arc::new).map_err(LoadError::Engine);
            }
            let artefact = self.compiler.compile(&registry.read_component(digest)?)?;
            registry.store_compiled(digest, &self.compatibility, &artefact)?;
            match registry.open_compiled(digest, &self.compatibility)? {
                Some(path) => self.engine.load(&path).map(Arc::new).map_err(LoadError::Engine),
                None => Err(LoadError::Engine("compiled code vanished while it was loaded".to_owned())),
            }
        })
    }
}
