//! Compiled code: opened from the store, or compiled first.
//!
//! ```text
//! open ----------------------------------------------------------------> authentic code, or `None`
//! get_or_compile --(missing)---> wait for a slot --> compile --> store ---> authentic code
//! ```
//!
//! Invariants:
//! * At most [`compilations_max`](CompiledCode::compilations_max) compilers run at once, because
//!   each may take gigabytes.
//! * A component that several threads need is compiled once. The others wait, then open it.
//! * No lock is held while a compiler runs.
//!
//! Every function here blocks: call them on threads that may wait.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use nebula_engine::{CompileError, Compiler};
use nebula_model::id::Digest;
use nebula_store::{BlobError, Compiled, Store, StoreError};
use nebula_telemetry::trace::{AttributeValue, Scope};
use tracing::{debug, warn};

/// The target of events about compiling.
const COMPILE: &str = "nebula::compile";

/// The compiled code of one host.
pub(crate) struct CompiledCode {
    store: Arc<Store>,
    compiler: Compiler,
    /// Names the engines that the code runs on.
    compatibility: String,
    compilations_max: usize,
    compiling: Mutex<Compilations>,
    /// Signalled at the end of each compilation.
    ended: Condvar,
}

#[derive(Default)]
struct Compilations {
    /// The digests that are being compiled.
    running: HashSet<Digest>,
    /// Threads that wait for a compilation to end.
    waiting: usize,
}

/// The compilers at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompilerUsage {
    /// Compilers that run.
    pub running: u64,
    /// Limit on compilers that run.
    pub running_max: u64,
    /// Components that wait for a compiler.
    pub waiting: u64,
}

impl CompiledCode {
    pub(crate) fn new(
        store: Arc<Store>,
        compiler: Compiler,
        compatibility: String,
        compilations_max: usize,
    ) -> Self {
        Self {
            store,
            compiler,
            compatibility,
            compilations_max,
            compiling: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Returns how many compilers may run at once.
    pub(crate) fn compilations_max(&self) -> usize {
        self.compilations_max
    }

    /// Returns the compiler.
    pub(crate) fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Returns the name of the engines that the code runs on.
    pub(crate) fn compatibility(&self) -> &str {
        &self.compatibility
    }

    /// Opens authentic compiled code; `None` if it has to be compiled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<Compiled>, StoreError> {
        self.store.open_compiled(digest, &self.compatibility)
    }

    /// Opens the compiled code of a component of the store, compiling it if need be.
    ///
    /// # Errors
    /// [`StoreError`] and [`CompileError`], as the caller's error.
    pub(crate) fn get_or_compile<E>(&self, digest: &Digest) -> Result<Compiled, E>
    where
        E: From<StoreError> + From<CompileError>,
    {
        self.get_or_compile_bytes(digest, || Ok(self.store.read_component(digest)?.into()), |_| Ok(()))
    }

    /// Opens compiled code under `digest`, compiling what `component` returns if need be. Code that
    /// `accept` refuses isn't stored.
    ///
    /// # Errors
    /// [`StoreError`] and [`CompileError`], as the caller's error, and the errors of both
    /// functions.
    pub(crate) fn get_or_compile_bytes<'a, E>(
        &self,
        digest: &Digest,
        component: impl FnOnce() -> Result<Cow<'a, [u8]>, E>,
        accept: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<Compiled, E>
    where
        E: From<StoreError> + From<CompileError>,
    {
        if let Some(compiled) = self.open(digest)? {
            return Ok(compiled);
        }
        let _compilation = self.begin(digest);
        // Another thread may have compiled it while this one waited.
        if let Some(compiled) = self.open(digest)? {
            return Ok(compiled);
        }
        let code = self.compile(digest, &component()?)?;
        accept(&code)?;
        self.store.store_compiled(digest, &self.compatibility, &code)?;
        let compiled = self.open(digest)?;
        Ok(compiled.ok_or_else(|| StoreError::Blob(BlobError::Damaged { digest: *digest }))?)
    }

    /// Runs the compiler, as a part of the request that this thread works for.
    fn compile(&self, digest: &Digest, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let (began, clock) = (SystemTime::now(), Instant::now());
        let compiled = self.compiler.compile(component);
        match &compiled {
            Err(error) => {
                warn!(target: COMPILE, %digest, error = error.to_string(), "a component can't be compiled");
            }
            Ok(_) => {
                let took_ms = clock.elapsed().as_millis() as u64;
                debug!(target: COMPILE, %digest, took_ms, "compiled a component");
            }
        }
        if let Some(scope) = Scope::current() {
            scope.record(|parent| {
                let mut span = parent.child("compile", began, SystemTime::now());
                span.add("nebula.component.digest", AttributeValue::text(&digest.to_string()));
                span.add("nebula.component.size", component.len() as u64);
                span.failure = compiled.as_ref().err().map(|error| error.to_string().into());
                span
            });
        }
        compiled
    }

    /// Waits until no other thread compiles `digest` and another compiler may run.
    fn begin(&self, digest: &Digest) -> Compilation<'_> {
        let mut compiling = self.lock();
        compiling.waiting += 1;
        while compiling.running.len() >= self.compilations_max || compiling.running.contains(digest) {
            compiling = self.ended.wait(compiling).unwrap_or_else(PoisonError::into_inner);
        }
        compiling.waiting -= 1;
        compiling.running.insert(*digest);
        Compilation { code: self, digest: *digest }
    }

    /// Returns the compilers that run, and the threads that wait for one. Tasks that wait for such a
    /// thread are the executor's.
    pub(crate) fn usage(&self) -> CompilerUsage {
        let compiling = self.lock();
        CompilerUsage {
            running: compiling.running.len() as u64,
            running_max: self.compilations_max as u64,
            waiting: compiling.waiting as u64,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Compilations> {
        self.compiling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot for one compilation, released when dropped.
struct Compilation<'a> {
    code: &'a CompiledCode,
    digest: Digest,
}

impl Drop for Compilation<'_> {
    fn drop(&mut self) {
        self.code.lock().running.remove(&self.digest);
        self.code.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use nebula_engine::Codegen;

    use super::*;
    use crate::error::LoadError;

    /// An empty component.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn code(directory: &tempfile::TempDir, compilations_max: usize) -> CompiledCode {
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let compiler = Compiler::InProcess(Codegen::Baseline);
        CompiledCode::new(store, compiler, "test".to_owned(), compilations_max)
    }

    /// Compiles on eight threads as many components as `digest_of` gives. Returns the number of
    /// compilations and the most that ran at once.
    fn ask(compilations_max: usize, digest_of: impl Fn(u8) -> Digest + Sync) -> (usize, usize) {
        let directory = tempfile::tempdir().unwrap();
        let code = code(&directory, compilations_max);
        let (begun, running, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for index in 0..8 {
                let (code, begun, running, most, digest_of) = (&code, &begun, &running, &most, &digest_of);
                scope.spawn(move || {
                    let component = || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        Ok(COMPONENT.into())
                    };
                    let accept = |_: &[u8]| {
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, LoadError>(())
                    };
                    code.get_or_compile_bytes(&digest_of(index), component, accept).unwrap();
                });
            }
        });
        (begun.into_inner(), most.into_inner())
    }

    #[test]
    fn one_component_is_compiled_once_for_all_callers() {
        assert_eq!(ask(4, |_| Digest::of(b"one")).0, 1);
    }

    #[test]
    fn compilations_at_once_are_bounded() {
        let (begun, most) = ask(2, |index| Digest::of(&[index]));
        assert_eq!(begun, 8);
        assert!(most <= 2, "{most} at once");
    }

    #[test]
    fn refused_code_is_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let code = code(&directory, 1);
        let digest = Digest::of(b"refused");
        let refuse = |_: &[u8]| Err(LoadError::Engine("refused".to_owned()));
        assert!(code.get_or_compile_bytes(&digest, || Ok(COMPONENT.into()), refuse).is_err());
        assert!(code.open(&digest).unwrap().is_none());
        // The slot is free again.
        assert!(code.get_or_compile_bytes::<LoadError>(&digest, || Ok(COMPONENT.into()), |_| Ok(())).is_ok());
    }
}
