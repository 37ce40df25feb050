//! Runs pure WebAssembly functions: registry, engine, purity, codec, invoke.
//!
//! [`Runtime`] is the way in; a serving thread calls functions with a [`Shard`] of it. This crate knows wasmtime
//! and nothing of servers: of HTTP it has the vocabulary types of the `http` crate, for functions of the http
//! form.
//!
//! Modules import only downward:
//! `shard -> runtime -> cache, inputs, logs, receipt -> spelling -> invoke -> function, pool -> error, lane, key -> registry, admission -> pipeline -> engine -> purity, codec -> answer, remember -> id, limits, priority`.

mod admission;
mod answer;
mod cache;
mod codec;
mod engine;
mod error;
mod function;
pub mod id;
mod inputs;
mod invoke;
mod key;
mod lane;
pub mod limits;
mod logs;
pub mod pipeline;
mod pool;
mod priority;
mod purity;
pub mod receipt;
mod registry;
mod remember;
mod runtime;
mod shard;
mod spelling;

pub use admission::Inadmissible;
pub use answer::{Answer, Content, MEDIA_TYPE_BYTES_MAX};
pub use cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
pub use codec::{DecodeError, UnsupportedType};
pub use engine::{
    Codegen, CompileError, Compiler, Failure, Form, ImportMismatch, InitialiseError, InvalidImport, Refused,
    UNCOMPILABLE_EXIT, Uncompilable, compile_artefact, imported_functions, limit_compiler_process,
};
pub use error::{CallError, Fault, LoadError, StepFailure};
pub use function::Function;
pub use invoke::{Called, Prefer, Request, StepTrace};
pub use limits::COMPONENT_BYTES_MAX;
pub use logs::LogEntry;
pub use purity::CallLog;
pub use registry::{
    Composition, Description, Disagreement, Linked, OpenError, Pinned, ResolveError, StoreError,
    VersionRecord,
};
pub use remember::{Because, CacheDirectives, Remember, Settings, Source};
pub use runtime::{
    Broken, DeployError, ExplainError, Explained, Explanation, Followers, NamingError, Runtime,
    RuntimeConfig, RuntimeError,
};
pub use shard::{Answered, Given, Issued, Met, Shard};
