//! The input type of a pipeline: declared, or inferred from its first steps.

use nebula_codec as codec;
use nebula_codec::{Field, Type};
use nebula_model::description::{Pipeline, Step};

use super::lookup::Lookup;
use crate::callee::InputType;
use crate::error::InvalidPipeline;
use crate::fit::{fit, fit_input};

/// The declaration of an input of any media type.
const PAYLOAD: &str = "payload";

/// Returns the input type of a pipeline.
pub(super) fn input_type(pipeline: &Pipeline, lookup: &mut Lookup<'_>) -> Result<InputType, InvalidPipeline> {
    match pipeline.input.as_deref().map(str::trim) {
        Some(PAYLOAD) => return Ok(InputType::Payload),
        Some(text) => return Ok(input_of(codec::parse_type(text)?)),
        None => {}
    }
    match demand(&pipeline.steps, lookup)? {
        Demand::Anything => Ok(InputType::Values(Vec::new())),
        Demand::Input(input) => Ok(input),
        Demand::Unknown(reason) => Err(InvalidPipeline::UnknownInput { reason }),
    }
}

/// Returns the input of one value that no function gives a name.
fn input_of(ty: Type) -> InputType {
    InputType::Values(vec![Field::new("input", ty)])
}

/// The input that a step asks for.
enum Demand {
    /// The step ignores its input or passes it on.
    Anything,
    /// The step takes this input.
    Input(InputType),
    /// The step accepts several types, for this reason.
    Unknown(String),
}

fn demand(step: &Step, lookup: &mut Lookup<'_>) -> Result<Demand, InvalidPipeline> {
    Ok(match step {
        Step::Call { function, .. } => {
            let callee = lookup.callee(function.name.as_str(), function)?;
            let takes_nothing = matches!(&callee.input, InputType::Values(params) if params.is_empty());
            if takes_nothing { Demand::Anything } else { Demand::Input(callee.input) }
        }
        // A step that passes its input on leaves the demand to the next one.
        Step::Sequence(steps) => match steps.iter().find(|step| !is_identity(step)) {
            Some(step) => demand(step, lookup)?,
            None => Demand::Anything,
        },
        Step::All(_) | Step::AllOf(_) => {
            let mut inputs: Vec<InputType> = Vec::new();
            for step in step.inner() {
                match demand(step, lookup)? {
                    Demand::Anything => {}
                    Demand::Input(input) => inputs.push(input),
                    unknown @ Demand::Unknown(_) => return Ok(unknown),
                }
            }
            joint_demand(&inputs)
        }
        Step::Each(step) => match demand(step, lookup)? {
            Demand::Input(InputType::Values(params)) => {
                let item = match params.as_slice() {
                    [param] => param.ty.clone(),
                    params => Type::Record(params.into()),
                };
                Demand::Input(input_of(Type::list(item)))
            }
            Demand::Input(InputType::Payload) => Demand::Input(input_of(Type::list(Type::list(Type::U8)))),
            Demand::Anything | Demand::Unknown(_) => {
                Demand::Unknown("an `each` accepts a list of any type".to_owned())
            }
        },
        Step::Select(path) if path.0.is_empty() => Demand::Anything,
        Step::Constant(_) => Demand::Anything,
        Step::Select(path) => Demand::Unknown(format!("a `select` takes `{path}`")),
        Step::Group { .. } => Demand::Unknown("a `group` accepts several types".to_owned()),
        Step::Choice(_) => Demand::Unknown("a `choice` accepts several types".to_owned()),
    })
}

/// Returns whether a step gives its input unchanged.
fn is_identity(step: &Step) -> bool {
    match step {
        Step::Select(path) => path.0.is_empty(),
        Step::Sequence(steps) => steps.iter().all(is_identity),
        Step::Call { .. }
        | Step::All(_)
        | Step::AllOf(_)
        | Step::Each(_)
        | Step::Group { .. }
        | Step::Choice(_)
        | Step::Constant(_) => false,
    }
}

/// Returns the first input that suits all steps.
fn joint_demand(inputs: &[InputType]) -> Demand {
    let suits_all = |input: &InputType| {
        let shape = input.shape();
        inputs.iter().all(|other| match other {
            InputType::Payload => true,
            InputType::Values(params) => match params.as_slice() {
                [param] => fit_input(&shape, &param.ty).is_ok(),
                params => fit(&shape, &Type::Record(params.into())).is_ok(),
            },
        })
    };
    if inputs.is_empty() {
        return Demand::Anything;
    }
    match inputs.iter().find(|input| suits_all(input)) {
        Some(input) => Demand::Input(input.clone()),
        None => Demand::Unknown("the steps of an `all` take different types".to_owned()),
    }
}
