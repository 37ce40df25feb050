//! Runs pure WebAssembly functions: store, engine, purity, codec, invoke.
//!
//! [`Runtime`] is the entry point; a serving thread calls functions with a [`Shard`] of it. This
//! crate uses wasmtime and knows no servers: of HTTP it uses only the vocabulary types of the
//! `http` crate, for functions of the http form.
//!
//! ```text
//! runtime          the facade
//!  |- deploy       changes of names: admit, link, compile, publish
//!  |- call         one call: shard, lookup, invoke, lane
//!  |- run          pipelines step by step, explained calls, verification
//!  |- executor     engines, pools, compute lane
//!  |- results      cache, flights, logs, inputs
//!  |- tallies      counts of calls by function; `series` chooses those to show
//! ```

mod backends;
mod cache;
mod call;
mod deploy;
mod error;
mod executor;
pub mod peers;
mod pool;
pub mod receipt;
mod results;
mod run;
mod runtime;
mod series;
mod tallies;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use nebula_cache::{CacheReport, Counts, FunctionCacheReport, LoadedReport, ResultStoreError, Usage};
pub use nebula_codec::{DecodeError, UnsupportedType};
pub use nebula_engine::{
    CallLog, Codegen, CompileError, Compiler, DOCS_BYTES_MAX, DOCS_SECTION, Failure, Inadmissible,
    InitialiseError, Refused, UNCOMPILABLE_EXIT, Uncompilable, compile_artefact, documentation, identity,
    limit_compiler_process,
};
pub use nebula_linker::{ImportMismatch, InvalidImport, imported_functions};
pub use nebula_model::answer::{Answer, Content, MEDIA_TYPE_BYTES_MAX};
pub use nebula_model::caching::{Because, CacheDirectives, Caching, Source};
pub use nebula_model::configuration::{ConfigEntry, Configuration, InvalidConfigEntry, InvalidConfiguration};
pub use nebula_model::cors::{Cors, CorsOrigin, OriginError};
pub use nebula_model::disagreement::Disagreement;
pub use nebula_model::docs::{FunctionDocs, NamedTypes, PartDocs, TypeDocs};
pub use nebula_model::form::Form;
pub use nebula_model::limits::COMPONENT_BYTES_MAX;
pub use nebula_model::record::{Composition, Description, Linked, Pinned, VersionRecord};
pub use nebula_model::request::{Prefer, Request};
pub use nebula_model::route::{RouteError, RouteHost, RoutePath, host_of};
pub use nebula_model::settings::{Settings, SettingsBase, SettingsUpdate};
pub use nebula_model::trace_context::{SpanId, TraceContext, TraceId};
pub use nebula_model::{id, limits, similar, size, token};
pub use nebula_pipeline as pipeline;
pub use nebula_store::{
    LogEntry, OpenError, ResolveError, StoreError, StoreErrorKind, now_unix_us, tokens, write_whole,
};

pub use self::backends::Backends;
pub use self::cache::ResultStore;
pub use self::call::events::CallIds;
pub use self::call::function::Function;
pub use self::call::invoke::{CallOutcome, StepInterval, StepTrace};
pub use self::call::lane::{LaneUsage, NotRun};
pub use self::call::shard::{
    AnsweredCall, IssuedReceipt, PathRoute, RepeatableAnswer, RoutedFunction, SegmentRoute, Shard,
};
pub use self::call::tally::{CallCounts, Count, Phase};
pub use self::deploy::{
    Broken, CompilerUsage, DeployCounts, DeployError, DeployKind, Difference, Export, ExportedFunction,
    ExportedVersion, Followers, Import, ImportConflict, ImportError, ImportedFunction, Inconsistency,
    InvalidRoutes, NamingError, Precondition, ProjectChange, ProjectDeploy, ProjectError, ProjectFunction,
    ProjectPipeline, UPLOADS_BYTES_MAX, UnmetPrecondition, UploadError,
};
pub use self::error::{CallError, ErrorCode, Fault, LoadError, StepFailure};
pub use self::peers::{NoPeers, PeerAnswer, PeerCall, Peers};
pub use self::receipt::ReceiptSubject;
pub use self::results::{LogObserver, ResultsUsage};
pub use self::run::explain::{ExplainError, Explanation};
pub use self::run::steps::Explained;
pub use self::runtime::{
    ClearError, FunctionVersions, HostReport, InstanceUsage, Runtime, RuntimeConfig, RuntimeError,
};
pub use self::series::{FunctionSeries, ShownCounts};
pub use self::tallies::CallReport;
