//! Loaded components of one engine, bounded in bytes: the least recently used goes first.
//!
//! A function that nobody calls is not in here: it costs bytes on disk. The first call maps its
//! compiled code; if that is missing, damaged or another engine's, it has to be compiled again.

use std::sync::Arc;

use nebula_engine::{Engine, Loaded};
use nebula_model::id::Digest;
use nebula_store::Store;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::LoadError;

/// What a loaded component takes besides its code, bytes: types, tables of functions, its image.
const LOADED_BYTES_BESIDES: u64 = 128 * 1024;

/// How many components of an average size the bookkeeping is laid out for.
const EXPECTED: usize = 256;

pub(crate) struct Pool {
    engine: Engine,
    loaded: Cache<Digest, Pooled, Weight>,
}

#[derive(Clone)]
struct Pooled {
    loaded: Arc<Loaded>,
    code_bytes: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Pooled> for Weight {
    fn weight(&self, _: &Digest, pooled: &Pooled) -> u64 {
        pooled.code_bytes + LOADED_BYTES_BESIDES
    }
}

impl Pool {
    /// Keeps components of at most `bytes_max` loaded; one that is larger than all of it is loaded anew
    /// for each call.
    pub(crate) fn new(engine: Engine, bytes_max: u64) -> Self {
        Self { engine, loaded: Cache::with_weighter(EXPECTED, bytes_max, Weight) }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The component, if it is loaded.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        self.loaded.get(digest).map(|pooled| pooled.loaded)
    }

    /// Maps the component's compiled code; `None` if there is none to be trusted.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load(
        &self,
        registry: &Store,
        compatibility: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<Loaded>>, LoadError> {
        let Some(compiled) = registry.open_compiled(digest, compatibility)? else { return Ok(None) };
        let loaded = Arc::new(self.engine.load(&compiled.path).map_err(LoadError::Engine)?);
        let pooled = Pooled { loaded: Arc::clone(&loaded), code_bytes: compiled.bytes };
        self.loaded.insert(*digest, pooled);
        Ok(Some(loaded))
    }

    /// Unloads everything that no call is using.
    pub(crate) fn clear(&self) {
        self.loaded.clear();
    }
}
