//! The facade: everything a host does with functions, in one place.

mod code;
mod compose;
mod deploy;
mod explain;
mod fuse;
mod keep;
mod link;
mod results;
mod steps;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

use nebula_cache::Counts;
use nebula_engine::{Compiler, Engine, Loaded, Ticker};
use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector};
use nebula_model::limits::{HostLimits, Limits};
use nebula_model::record::{Composition, VersionRecord};
use nebula_store::Inputs;
use nebula_store::{LogEntry, Logs};
use nebula_store::{OpenError, ResolveError, Store, StoreError};
use tokio::sync::Semaphore;

pub(crate) use self::code::{Code, Staged};
pub use self::compose::{Broken, Followers, NamingError};
pub use self::deploy::DeployError;
pub use self::explain::{ExplainError, Explanation};
pub(crate) use self::keep::Place;
pub(crate) use self::results::Counting;
pub use self::steps::Explained;
pub(crate) use self::verify::Verification;
use crate::cached::{Cache, Disk, Flights};
use crate::error::{Fault, LoadError};
use crate::function::{Composed, Function, Memory};
use crate::invoke::Called;
use crate::lane::ComputeLane;
use crate::pool::Pool;
use crate::receipt::Signer;

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
    /// The share of hits that is computed again when there is nothing else to do, and compared: from 0 to 1.
    pub verify_share: f64,
    /// Told where two computations disagree.
    pub alarm: fn(&Disagreement),
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

/// Everything a host does with functions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    registry: Store,
    compiler: Compiler,
    /// Names what compiled code must agree with to run here.
    compatibility: String,
    /// Compilations at once: each may take gigabytes.
    compiling: Arc<Semaphore>,
    ticker: Ticker,
    cores: usize,
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
    /// Held while a name is given another version: what pipelines make of it is decided before anything else changes.
    naming: Mutex<()>,
    /// Of chains that are linked to one component, for the compute lane; made with the first that runs there.
    fused_pool: OnceLock<Option<Pool>>,
    /// Chains that are to be linked and compiled.
    fusing: Mutex<fuse::Queue>,
    /// Components that are being deployed: their compiled code is there before anything names it.
    deploying: Mutex<Vec<Digest>>,
    logs: Logs,
    cache: Cache,
    disk: Disk,
    inputs: Inputs,
    signer: Option<Signer>,
    /// Receipts that are made at once.
    issuing: Arc<Semaphore>,
    verification: Verification,
    alarm: fn(&Disagreement),
    /// Components of which nothing is remembered; `None` until they were read.
    distrusted: Mutex<Option<HashMap<Digest, Disagreement>>>,
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
        let registry = Store::open(&config.data_dir)?;
        let no_engine = |error: String| RuntimeError::Engine(error);
        let ticker = Ticker::start().map_err(|error| no_engine(error.to_string()))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Receipts are made there too.
        let lane =
            ComputeLane::new(&config.host_limits, cores).map_err(|error| no_engine(error.to_string()))?;
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
        let disk = Disk::new(
            &config.data_dir,
            disk_bytes_max,
            registry.key_for(RESULTS_CONTEXT),
            nebula_engine::identity(),
        );
        Ok(Self(Arc::new(Shared {
            registry,
            compiler: config.compiler,
            compatibility,
            compiling: Arc::new(Semaphore::new(cores.div_ceil(2))),
            ticker,
            cores,
            lane,
            lane_pool: Pool::new(engine, loaded_bytes_max),
            limits: config.limits,
            loaded_bytes_max,
            instances_max: config.host_limits.instances_max,
            resolved: RwLock::default(),
            generation: AtomicU64::new(0),
            in_use: Mutex::default(),
            naming: Mutex::default(),
            fused_pool: OnceLock::new(),
            fusing: Mutex::default(),
            deploying: Mutex::default(),
            logs: Logs::default(),
            cache: Cache::new(config.host_limits.remembered_bytes_max),
            disk,
            inputs: Inputs::new(&config.data_dir, config.host_limits.inputs_bytes_max),
            signer: config.signer,
            issuing: Arc::new(Semaphore::new(cores)),
            verification: Verification::new(config.verify_share),
            alarm: config.alarm,
            distrusted: Mutex::default(),
            flights: Arc::default(),
            awake: AtomicUsize::new(0),
            counts: Mutex::default(),
            shards: Mutex::default(),
        })))
    }

    /// An engine of its own for whoever calls, with its part of the room for loaded components.
    pub(crate) fn new_pool(&self) -> Result<Pool, RuntimeError> {
        self.new_pool_of(self.0.instances_max.get(), self.0.loaded_bytes_max)
    }

    fn new_pool_of(&self, instances_max: u32, loaded_bytes_max: u64) -> Result<Pool, RuntimeError> {
        let Shared { compiler, ticker, .. } = &*self.0;
        let engine = Engine::new(instances_max, compiler.codegen(), ticker)
            .map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        Ok(Pool::new(engine, loaded_bytes_max))
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
        let mut record = self.0.registry.resolve(reference)?;
        let composed = match &record.pipeline {
            Some(composition) => Some(self.resolve_steps(composition)?),
            None => None,
        };
        // What a pipeline answers is remembered as its functions' answers may be.
        for step in composed.iter().flat_map(|composed| composed.steps().values()) {
            record.remember.narrow(&step.record.remember);
        }
        let is_distrusted = self.disagreement(&record.digest)?.is_some()
            || composed.as_ref().is_some_and(|it| it.steps().values().any(|step| step.is_distrusted()));
        let memory = match is_distrusted {
            true => Memory::Distrusted,
            false if self.0.cache.is_on() => Memory::Usual,
            false => Memory::Off,
        };
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
        let function = Function::new(record, limits, self.0.lane.share(), memory, composed);
        self.lock_in_use().push(Arc::downgrade(&function));
        // A name that has changed in between is asked for again by the next call.
        if self.generation() == generation {
            resolved.insert(exact, Arc::clone(&function));
            resolved.insert(reference.clone(), Arc::clone(&function));
        }
        Ok(function)
    }

    /// The functions of a pipeline, each the version that it was when the pipeline was deployed.
    fn resolve_steps(&self, composition: &Composition) -> Result<Composed, ResolveError> {
        let mut steps = BTreeMap::new();
        for function in composition.description.steps.calls() {
            if let Some(version) = composition.version_of(function) {
                steps.insert(function.to_string(), self.resolve(&version)?);
            }
        }
        Ok(Composed::new(steps))
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

    fn forget_all_resolved(&self) {
        // Held over both, as above.
        let mut resolved = self.0.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.clear();
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
        if let Some(Some(pool)) = self.0.fused_pool.get() {
            pool.clear();
        }
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

    fn lock_in_use(&self) -> MutexGuard<'_, Vec<Weak<Function>>> {
        self.0.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many instances a serving thread may have.
    pub(crate) fn instances_max(&self) -> usize {
        self.0.instances_max.get() as usize
    }

    /// How many cores the machine has for this process.
    pub(crate) fn cores(&self) -> usize {
        self.0.cores
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

    pub(crate) fn issuing(&self) -> &Arc<Semaphore> {
        &self.0.issuing
    }

    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.0.flights
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

    /// What a name stands for, if there is such a function.
    ///
    /// # Errors
    /// [`StoreError`].
    fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, StoreError> {
        let reference = FunctionRef { name: name.clone(), selector: Selector::Current };
        match self.0.registry.resolve(&reference) {
            Ok(record) => Ok(Some(record)),
            Err(ResolveError::Store(error)) => Err(error),
            Err(
                ResolveError::UnknownFunction(_)
                | ResolveError::UnknownVersion { .. }
                | ResolveError::NoEarlierVersion { .. },
            ) => Ok(None),
        }
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

    /// Deletes the files that no version names and no call is using. What calls in flight still need
    /// goes the next time.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted until then is gone, and was garbage.
    pub fn collect_garbage(&self) -> Result<(), StoreError> {
        // The lock is taken for no longer: the first call of a function needs it, and there may be many files.
        // Before the lock is taken, as it reads what names stand for.
        let fused = self.fused_ids()?;
        let in_use = || {
            let mut in_use = self.lock_in_use();
            in_use.retain(|function| function.strong_count() > 0);
            let called = in_use.iter().filter_map(Weak::upgrade).map(|function| function.record.digest);
            called.chain(self.lock_deploying().iter().copied()).chain(fused).collect()
        };
        self.0.registry.collect_garbage(&self.0.compatibility, in_use)?;
        Ok(())
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
