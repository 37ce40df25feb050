//! Runs pure WebAssembly functions: registry, engine, purity, codec, invoke.
//!
//! [`Runtime`] is the way in. This crate knows wasmtime and nothing of servers: of HTTP it has the
//! vocabulary types of the `http` crate, for functions of the http form.
//!
//! Modules import only downward:
//! `runtime -> invoke, logs -> pool -> error -> registry, admission -> engine -> purity, codec -> id, limits`.

mod admission;
mod codec;
mod engine;
mod error;
pub mod id;
mod invoke;
pub mod limits;
mod logs;
mod pool;
mod purity;
mod registry;
mod runtime;

pub use admission::Inadmissible;
pub use codec::{DecodeError, UnsupportedType};
pub use engine::{
    Codegen, CompileError, Compiler, Failure, Form, Refused, compile_artefact, limit_compiler_process,
};
pub use error::{CallError, Fault, LoadError};
pub use invoke::{Answer, Called, Content, Prefer, Request};
pub use limits::COMPONENT_BYTES_MAX;
pub use logs::LogEntry;
pub use purity::CallLog;
pub use registry::{Description, OpenError, ResolveError, StoreError, VersionRecord};
pub use runtime::{DeployError, Function, Runtime, RuntimeConfig, RuntimeError};
