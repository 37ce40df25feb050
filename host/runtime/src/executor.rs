//! The executor of calls: the compute lane, the engines, and the compiled code that they have
//! loaded.
//!
//! Invariants:
//! * Each serving thread and the compute lane have an engine and a pool of their own. What all
//!   pools have loaded shares one budget (`pool`).
//! * Loading compiles at most once, and only if the store has no authentic code (`compiled`).

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nebula_cache::LoadedReport;
use nebula_engine::{Compiler, Described, Engine, Loaded, Ticker};
use nebula_model::id::Digest;
use nebula_model::limits::HostLimits;
use nebula_store::Store;
use nebula_telemetry::trace::Scope;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::call::lane::ComputeLane;
use crate::deploy::compiled::{CompiledCode, CompilerUsage};
use crate::error::LoadError;
use crate::pool::{LoadedCounts, LoadedSet, Pool, Unused};

/// Runs the calls of one host.
pub(crate) struct Executor {
    code: CompiledCode,
    /// Bounds the blocking threads that wait for a compiler on behalf of asynchronous callers.
    compiling: Arc<Semaphore>,
    /// Tasks that wait for such a thread.
    waiting_to_compile: AtomicUsize,
    ticker: Ticker,
    cores: usize,
    lane: ComputeLane,
    lane_pool: Arc<Pool>,
    /// Fused components for the compute lane; created with the first that runs there.
    fused_pool: OnceLock<Option<Pool>>,
    /// The compiled code that all pools have loaded.
    loaded: Arc<LoadedSet>,
    /// Instances of each serving thread.
    instances_max: NonZeroU32,
    /// Serving threads that aren't idle.
    awake: AtomicUsize,
}

impl Executor {
    /// Starts the engine of the compute lane, and its threads' bookkeeping.
    ///
    /// # Errors
    /// A message, if the machine refuses a thread or the address space.
    pub(crate) fn start(
        store: Arc<Store>,
        compiler: Compiler,
        host_limits: &HostLimits,
    ) -> Result<Self, String> {
        let HostLimits {
            calls_max,
            instances_max,
            loaded_bytes_max,
            // The lane takes the first from `host_limits`; the others bound results.
            queue_max: _,
            cache_bytes_max: _,
            cache_disk_bytes_max: _,
            inputs_bytes_max: _,
        } = host_limits;
        let ticker = Ticker::start().map_err(|error| error.to_string())?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let lane = ComputeLane::new(host_limits, cores).map_err(|error| error.to_string())?;
        let instances = u32::try_from(*calls_max).unwrap_or(u32::MAX);
        let engine = Engine::new(instances, compiler.codegen(), &ticker);
        let engine = engine.map_err(|error| format!("{error:#}"))?;
        let loaded = LoadedSet::new(*loaded_bytes_max);
        let code = CompiledCode::new(store, compiler, engine.compatibility(), cores.div_ceil(2));
        Ok(Self {
            compiling: Arc::new(Semaphore::new(code.compilations_max())),
            waiting_to_compile: AtomicUsize::new(0),
            code,
            ticker,
            cores,
            lane,
            lane_pool: Arc::new(Pool::new(engine, Arc::clone(&loaded))),
            fused_pool: OnceLock::new(),
            loaded,
            instances_max: *instances_max,
            awake: AtomicUsize::new(0),
        })
    }

    /// Returns the compiled code of the host.
    pub(crate) fn code(&self) -> &CompiledCode {
        &self.code
    }

    /// Waits until a blocking thread may compile for an asynchronous caller.
    ///
    /// # Errors
    /// Never: nothing closes the semaphore.
    pub(crate) async fn compile_permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let _waits = WaitsToCompile::begin(&self.waiting_to_compile);
        Arc::clone(&self.compiling).acquire_owned().await
    }

    /// Returns the use of the compilers.
    pub(crate) fn compiler_usage(&self) -> CompilerUsage {
        let usage = self.code.usage();
        CompilerUsage {
            waiting: usage.waiting + self.waiting_to_compile.load(Ordering::Relaxed) as u64,
            ..usage
        }
    }

    /// Returns the compute lane.
    pub(crate) fn lane(&self) -> &ComputeLane {
        &self.lane
    }

    /// Returns the compute lane's pool.
    pub(crate) fn lane_pool(&self) -> &Arc<Pool> {
        &self.lane_pool
    }

    /// Returns the number of cores that this process may use.
    pub(crate) fn cores(&self) -> usize {
        self.cores
    }

    /// Returns the number of instances that a serving thread may have.
    pub(crate) fn instances_max(&self) -> usize {
        self.instances_max.get() as usize
    }

    /// Returns the number of instances on the compute lane. All of them run.
    pub(crate) fn lane_instances(&self) -> u64 {
        let fused = self.fused_pool.get().into_iter().flatten();
        fused.chain([&*self.lane_pool]).map(|pool| pool.engine().instances()).sum()
    }

    /// Creates the pool of a serving thread, with an engine of its own.
    ///
    /// # Errors
    /// A message, if the address space can't be reserved.
    pub(crate) fn new_pool(&self) -> Result<Pool, String> {
        let engine = self.new_engine(self.instances_max.get())?;
        Ok(Pool::new(engine, Arc::clone(&self.loaded)))
    }

    /// Creates a pool for one instance, apart from all others: a thread of idle priority that holds
    /// its lock delays no other thread.
    ///
    /// # Errors
    /// The same errors as [`new_pool`](Self::new_pool).
    pub(crate) fn new_pool_apart(&self, loaded_bytes_max: u64) -> Result<Pool, String> {
        Ok(Pool::new(self.new_engine(1)?, LoadedSet::new(loaded_bytes_max)))
    }

    fn new_engine(&self, instances_max: u32) -> Result<Engine, String> {
        let engine = Engine::new(instances_max, self.code.compiler().codegen(), &self.ticker);
        engine.map_err(|error| format!("{error:#}"))
    }

    /// Creates a pool for fused components, with an engine of its own; `None` if the address space
    /// can't be reserved.
    pub(crate) fn new_fused_pool(&self) -> Option<Pool> {
        let engine = Engine::for_fused(self.code.compiler().codegen(), &self.ticker).ok()?;
        Some(Pool::new(engine, Arc::clone(&self.loaded)))
    }

    /// Returns the compute lane's pool for fused components.
    pub(crate) fn fused_pool(&self) -> Option<&Pool> {
        self.fused_pool.get_or_init(|| self.new_fused_pool()).as_ref()
    }

    /// Loads a component into `pool` if its compiled code is in the store. Blocks on the disk.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load_compiled(
        &self,
        pool: &Pool,
        digest: &Digest,
    ) -> Result<Option<Arc<Loaded>>, LoadError> {
        match pool.get(digest) {
            Some(loaded) => Ok(Some(loaded)),
            None => pool.load(&self.code, digest),
        }
    }

    /// Loads a component into `pool`, compiling it first if need be. The calling event loop waits
    /// neither for the disk nor for a compiler: another thread does.
    ///
    /// # Errors
    /// [`LoadError`]; the next call tries again.
    pub(crate) async fn load(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        digest: &Digest,
    ) -> Result<Arc<Loaded>, LoadError> {
        if let Some(loaded) = pool.get(digest) {
            return Ok(loaded);
        }
        if let Some(loaded) = self.load_elsewhere(pool, *digest).await? {
            return Ok(loaded);
        }
        self.compile(*digest).await?;
        self.load_elsewhere(pool, *digest).await?.ok_or_else(vanished)
    }

    /// Loads a component into `pool` on another thread, if its compiled code is in the store.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn load_elsewhere(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        digest: Digest,
    ) -> Result<Option<Arc<Loaded>>, LoadError> {
        let permit = pool.loading().await;
        let (this, pool) = (Arc::clone(self), Arc::clone(pool));
        let load = move || {
            let _permit = permit;
            this.load_compiled(&pool, &digest)
        };
        tokio::task::spawn_blocking(load).await.map_err(|error| LoadError::Engine(error.to_string()))?
    }

    /// Compiles a component of the store on another thread, unless its compiled code is there by
    /// then.
    async fn compile(self: &Arc<Self>, digest: Digest) -> Result<(), LoadError> {
        let internal = |error: &dyn std::fmt::Display| LoadError::Engine(error.to_string());
        let permit = self.compile_permit().await.map_err(|error| internal(&error))?;
        let (this, scope) = (Arc::clone(self), Scope::current());
        let compile = move || {
            let _permit = permit;
            Scope::enter(scope, || this.code.get_or_compile::<LoadError>(&digest).map(drop))
        };
        tokio::task::spawn_blocking(compile).await.map_err(|error| internal(&error))?
    }

    /// Describes a component whose compiled code is in the store; `None` if it has to be compiled.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn describe(&self, digest: &Digest) -> Result<Option<Described>, LoadError> {
        let Some(compiled) = self.code.open(digest)? else { return Ok(None) };
        let described = self.lane_pool.engine().describe_artefact(&compiled.path());
        described.map(Some).map_err(|refused| LoadError::Engine(refused.to_string()))
    }

    /// Reports the loaded compiled code, and how often code was loaded since the start.
    pub(crate) fn loaded_report(&self) -> LoadedReport {
        let LoadedCounts { components, bytes, reads, loads, evictions } = self.loaded.counts();
        LoadedReport { components, bytes, bytes_max: self.loaded.bytes_max(), reads, loads, evictions }
    }

    /// Records that a serving thread has work.
    pub(crate) fn wake(&self) {
        self.awake.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that a serving thread is idle. Returns whether all of them are now.
    pub(crate) fn rest(&self) -> bool {
        self.awake.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Removes loaded code that no call has used lately, if it is time to look.
    pub(crate) fn take_unused(&self) -> Option<Unused> {
        self.loaded.take_unused(Instant::now())
    }

    /// Unloads everything that the compute lane has loaded and that no call is using.
    pub(crate) fn unload(&self) {
        self.lane_pool.clear();
        if let Some(Some(pool)) = self.fused_pool.get() {
            pool.clear();
        }
    }
}

/// A task that waits to compile, until dropped.
struct WaitsToCompile<'a>(&'a AtomicUsize);

impl<'a> WaitsToCompile<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for WaitsToCompile<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn vanished() -> LoadError {
    LoadError::Engine("compiled code vanished while it was loaded".to_owned())
}
