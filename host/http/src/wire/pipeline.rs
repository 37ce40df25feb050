//! Pipelines: the description with pinned versions.

use std::collections::BTreeMap;

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, Version};
use nebula_runtime::pipeline::Pipeline;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::{DigestSchema, PipelineSchema, VersionSchema};

/// A pipeline's description, and the versions that its names stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineComposition {
    /// The description as its author wrote it.
    #[schema(value_type = PipelineSchema)]
    pub description: Pipeline,
    /// The version of each function, by the name in the description.
    pub pinned: BTreeMap<String, PinnedVersion>,
}

/// One version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PinnedVersion {
    /// The version's number.
    #[schema(value_type = VersionSchema)]
    pub version: Version,
    /// The digest of its component.
    #[schema(value_type = DigestSchema)]
    pub digest: Digest,
    /// The digest of its configuration, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DigestSchema>)]
    pub config: Option<Digest>,
}

impl From<runtime::Composition> for PipelineComposition {
    fn from(composition: runtime::Composition) -> Self {
        let runtime::Composition { description, pinned } = composition;
        let pinned = pinned.into_iter().map(|(name, pinned)| (name, pinned.into())).collect();
        Self { description, pinned }
    }
}

impl From<PipelineComposition> for runtime::Composition {
    fn from(composition: PipelineComposition) -> Self {
        let PipelineComposition { description, pinned } = composition;
        let pinned = pinned.into_iter().map(|(name, pinned)| (name, pinned.into())).collect();
        Self { description, pinned }
    }
}

impl From<PinnedVersion> for runtime::Pinned {
    fn from(pinned: PinnedVersion) -> Self {
        let PinnedVersion { version, digest, config } = pinned;
        Self { version, digest, config }
    }
}

impl From<runtime::Pinned> for PinnedVersion {
    fn from(pinned: runtime::Pinned) -> Self {
        let runtime::Pinned { version, digest, config } = pinned;
        Self { version, digest, config }
    }
}
