//! Functions and their versions, by name.

use std::sync::Arc;

use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector};
use nebula_model::record::VersionRecord;
use nebula_store::{ResolveError, StoreError};

use super::Runtime;
use crate::call::function::Function;
use crate::call::functions::Functions;
use crate::call::routes::RouteTable;

/// The versions of a function.
#[derive(Clone, Debug)]
pub struct FunctionVersions {
    /// The current version.
    pub current: VersionRecord,
    /// All versions, oldest first.
    pub all: Vec<VersionRecord>,
}

impl Runtime {
    /// Returns the function that `reference` names. Blocks on the disk if it isn't cached.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, reference: &FunctionRef) -> Result<Arc<Function>, ResolveError> {
        self.0.functions.resolve(reference)
    }

    /// Returns the function that `reference` names. The disk is read on another thread.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub(crate) async fn find(&self, reference: &FunctionRef) -> Result<Arc<Function>, ResolveError> {
        if let Some(found) = self.0.functions.cached(reference) {
            return found;
        }
        let reference = reference.clone();
        self.look_up(move |functions| functions.resolve(&reference)).await
    }

    /// Returns the routes of all functions. The disk is read on another thread.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn routes(&self) -> Result<Arc<RouteTable>, StoreError> {
        match self.0.functions.cached_routes() {
            Some(routes) => Ok(routes),
            None => self.look_up(Functions::routes).await,
        }
    }

    /// Reads the store on another thread.
    async fn look_up<T: Send + 'static>(&self, read: impl FnOnce(&Functions) -> T + Send + 'static) -> T {
        let functions = Arc::clone(&self.0.functions);
        match tokio::task::spawn_blocking(move || read(&functions)).await {
            Ok(found) => found,
            Err(failed) => match failed.try_into_panic() {
                // A panic of the lookup is the caller's own.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The event loop shuts down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Returns the current version of every function, by name. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<VersionRecord>, StoreError> {
        self.0.store.list()
    }

    /// Returns a number that another one follows whenever a function changes. The result of
    /// [`list`](Self::list) is current as long as the number read before it is.
    pub fn functions_generation(&self) -> u64 {
        self.functions().generation()
    }

    /// Returns the current version of a function, and all its versions, oldest first. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn versions(&self, name: &FunctionName) -> Result<FunctionVersions, ResolveError> {
        let current = FunctionRef { name: name.clone(), selector: Selector::Current };
        let current = self.0.store.resolve(&current)?;
        Ok(FunctionVersions { current, all: self.0.store.versions(name)? })
    }

    /// Returns the bytes of a component. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.0.store.read_component(digest)
    }

    /// Drops what is cached of names. Call it when the store of functions has applied changes of
    /// another host: calls that begin after it see them.
    pub fn names_changed(&self) {
        self.0.functions.uncache_all();
    }
}
