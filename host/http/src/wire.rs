//! The control plane's JSON: one struct for each body that it reads or writes.
//!
//! The runtime stores its own types, which change with it. Clients see these structs, converted
//! from the runtime's types field by field: a field added there has to be added or left out here to
//! compile. Each struct derives its OpenAPI schema.
//!
//! `pipeline::Pipeline`, the description that an author writes, is read by the runtime's own
//! parser; `schema` describes it.

mod cache;
mod call;
mod export;
mod function;
mod pipeline;
mod problem;
mod project;
pub(crate) mod schema;
mod server;
mod session;
mod stats;
mod token;
mod view;

pub use cache::{CacheReport, CallCounts, Disagreement, FunctionCacheReport, LoadedReport};
pub use call::{CallExplanation, FunctionLogs, LoggedCall, StepExplanation};
pub use export::{
    Export, ExportedFunction, ExportedVersion, ImportChange, ImportReport, ImportRequest, ImportedFunction,
};
pub use function::{
    CacheSettings, CorsSettings, FunctionDetail, FunctionForm, FunctionLimits, FunctionList, FunctionVersion,
    LinkedFunction, RollbackRequest,
};
pub use pipeline::{PinnedVersion, PipelineComposition};
pub(crate) use problem::ProblemDocument;
pub use project::{
    FollowersPolicy, ProjectChange, ProjectChangeKind, ProjectFunction, ProjectPipeline, ProjectReport,
    ProjectRequest,
};
pub use schema::{
    DigestSchema, FuseSchema, NameSchema, RouteHostSchema, RoutePathSchema, StepSchema, TokenNameSchema,
    TokenScopeSchema, VersionSchema,
};
pub use server::ServerInfo;
pub use session::SessionInfo;
pub(crate) use session::SignInRequest;
pub use stats::{
    CachedResultStats, CallStats, ConnectionStats, DurationStats, EnergyMethod, FunctionStats, LaneStats,
    PhaseStats, ServerStats, SourceStats, Stats, TierStats,
};
pub use token::{CreatedToken, TokenInfo, TokenList, TokenRequest};
pub use view::{PipelineCheck, PipelineDetail, StepView};
