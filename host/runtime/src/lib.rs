//! Runs pure WebAssembly functions: registry, engine, purity, codec, invoke.
//!
//! [`Runtime`] is the way in; a serving thread calls functions with a [`Shard`] of it. This crate knows wasmtime
//! and nothing of servers: of HTTP it has the vocabulary types of the `http` crate, for functions of the http
//! form.
//!
//! Modules import only downward:
//! `shard -> runtime -> cache, inputs, logs, receipt -> spelling -> invoke -> function, pool -> error, lane, key -> registry, admission -> pipeline -> engine -> purity, codec -> answer, remember -> id, limits, priority`.

mod cached;
mod error;
mod function;
mod invoke;
mod lane;
mod pool;
pub mod receipt;
mod runtime;
mod shard;

pub use nebula_cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
pub use nebula_codec::{DecodeError, UnsupportedType};
pub use nebula_engine::{
    CallLog, Codegen, CompileError, Compiler, Failure, Inadmissible, InitialiseError, Refused,
    UNCOMPILABLE_EXIT, Uncompilable, compile_artefact, limit_compiler_process,
};
pub use nebula_linker::{ImportMismatch, InvalidImport, imported_functions};
pub use nebula_model::answer::{Answer, Content, MEDIA_TYPE_BYTES_MAX};
pub use nebula_model::disagreement::Disagreement;
pub use nebula_model::form::Form;
pub use nebula_model::limits::COMPONENT_BYTES_MAX;
pub use nebula_model::record::{Composition, Description, Linked, Pinned, VersionRecord};
pub use nebula_model::remember::{Because, CacheDirectives, Remember, Settings, Source};
pub use nebula_model::request::{Prefer, Request};
pub use nebula_model::{id, limits};
pub use nebula_pipeline as pipeline;
pub use nebula_store::{LogEntry, OpenError, ResolveError, StoreError};

pub use self::error::{CallError, Fault, LoadError, StepFailure};
pub use self::function::Function;
pub use self::invoke::{Called, StepTrace};
pub use self::runtime::{
    Broken, DeployError, ExplainError, Explained, Explanation, Followers, NamingError, Runtime,
    RuntimeConfig, RuntimeError,
};
pub use self::shard::{Answered, Given, Issued, Met, Shard};
