//! The facade of the crate: everything a host does with functions.
//!
//! ```text
//! Deployer  --> Functions --> Executor     changes names
//! call, run --> Functions, Executor, Results    answer calls
//! ```
//!
//! Here a runtime opens and rests. `deploys` changes names, `lookups` reads them, and `results` is
//! for what calls leave behind. `host` reports the use of the whole.

mod deploys;
mod host;
mod lookups;
mod results;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use nebula_engine::Compiler;
use nebula_model::disagreement::Disagreement;
use nebula_model::limits::{HostLimits, Limits};
use nebula_store::{OpenError, Store, StoreError};

pub(crate) use self::host::HoldsInstances;
pub use self::host::{HostReport, InstanceUsage};
pub use self::lookups::FunctionVersions;
pub use self::results::ClearError;
use crate::backends::Backends;
use crate::call::functions::Functions;
use crate::call::leases::EndingLeases;
use crate::deploy::Deployer;
use crate::executor::Executor;
use crate::peers::Peers;
use crate::receipt::Signer;
use crate::results::Results;
use crate::run::verify::Verification;

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
    ending_leases: EndingLeases,
    shards: Mutex<Vec<Weak<dyn HoldsInstances>>>,
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
            ending_leases: EndingLeases::default(),
            shards: Mutex::default(),
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

    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
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
