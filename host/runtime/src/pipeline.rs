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
mod description;
mod fit;
mod plan;
mod shape;

#[cfg(test)]
mod tests;

pub(crate) use self::arms::{Arms, Way};
pub(crate) use self::check::check;
pub use self::check::{InvalidPipeline, Mismatch};
pub use self::description::{
    CALLS_MAX, DEPTH_MAX, Fuse, InvalidDescription, Path, Pipeline, STEPS_MAX, Step,
};
pub(crate) use self::fit::Conversion;
pub use self::plan::View;
pub(crate) use self::plan::{Call, Callee, Errors, Feed, Gives, Node, Plan, Takes};
pub(crate) use self::shape::Value;
