//! Compiled code as bytes.
//!
//! This module is unsafe: an artefact is native code, and loading it trusts it. A caller must have
//! the artefact from [`compile_artefact`] in this process or its own child, or from the store,
//! which authenticates every artefact with a keyed MAC and returns a copy that can't change.
#![expect(unsafe_code, reason = "wasmtime's deserialize trusts its input; see the module header")]

use std::path::Path;

use wasmtime::component::Component;

use super::initialise::initialised;
use super::uncompilable::Uncompilable;
use super::{Codegen, Engine, code_config};

/// Compiles a component to an artefact for an engine with the same `codegen`. If the component
/// exports an initialiser, runs that first and compiles the resulting snapshot.
///
/// Meant for a separate process: this function doesn't bound the compiler's time and memory.
///
/// # Errors
/// [`Uncompilable`]. The guest has run only if it exports an initialiser.
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
    // SAFETY: the caller has the artefact from `compile_artefact`, in this process or in its own
    // child process, and the bytes have not left these processes since.
    unsafe { Component::deserialize(engine.wasmtime(), artefact) }
}
