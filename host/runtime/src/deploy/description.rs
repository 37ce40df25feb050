//! The description of a pipeline's version.

use nebula_model::form::Form;
use nebula_model::record::Description;
use nebula_pipeline::{Callee, InputType, OutputType, Plan};

/// Returns the description that is stored for a pipeline.
pub(super) fn describe(plan: &Plan) -> Description {
    let Callee { input, output, error, .. } = &plan.callee;
    let (form, input_schema) = match input {
        InputType::Payload => (Form::Raw, None),
        InputType::Values(params) => (Form::Typed, nebula_codec::input_schema(params)),
    };
    Description {
        form,
        signature: plan.callee.signature_text(),
        docs: None,
        input_schema,
        output_schema: match output {
            OutputType::Value(ty) => Some(nebula_codec::answer_schema(ty)),
            OutputType::Nothing | OutputType::Payload => None,
        },
        error_schema: error.value().map(nebula_codec::answer_schema),
        imports: Vec::new(),
        notes: Vec::new(),
    }
}
