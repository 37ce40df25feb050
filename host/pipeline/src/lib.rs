//! Functions made of functions: what is written of one, and whether its types fit.
//!
//! ```text
//! description (JSON, TOML) --check, with every function's types--> plan
//! ```
//!
//! Invariants:
//! * A plan's values fit wherever they go: what a step is given is of the type that it takes, whatever the input.
//! * A plan follows from the description and the types of the functions alone: it isn't kept, but made again.
//!
//! Knows types and values; running a plan is `runtime`'s.

mod arms;
mod check;
mod fit;
mod plan;
mod shape;

#[cfg(test)]
mod tests;

pub use nebula_model::description::{
    CALLS_MAX, DEPTH_MAX, Fuse, InvalidDescription, Path, Pipeline, STEPS_MAX, Step,
};

pub use self::arms::{Arms, Way};
pub use self::check::check;
pub use self::check::{InvalidPipeline, Mismatch};
pub use self::fit::Conversion;
pub use self::plan::View;
pub use self::plan::{Call, Callee, Errors, Feed, Gives, Node, Plan, Takes};
pub use self::shape::Value;
