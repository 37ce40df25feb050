//! Resolution of names to functions, cached by the references that callers use.
//!
//! ```text
//! cached --(hit)--> the function, or that it doesn't exist
//!   \-(miss)--> the store (blocks on the disk) --> cached until the name changes
//! ```
//!
//! Invariants:
//! * All references to a version share one [`Function`], which holds the history of its calls.
//! * Every lookup that starts after a change of a name was acknowledged sees the change.
//! * Names that don't exist are cached like those that do, up to [`ABSENT_MAX`]: a flood of them
//!   costs no disk access once they repeat, and bounded memory.
//! * [`cached`](Functions::cached) and [`cached_routes`](Functions::cached_routes) never block on
//!   the disk: they are for event loops.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::Limits;
use nebula_model::record::{Composition, VersionRecord};
use nebula_store::{ResolveError, Store, StoreError};

use crate::call::function::{CachePolicy, Composed, Function};
use crate::call::routes::RouteTable;
use crate::executor::Executor;
use crate::results::Results;

/// Most cached references without a function; beyond it all of them are dropped.
const ABSENT_MAX: usize = 4096;

/// The functions of one host.
pub(crate) struct Functions {
    store: Arc<Store>,
    executor: Arc<Executor>,
    results: Arc<Results>,
    /// The limits of functions without their own.
    limits: Limits,
    cached: RwLock<Cached>,
    /// Rises with every change of a name, before the change is acknowledged.
    generation: AtomicU64,
    /// Held while the routing table is made, so that many requests at once make it once.
    making_routes: Mutex<()>,
    /// Versions that a call may still be using, even if their name was removed.
    in_use: Mutex<Vec<Weak<Function>>>,
}

#[derive(Default)]
struct Cached {
    found: HashMap<FunctionRef, Arc<Function>>,
    absent: HashMap<FunctionRef, Absence>,
    /// `None` until a request asks for it.
    routes: Option<Arc<RouteTable>>,
}

/// Why a reference names no function, according to the store.
#[derive(Clone, Debug)]
enum Absence {
    Function { similar: Option<FunctionName> },
    Version { asked: String, current: Version },
}

impl Absence {
    fn of(error: &ResolveError) -> Option<Self> {
        match error {
            ResolveError::UnknownFunction { name: _, similar } => {
                Some(Self::Function { similar: similar.clone() })
            }
            ResolveError::UnknownVersion { name: _, asked, current } => {
                Some(Self::Version { asked: asked.clone(), current: *current })
            }
            ResolveError::NoEarlierVersion { .. } | ResolveError::Store(_) => None,
        }
    }

    /// Returns whether the error mentions a name.
    fn mentions(&self, name: &FunctionName) -> bool {
        matches!(self, Self::Function { similar: Some(similar) } if similar == name)
    }

    fn error(&self, name: &FunctionName) -> ResolveError {
        match self {
            Self::Function { similar } => {
                ResolveError::UnknownFunction { name: name.clone(), similar: similar.clone() }
            }
            Self::Version { asked, current } => {
                ResolveError::UnknownVersion { name: name.clone(), asked: asked.clone(), current: *current }
            }
        }
    }
}

impl Functions {
    pub(crate) fn new(
        store: Arc<Store>,
        executor: Arc<Executor>,
        results: Arc<Results>,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            executor,
            results,
            limits,
            cached: RwLock::default(),
            generation: AtomicU64::new(0),
            making_routes: Mutex::default(),
            in_use: Mutex::default(),
        }
    }

    /// Returns the limits of functions without their own.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the function that `reference` names, or the cached error if it doesn't exist; `None`
    /// if the store has to be read.
    pub(crate) fn cached(&self, reference: &FunctionRef) -> Option<Result<Arc<Function>, ResolveError>> {
        let cached = self.read();
        match cached.found.get(reference) {
            Some(function) => Some(Ok(Arc::clone(function))),
            None => cached.absent.get(reference).map(|absence| Err(absence.error(&reference.name))),
        }
    }

    /// Returns the function that `reference` names. Blocks on the disk if it isn't cached.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub(crate) fn resolve(&self, reference: &FunctionRef) -> Result<Arc<Function>, ResolveError> {
        if let Some(found) = self.cached(reference) {
            return found;
        }
        // The store is read without the lock: a lookup of a missing name delays no other.
        let generation = self.generation();
        let found = self.store.resolve(reference);
        if let Err(error) = &found
            && let Some(absence) = Absence::of(error)
        {
            let mut cached = self.write();
            if self.generation() == generation {
                if cached.absent.len() >= ABSENT_MAX {
                    cached.absent.clear();
                }
                cached.absent.insert(reference.clone(), absence);
            }
        }
        self.add(reference, found?, generation)
    }

    /// Caches the function of a record that was read under `generation`.
    fn add(
        &self,
        reference: &FunctionRef,
        mut record: VersionRecord,
        generation: u64,
    ) -> Result<Arc<Function>, ResolveError> {
        let composed = match &record.pipeline {
            Some(composition) => Some(self.resolve_steps(composition)?),
            None => None,
        };
        // A pipeline caches its results only as far as its functions allow.
        for step in composed.iter().flat_map(|composed| composed.steps().values()) {
            record.cache.narrow(&step.record.cache);
        }
        let is_distrusted = self.results.disagreement(&record.digest)?.is_some()
            || composed.as_ref().is_some_and(|it| it.steps().values().any(|step| step.is_distrusted()));
        let memory = match is_distrusted {
            true => CachePolicy::Distrusted,
            false if self.results.cache().is_on() => CachePolicy::PerFunction,
            false => CachePolicy::Off,
        };
        let exact = FunctionRef { name: record.name.clone(), selector: Selector::Version(record.version) };
        let mut cached = self.write();
        if let Some(function) = cached.found.get(&exact) {
            let function = Arc::clone(function);
            if self.generation() == generation {
                cached.found.insert(reference.clone(), Arc::clone(&function));
            }
            return Ok(function);
        }
        let limits = self.limits_of(&record);
        let function = Function::new(record, limits, self.executor.lane().share(), memory, composed);
        self.lock_in_use().push(Arc::downgrade(&function));
        // If the name has changed since, the next call reads the store again.
        if self.generation() == generation {
            cached.found.insert(exact, Arc::clone(&function));
            cached.found.insert(reference.clone(), Arc::clone(&function));
        }
        Ok(function)
    }

    /// Returns the routes of all functions; `None` if the store has to be read.
    pub(crate) fn cached_routes(&self) -> Option<Arc<RouteTable>> {
        self.read().routes.clone()
    }

    /// Returns the routes of all functions. Blocks on the disk if they aren't cached.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn routes(&self) -> Result<Arc<RouteTable>, StoreError> {
        let _making = self.making_routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(routes) = self.cached_routes() {
            return Ok(routes);
        }
        let generation = self.generation();
        let mut versions = Vec::new();
        for name in self.store.routed()? {
            versions.extend(self.current(&name)?);
        }
        let routes = Arc::new(RouteTable::new(&versions));
        let mut cached = self.write();
        // If a name has changed since, the next request reads the store again.
        if self.generation() == generation {
            cached.routes = Some(Arc::clone(&routes));
        }
        Ok(routes)
    }

    /// Returns the function of a pipeline's version that isn't published yet, and that calls these
    /// versions. A step that is a pipeline has no steps here. Nothing is cached.
    pub(crate) fn prospective(
        &self,
        record: VersionRecord,
        steps: BTreeMap<String, VersionRecord>,
    ) -> Arc<Function> {
        let function = |record: VersionRecord, composed| {
            let limits = self.limits_of(&record);
            Function::new(record, limits, self.executor.lane().share(), CachePolicy::Off, composed)
        };
        let steps = steps.into_iter().map(|(call, step)| (call, function(step, None))).collect();
        function(record, Some(Composed::new(steps)))
    }

    /// Returns the limits of a version. The host's ceiling may be lower than at the deploy: then its
    /// own default holds.
    fn limits_of(&self, record: &VersionRecord) -> Limits {
        self.limits.with(&record.limits).unwrap_or_else(|_| self.limits.clone())
    }

    /// Resolves the functions of a pipeline, each in the version that the pipeline was deployed
    /// with.
    fn resolve_steps(&self, composition: &Composition) -> Result<Composed, ResolveError> {
        let mut steps = BTreeMap::new();
        for function in composition.description.steps.calls() {
            if let Some(version) = composition.version_of(function) {
                steps.insert(function.to_string(), self.resolve(&version)?);
            }
        }
        Ok(Composed::new(steps))
    }

    /// Returns the number of changes so far: a function found under another number may have
    /// changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Drops the entries of a name that has changed.
    pub(crate) fn uncache(&self, name: &FunctionName) {
        let mut cached = self.write();
        cached.found.retain(|reference, _| reference.name != *name);
        cached.absent.retain(|reference, absence| reference.name != *name && !absence.mentions(name));
        cached.routes = None;
        // The lock is held over both, so that nothing older is cached under the new number.
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops everything that is cached.
    pub(crate) fn uncache_all(&self) {
        let mut cached = self.write();
        *cached = Cached::default();
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops every function that nothing else holds. A held function stays, because it holds the
    /// history of its calls.
    pub(crate) fn drop_unused(&self) {
        let mut cached = self.write();
        cached.absent = HashMap::new();
        cached.routes = None;
        // Most functions are cached under more than one reference.
        let mut held_here: HashMap<_, usize> = HashMap::new();
        for function in cached.found.values() {
            *held_here.entry(Arc::as_ptr(function)).or_default() += 1;
        }
        cached.found.retain(|_, function| {
            held_here.get(&Arc::as_ptr(function)).is_some_and(|held| Arc::strong_count(function) > *held)
        });
        cached.found.shrink_to_fit();
        drop(cached);
        let mut in_use = self.lock_in_use();
        in_use.retain(|function| function.strong_count() > 0);
        in_use.shrink_to_fit();
    }

    /// Returns the digests of the versions that a call may be using.
    pub(crate) fn digests_in_use(&self) -> Vec<Digest> {
        let mut in_use = self.lock_in_use();
        in_use.retain(|function| function.strong_count() > 0);
        in_use.iter().filter_map(Weak::upgrade).map(|function| function.record.digest).collect()
    }

    /// Returns the current version of a name, or `None` if the function doesn't exist. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, StoreError> {
        let reference = FunctionRef { name: name.clone(), selector: Selector::Current };
        match self.store.resolve(&reference) {
            Ok(record) => Ok(Some(record)),
            Err(ResolveError::Store(error)) => Err(error),
            Err(
                ResolveError::UnknownFunction { .. }
                | ResolveError::UnknownVersion { .. }
                | ResolveError::NoEarlierVersion { .. },
            ) => Ok(None),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Cached> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cached> {
        self.cached.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_in_use(&self) -> MutexGuard<'_, Vec<Weak<Function>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use nebula_engine::{Codegen, Compiler};
    use nebula_model::limits::HostLimits;
    use tempfile::TempDir;

    use super::*;
    use crate::backends::Backends;

    /// The functions of a host without any.
    fn none(directory: &TempDir) -> Functions {
        let Backends { store, results, .. } = Backends::in_memory(&HostLimits::default());
        let compiler = Compiler::InProcess(Codegen::Baseline);
        let host_limits = HostLimits { calls_max: 1, ..HostLimits::default() };
        let executor = Executor::start(Arc::clone(&store), compiler, &host_limits).unwrap();
        let results = Results::new(Arc::clone(&store), results, directory.path(), &host_limits);
        Functions::new(store, Arc::new(executor), Arc::new(results), Limits::default())
    }

    fn reference(text: &str) -> FunctionRef {
        text.parse().unwrap()
    }

    #[test]
    fn a_missing_name_is_cached_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let functions = none(&directory);
        let missing = reference("missing");
        assert!(functions.cached(&missing).is_none());
        assert!(matches!(functions.resolve(&missing), Err(ResolveError::UnknownFunction { .. })));
        assert!(matches!(functions.cached(&missing), Some(Err(ResolveError::UnknownFunction { .. }))));
        functions.uncache(&reference("other").name);
        assert!(functions.cached(&missing).is_some());
        functions.uncache(&missing.name);
        assert!(functions.cached(&missing).is_none());
    }

    #[test]
    fn cached_missing_names_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let functions = none(&directory);
        for index in 0..=ABSENT_MAX {
            assert!(functions.resolve(&reference(&format!("missing-{index}"))).is_err());
        }
        assert_eq!(functions.read().absent.len(), 1);
    }
}
