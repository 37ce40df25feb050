//! What the control plane speaks, for it and for its clients.

use nebula_runtime::id::Version;
use nebula_runtime::pipeline::View;
use nebula_runtime::{Disagreement, Explained, LogEntry, VersionRecord};
use serde::{Deserialize, Serialize};

/// A function with its history: `GET /api/v1/functions/{name}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionDetail {
    /// The version that a call by name reaches.
    pub current: VersionRecord,
    /// Every version, oldest first.
    pub versions: Vec<VersionRecord>,
    /// Why nothing of the current version's component is remembered, if two computations of a call disagreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
}

/// `GET /api/v1/functions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionList {
    /// The current version of each function, by name.
    pub functions: Vec<VersionRecord>,
}

/// `GET /api/v1/pipelines/{name}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineDetail {
    /// The version that was asked for.
    pub version: VersionRecord,
    /// Its steps, with the types between them.
    pub view: View,
}

/// `POST /api/v1/pipelines/{name}/check`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineCheck {
    /// The steps, with the types between them.
    pub view: View,
}

/// `POST /api/v1/functions/{name}/explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainedCall {
    /// `ok`, `error` (the function's own), or `failed`.
    pub outcome: String,
    /// The answer, or what went wrong: JSON, text, or how many bytes of which media type.
    pub output: String,
    /// From the call's beginning to its end, microseconds.
    pub took_us: u64,
    /// Of a pipeline, its calls in order; the first thousand.
    pub steps: Vec<Explained>,
}

/// `POST /api/v1/functions/{name}/rollback`. An empty body goes one version back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Where to, or one back.
    #[serde(default)]
    pub version: Option<Version>,
}

/// `GET /api/v1/functions/{name}/logs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Logs {
    /// The last calls that printed something or failed, oldest first.
    pub calls: Vec<LogEntry>,
}
