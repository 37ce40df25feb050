//! The type check of a pipeline, and the plan that it results in.
//!
//! ```text
//! description (JSON, TOML) --check, with every function's types--> plan
//! ```
//!
//! ```
//! use nebula_codec::{Field, Signature, Type};
//! use nebula_pipeline::{Callee, Pipeline, check};
//!
//! let pipeline: Pipeline = serde_json::from_str(r#"{"steps": {"each": "slugify"}}"#).unwrap();
//! let slugify = Signature { params: vec![Field::new("text", Type::STRING)], result: Some(Type::STRING) };
//!
//! let plan = check(&pipeline, &mut |_function| Ok(Callee::typed(&slugify))).unwrap();
//! assert_eq!(plan.callee.signature_text(), "handle: func(input: list<string>) -> list<string>");
//! ```
//!
//! Invariants:
//! * The input of every step of a plan has the type that the step takes, whatever the pipeline's
//!   input is.
//! * A plan follows from the description and the types of the functions alone. It isn't stored but
//!   derived again.
//!
//! `runtime` runs plans. `nebula_model::description` has the description and its bounds.

mod callee;
mod check;
mod conversion;
mod error;
mod fit;
mod fusion_trial;
mod plan;
mod shape;
mod value;

#[cfg(test)]
mod tests;

pub use nebula_model::description::{
    CALLS_MAX, DEPTH_MAX, Fuse, InvalidDescription, NamedStep, Path, Pipeline, STEPS_MAX, Step,
};

pub use self::callee::{Callee, ErrorType, InputType, OutputType};
pub use self::check::check;
pub use self::conversion::Conversion;
pub use self::error::{InvalidPipeline, Mismatch};
pub use self::fusion_trial::{ExecutionMode, FusionTrial};
pub use self::plan::{Branch, Call, CallInput, CallStep, ErrorMapping, Node, NotAChain, Plan, View};
pub use self::value::Value;
