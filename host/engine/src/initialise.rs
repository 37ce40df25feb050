//! Work that a component does once: run when it is compiled, and kept.
//!
//! ```text
//! component --instrument--> run `wizer-initialize` in a sandbox --snapshot--> component that begins there
//! ```
//!
//! A component of any form may export [`EXPORT`] beside its handler. What stands in its memories and
//! globals when that returns is compiled in the place of what it began with, so that every instance
//! begins there. The component's digest stays that of the bytes deployed: a snapshot is derived from
//! them, like compiled code.
//!
//! Invariants:
//! * It runs in the sandbox of a call, as the start-up of an instance does: no input, the fixed clock,
//!   randomness of the digest alone. So the same component gives the same snapshot, byte for byte.
//! * Its limits are constants and not the function's: what is compiled depends on the component alone.
//! * Nothing of the host is in a snapshot: what leaves a handle open is refused.
//!
//! How a component is taken apart and put together again is `wasmtime-wizer`'s. Of that crate only what
//! rewrites components is used: its feature `wasmtime`, which would run them, turns on garbage collection,
//! threads and async support in the engine that serves.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nebula_model::id::Digest;
use nebula_model::limits::{
    INITIALISE_DEADLINE_MS, INITIALISE_LOG_BYTES_MAX, INITIALISE_MEMORY_BYTES_MAX, Limits,
    SNAPSHOT_ADDED_BYTES_MAX,
};
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::call::{self, Failure, Stopped};
use super::{Codegen, Engine, Ticker};
use crate::purity::{Allowance, Sandbox, Wanted};

/// How long it may take.
const DEADLINE: Duration = Duration::from_millis(INITIALISE_DEADLINE_MS);

/// The export that is run: the one that `wizer` runs unless told otherwise.
const EXPORT: &str = "wizer-initialize";

/// Goes up with every change of what a component's initialisation sees or leaves behind, so that what was compiled before
/// is compiled again. It sees what a call sees, so it goes up with `SEMANTICS` of the cache key.
pub(super) const SNAPSHOT_VERSION: u32 = 2;

/// Why a component's initialisation came to nothing.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialiseError {
    /// The export is there, and isn't what is run.
    #[error("its export `{EXPORT}` is not a `func()`")]
    NotAFunction,
    /// It trapped, panicked or exited.
    #[error("its `{EXPORT}` trapped: {}", .0.reason)]
    Trapped(Failure),
    /// It didn't return in time.
    #[error("its `{EXPORT}` passed the deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The limit.
        deadline_ms: u64,
        /// The end of what it printed.
        log_tail: String,
    },
    /// It asked for more memory or table than it may have and then ended abnormally.
    #[error("its `{EXPORT}` hit the {limit} limit of {max}")]
    ResourceLimit {
        /// `memory` (bytes) or `table` (elements).
        limit: String,
        /// The limit.
        max: u64,
        /// Where it was.
        failure: Failure,
    },
    /// It returned while it held something of the host's, which isn't there in a call. Printing leaves a
    /// stream: the C library keeps the one that it has got.
    #[error(
        "its `{EXPORT}` left a handle of the host's open, which no call would know: printing opens a stream, \
         for one"
    )]
    HandleLeft {
        /// The end of what it printed.
        log_tail: String,
    },
    /// The snapshot is too large.
    #[error("what its `{EXPORT}` made has {bytes} bytes, and at most {SNAPSHOT_ADDED_BYTES_MAX} are kept")]
    TooLarge {
        /// By how much the snapshot is longer than the component.
        bytes: u64,
    },
    /// The component does something that can't be snapshotted.
    #[error("its state after `{EXPORT}` can't be kept: {0}")]
    Unsupported(String),
}

impl InitialiseError {
    /// Where the guest was, if it was anywhere.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Trapped(failure) | Self::ResourceLimit { failure, .. } => Some(failure),
            Self::NotAFunction
            | Self::DeadlineExceeded { .. }
            | Self::HandleLeft { .. }
            | Self::TooLarge { .. }
            | Self::Unsupported(_) => None,
        }
    }
}

/// What to compile: the component, or its snapshot if it has something to initialise.
///
/// # Errors
/// [`InitialiseError`].
pub(super) fn initialised(component: &[u8], codegen: Codegen) -> Result<Cow<'_, [u8]>, InitialiseError> {
    if !has_export(component) {
        return Ok(Cow::Borrowed(component));
    }
    let snapshot = snapshot(component, codegen)?;
    Ok(snapshot.map_or(Cow::Borrowed(component), Cow::Owned))
}

/// Whether there is something to initialise. Of bytes that are no component there isn't: the compiler says more.
fn has_export(component: &[u8]) -> bool {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentExportSection(exports)) if depth == 0 => {
                if exports.into_iter().flatten().any(|export| export.name.name == EXPORT) {
                    return true;
                }
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Runs the export and takes the snapshot. None of a component that can't be linked: what is deployed is
/// described too, and refused there by the import's name.
fn snapshot(component: &[u8], codegen: Codegen) -> Result<Option<Vec<u8>>, InitialiseError> {
    let unsupported = |error: wasmtime::Error| InitialiseError::Unsupported(format!("{error:#}"));
    let mut wizer = Wizer::new();
    // Taking the export out would renumber what may refer to it, and nobody calls it.
    wizer.init_func(EXPORT).keep_init_func(true);
    let (parts, instrumented) = wizer.instrument_component(component).map_err(unsupported)?;

    let ticker = Ticker::start().map_err(|error| unsupported(error.into()))?;
    let engine = Engine::for_initialisation(codegen, &ticker).map_err(unsupported)?;
    let compiled = Component::new(engine.wasmtime(), instrumented).map_err(unsupported)?;
    let Ok(linked) = engine.linker.instantiate_pre(&compiled) else { return Ok(None) };
    match compiled.get_export(None, EXPORT) {
        Some((ComponentItem::ComponentFunc(func), _))
            if func.params().len() == 0 && func.results().len() == 0 && !func.async_() => {}
        Some(_) | None => return Err(InitialiseError::NotAFunction),
    }

    let limits = limits();
    let allowance = || Allowance::long(Instant::now() + DEADLINE, Wanted::default());
    let _ticking = engine.counter.begin();
    let mut store = engine.store(&limits, Digest::of(component).bytes(), allowance());
    let run = |store: &mut Store<Sandbox>| {
        let instance = linked.instantiate(&mut *store)?;
        instance.get_typed_func::<(), ()>(&mut *store, EXPORT)?.call(&mut *store, ())?;
        Ok(instance)
    };
    let instance = run(&mut store).map_err(|error| explain(&error, &store, &limits))?;
    if store.data().holds_handles() {
        return Err(InitialiseError::HandleLeft { log_tail: store.data().log().tail() });
    }

    // From here on only what the instrumentation has added runs: it copies memories out.
    store.data_mut().lift_limits(allowance());
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(usize::MAX);
    let mut state = State { store, instance, memories: HashMap::new(), failed: None };
    let snapshot = at_once(wizer.snapshot_component(&parts, &mut state)).map_err(unsupported)?;
    if let Some(error) = state.failed {
        return Err(unsupported(error));
    }
    let added = snapshot.len().saturating_sub(component.len());
    if added > SNAPSHOT_ADDED_BYTES_MAX {
        return Err(InitialiseError::TooLarge { bytes: added as u64 });
    }
    Ok(Some(snapshot))
}

/// A call's, with what differs in its place.
fn limits() -> Limits {
    Limits {
        memory_bytes_max: INITIALISE_MEMORY_BYTES_MAX,
        log_bytes_max: INITIALISE_LOG_BYTES_MAX,
        ..Limits::default()
    }
}

fn explain(error: &wasmtime::Error, store: &Store<Sandbox>, limits: &Limits) -> InitialiseError {
    let log = store.data().log();
    match call::explain(error, store, &log, limits) {
        Stopped::CutOff => {
            InitialiseError::DeadlineExceeded { deadline_ms: INITIALISE_DEADLINE_MS, log_tail: log.tail() }
        }
        Stopped::Trapped(failure) | Stopped::StackExhausted(failure) | Stopped::InvalidAnswer(failure) => {
            InitialiseError::Trapped(failure)
        }
        Stopped::ResourceLimit { limit, max, failure } => {
            InitialiseError::ResourceLimit { limit: limit.to_owned(), max, failure }
        }
        // It answers nothing, and there is no pool: what is left is an import that was handed too much.
        Stopped::OutputTooLarge { .. } | Stopped::NoSlot => InitialiseError::Trapped(Failure {
            reason: error.root_cause().to_string(),
            backtrace: Vec::new(),
            log_tail: log.tail(),
        }),
    }
}

/// The initialised instance, as `wizer` reads it: through exports that the instrumentation has added.
///
/// Reading can't fail as far as that crate is concerned. If it does all the same, such as for want of the page
/// that reading a memory takes, the first error is kept here, and the snapshot that comes of it is thrown away.
struct State {
    store: Store<Sandbox>,
    instance: Instance,
    /// By the export that reads it. Each is asked for twice, and each reading would grow it by a page.
    memories: HashMap<String, Vec<u8>>,
    failed: Option<wasmtime::Error>,
}

impl State {
    fn read<T: Default>(&mut self, instance: &str, func: &str) -> T
    where
        (T,): ComponentNamedList + Lift,
    {
        self.try_read(instance, func).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            T::default()
        })
    }

    fn try_read<T>(&mut self, instance: &str, func: &str) -> wasmtime::Result<T>
    where
        (T,): ComponentNamedList + Lift,
    {
        let Self { store, instance: root, .. } = self;
        let missing = || wasmtime::format_err!("the export `{instance}#{func}` is gone");
        let within = root.get_export_index(&mut *store, None, instance).ok_or_else(missing)?;
        let index = root.get_export_index(&mut *store, Some(&within), func).ok_or_else(missing)?;
        let (value,) = root.get_typed_func::<(), (T,)>(&mut *store, index)?.call(&mut *store, ())?;
        Ok(value)
    }
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        if !self.memories.contains_key(func) {
            let bytes = self.read(instance, func);
            self.memories.insert(func.to_owned(), bytes);
        }
        contents(self.memories.get(func).map_or(&[], Vec::as_slice));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read::<f32>(instance, func).to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read::<f64>(instance, func).to_bits()
    }
}

/// The result of a future that waits for nothing: those of [`State`] don't.
fn at_once<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::format_err!("taking a snapshot waits for something")),
    }
}

#[cfg(test)]
mod tests;
