//! What a pipeline takes: what its first steps would like to get.

use nebula_codec as codec;
use nebula_codec::Type;
use nebula_model::description::{Pipeline, Step};

use super::{Checker, InvalidPipeline, PAYLOAD};
use crate::fit::{fit, fit_whole};
use crate::plan::Takes;
use crate::shape::Shape;

impl Checker<'_> {
    /// What the pipeline takes.
    pub(super) fn takes(&mut self, pipeline: &Pipeline) -> Result<Takes, InvalidPipeline> {
        let input = |ty: Type| Takes::Values(vec![("input".to_owned(), ty)]);
        match pipeline.input.as_deref().map(str::trim) {
            Some(PAYLOAD) => return Ok(Takes::Payload),
            Some(text) => {
                let ty = codec::parse_type(text);
                return ty.map(input).map_err(|reason| InvalidPipeline::BadInputType { reason });
            }
            None => {}
        }
        match self.demand(&pipeline.steps)? {
            Demand::Anything => Ok(Takes::Values(Vec::new())),
            Demand::Of(takes) => Ok(takes),
            Demand::Unknown(reason) => Err(InvalidPipeline::UnknownInput { reason }),
        }
    }

    /// What a step would like to get.
    fn demand(&mut self, step: &Step) -> Result<Demand, InvalidPipeline> {
        match step {
            Step::Call { function, .. } => {
                let callee = self.lookup(function.name.as_str(), function)?;
                let takes_nothing = matches!(&callee.takes, Takes::Values(params) if params.is_empty());
                Ok(if takes_nothing { Demand::Anything } else { Demand::Of(callee.takes) })
            }
            Step::Sequence(steps) => {
                // What gives what it gets leaves it to the next; a constant makes a beginning.
                match steps.iter().find(|step| !is_identity(step)) {
                    Some(step) => self.demand(step),
                    None => Ok(Demand::Anything),
                }
            }
            Step::All(_) | Step::AllOf(_) => {
                let mut demands: Vec<Takes> = Vec::new();
                for step in step.inner() {
                    match self.demand(step)? {
                        Demand::Anything => {}
                        Demand::Of(takes) => demands.push(takes),
                        unknown @ Demand::Unknown(_) => return Ok(unknown),
                    }
                }
                Ok(joint_demand(&demands))
            }
            Step::Each(step) => Ok(match self.demand(step)? {
                Demand::Of(Takes::Values(params)) => {
                    let item = match params.as_slice() {
                        [(_, ty)] => ty.clone(),
                        params => Type::Record(params.into()),
                    };
                    Demand::Of(Takes::Values(vec![("input".to_owned(), Type::list(item))]))
                }
                Demand::Of(Takes::Payload) => {
                    let bytes = Type::list(Type::list(Type::U8));
                    Demand::Of(Takes::Values(vec![("input".to_owned(), bytes)]))
                }
                Demand::Anything | Demand::Unknown(_) => {
                    Demand::Unknown("its `each` is of a list of anything".to_owned())
                }
            }),
            Step::Select(path) if path.0.is_empty() => Ok(Demand::Anything),
            Step::Constant(_) => Ok(Demand::Anything),
            Step::Select(path) => Ok(Demand::Unknown(format!("it selects `{path}`"))),
            Step::Group { .. } => Ok(Demand::Unknown("it groups".to_owned())),
            Step::Choice(_) => Ok(Demand::Unknown("it chooses".to_owned())),
        }
    }
}

/// What a step would like to get.
enum Demand {
    Anything,
    Of(Takes),
    /// It works on more than one type, or why it can't be told.
    Unknown(String),
}

/// Whether it gives what it gets.
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

/// What suits all of them.
fn joint_demand(demands: &[Takes]) -> Demand {
    let suits = |takes: &Takes, all: &[Takes]| {
        let shape = match takes {
            Takes::Payload => Shape::Payload,
            Takes::Values(params) => match params.as_slice() {
                [(_, ty)] => Shape::Value(ty.clone()),
                params => Shape::Value(Type::Record(params.into())),
            },
        };
        all.iter().all(|other| match other {
            Takes::Payload => true,
            Takes::Values(params) => match params.as_slice() {
                [(_, ty)] => fit_whole(&shape, ty).is_ok(),
                params => fit(&shape, &Type::Record(params.into())).is_ok(),
            },
        })
    };
    if demands.is_empty() {
        return Demand::Anything;
    }
    match demands.iter().find(|takes| suits(takes, demands)) {
        Some(takes) => Demand::Of(takes.clone()),
        None => Demand::Unknown("the steps of its `all` take different types".to_owned()),
    }
}
