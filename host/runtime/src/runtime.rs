//! The facade: everything a host does with functions, in one place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::admission::{self, Inadmissible};
use crate::engine::{self, CompileError, Compiler, Engine, Refused};
use crate::error::{CallError, Fault};
use crate::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use crate::invoke::{self, Called, ComputeLane, History, Prefer, Request, Target};
use crate::limits::{HostLimits, LimitOverrides, LimitTooHigh, Limits};
use crate::logs::{LogEntry, Logs};
use crate::pool::Pool;
use crate::purity::CallLog;
use crate::registry::{
    Description, NewVersion, OpenError, Registry, ResolveError, StoreError, VersionRecord,
};
use bytes::Bytes;

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

/// The engine can't read what it wrote itself.
fn internal(error: wasmtime::Error) -> DeployError {
    DeployError::Internal(format!("{error:#}"))
}

/// One version of a function, as calls see it.
pub struct Function {
    /// What the registry says of it.
    pub record: VersionRecord,
    limits: Limits,
    history: Arc<History>,
}

impl Function {
    /// The limits its calls run under.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Everything a host does with functions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    registry: Registry,
    pool: Pool,
    lane: ComputeLane,
    limits: Limits,
    /// Versions that were called, by how they were asked for. Cleared by whatever changes a name.
    resolved: RwLock<HashMap<FunctionRef, Arc<Function>>>,
    logs: Logs,
}

impl Runtime {
    /// Opens the registry and starts the engine.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let registry = Registry::open(&config.data_dir)?;
        let instances = config.host_limits.calls_max + config.serving_threads + 8;
        let engine = Engine::new(u32::try_from(instances).unwrap_or(u32::MAX), config.compiler.codegen())
            .map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        let pool = Pool::new(engine, config.compiler, config.host_limits.loaded_max);
        registry.collect_garbage(pool.compatibility())?;
        Ok(Self(Arc::new(Shared {
            registry,
            pool,
            lane: ComputeLane::new(&config.host_limits),
            limits: config.limits,
            resolved: RwLock::default(),
            logs: Logs::default(),
        })))
    }

    /// Admits, compiles, checks and publishes a component. Durable when it returns; the next call
    /// sees it, calls in flight end on the version they began with.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    ///
    /// # Cancel safety
    /// Once started a deploy goes on to its end, whoever waits for it.
    pub async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        limits: LimitOverrides,
    ) -> Result<VersionRecord, DeployError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.deploy_blocking(&name, &component, limits))
            .await
            .map_err(|error| DeployError::Internal(error.to_string()))?
    }

    fn deploy_blocking(
        &self,
        name: &FunctionName,
        component: &[u8],
        limits: LimitOverrides,
    ) -> Result<VersionRecord, DeployError> {
        let Shared { registry, pool, .. } = &*self.0;
        self.0.limits.with(&limits)?;
        admission::admit(component)?;
        let digest = Digest::of(component);
        let compatibility = pool.compatibility();
        let described = match registry.open_compiled(&digest, compatibility)? {
            // Compiled before, under this or another name.
            Some(path) => pool.engine().describe_artefact(&path).map_err(internal)??,
            None => {
                let artefact = pool.compiler().compile(component)?;
                let loaded = engine::load_bytes(pool.engine(), &artefact).map_err(internal)?;
                let (_, described) = pool.engine().prepare(&loaded)?;
                registry.store_compiled(&digest, compatibility, &artefact)?;
                described
            }
        };
        let new = NewVersion {
            digest,
            size_bytes: component.len() as u64,
            limits,
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
        // Under the lock, so that a deploy in between can't be overwritten by what came before it.
        let mut resolved = resolved.write().unwrap_or_else(PoisonError::into_inner);
        let record = self.0.registry.resolve(reference)?;
        // The host's ceiling may have come down since the deploy: then its own default holds.
        let limits = self.0.limits.with(&record.limits).unwrap_or_else(|_| self.0.limits.clone());
        let function = Arc::new(Function { record, limits, history: Arc::default() });
        resolved.insert(reference.clone(), Arc::clone(&function));
        Ok(function)
    }

    fn forget_resolved(&self, name: &FunctionName) {
        let mut resolved = self.0.resolved.write().unwrap_or_else(PoisonError::into_inner);
        resolved.retain(|reference, _| reference.name != *name);
    }

    /// Runs one call.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the call; what already runs on the compute lane ends by itself,
    /// at its deadline at the latest.
    pub async fn call(&self, function: &Arc<Function>, request: Request, prefer: Prefer) -> Called {
        let digest = function.record.digest;
        let loaded = match self.0.pool.get(&digest) {
            Some(loaded) => Ok(loaded),
            None => {
                let this = self.clone();
                let load = move || this.0.pool.load(&this.0.registry, &digest);
                match tokio::task::spawn_blocking(load).await {
                    Ok(loaded) => loaded.map_err(CallError::Load),
                    Err(error) => Err(CallError::Internal(error.to_string())),
                }
            }
        };
        let called = match loaded {
            Ok(loaded) => {
                let target = Target {
                    digest,
                    limits: function.limits.clone(),
                    loaded,
                    history: Arc::clone(&function.history),
                };
                invoke::invoke(&self.0.lane, &target, request, prefer).await
            }
            Err(error) => Called {
                result: Err(error),
                cost: nebula_meter::CallCost::default(),
                log: CallLog::default(),
            },
        };
        self.record_log(function, &called);
        called
    }

    fn record_log(&self, function: &Function, called: &Called) {
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
        self.0.registry.collect_garbage(self.0.pool.compatibility())?;
        self.0.logs.forget(name);
        Ok(())
    }
}
