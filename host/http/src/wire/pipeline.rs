//! Pipelines: the description with pinned versions, and the view with types.

use std::collections::BTreeMap;

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, Version};
use nebula_runtime::pipeline::{Pipeline, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::function::FunctionVersion;
use super::schema::{DigestSchema, InnerStepSchema, PipelineSchema, VersionSchema};

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
}

/// A pipeline's version with its steps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PipelineDetail {
    /// The version that the request names.
    pub version: FunctionVersion,
    /// Its steps, with the types between them.
    pub view: StepView,
}

/// The result of checking a description.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PipelineCheck {
    /// The steps, with the types between them.
    pub view: StepView,
}

/// One step of a pipeline, with the steps inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// `call`, `sequence`, `all`, `each`, `group`, `choice`, `select` or `constant`.
    pub kind: String,
    /// The label of a call, the path of a selection, the value of a constant.
    pub label: String,
    /// The function of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The type of its input.
    pub takes: String,
    /// The type of its output.
    pub gives: String,
    /// The steps inside it, each with its field or case if it has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<InnerStepSchema>)]
    pub inner: Vec<(Option<String>, StepView)>,
}

impl From<runtime::Composition> for PipelineComposition {
    fn from(composition: runtime::Composition) -> Self {
        let runtime::Composition { description, pinned } = composition;
        let pinned = pinned.into_iter().map(|(name, pinned)| (name, pinned.into())).collect();
        Self { description, pinned }
    }
}

impl From<runtime::Pinned> for PinnedVersion {
    fn from(pinned: runtime::Pinned) -> Self {
        let runtime::Pinned { version, digest } = pinned;
        Self { version, digest }
    }
}

impl From<View> for StepView {
    fn from(view: View) -> Self {
        let View { kind, label, function, takes, gives, inner } = view;
        let inner = inner.into_iter().map(|(name, step)| (name, step.into())).collect();
        Self { kind, label, function, takes, gives, inner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_as_the_runtime_writes_it() {
        let step = |function: Option<&str>, inner| View {
            kind: "call".to_owned(),
            label: "l".to_owned(),
            function: function.map(str::to_owned),
            takes: "u8".to_owned(),
            gives: "u16".to_owned(),
            inner,
        };
        let inner = vec![(None, step(Some("f"), Vec::new())), (Some("g".to_owned()), step(None, Vec::new()))];
        let view = step(None, inner);
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::to_string(&StepView::from(view)).unwrap(), json);
    }
}
