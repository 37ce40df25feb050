//! Views of pipelines: their steps, with the types between them.

use nebula_runtime::pipeline::View;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::function::FunctionVersion;
use super::schema::InnerStepSchema;

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

impl From<View> for StepView {
    fn from(view: View) -> Self {
        let View { kind, label, function, takes, gives, inner } = view;
        let inner = inner.into_iter().map(|(name, step)| (name, step.into())).collect();
        Self { kind, label, function, takes, gives, inner }
    }
}

impl From<StepView> for View {
    fn from(step: StepView) -> Self {
        let StepView { kind, label, function, takes, gives, inner } = step;
        let inner = inner.into_iter().map(|(name, step)| (name, step.into())).collect();
        Self { kind, label, function, takes, gives, inner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_leaves_out_what_a_step_lacks() {
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
        let json = serde_json::json!({
            "kind": "call", "label": "l", "takes": "u8", "gives": "u16", "inner": [
                [null, {"kind": "call", "label": "l", "function": "f", "takes": "u8", "gives": "u16"}],
                ["g", {"kind": "call", "label": "l", "takes": "u8", "gives": "u16"}],
            ],
        });
        let (runtime, view) = (view.clone(), StepView::from(view));
        assert_eq!(View::from(view.clone()), runtime);
        assert_eq!(serde_json::to_value(&view).unwrap(), json);
        assert_eq!(serde_json::from_value::<StepView>(json).unwrap(), view);
    }
}
