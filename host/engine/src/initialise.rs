//! Initialisation: runs a component's one-time work at compile time and snapshots the result.
//!
//! ```text
//! component --instrument--> run `wizer-initialize` in a sandbox --snapshot--> new component
//! ```
//!
//! A component of any form may export [`EXPORT`] beside its handler. After the export returns, its
//! memories and globals are compiled as the initial state, so every instance starts from there. The
//! component keeps the digest of the deployed bytes: like compiled code, a snapshot derives from
//! them.
//!
//! Invariants:
//! * The initialiser runs in the sandbox of a call, like the start-up of an instance: no input, the
//!   fixed clock, randomness from the digest alone. So the same component gives the same snapshot,
//!   byte for byte.
//! * The limits are constants and not the function's, and there is no configuration: the compiled
//!   code depends on the component alone.
//! * A snapshot holds nothing of the host: an initialiser that leaves a handle open is refused.
//!
//! `wasmtime-wizer` takes components apart and reassembles them. Only the part of that crate that
//! rewrites components is used: its feature `wasmtime`, which would run them, enables garbage
//! collection, threads and async support in the serving engine.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nebula_model::configuration::Configuration;
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
use crate::purity::{Allowance, CancelFlag, Sandbox};

/// Maximum duration of the initialiser.
const DEADLINE: Duration = Duration::from_millis(INITIALISE_DEADLINE_MS);

/// The export to run, which is wizer's default.
const EXPORT: &str = "wizer-initialize";

/// Increases with every change to the state that an initialiser can see or leave behind, so that
/// older compiled code is recompiled. An initialiser sees the same world as a call, so this number
/// increases whenever `SEMANTICS` of the cache key does because that world changes.
pub(super) const SNAPSHOT_VERSION: u32 = 2;

/// The reasons why initialisation failed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialiseError {
    /// The export exists and isn't a plain function without parameters and results.
    #[error("its export `{EXPORT}` is not a `func()`")]
    NotAFunction,
    /// The initialiser trapped, panicked or exited.
    #[error("its `{EXPORT}` trapped: {}", .0.reason)]
    Trapped(Failure),
    /// The initialiser didn't return within the deadline.
    #[error("its `{EXPORT}` passed the deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The deadline.
        deadline_ms: u64,
        /// The end of the initialiser's log.
        log_tail: String,
    },
    /// The initialiser requested more memory or table elements than allowed and then ended
    /// abnormally.
    #[error("its `{EXPORT}` hit the {limit} limit of {max}")]
    ResourceLimit {
        /// `memory` (bytes) or `table` (elements).
        limit: String,
        /// The limit's value.
        max: u64,
        /// The state of the guest when it ended.
        failure: Failure,
    },
    /// The initialiser returned while it held a handle of the host's, which doesn't exist in a
    /// call. Printing leaves a stream open: the C library keeps the one it has.
    #[error(
        "its `{EXPORT}` left a handle of the host's open, which no call would know: printing opens a stream, \
         for one"
    )]
    HandleLeft {
        /// The end of the initialiser's log.
        log_tail: String,
    },
    /// The snapshot is too large.
    #[error("what its `{EXPORT}` made has {bytes} bytes, and at most {SNAPSHOT_ADDED_BYTES_MAX} are kept")]
    TooLarge {
        /// The snapshot's length beyond the component's.
        bytes: u64,
    },
    /// The component uses a feature that a snapshot can't capture.
    #[error("its state after `{EXPORT}` can't be kept: {0}")]
    Unsupported(String),
}

impl InitialiseError {
    /// Returns the state of the guest when it ended, if it ran and ended abnormally.
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

/// Returns the bytes to compile: the component, or its snapshot if it exports an initialiser.
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

/// Returns whether the component exports an initialiser. Invalid bytes don't: the compiler
/// describes the error better.
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

/// Runs the export and takes the snapshot. Returns `None` if the component can't be linked: a
/// deploy also describes the component, and that step refuses it by the import's name.
fn snapshot(component: &[u8], codegen: Codegen) -> Result<Option<Vec<u8>>, InitialiseError> {
    let unsupported = |error: wasmtime::Error| InitialiseError::Unsupported(format!("{error:#}"));
    let mut wizer = Wizer::new();
    // Removing the export would renumber the items that may refer to it, and no call uses it.
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
    let allowance = || Allowance::long(Instant::now() + DEADLINE, CancelFlag::default());
    let _ticking = engine.counter.begin();
    let mut store =
        engine.store(&limits, Digest::of(component).bytes(), &Configuration::default(), allowance());
    let run = |store: &mut Store<Sandbox>| {
        let instance = linked.instantiate(&mut *store)?;
        instance.get_typed_func::<(), ()>(&mut *store, EXPORT)?.call(&mut *store, ())?;
        Ok(instance)
    };
    let instance = run(&mut store).map_err(|error| explain(&error, &store, &limits))?;
    if store.data().holds_handles() {
        return Err(InitialiseError::HandleLeft { log_tail: store.data().log().tail() });
    }

    // From here on only functions that the instrumentation added run: they copy memories out.
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

/// Returns the default limits of a call with the initialiser's own bounds.
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
        // An initialiser returns no answer, and this engine has no pool. So the remaining cause is
        // an import that was passed too many bytes.
        Stopped::OutputTooLarge { .. } | Stopped::NoSlot => InitialiseError::Trapped(Failure {
            reason: error.root_cause().to_string(),
            backtrace: Vec::new(),
            log_tail: log.tail(),
        }),
    }
}

/// The initialised instance, which `wizer` reads through exports that the instrumentation added.
///
/// wizer's interface doesn't let a read fail. If one fails anyway, for example because the page
/// that reading a memory takes can't be allocated, this type keeps the first error, and the
/// resulting snapshot is discarded.
struct State {
    store: Store<Sandbox>,
    instance: Instance,
    /// The contents by the export that reads them. wizer reads each memory twice, and each read
    /// would grow the memory by a page.
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

/// Returns the result of a future that never waits, like those of [`State`].
fn at_once<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(wasmtime::format_err!("taking a snapshot waits for something")),
    }
}

#[cfg(test)]
mod tests;
