//! The facade: everything a host does with functions, in one place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::admission::{self, Inadmissible};
use crate::cache::{Cache, CacheReport, Counts, Disk, Flights, FunctionCacheReport};
use crate::engine::{CompileError, Compiler, Engine, Loaded, Refused, Ticker};
use crate::error::{Fault, LoadError};
use crate::function::Function;
use crate::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use crate::inputs::Inputs;
use crate::invoke::Called;
use crate::lane::ComputeLane;
use crate::limits::{HostLimits, LimitTooHigh, Limits};
use crate::logs::{LogEntry, Logs};
use crate::pool::Pool;
use crate::receipt::Signer;
use crate::registry::{
    Description, NewVersion, OpenError, Registry, ResolveError, StoreError, VersionRecord,
};
use crate::remember::Settings;

/// How long freed memory has been free when it is given back.
const FREE_FOR: Duration = Duration::from_secs(2);

/// Domain separation of the key that authenticates results, as BLAKE3's key derivation wants it.
const RESULTS_CONTEXT: &str = "nebula 2026-11 authentication of remembered results";

/// How a runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where the registry lives; made if need be.
    pub data_dir: PathBuf,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// What a call may use unless its function says otherwise.
    pub limits: Limits,
    /// What the host as a whole may use.
    pub host_limits: HostLimits,
    /// Threads that serve, each of which may run a call in place.
    pub serving_threads: usize,
    /// Who signs receipts.
    pub signer: Option<Signer>,
}

/// Why a runtime couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The data directory.
    #[error(transparent)]
    Registry(#[from] OpenError),
    /// The registry's content.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine.
    #[error("the engine cannot start: {0}")]
    Engine(String),
}

/// Why a component wasn't deployed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// It is no component.
    #[error(transparent)]
    Admission(#[from] Inadmissible),
    /// It is no function of ours.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It doesn't compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It asks for more than there is.
    #[error(transparent)]
    Limit(#[from] LimitTooHigh),
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect in Nebula.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Everything a host does with functions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    registry: Registry,
    compiler: Compiler,
    /// Names what compiled code must agree with to run here.
    compatibility: String,
    /// Compilations at once: each may take gigabytes.
    compiling: Arc<Semaphore>,
    ticker: Ticker,
    lane: ComputeLane,
    /// What runs on the compute lane has an engine of its own.
    lane_pool: Pool,
    limits: Limits,
    loaded_bytes_max: u64,
    /// For each serving thread.
    instances_max: NonZeroU32,
    /// Versions that were called, by how they were asked for. Cleared by whatever changes a name.
    resolved: RwLock<HashMap<FunctionRef, Arc<Function>>>,
    /// Goes up with every change of a name, before the change is acknowledged.
    generation: AtomicU64,
    /// Versions that a call may still be using, though their name may be gone.
    in_use: Mutex<Vec<Weak<Function>>>,
    /// Components that are being deployed: their compiled code is there before anything names it.
    deploying: Mutex<Vec<Digest>>,
    logs: Logs,
    cache: Cache,
    disk: Disk,
    inputs: Inputs,
    signer: Option<Signer>,
    flights: Arc<Flights>,
    /// Serving threads that aren't at rest.
    awake: AtomicUsize,
    /// How calls were answered, but for those that a shard still counts.
    counts: Mutex<BTreeMap<FunctionName, Counts>>,
    shards: Mutex<Vec<Weak<dyn Counting>>>,
}

impl Runtime {
    /// Opens the registry and starts the engine.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let registry = Registry::open(&config.data_dir)?;
        let no_engine = |error: String| RuntimeError::Engine(error);
        let ticker = Ticker::start().map_err(|error| no_engine(error.to_string()))?;
        let lane = ComputeLane::new(&config.host_limits).map_err(|error| no_engine(error.to_string()))?;
        let instances = u32::try_from(config.host_limits.calls_max).unwrap_or(u32::MAX);
        let engine = Engine::new(instances, config.compiler.codegen(), &ticker)
            .map_err(|error| no_engine(format!("{error:#}")))?;
        let compatibility = engine.compatibility();
        // A part for each shard, and one for the compute lane.
        let loaded_bytes_max =
            config.host_limits.loaded_bytes_max / (config.serving_threads as u64).saturating_add(1);
        // What isn't remembered in memory isn't on disk either.
        let disk_bytes_max = match config.host_limits.remembered_bytes_max {
            0 => 0,
            _ => config.host_limits.remembered_disk_bytes_max,
        };
        let disk = Disk::new(&config.data_dir, disk_bytes_max, registry.key_for(RESULTS_CONTEXT));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self(Arc::new(Shared {
            registry,
            compiler: config.compiler,
            compatibility,
            compiling: Arc::new(Semaphore::new(cores.div_ceil(2))),
            ticker,
            lane,
            lane_pool: Pool::new(engine, loaded_bytes_max),
            limits: config.limits,
            loaded_bytes_max,
            instances_max: config.host_limits.instances_max,
            resolved: RwLock::default(),
            generation: AtomicU64::new(0),
            in_use: Mutex::default(),
            deploying: Mutex::default(),
            logs: Logs::default(),
            cache: Cache::new(config.host_limits.remembered_bytes_max),
            disk,
            inputs: Inputs::new(&config.data_dir, config.host_limits.inputs_bytes_max),
            signer: config.signer,
            flights: Arc::default(),
            awake: AtomicUsize::new(0),
            counts: Mutex::default(),
            shards: Mutex::default(),
        })))
    }

    /// An engine of its own for whoever calls, with its part of the room for loaded components.
    pub(crate) fn new_pool(&self) -> Result<Pool, RuntimeError> {
        let Shared { compiler, ticker, loaded_bytes_max, instances_max, .. } = &*self.0;
        let engine = Engine::new(instances_max.get(), compiler.codegen(), ticker)
            .map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        Ok(Pool::new(engine, *loaded_bytes_max))
    }

    /// Admits, compiles, checks and publishes a component. Durable when it returns; the next call
    /// sees it, calls in flight end on the version they began with.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    ///
    /// # Cancel safety
    /// Once it has begun to compile a deploy goes on to its end, whoever waits for it.
    pub async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: Settings,
    ) -> Result<VersionRecord, DeployError> {
        let internal = |error: &dyn std::fmt::Display| DeployError::Internal(error.to_string());
        let permit = Arc::clone(&self.0.compiling).acquire_owned().await.map_err(|error| internal(&error))?;
        let this = self.clone();
        let deploying = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            this.deploy_blocking(&name, &component, settings)
        });
        deploying.await.map_err(|error| internal(&error))?
    }

    fn deploy_blocking(
        &self,
        name: &FunctionName,
        component: &[u8],
        settings: Settings,
    ) -> Result<VersionRecord, DeployError> {
        let Shared { registry, compiler, compatibility, lane_pool, .. } = &*self.0;
        self.0.limits.with(&settings.limits)?;
        admission::admit(component)?;
        let digest = Digest::of(component);
        let _deploying = Deploying::begin(self, digest);
        let described = match registry.open_compiled(&digest, compatibility)? {
            // Compiled before, under this or another name.
            Some(compiled) => lane_pool.engine().describe_artefact(&compiled.path)?,
            None => {
                let artefact = compiler.compile(component)?;
                let described = lane_pool.engine().describe_compiled(&artefact)?;
                registry.store_compiled(&digest, compatibility, &artefact)?;
                described
            }
        };
        let new = NewVersion {
            digest,
            size_bytes: component.len() as u64,
            limits: settings.limits,
            remember: settings.remember,
            description: Description {
                form: described.form,
                signature: described.signature,
                input_schema: described.input_schema,
                output_schema: described.output_schema,
                error_schema: described.error_schema,
                imports: described.imports,
                notes: described.notes,
            },
        };
        let record = registry.publish(name, component, new)?;
        self.forget_resolved(name);
        Ok(record)
    }

    /// The version that `reference` names.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, reference: &FunctionRef) -> Result<Arc<Function>, ResolveError> {
        let resolved = &self.0.resolved;
        if let Some(function) = resolved.read().unwrap_or_else(PoisonError::into_inner).get(reference) {
            return Ok(Arc::clone(function));
        }
        // Read without the lock: whoever asks for what isn't there holds nobody up.
        let generation = self.generation();
        let record = self.0.registry.resolve(reference)?;
        let exact = FunctionRef { name: record.name.clone(), selector: Selector::Version(record.version) };
        let mut resolved = resolved.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = resolved.get(&exact) {
            let function = Arc::clone(function);
            if self.generation() == generation {
                resolved.insert(reference.clone(), Arc::clone(&function));
            }
            return Ok(function);
        }
        // The host's ceiling may have come down since the deploy: then its own default holds.
        let limits = self.0.limits.with(&record.limits).unwrap_or_else(|_| self.0.limits.clone());
        let function = Function::new(record, limits, self.0.lane.share(), self.0.cache.is_on());
        self.lock_in_use().push(Arc::downgrade(&function));
        // A name that has changed in between is asked for again by the next call.
        if self.generation() == generation {
            resolved.insert(exact, Arc::clone(&function));
            resolved.insert(reference.clone(), Arc::clone(&function));
        }
        Ok(function)
    }

    /// What was resolved under another generation may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn forget_resolved(&self, name: &FunctionName) {
        let mut resolved = self.0.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.retain(|reference, _| reference.name != *name);
        self.0.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A serving thread has something to do.
    pub(crate) fn wakes(&self) {
        self.0.awake.fetch_add(1, Ordering::AcqRel);
    }

    /// A serving thread has had nothing to do for a while. Whether that goes for all of them now.
    pub(crate) fn rests(&self) -> bool {
        self.0.awake.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// For when every serving thread rests. Gives up results that are soon computed again, unloads what the
    /// compute lane has loaded, and forgets every function that nobody else holds. What is
    /// held stays: there is one [`Function`] of a version, which knows how its calls have been.
    pub(crate) fn forget_unused(&self) {
        self.0.cache.forget_cheap();
        self.0.lane_pool.clear();
        let mut resolved = self.0.resolved.write().unwrap_or_else(PoisonError::into_inner);
        // By more than one reference, mostly.
        let mut held_here: HashMap<_, usize> = HashMap::new();
        for function in resolved.values() {
            *held_here.entry(Arc::as_ptr(function)).or_default() += 1;
        }
        resolved.retain(|_, function| {
            held_here.get(&Arc::as_ptr(function)).is_some_and(|held| Arc::strong_count(function) > *held)
        });
        resolved.shrink_to_fit();
        drop(resolved);
        let mut in_use = self.lock_in_use();
        in_use.retain(|function| function.strong_count() > 0);
        in_use.shrink_to_fit();
        drop(in_use);
        give_memory_back(self.clone());
    }

    fn lock_deploying(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.deploying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_in_use(&self) -> MutexGuard<'_, Vec<Weak<Function>>> {
        self.0.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many instances a serving thread may have.
    pub(crate) fn instances_max(&self) -> usize {
        self.0.instances_max.get() as usize
    }

    pub(crate) fn lane(&self) -> &ComputeLane {
        &self.0.lane
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.0.disk
    }

    pub(crate) fn inputs(&self) -> &Inputs {
        &self.0.inputs
    }

    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    /// An input that a caller asked to have kept, by its digest. Waits for the disk.
    pub fn input(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.inputs.get(digest)
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.0.flights
    }

    /// Adds what a shard has counted of a function, and counts no more.
    pub(crate) fn count(&self, name: &FunctionName, counted: Counts) {
        if counted != Counts::default() {
            *self.lock_counts().entry(name.clone()).or_default() += counted;
        }
    }

    /// Asks `shard` too when what was counted is asked for.
    pub(crate) fn ask_for_counts(&self, shard: Weak<dyn Counting>) {
        self.lock_shards().push(shard);
    }

    fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<FunctionName, Counts>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shards(&self) -> MutexGuard<'_, Vec<Weak<dyn Counting>>> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lane_pool(&self) -> &Pool {
        &self.0.lane_pool
    }

    /// Loads a component into `pool`, compiling it first if need be.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) async fn load(&self, pool: &Pool, digest: &Digest) -> Result<Arc<Loaded>, LoadError> {
        let Shared { registry, compatibility, .. } = &*self.0;
        if let Some(loaded) = pool.load(registry, compatibility, digest)? {
            return Ok(loaded);
        }
        self.compile(*digest).await?;
        let loaded = pool.load(registry, compatibility, digest)?;
        loaded.ok_or_else(|| LoadError::Engine("compiled code vanished while it was loaded".to_owned()))
    }

    /// Compiles a component of the registry, unless somebody else just has.
    async fn compile(&self, digest: Digest) -> Result<(), LoadError> {
        let internal = |error: &dyn std::fmt::Display| LoadError::Engine(error.to_string());
        let permit = Arc::clone(&self.0.compiling).acquire_owned().await.map_err(|error| internal(&error))?;
        let this = self.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let Shared { registry, compiler, compatibility, .. } = &*this.0;
            if registry.open_compiled(&digest, compatibility)?.is_some() {
                return Ok(());
            }
            let artefact = compiler.compile(&registry.read_component(&digest)?)?;
            Ok(registry.store_compiled(&digest, compatibility, &artefact)?)
        });
        compiling.await.map_err(|error| internal(&error))?
    }

    pub(crate) fn record_log(&self, function: &Function, called: &Called) {
        let outcome = match &called.result {
            Ok(_) if called.log.is_empty() => return,
            Ok(_) => "ok".to_owned(),
            Err(error) if matches!(error.fault(), Fault::Caller | Fault::Load) => return,
            Err(error) => error.to_string(),
        };
        let entry = LogEntry {
            at_unix_s: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            version: function.record.version,
            outcome,
            duration_us: u64::try_from(called.cost.total().as_micros()).unwrap_or(u64::MAX),
            output: called.log.text(),
        };
        self.0.logs.push(function.record.name.clone(), entry);
    }

    /// What the last calls of a function printed, and how they failed; oldest first.
    pub fn logs(&self, name: &FunctionName) -> Vec<LogEntry> {
        self.0.logs.of(name)
    }

    /// The current version of every function, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<VersionRecord>, StoreError> {
        self.0.registry.list()
    }

    /// Every version of a function, oldest first, and which is current.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn versions(&self, name: &FunctionName) -> Result<(VersionRecord, Vec<VersionRecord>), ResolveError> {
        let current =
            self.0.registry.resolve(&FunctionRef { name: name.clone(), selector: Selector::Current })?;
        Ok((current, self.0.registry.versions(name)?))
    }

    /// The bytes of a component.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.0.registry.read_component(digest)
    }

    /// What is remembered, and what that has saved since the server started.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cache_report(&self) -> Result<CacheReport, StoreError> {
        let shards: Vec<_> = self.lock_shards().iter().filter_map(Weak::upgrade).collect();
        let mut counts = self.lock_counts().clone();
        for shard in shards {
            shard.add_counts(&mut counts);
        }
        let by_component = self.0.cache.by_component();
        let by_component_on_disk = self.0.disk.by_component();
        let mut functions = Vec::new();
        for VersionRecord { name, digest, .. } in self.list()? {
            let (entries, bytes) = by_component.get(&digest).copied().unwrap_or_default();
            let counts = counts.remove(&name).unwrap_or_default();
            let (disk_entries, disk_bytes) = by_component_on_disk.get(&digest).copied().unwrap_or_default();
            if entries + disk_entries > 0 || counts != Counts::default() {
                let function = FunctionCacheReport { name, entries, bytes, disk_entries, disk_bytes, counts };
                functions.push(function);
            }
        }
        // Those of functions that are gone aren't anybody's.
        self.lock_counts().retain(|name, _| !counts.contains_key(name));
        Ok(CacheReport {
            bytes: self.0.cache.bytes(),
            bytes_max: self.0.cache.bytes_max(),
            disk_bytes: by_component_on_disk.values().map(|(_, bytes)| bytes).sum(),
            disk_bytes_max: self.0.disk.bytes_max(),
            functions,
        })
    }

    /// Waits until the results that are to survive are on disk: for the end of a server.
    pub fn flush(&self) {
        self.0.disk.flush();
    }

    /// Forgets all results. Waits for the disk.
    pub fn clear_cache(&self) {
        self.0.cache.clear();
        self.0.disk.forget(None);
    }

    /// Forgets the results of a function, whichever version's. Waits for the disk.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn clear_cache_of(&self, name: &FunctionName) -> Result<(), ResolveError> {
        let (_, versions) = self.versions(name)?;
        let components: HashSet<_> = versions.into_iter().map(|record| record.digest).collect();
        self.0.cache.forget(&components);
        self.0.disk.forget(Some(components));
        Ok(())
    }

    /// Makes an earlier version current.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn rollback(&self, name: &FunctionName, to: Option<Version>) -> Result<VersionRecord, ResolveError> {
        let record = self.0.registry.rollback(name, to)?;
        self.forget_resolved(name);
        Ok(record)
    }

    /// Removes a function with its versions, and the files that nothing else needs.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn remove(&self, name: &FunctionName) -> Result<(), ResolveError> {
        if !self.0.registry.remove(name)? {
            return Err(ResolveError::UnknownFunction(name.clone()));
        }
        self.forget_resolved(name);
        self.0.logs.forget(name);
        self.lock_counts().remove(name);
        self.collect_garbage()?;
        Ok(())
    }

    /// Deletes the files that no version names and no call is using. What calls in flight still need
    /// goes the next time.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted until then is gone, and was garbage.
    pub fn collect_garbage(&self) -> Result<(), StoreError> {
        // The lock is taken for no longer: the first call of a function needs it, and there may be many files.
        let in_use = || {
            let mut in_use = self.lock_in_use();
            in_use.retain(|function| function.strong_count() > 0);
            let called = in_use.iter().filter_map(Weak::upgrade).map(|function| function.record.digest);
            called.chain(self.lock_deploying().iter().copied()).collect()
        };
        self.0.registry.collect_garbage(&self.0.compatibility, in_use)?;
        Ok(())
    }
}

/// Somebody who counts how calls were answered.
pub(crate) trait Counting: Send + Sync {
    /// Adds what it has counted so far.
    fn add_counts(&self, counts: &mut BTreeMap<FunctionName, Counts>);
}

/// A component that is being deployed, until dropped: its files are no garbage.
struct Deploying<'a> {
    runtime: &'a Runtime,
    digest: Digest,
}

impl<'a> Deploying<'a> {
    fn begin(runtime: &'a Runtime, digest: Digest) -> Self {
        runtime.lock_deploying().push(digest);
        Self { runtime, digest }
    }
}

impl Drop for Deploying<'_> {
    fn drop(&mut self) {
        let mut deploying = self.runtime.lock_deploying();
        if let Some(index) = deploying.iter().position(|digest| *digest == self.digest) {
            deploying.swap_remove(index);
        }
    }
}

/// What waits for the disk, and has what was freed go back to the system. An allocator does that to memory that has
/// been free for a while, when something makes it look (mimalloc: after a second); where no call comes nothing does, but
/// a thread that ends.
fn give_memory_back(runtime: Runtime) {
    let rest = move || {
        runtime.disk().rest();
        drop(runtime);
        thread::sleep(FREE_FOR);
    };
    // Without the thread it goes back with the next calls.
    let _ = thread::Builder::new().name("nebula-rest".to_owned()).spawn(rest);
}
