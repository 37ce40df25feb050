//! Why a call has no answer, and whose fault that is.
//!
//! `code` gives each of them a code and a side at fault.
//!
//! Invariant: the docs of every variant state whether the guest may have run. Of a failed call only
//! the failure is kept, and only if it [is the function's](CallError::is_the_functions).

mod code;

use std::sync::Arc;

use nebula_codec::DecodeError;
use nebula_engine::{CompileError, Failure, InitialiseError, Uncompilable};
use nebula_model::id::Digest;
use nebula_store::{StoreError, StoreErrorKind};

pub use self::code::ErrorCode;

/// The most frames of a stack that the log keeps.
const LOGGED_FRAMES_MAX: usize = 64;

/// The most characters of such a frame.
const LOGGED_FRAME_CHARS_MAX: usize = 256;

/// The side that has to change something for the call to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller: another input is needed.
    Caller,
    /// The function.
    Guest,
    /// The load of the host: try again later.
    Load,
    /// Nebula, or the machine it runs on.
    Host,
}

impl Fault {
    /// Returns the name of the side.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Guest => "guest",
            Self::Load => "load",
            Self::Host => "host",
        }
    }
}

/// Why a call returned no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The input doesn't match the function's type. The guest has not run.
    #[error("the input doesn't fit the function: {0}")]
    BadInput(#[source] DecodeError),
    /// The function doesn't accept the input's media type. The guest has not run.
    #[error("this function doesn't take `{found}`; it takes {}", accepted.join(", "))]
    UnsupportedMediaType {
        /// The media type of the input.
        found: String,
        /// The media types that the function accepts.
        accepted: Vec<&'static str>,
    },
    /// The function's form doesn't support this kind of input, such as a query for a function on
    /// bytes.
    /// The guest has not run.
    #[error("{0}")]
    UnsupportedInput(&'static str),
    /// The input exceeds the function's limit. The guest has not run.
    #[error("the input is over this function's limit of {bytes_max} bytes")]
    InputTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The guest trapped or panicked, or exited.
    #[error("the function trapped: {}", .0.reason)]
    Trapped(Box<Failure>),
    /// The guest exhausted its stack. The possible depth depends on the compiled code and the
    /// machine.
    #[error("the function trapped: {}", .0.reason)]
    StackExhausted(Box<Failure>),
    /// The guest exceeded its memory or table limit and then ended abnormally.
    #[error("the function hit its {limit} limit of {max}")]
    ResourceLimit {
        /// `memory` (bytes) or `table` (elements).
        limit: &'static str,
        /// The limit.
        max: u64,
        /// The trap, with its backtrace and the end of the log.
        failure: Box<Failure>,
    },
    /// The guest's answer exceeds its limit.
    #[error("the function's output is over its limit of {bytes_max} bytes")]
    OutputTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The guest returned no valid answer: it broke the ABI or the protocol of its form.
    #[error("the function gave no valid answer: {}", .0.reason)]
    InvalidAnswer(Box<Failure>),
    /// The guest reported a failure on valid input.
    #[error("the function failed: {message}")]
    Failed {
        /// The guest's message.
        message: String,
    },
    /// The guest was aborted at its deadline. Its result is unknown.
    #[error("the call passed its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The limit.
        deadline_ms: u64,
        /// The end of the guest's log.
        log_tail: String,
    },
    /// Shed before any work started.
    #[error("the host has {queue_max} calls waiting already")]
    Overloaded {
        /// Most calls that may wait.
        queue_max: usize,
    },
    /// Every instance of the pool is in use, or the machine has no memory left. Nothing of the
    /// guest's is kept.
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
        /// `calls`, or `memory` (bytes) for gathered values.
        limit: &'static str,
        /// The limit.
        max: u64,
    },
    /// A defect in Nebula. The guest may have run.
    #[error("internal error: {0}")]
    Internal(String),
}

/// The failure of a pipeline's step.
#[derive(Debug)]
pub struct StepFailure {
    /// The name of the step.
    pub step: String,
    /// The function that it called: `name@version; digest=sha256:…`.
    pub function: String,
    /// Digest of its input: the document that repeats the call by itself.
    pub input: Digest,
    /// Why the call has no answer.
    pub cause: Arc<CallError>,
}

impl CallError {
    /// Returns whether every caller that makes the same call now gets the same failure. Failures
    /// for lack of time or capacity don't count.
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

    /// Returns whether the function fails with this input whenever and wherever it runs,
    /// independently of the machine and its load.
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

    /// Returns whether the call, or the step that failed it, passed its deadline.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::DeadlineExceeded { .. } => true,
            Self::Step(failure) => failure.cause.is_late(),
            Self::BadInput(_)
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. }
            | Self::Trapped(_)
            | Self::StackExhausted(_)
            | Self::ResourceLimit { .. }
            | Self::OutputTooLarge { .. }
            | Self::InvalidAnswer(_)
            | Self::Failed { .. }
            | Self::PipelineLimit { .. }
            | Self::Overloaded { .. }
            | Self::NoSlot
            | Self::Load(_)
            | Self::Internal(_) => false,
        }
    }

    /// Returns the stack of the trap, or of the failed step's, for the log: at most
    /// [`LOGGED_FRAMES_MAX`] frames, cut at [`LOGGED_FRAME_CHARS_MAX`] characters. Empty for
    /// failures without one.
    pub(crate) fn backtrace(&self) -> Vec<String> {
        match self {
            Self::Trapped(failure)
            | Self::StackExhausted(failure)
            | Self::ResourceLimit { failure, .. }
            | Self::InvalidAnswer(failure) => {
                let frames = failure.backtrace.iter().take(LOGGED_FRAMES_MAX);
                frames.map(|frame| frame.chars().take(LOGGED_FRAME_CHARS_MAX).collect()).collect()
            }
            Self::Step(failure) => failure.cause.backtrace(),
            Self::BadInput(_)
            | Self::UnsupportedMediaType { .. }
            | Self::UnsupportedInput(_)
            | Self::InputTooLarge { .. }
            | Self::OutputTooLarge { .. }
            | Self::Failed { .. }
            | Self::DeadlineExceeded { .. }
            | Self::PipelineLimit { .. }
            | Self::Overloaded { .. }
            | Self::NoSlot
            | Self::Load(_)
            | Self::Internal(_) => Vec::new(),
        }
    }

    /// Returns the size of its variable text, bytes.
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
}

/// Why a component's code couldn't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed to read the component or its compiled code.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Returns the fault side. The component was accepted once: if it now takes too long to
    /// compile or to initialise, the machine is busy, and the next call tries again.
    fn fault(&self) -> Fault {
        match self {
            Self::Compile(
                CompileError::TooCostly
                | CompileError::Uncompilable(Uncompilable::Initialise(InitialiseError::DeadlineExceeded {
                    ..
                })),
            ) => Fault::Load,
            Self::Store(error) => match error.kind() {
                // The next call tries again.
                StoreErrorKind::Late => Fault::Load,
                StoreErrorKind::Conflict
                | StoreErrorKind::OutOfSpace
                | StoreErrorKind::LastVersion
                | StoreErrorKind::Defect => Fault::Host,
            },
            Self::NotCompiled { .. }
            | Self::Engine(_)
            | Self::Compile(CompileError::Uncompilable(_) | CompileError::Process(_)) => Fault::Host,
        }
    }
}
