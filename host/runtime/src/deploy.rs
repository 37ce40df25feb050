//! Deploys: every change of the versions that names stand for.
//!
//! ```text
//! component --admit--> --link with its imports--> --compile--> --describe--> --publish--> version
//! pipeline  --check against the functions it calls-------------------------> --publish--> version
//! ```
//!
//! Invariants:
//! * A deploy that fails changes nothing.
//! * Changes of names happen one at a time, under one lock, and nothing compiles under it.
//!
//! `naming` publishes, rolls back and removes versions. `names` plans a change. `link` resolves
//! imported functions. `fuse` links chains in the background.

pub(crate) mod compiled;
mod description;
mod error;
mod followers;
mod fuse;
mod link;
mod names;
mod naming;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nebula_engine::{Described, Refused};
use nebula_linker::InvalidImport;
use nebula_model::id::{Digest, FunctionName};
use nebula_model::record::{Description, VersionRecord};
use nebula_model::remember::Settings;
use nebula_store::{NewVersion, Publication, Store, StoreError};

pub use self::error::{Broken, DeployError};
pub use self::followers::Followers;
use self::fuse::Queue;
pub(crate) use self::fuse::fused_deadline;
pub use self::naming::NamingError;
use crate::call::functions::Functions;
use crate::executor::Executor;
use crate::results::Results;

/// Changes the versions that names stand for, on one host.
pub(crate) struct Deployer {
    store: Arc<Store>,
    executor: Arc<Executor>,
    functions: Arc<Functions>,
    results: Arc<Results>,
    /// Held while a name gets another version, so that nothing else changes while its followers are
    /// checked.
    naming: Mutex<()>,
    /// Components that are being deployed. Their compiled code is stored before a version names it.
    deploying: Mutex<Vec<Digest>>,
    /// Chains to link and compile.
    fusing: Mutex<Queue>,
}

impl Deployer {
    pub(crate) fn new(
        store: Arc<Store>,
        executor: Arc<Executor>,
        functions: Arc<Functions>,
        results: Arc<Results>,
    ) -> Self {
        Self {
            store,
            executor,
            functions,
            results,
            naming: Mutex::default(),
            deploying: Mutex::default(),
            fusing: Mutex::default(),
        }
    }

    /// Admits, links, compiles, checks and publishes a component. Durable when it returns; the next
    /// call uses the new version, calls in flight end on the old one.
    ///
    /// # Errors
    /// [`DeployError`].
    ///
    /// # Cancel safety
    /// A deploy that has started to compile completes even if the future is dropped.
    pub(crate) async fn deploy(
        self: &Arc<Self>,
        name: FunctionName,
        component: Bytes,
        settings: Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        let internal = |error: &dyn std::fmt::Display| DeployError::Internal(error.to_string());
        let permit = Arc::clone(self.executor.compiling()).acquire_owned().await;
        let permit = permit.map_err(|error| internal(&error))?;
        let this = Arc::clone(self);
        let deploying = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            this.deploy_blocking(&name, &component, settings, followers)
        });
        deploying.await.map_err(|error| internal(&error))?
    }

    fn deploy_blocking(
        self: &Arc<Self>,
        name: &FunctionName,
        component: &[u8],
        settings: Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        self.functions.limits().with(&settings.limits)?;
        nebula_engine::admit(component)?;
        // From here on, the component includes its imports: this is compiled, stored and called.
        let (component, linked) = self.link(name, component)?;
        let digest = Digest::of(&component);
        let _deploying = Deploying::begin(self, digest);
        let described = self.describe_new(&digest, &component, !linked.is_empty())?;
        let version = NewVersion {
            digest,
            size_bytes: component.len() as u64,
            limits: settings.limits,
            remember: settings.remember,
            description: Description {
                form: described.form,
                signature: described.signature.clone(),
                input_schema: described.input_schema.clone(),
                output_schema: described.output_schema.clone(),
                error_schema: described.error_schema.clone(),
                imports: described.imports.clone(),
                notes: described.notes.clone(),
            },
            pipeline: None,
            linked,
        };
        self.with_names(|names| {
            names.add(digest, &described);
            let naming = self.lock_naming();
            // Names may have changed during the compilation.
            self.refuse_import_cycles(name, &version.linked)?;
            let others = names.follow(self.store.prospect(name, &version)?, followers)?;
            let content = Cow::Borrowed(&*component);
            let publication = Publication { name, content, version: version.clone() };
            self.publish(&naming, publication, &others)
        })
    }

    /// Compiles and describes a component that no version names yet. Code that the engine refuses
    /// isn't stored.
    fn describe_new(
        &self,
        digest: &Digest,
        component: &[u8],
        is_linked: bool,
    ) -> Result<Described, DeployError> {
        let engine = self.executor.lane_pool().engine();
        let explained = |refused: Refused| match (&refused, is_linked) {
            (Refused::TooLarge(reason), true) => InvalidImport::NeedsTooMuch(reason.clone()).into(),
            (_, _) => DeployError::from(refused),
        };
        let accept = |code: &[u8]| engine.describe_compiled(code).map(drop).map_err(explained);
        let compiled =
            self.executor.code().get_or_compile_bytes(digest, || Ok(Cow::Borrowed(component)), accept)?;
        engine.describe_artefact(&compiled.path()).map_err(explained)
    }

    /// Deletes the files that no version names and no call is using. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. The files deleted until then were garbage.
    pub(crate) fn collect_garbage(&self) -> Result<(), StoreError> {
        // Computed before the lock is taken, because it reads names.
        let fused = self.fused_ids()?;
        // The lock is held only briefly: the first call of a function needs it, and there may be
        // many files.
        let in_use = || {
            let called = self.functions.digests_in_use().into_iter();
            called.chain(self.lock_deploying().iter().copied()).chain(fused).collect()
        };
        self.store.collect_garbage(self.executor.code().compatibility(), in_use)?;
        Ok(())
    }

    fn lock_deploying(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.deploying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a component as being deployed, until dropped. Its files aren't garbage.
struct Deploying<'a> {
    deployer: &'a Deployer,
    digest: Digest,
}

impl<'a> Deploying<'a> {
    fn begin(deployer: &'a Deployer, digest: Digest) -> Self {
        deployer.lock_deploying().push(digest);
        Self { deployer, digest }
    }
}

impl Drop for Deploying<'_> {
    fn drop(&mut self) {
        let mut deploying = self.deployer.lock_deploying();
        if let Some(index) = deploying.iter().position(|digest| *digest == self.digest) {
            deploying.swap_remove(index);
        }
    }
}
