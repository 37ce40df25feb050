//! Reasons to refuse a pipeline. All are faults of its author.

use nebula_codec::{TYPE_DEPTH_MAX, TYPES_MAX, TypeSyntaxError, excerpt};
use nebula_model::description::InvalidDescription;

/// Reasons to refuse a pipeline.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPipeline {
    /// The description violates a rule that doesn't depend on types.
    #[error(transparent)]
    Description(#[from] InvalidDescription),
    /// A step calls a function that can't be called.
    #[error("step `{step}` calls `{function}`: {reason}")]
    UnknownFunction {
        /// The label of the step.
        step: String,
        /// The function, as written.
        function: String,
        /// The reason that `lookup` gave.
        reason: String,
    },
    /// The pipeline calls itself through other pipelines.
    #[error("it calls itself: {}", names.join(" → "))]
    Cycle {
        /// The names on the way, beginning and ending with the pipeline's own.
        names: Vec<String>,
    },
    /// Steps are nested too deep, those of called pipelines included.
    #[error("steps are nested more than {max} deep, those of called pipelines included")]
    TooNested {
        /// The maximum.
        max: usize,
    },
    /// The type that steps compose is too large.
    #[error(
        "steps compose a type of more than {TYPES_MAX} types, or one nested more than {TYPE_DEPTH_MAX} deep, written out"
    )]
    TypeTooLarge,
    /// The output of one step doesn't fit the next.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// A step can't work on its input.
    #[error("step `{step}` gets `{given}`, {reason}")]
    Unsuitable {
        /// The label or kind of the step.
        step: String,
        /// The type of its input, or the output that can't be used.
        given: String,
        /// The rest of the sentence.
        reason: String,
    },
    /// The branches of a choice give different types.
    #[error("the steps of a `choice` give different types: {branches}")]
    DifferentBranches {
        /// Each case with its type.
        branches: String,
    },
    /// The input type doesn't follow from the first steps.
    #[error("the input type doesn't follow from the first steps ({reason}): declare it as `input`")]
    UnknownInput {
        /// The step that accepts several types.
        reason: String,
    },
    /// `fuse` is `always`, and the functions can't be linked into one component.
    #[error("`fuse` is `always`, and it can't run as one component: {reason}")]
    CannotFuse {
        /// The obstacle.
        reason: String,
    },
    /// `input` isn't a type.
    #[error("`input` is not a type: {0}")]
    BadInputType(#[from] TypeSyntaxError),
}

impl InvalidPipeline {
    pub(crate) fn unsuitable(step: &str, given: &impl ToString, reason: &str) -> Self {
        Self::Unsuitable {
            step: step.to_owned(),
            given: excerpt(&given.to_string()),
            reason: reason.to_owned(),
        }
    }
}

/// Two types at the ends of one edge that don't fit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("step `{step}` takes `{taken}` and gets `{given}`{}", self.place())]
pub struct Mismatch {
    /// The label of the step that takes the value.
    pub step: String,
    /// The type that the step takes.
    pub taken: String,
    /// The type that it gets.
    pub given: String,
    /// The place in it where the two differ: `.rows[].name`; empty for the whole type.
    pub at: String,
    /// The type found there; `nothing` if a field is missing.
    pub found: String,
    /// The type expected there; `nothing` if a field is unknown.
    pub expected: String,
}

impl Mismatch {
    fn place(&self) -> String {
        let Self { at, found, expected, .. } = self;
        if at.is_empty() {
            String::new()
        } else {
            format!(": at `{at}`, expected `{expected}`, found `{found}`")
        }
    }
}
