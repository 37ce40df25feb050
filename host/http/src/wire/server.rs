//! The server itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A server, as its clients need to know it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServerInfo {
    /// The version of Nebula.
    pub version: String,
    /// The URL of the data plane, without a slash at its end.
    pub calls_url: String,
    /// Set if the server shows the chart of an experiment.
    #[serde(default)]
    pub experiment: bool,
}
