//! Deploys: every change of the versions that names stand for.
//!
//! ```text
//! component --admit--> --link with its imports--> --compile--> --describe--> --publish--> version
//! pipeline  --check against the functions it calls-------------------------> --publish--> version
//! project   --(each of its components and pipelines as above)--------------> --publish--> versions
//! export    --check against what is here--> --describe--------------------> --import---> functions
//! ```
//!
//! Invariants:
//! * A deploy that fails changes nothing.
//! * Changes of names happen one at a time, under one lock, and nothing compiles under it.
//!
//! `component` makes bytes a component that can be published. `naming` publishes, rolls back and
//! removes versions. `names` holds the versions that names will stand for, `pipelines` plans the
//! pipelines of a change in the `order` in which they call each other, and `routes` checks its
//! routes. `project` deploys several functions at once, whose components are in `uploads` until
//! then. `export` reads functions with all their versions, and `import` adds them to another host.
//! `link` resolves imported functions. `fuse` links chains, in the background if they may also run
//! step by step.

pub(crate) mod compiled;
mod component;
mod description;
mod error;
mod export;
mod followers;
mod fuse;
mod import;
mod link;
mod names;
mod naming;
mod order;
mod outcomes;
mod pipelines;
mod precondition;
mod project;
mod routes;
mod uploads;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use nebula_model::id::{Digest, FunctionName};
use nebula_model::record::VersionRecord;
use nebula_model::settings::{Settings, SettingsUpdate};
use nebula_store::{Store, StoreError};
use nebula_telemetry::trace::Scope;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

pub use self::compiled::CompilerUsage;
pub use self::error::{Broken, DeployError, InvalidRoutes};
pub use self::export::{Export, ExportedFunction, ExportedVersion};
pub use self::followers::Followers;
use self::fuse::Queue;
pub(crate) use self::fuse::fused_deadline;
pub use self::import::{Difference, Import, ImportConflict, ImportError, ImportedFunction, Inconsistency};
pub use self::naming::NamingError;
use self::outcomes::DeployOutcomes;
pub use self::outcomes::{DeployCounts, DeployKind};
pub use self::precondition::{Precondition, UnmetPrecondition};
pub use self::project::{
    ProjectChange, ProjectDeploy, ProjectError, ProjectFunction, ProjectPipeline, UploadError,
};
pub use self::uploads::UPLOADS_BYTES_MAX;
use self::uploads::Uploads;
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
    /// Components that were uploaded for a project's deploy.
    uploads: Uploads,
    /// Held by the one project that is being deployed, or by an import.
    projects: Arc<Semaphore>,
    /// Chains to link and compile.
    fusing: Mutex<Queue>,
    outcomes: DeployOutcomes,
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
            uploads: Uploads::default(),
            projects: Arc::new(Semaphore::new(1)),
            fusing: Mutex::default(),
            outcomes: DeployOutcomes::default(),
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
        settings: SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        self.run_compiling(move |this| {
            let deployed = this.deploy_blocking(&name, component, &settings, followers, precondition);
            this.outcomes.count(DeployKind::Component, deployed)
        })
        .await
    }

    /// Runs work that may compile on the blocking pool, when a compiler may run.
    ///
    /// # Cancel safety
    /// Work that has started completes even if the future is dropped.
    async fn run_compiling<T: Send + 'static, E: From<DeployError> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.run_holding(self.executor.compile_permit().await, work).await
    }

    /// Runs work that may take minutes on the blocking pool, one at a time. It takes no place for a
    /// compiler, which the first calls of other functions need.
    ///
    /// # Cancel safety
    /// Work that has started completes even if the future is dropped.
    async fn run_alone<T: Send + 'static, E: From<DeployError> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.run_holding(Arc::clone(&self.projects).acquire_owned().await, work).await
    }

    async fn run_holding<T: Send + 'static, E: From<DeployError> + Send + 'static>(
        self: &Arc<Self>,
        permit: Result<OwnedSemaphorePermit, AcquireError>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let internal = |error: &dyn std::fmt::Display| E::from(DeployError::Internal(error.to_string()));
        let permit = permit.map_err(|error| internal(&error))?;
        let this = Arc::clone(self);
        let scope = Scope::current();
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            Scope::enter(scope, || work(&this))
        });
        working.await.map_err(|error| internal(&error))?
    }

    /// Returns the numbers of deploys.
    pub(crate) fn outcomes(&self) -> &DeployOutcomes {
        &self.outcomes
    }

    /// Applies a change of settings to those of a function's current version.
    fn change_settings(
        &self,
        name: &FunctionName,
        update: &SettingsUpdate,
    ) -> Result<SettingsChange, DeployError> {
        let current = self.functions.current(name)?;
        let before = current.map(Settings::of);
        let settings = update.apply(before.as_ref().unwrap_or(&Settings::default()));
        self.functions.limits().with(&settings.limits)?;
        settings.config.check()?;
        let notes = before.map(|before| update.notes(&before)).unwrap_or_default();
        Ok(SettingsChange { settings, notes })
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
            let uploaded = self.uploads.digests(Instant::now());
            called.chain(self.lock_deploying().iter().copied()).chain(uploaded).chain(fused).collect()
        };
        self.store.collect_garbage(self.executor.code().compatibility(), in_use)?;
        Ok(())
    }

    fn lock_deploying(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.deploying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The settings of a new version.
struct SettingsChange {
    settings: Settings,
    /// The differences to the version before, for the deployer.
    notes: Vec<String>,
}
