//! The facade of the crate: everything a host does with functions.
//!
//! ```text
//! Deployer  --> Functions --> Executor     changes names
//! call, run --> Functions, Executor, Results    answer calls
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use nebula_cache::{CacheReport, LoadedReport, ResultStoreError};
use nebula_engine::Compiler;
use nebula_model::description::Pipeline;
use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::{HostLimits, Limits};
use nebula_model::record::VersionRecord;
use nebula_model::settings::SettingsUpdate;
use nebula_pipeline::View;
use nebula_store::{LogEntry, OpenError, ResolveError, Store, StoreError};
use tokio::sync::{Semaphore, oneshot};

use crate::backends::Backends;
use crate::call::function::Function;
use crate::call::functions::Functions;
use crate::call::leases::EndingLeases;
use crate::call::routes::RouteTable;
use crate::deploy::{
    DeployError, Deployer, Export, Followers, Import, ImportError, ImportedFunction, NamingError,
    Precondition, ProjectChange, ProjectDeploy, ProjectError, UploadError,
};
use crate::executor::Executor;
use crate::peers::{LeaseGuard, Peers};
use crate::receipt::Signer;
use crate::results::{Counting, LogObserver, Results};
use crate::run::verify::Verification;

/// The longest time for which other hosts wait while a result is being stored.
const SHARED_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Time after which the allocator returns freed memory to the system.
const FREE_FOR: Duration = Duration::from_secs(2);

/// The configuration of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Directory of the store; created if it doesn't exist.
    pub data_dir: PathBuf,
    /// The compiler of components.
    pub compiler: Compiler,
    /// The limits of calls whose function has no limits of its own.
    pub limits: Limits,
    /// The limits of the host as a whole.
    pub host_limits: HostLimits,
    /// The signer of receipts; `None` leaves them unsigned.
    pub signer: Option<Signer>,
    /// Share of hits that are recomputed and compared while the machine is idle, from 0 to 1.
    pub verify_share: f64,
    /// Called when two computations of a call disagree.
    pub alarm: fn(&Disagreement),
}

/// Why a runtime couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The data directory couldn't be opened.
    #[error(transparent)]
    DataDir(#[from] OpenError),
    /// The content of the store couldn't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine couldn't start on this machine.
    #[error("the engine cannot start: {0}")]
    Engine(String),
}

/// The versions of a function.
#[derive(Clone, Debug)]
pub struct FunctionVersions {
    /// The current version.
    pub current: VersionRecord,
    /// All versions, oldest first.
    pub all: Vec<VersionRecord>,
}

/// Why cached results couldn't be removed.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The function doesn't exist, or the store of functions failed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store of results failed. Results may be left.
    #[error(transparent)]
    Results(#[from] ResultStoreError),
}

impl From<StoreError> for ClearError {
    fn from(error: StoreError) -> Self {
        Self::Resolve(error.into())
    }
}

/// Everything a host does with functions. Cheap to clone.
///
/// # Examples
/// Deploys a component that adds one to its input, and calls it. `examples/embed.rs` does the same
/// with a file.
///
/// ```
/// use bytes::Bytes;
/// use nebula_runtime::id::{FunctionName, FunctionRef, Selector};
/// use nebula_runtime::limits::{HostLimits, Limits};
/// use nebula_runtime::{
///     Answer, CacheDirectives, Codegen, Compiler, Followers, Prefer, Request, Runtime, RuntimeConfig, Settings,
///     Shard,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let component = wat::parse_str(
///     r#"(component
///         (core module $m (func (export "handle") (param i32) (result i32)
///             (i32.add (local.get 0) (i32.const 1))))
///         (core instance $i (instantiate $m))
///         (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#,
/// )?;
///
/// let data_dir = tempfile::tempdir()?;
/// let runtime = Runtime::open(RuntimeConfig {
///     data_dir: data_dir.path().to_owned(),
///     compiler: Compiler::InProcess(Codegen::Optimised),
///     limits: Limits::default(),
///     host_limits: HostLimits::default(),
///     verify_share: 0.0,
///     alarm: |_| {},
///     signer: None,
/// })?;
///
/// let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// executor.block_on(async {
///     let name: FunctionName = "increment".parse()?;
///     runtime.deploy(name.clone(), component.into(), Settings::default(), Followers::MustFit).await?;
///
///     let shard = Shard::new(runtime.clone())?;
///     let function = shard.find(&FunctionRef { name, selector: Selector::Current }).await?;
///     let request = Request::Payload { media_type: None, body: Bytes::from_static(b"41") };
///     let outcome = shard.call(&function, request, Prefer::AsSent, CacheDirectives::default()).await;
///     let Answer::Value(value) = outcome.result? else { panic!("the function returns a value") };
///     assert_eq!(value.body, "42");
///     # Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    executor: Arc<Executor>,
    results: Arc<Results>,
    peers: Arc<dyn Peers>,
    functions: Arc<Functions>,
    deployer: Arc<Deployer>,
    verification: Verification,
    alarm: fn(&Disagreement),
    signer: Option<Signer>,
    /// Bounds the work beside calls that runs at the same time: see
    /// [`Shard::run_aside`](crate::Shard::run_aside).
    aside: Arc<Semaphore>,
    ending_leases: EndingLeases,
}

impl Runtime {
    /// Opens the data directory as a single host and starts the engine.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let backends = Backends::local(&config.data_dir, &config.host_limits)?;
        Self::with_backends(config, backends)
    }

    /// Starts the engine on these backends.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn with_backends(config: RuntimeConfig, backends: Backends) -> Result<Self, RuntimeError> {
        let RuntimeConfig { data_dir, compiler, limits, host_limits, signer, verify_share, alarm } = config;
        let Backends { store, results, peers } = backends;
        let executor = Executor::start(Arc::clone(&store), compiler, &host_limits);
        let executor = Arc::new(executor.map_err(RuntimeError::Engine)?);
        let results = Arc::new(Results::new(Arc::clone(&store), results, &data_dir, &host_limits));
        let functions =
            Functions::new(Arc::clone(&store), Arc::clone(&executor), Arc::clone(&results), limits);
        let functions = Arc::new(functions);
        let deployer = Deployer::new(
            Arc::clone(&store),
            Arc::clone(&executor),
            Arc::clone(&functions),
            Arc::clone(&results),
        );
        let aside = Arc::new(Semaphore::new(executor.cores()));
        Ok(Self(Arc::new(Shared {
            store,
            executor,
            results,
            peers,
            functions,
            deployer: Arc::new(deployer),
            verification: Verification::new(verify_share),
            alarm,
            signer,
            aside,
            ending_leases: EndingLeases::default(),
        })))
    }

    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.0.executor
    }

    pub(crate) fn results(&self) -> &Results {
        &self.0.results
    }

    pub(crate) fn peers(&self) -> &dyn Peers {
        &*self.0.peers
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.0.functions
    }

    pub(crate) fn deployer(&self) -> &Arc<Deployer> {
        &self.0.deployer
    }

    pub(crate) fn downgrade(&self) -> WeakRuntime {
        WeakRuntime(Arc::downgrade(&self.0))
    }

    pub(crate) fn verification(&self) -> &Verification {
        &self.0.verification
    }

    /// Tells the operator that two computations of a call disagreed.
    pub(crate) fn alarm(&self, disagreement: &Disagreement) {
        (self.0.alarm)(disagreement);
    }

    pub(crate) fn aside(&self) -> &Arc<Semaphore> {
        &self.0.aside
    }

    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    /// Admits, links, compiles, checks and publishes a component. Durable when it returns: the next
    /// call uses the new version, calls in flight end on the old one.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// A deploy that has started to compile completes even if the future is dropped.
    pub async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: impl Into<SettingsUpdate>,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        self.deploy_if(name, component, settings, followers, Precondition::None).await
    }

    /// Deploys a component if the name meets the precondition. Otherwise the same as
    /// [`deploy`](Self::deploy).
    ///
    /// # Errors
    /// [`DeployError`].
    ///
    /// # Cancel safety
    /// The same as for [`deploy`](Self::deploy).
    pub async fn deploy_if(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: impl Into<SettingsUpdate>,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        self.0.deployer.deploy(name, component, settings.into(), followers, precondition).await
    }

    /// Stores a component, whose digest is `digest`, for a later
    /// [`deploy_project`](Self::deploy_project): for an hour at least unless many others are
    /// uploaded. Compiles it, unless it imports functions.
    ///
    /// # Errors
    /// [`UploadError`].
    ///
    /// # Cancel safety
    /// An upload that has started to compile completes even if the future is dropped.
    pub async fn upload(&self, digest: Digest, component: Bytes) -> Result<(), UploadError> {
        self.0.deployer.upload(digest, component).await
    }

    /// Deploys the functions and pipelines of a project in one change. Durable when it returns: the
    /// next calls use the new versions.
    ///
    /// # Errors
    /// [`ProjectError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// A deploy that has started completes even if the future is dropped.
    pub async fn deploy_project(&self, deploy: ProjectDeploy) -> Result<Vec<ProjectChange>, ProjectError> {
        self.0.deployer.deploy_project(deploy).await
    }

    /// Returns functions with all their versions, and those that they call: the given ones, or all if
    /// there are none. Blocks on the disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn export(&self, names: &[FunctionName]) -> Result<Export, NamingError> {
        self.0.deployer.export(names)
    }

    /// Adds functions with all their versions in one change, after their components were
    /// [uploaded](Self::upload). Durable when it returns: the next calls find them. Functions that
    /// are here and the same are left alone.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// An import that has started completes even if the future is dropped.
    pub async fn import(&self, import: Import) -> Result<Vec<ImportedFunction>, ImportError> {
        self.0.deployer.import(import).await
    }

    /// Checks a pipeline as a deploy would, and returns its view. Blocks on the disk.
    ///
    /// # Errors
    /// [`DeployError`].
    pub fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> Result<View, DeployError> {
        self.0.deployer.check_pipeline(name, pipeline, settings, followers)
    }

    /// Checks a pipeline and publishes it. Durable when it returns. Blocks on the disk.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    pub fn deploy_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        self.deploy_pipeline_if(name, pipeline, settings, followers, Precondition::None)
    }

    /// Deploys a pipeline if the name meets the precondition. Otherwise the same as
    /// [`deploy_pipeline`](Self::deploy_pipeline).
    ///
    /// # Errors
    /// [`DeployError`].
    pub fn deploy_pipeline_if(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        self.0.deployer.deploy_pipeline(name, pipeline, settings, followers, precondition)
    }

    /// Returns a version of a pipeline with its view; `None` if it isn't a pipeline. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn view_pipeline(
        &self,
        reference: &FunctionRef,
    ) -> Result<Option<(VersionRecord, View)>, NamingError> {
        self.0.deployer.view_pipeline(reference)
    }

    /// Makes an earlier version current: `to`, or the one before the current one. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    pub fn rollback(
        &self,
        name: &FunctionName,
        to: Option<Version>,
        followers: Followers,
    ) -> Result<VersionRecord, NamingError> {
        self.0.deployer.rollback(name, to, followers)
    }

    /// Removes a function with its versions, and the files that nothing else needs. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn remove(&self, name: &FunctionName) -> Result<(), NamingError> {
        self.remove_if(name, Precondition::None)
    }

    /// Removes a function if the name meets the precondition. Blocks on the disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn remove_if(&self, name: &FunctionName, precondition: Precondition) -> Result<(), NamingError> {
        self.0.deployer.remove(name, precondition)
    }

    /// Deletes the files that no version names and no call is using. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. The files deleted until then were garbage.
    pub fn collect_garbage(&self) -> Result<(), StoreError> {
        self.0.deployer.collect_garbage()
    }

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

    /// Returns the log of the recent calls after a time, of one function or of all: their output and
    /// failures, oldest first. Blocks on the disk.
    pub fn logs(&self, after_unix_us: u64, function: Option<&FunctionName>) -> Vec<LogEntry> {
        self.0.results.logs().after(after_unix_us, function)
    }

    /// Tells `observer` of every call that prints something or fails, pipeline steps included. It
    /// is called on the thread that ends the call and must not wait. Later observers are ignored.
    pub fn observe_logs(&self, observer: LogObserver) {
        self.0.results.observe_logs(observer);
    }

    /// Returns an input that a caller asked to store, by its digest. Blocks on the disk.
    pub fn input(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.results.inputs().get(digest)
    }

    /// Reports the cached results, and the calls answered from them since the start. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cache_report(&self) -> Result<CacheReport, StoreError> {
        self.0.results.report(self.list()?, self.loaded_report())
    }

    /// Reports the loaded compiled code, and how often code was loaded since the start.
    pub fn loaded_report(&self) -> LoadedReport {
        self.0.executor.loaded_report()
    }

    /// Returns the disagreement because of which a component's results aren't cached, if there is
    /// one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn disagreement(&self, component: &Digest) -> Result<Option<Disagreement>, StoreError> {
        self.0.results.disagreement(component)
    }

    /// Writes the results that survive a restart to the disk. Call it when a server shuts down.
    pub fn flush(&self) {
        self.0.results.flush();
    }

    /// Waits until the results kept so far are stored, or until that takes too long.
    pub(crate) async fn results_stored(&self) {
        let (stored, waiting) = oneshot::channel();
        // The caller may have gone.
        self.release_when_stored(LeaseGuard::new(move || _ = stored.send(())));
        // If the thread panicked, the results aren't stored: other hosts compute them again.
        let _ = waiting.await;
    }

    /// Ends a lease when the results kept so far are stored, or when that takes too long.
    pub(crate) fn release_when_stored(&self, lease: LeaseGuard) {
        if lease.is_shared() && self.0.ending_leases.add(lease) {
            let runtime = self.clone();
            tokio::task::spawn_blocking(move || {
                runtime.0.ending_leases.end_all(|| runtime.flush_for_peers());
            });
        }
    }

    /// Stores the results kept so far, unless that takes too long for other hosts to wait.
    fn flush_for_peers(&self) {
        self.0.results.flush_within(SHARED_FLUSH_MAX);
    }

    /// Removes all results. Blocks on the disk.
    ///
    /// # Errors
    /// [`ClearError`].
    pub fn clear_cache(&self) -> Result<(), ClearError> {
        self.0.verification.restart();
        Ok(self.0.results.clear()?)
    }

    /// Removes the results of all versions of a function. If they disagreed, they are trusted
    /// again. Blocks on the disk.
    ///
    /// # Errors
    /// [`ClearError`].
    pub fn clear_cache_of(&self, name: &FunctionName) -> Result<(), ClearError> {
        let components: HashSet<_> =
            self.versions(name)?.all.into_iter().map(|record| record.digest).collect();
        self.0.verification.restart();
        self.0.results.remove(components.clone())?;
        if self.0.results.trust(&components)? {
            self.0.functions.uncache_all();
            // Calls that started earlier may have cached results in the meantime.
            self.0.results.remove(components)?;
        }
        Ok(())
    }

    /// Drops what is cached of names. Call it when the store of functions has applied changes of
    /// another host: calls that begin after it see them.
    pub fn names_changed(&self) {
        self.0.functions.uncache_all();
    }

    /// Adds the counts of `shard` to every report, while it lives.
    pub(crate) fn add_shard(&self, shard: Weak<dyn Counting>) {
        self.0.results.add_shard(shard);
    }

    /// Drops everything that is quick to recreate, once every serving thread is idle: cheap
    /// results, the compute lane's loaded code, and functions that nothing else holds.
    pub(crate) fn drop_unused(&self) {
        self.0.results.cache().evict_cheap();
        self.0.executor.unload();
        self.0.functions.drop_unused();
        give_memory_back(self.clone());
    }
}

/// A runtime that a background thread doesn't keep alive.
pub(crate) struct WeakRuntime(Weak<Shared>);

impl WeakRuntime {
    pub(crate) fn upgrade(&self) -> Option<Runtime> {
        self.0.upgrade().map(Runtime)
    }
}

/// Closes the results on disk and returns freed memory to the system. An allocator returns memory
/// that has been free for a while (mimalloc: a second), but only when a call or the end of a thread
/// triggers it. Without calls, this thread's end does.
fn give_memory_back(runtime: Runtime) {
    let rest = move || {
        runtime.results().result_store().rest();
        drop(runtime);
        thread::sleep(FREE_FOR);
    };
    // If the thread can't start, later calls return the memory.
    let _ = thread::Builder::new().name("nebula-rest".to_owned()).spawn(rest);
}
