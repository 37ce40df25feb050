//! Why a call has no answer, and whose fault that is.
//!
//! Invariant: every variant says whether the guest may have run. Of a failed call nothing but the failure is kept, and that
//! only where it [is the function's](CallError::is_the_functions).

use std::sync::Arc;

use nebula_codec::DecodeError;
use nebula_engine::{CompileError, Failure, InitialiseError, Uncompilable};
use nebula_model::id::Digest;

/// Who has to change something for the call to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input.
    Caller,
    /// The function.
    Guest,
    /// Nobody: try again later.
    Load,
    /// Nebula, or the machine it runs on.
    Host,
}

/// Why a call returned no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The input isn't of the function's type. The guest has not run.
    #[error("the input doesn't fit the function: {0}")]
    BadInput(#[source] DecodeError),
    /// The input's media type isn't one the function takes. The guest has not run.
    #[error("this function doesn't take `{found}`; it takes {}", accepted.join(", "))]
    UnsupportedMediaType {
        /// What was sent.
        found: String,
        /// What could have been.
        accepted: Vec<&'static str>,
    },
    /// A kind of input that the function's form has no use for, such as a query for a function on bytes.
    /// The guest has not run.
    #[error("{0}")]
    UnsupportedInput(&'static str),
    /// The input is longer than the function takes. The guest has not run.
    #[error("the input is over this function's limit of {bytes_max} bytes")]
    InputTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The guest trapped or panicked, or exited.
    #[error("the function trapped: {}", .0.reason)]
    Trapped(Box<Failure>),
    /// The guest called itself too deep. How deep it may depends on the compiled code and the machine.
    #[error("the function trapped: {}", .0.reason)]
    StackExhausted(Box<Failure>),
    /// The guest asked for more memory or table than it may have and then ended abnormally.
    #[error("the function hit its {limit} limit of {max}")]
    ResourceLimit {
        /// `memory` (bytes) or `table` (elements).
        limit: &'static str,
        /// The limit.
        max: u64,
        /// Where the guest was.
        failure: Box<Failure>,
    },
    /// The guest's answer is longer than it may be.
    #[error("the function's output is over its limit of {bytes_max} bytes")]
    OutputTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The guest returned, yet not with an answer: it broke the ABI or the protocol of its form.
    #[error("the function gave no valid answer: {}", .0.reason)]
    InvalidAnswer(Box<Failure>),
    /// The guest said that it failed on good input.
    #[error("the function failed: {message}")]
    Failed {
        /// The guest's own words.
        message: String,
    },
    /// The guest was aborted at its deadline. Says nothing about what it would have returned.
    #[error("the call passed its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The limit.
        deadline_ms: u64,
        /// The end of what the guest logged.
        log_tail: String,
    },
    /// Shed before any work started.
    #[error("the host has {queue_max} calls waiting already")]
    Overloaded {
        /// How many calls may wait.
        queue_max: usize,
    },
    /// Every instance of the pool is in use, or the machine has no memory left. Nothing of the guest's is kept.
    #[error("this host has no room for another instance")]
    NoSlot,
    /// The function's code couldn't be loaded. The guest has not run.
    #[error("cannot load the function's code")]
    Load(#[source] LoadError),
    /// A step of a pipeline failed. Others may have run.
    #[error("step `{}` failed: {}", .0.step, .0.cause)]
    Step(Box<StepFailure>),
    /// A pipeline reached a limit of its own. Steps may have run.
    #[error("the pipeline hit its {limit} limit of {max}")]
    PipelineLimit {
        /// `calls`, or `memory` (bytes) for what it gathers.
        limit: &'static str,
        /// The limit.
        max: u64,
    },
    /// A defect in Nebula. The guest may have run.
    #[error("internal error: {0}")]
    Internal(String),
}

/// How a step of a pipeline failed.
#[derive(Debug)]
pub struct StepFailure {
    /// What the step is called.
    pub step: String,
    /// What it called: `name@version; digest=sha256:…`.
    pub function: String,
    /// Of what it was given, as the document that makes the call by itself.
    pub input: Digest,
    /// Why that call has no answer.
    pub cause: Arc<CallError>,
}

impl CallError {
    /// Whether the same call fails the same way for everybody who makes it now: it isn't for want of time or of
    /// room.
    pub(crate) fn is_everybodys(&self) -> bool {
        match self {
            Self::BadInput(_)
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. }
            | Self::Trapped(_)
            | Self::StackExhausted(_)
            | Self::ResourceLimit { .. }
            | Self::OutputTooLarge { .. }
            | Self::InvalidAnswer(_)
            | Self::Failed { .. } => true,
            Self::Step(failure) => failure.cause.is_everybodys(),
            Self::DeadlineExceeded { .. }
            | Self::PipelineLimit { .. }
            | Self::Overloaded { .. }
            | Self::NoSlot
            | Self::Load(_)
            | Self::Internal(_) => false,
        }
    }

    /// Whether it is what the function does with this input, whenever and wherever it runs: neither the machine nor
    /// its load has a part in it.
    pub(crate) fn is_the_functions(&self) -> bool {
        match self {
            Self::Trapped(_)
            | Self::ResourceLimit { .. }
            | Self::OutputTooLarge { .. }
            | Self::InvalidAnswer(_)
            | Self::Failed { .. } => true,
            Self::Step(failure) => failure.cause.is_the_functions(),
            Self::BadInput(_)
            | Self::PipelineLimit { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. }
            | Self::StackExhausted(_)
            | Self::DeadlineExceeded { .. }
            | Self::Overloaded { .. }
            | Self::NoSlot
            | Self::Load(_)
            | Self::Internal(_) => false,
        }
    }

    /// What it says besides its fixed words, bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::Trapped(failure)
            | Self::StackExhausted(failure)
            | Self::ResourceLimit { failure, .. }
            | Self::InvalidAnswer(failure) => failure.bytes(),
            Self::Failed { message } => message.len(),
            Self::DeadlineExceeded { log_tail, .. } => log_tail.len(),
            Self::Step(failure) => failure.step.len() + failure.function.len() + failure.cause.text_bytes(),
            Self::PipelineLimit { .. }
            | Self::BadInput(_)
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. }
            | Self::OutputTooLarge { .. }
            | Self::Overloaded { .. }
            | Self::NoSlot
            | Self::Load(_)
            | Self::Internal(_) => 0,
        }
    }

    /// Exhaustive on purpose: a new variant has to pick a side to compile.
    pub fn fault(&self) -> Fault {
        match self {
            Self::BadInput(_)
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. } => Fault::Caller,
            Self::Trapped(_)
            | Self::StackExhausted(_)
            | Self::ResourceLimit { .. }
            | Self::OutputTooLarge { .. }
            | Self::InvalidAnswer(_)
            | Self::Failed { .. }
            | Self::PipelineLimit { .. }
            | Self::DeadlineExceeded { .. } => Fault::Guest,
            // What a step is given is not the caller's doing.
            Self::Step(failure) => match failure.cause.fault() {
                Fault::Caller => Fault::Guest,
                fault @ (Fault::Guest | Fault::Load | Fault::Host) => fault,
            },
            Self::Overloaded { .. } | Self::NoSlot => Fault::Load,
            Self::Load(error) => error.fault(),
            Self::Internal(_) => Fault::Host,
        }
    }
}

/// Why a component's code couldn't be made ready.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The registry couldn't give the component or its compiled code.
    #[error(transparent)]
    Registry(#[from] nebula_store::StoreError),
    /// The component has to be compiled first.
    #[error("the component {digest} is not compiled")]
    NotCompiled {
        /// The component.
        digest: Digest,
    },
    /// The engine refused code that it accepted at deploy.
    #[error("the engine refused the component: {0}")]
    Engine(String),
    /// The compiler process failed.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl LoadError {
    /// The component was accepted once: where it now takes too long to compile or to initialise, the machine
    /// is busy, and the next call tries again.
    fn fault(&self) -> Fault {
        match self {
            Self::Compile(
                CompileError::TooCostly
                | CompileError::Uncompilable(Uncompilable::Initialise(InitialiseError::DeadlineExceeded {
                    ..
                })),
            ) => Fault::Load,
            Self::Registry(_)
            | Self::NotCompiled { .. }
            | Self::Engine(_)
            | Self::Compile(CompileError::Uncompilable(_) | CompileError::Process(_)) => Fault::Host,
        }
    }
}
