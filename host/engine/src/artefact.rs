//! Compiled code as bytes.
//!
//! Unsafe: an artefact is native code, and loading it trusts it. Whoever calls
//! in here must have it from [`compile_artefact`] of this process, or from the registry, which
//! authenticates every artefact with a keyed MAC and hands out a copy that can't change.
#![expect(unsafe_code, reason = "wasmtime's deserialize trusts its input; see the module header")]

use std::path::Path;

use wasmtime::component::Component;

use super::initialise::initialised;
use super::{Codegen, Engine, Uncompilable, code_config};

/// Compiles a component to an artefact for an engine of the same `codegen`. Where the component has
/// something to initialise that is done first, and its snapshot compiled.
///
/// Meant for a process of its own: the compiler's time and memory are not bounded here.
///
/// # Errors
/// [`Uncompilable`]. The guest has run only if it has something to initialise.
pub fn compile_artefact(component: &[u8], codegen: Codegen) -> Result<Vec<u8>, Uncompilable> {
    let component = initialised(component, codegen)?;
    let refused = |error: wasmtime::Error| Uncompilable::Refused(format!("{error:#}"));
    let engine = wasmtime::Engine::new(&code_config(codegen)).map_err(refused)?;
    engine.precompile_component(&component).map_err(refused)
}

impl Engine {
    /// Maps an authenticated artefact.
    pub(super) fn map_artefact(&self, path: &Path) -> wasmtime::Result<Component> {
        // SAFETY: `path` leads to sealed memory that `Store::open_compiled` has handed out, having
        // checked the MAC over its content and this engine's compatibility. A seal can't be broken,
        // so the mapping shows the same bytes for as long as it lives.
        unsafe { Component::deserialize_file(self.wasmtime(), path) }
    }
}

/// Loads an artefact that this process has just compiled.
pub(crate) fn load_bytes(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller has it from `compile_artefact`, here or in its own child process, and it
    // has not been anywhere else since.
    unsafe { Component::deserialize(engine.wasmtime(), artefact) }
}
