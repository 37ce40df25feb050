//! Pools: the loaded components of one engine, under the budget that all engines share.
//!
//! ```text
//! store --read, MAC--> Compiled (one per component) --map, link--> Loaded (one per engine)
//!                          \________ held by the LoadedSet, under one budget _________/
//! ```
//!
//! A function that isn't called costs only bytes on disk. Its first call reads and authenticates
//! the compiled code. If that is missing, damaged or another engine's, it has to be compiled again.
//! Every further engine maps the same memory.
//!
//! Invariants:
//! * A hit takes a lock of this pool and writes nothing that other pools read.
//! * An evicted component is found only while something else still uses it.

mod set;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nebula_engine::{Engine, Loaded};
use nebula_model::id::Digest;
use nebula_store::Compiled;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::set::{LoadedCounts, LoadedSet, Unused};
use crate::deploy::compiled::CompiledCode;
use crate::error::LoadError;

pub(crate) struct Pool {
    engine: Engine,
    id: set::PoolId,
    set: Arc<LoadedSet>,
    /// The set's components of this engine.
    found: Mutex<HashMap<Digest, Weak<Loaded>>>,
    /// Held while a component is loaded on another thread, so that callers who miss it at the same
    /// time load it once.
    loading: Arc<Semaphore>,
}

impl Pool {
    /// Creates a pool for `engine`. Its components count towards the budget of `set`.
    pub(crate) fn new(engine: Engine, set: Arc<LoadedSet>) -> Self {
        Self {
            engine,
            id: set.new_pool(),
            set,
            found: Mutex::default(),
            loading: Arc::new(Semaphore::new(1)),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits until no other caller loads a component on another thread.
    pub(crate) async fn loading(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.loading).acquire_owned().await.ok()
    }

    /// Returns the component, if it is loaded.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        self.lock().get(digest).and_then(Weak::upgrade)
    }

    /// Maps the component's compiled code, if another engine has loaded it. Reads no disk.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load_shared(&self, digest: &Digest) -> Result<Option<Arc<Loaded>>, LoadError> {
        self.set.compiled(digest).map(|compiled| self.map(digest, compiled)).transpose()
    }

    /// Maps the component's compiled code; `None` if the store has no authentic code. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load(
        &self,
        code: &CompiledCode,
        digest: &Digest,
    ) -> Result<Option<Arc<Loaded>>, LoadError> {
        // Two threads that miss at the same time both read the code. Neither waits for the other,
        // which may be a thread of idle priority.
        let compiled = match self.set.compiled(digest) {
            Some(compiled) => compiled,
            None => match code.open(digest)? {
                Some(compiled) => self.set.add_compiled(*digest, compiled),
                None => return Ok(None),
            },
        };
        self.map(digest, compiled).map(Some)
    }

    fn map(&self, digest: &Digest, compiled: Arc<Compiled>) -> Result<Arc<Loaded>, LoadError> {
        let loaded = match self.engine.load(&compiled.path()) {
            Ok(loaded) => Arc::new(loaded),
            Err(reason) => {
                self.set.drop_unused(digest);
                return Err(LoadError::Engine(reason));
            }
        };
        let loaded = self.set.admit(self.id, *digest, compiled, loaded);
        let mut found = self.lock();
        found.retain(|_, loaded| loaded.strong_count() > 0);
        found.insert(*digest, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    /// Unloads everything that no call is using.
    pub(crate) fn clear(&self) {
        *self.lock() = HashMap::new();
        self.set.clear_pool(self.id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Loaded>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.set.clear_pool(self.id);
    }
}

#[cfg(test)]
mod tests;
