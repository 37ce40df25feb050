//! The codes of failed calls: one word for each kind of failure, the same in problem documents,
//! in metrics and wherever else failures are told apart by a program.
//!
//! Invariants:
//! * Every error has one code, and every code has one side at fault.
//! * The failure of a pipeline's step has the code of a direct call of that step, unless the input
//!   was wrong: the pipeline's caller didn't make it.

use nebula_codec::DecodeError;

use super::{CallError, Fault};

/// Declares the codes with their names and faults, and [`ErrorCode::ALL`] from all of them.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident $name:literal $fault:ident;)+) => {
        /// The kind of a call's failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $code,)+
        }

        impl ErrorCode {
            /// Every code, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// Returns the last part of the problem document's type.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }

            /// Returns whose fault such a failure is.
            pub fn fault(self) -> Fault {
                match self {
                    $(Self::$code => Fault::$fault,)+
                }
            }
        }
    };
}

codes! {
    /// The input isn't JSON.
    InvalidJson "invalid-json" Caller;
    /// The input is JSON of another type.
    TypeMismatch "type-mismatch" Caller;
    /// The input takes too much memory once it is decoded.
    DecodedTooLarge "decoded-too-large" Caller;
    /// The input isn't UTF-8.
    NotUtf8 "not-utf8" Caller;
    /// The function doesn't take the media type.
    UnsupportedMediaType "unsupported-media-type" Caller;
    /// The function doesn't take this kind of input.
    MethodNotAllowed "method-not-allowed" Caller;
    /// The input is over its limit.
    BodyTooLarge "body-too-large" Caller;
    /// The guest trapped.
    Trap "trap" Guest;
    /// The guest hit its memory or table limit.
    ResourceLimit "resource-limit" Guest;
    /// The answer is over its limit.
    OutputTooLarge "output-too-large" Guest;
    /// The guest returned no valid answer.
    InvalidAnswer "invalid-answer" Guest;
    /// The guest reported a failure.
    FunctionFailed "function-failed" Guest;
    /// The call passed its deadline.
    DeadlineExceeded "deadline-exceeded" Guest;
    /// A pipeline hit a limit of its own.
    PipelineLimit "pipeline-limit" Guest;
    /// A pipeline's step refused its input.
    StepRefused "step-refused" Guest;
    /// The host had no room for the call.
    Overloaded "overloaded" Load;
    /// A defect of Nebula or of its machine.
    Internal "internal" Host;
}

impl ErrorCode {
    /// Returns the code of an input that can't be decoded.
    pub fn of_input(error: &DecodeError) -> Self {
        match error {
            DecodeError::Syntax { .. } | DecodeError::Empty { .. } => Self::InvalidJson,
            DecodeError::Mismatch { .. } => Self::TypeMismatch,
            DecodeError::TooLarge { .. } => Self::DecodedTooLarge,
            DecodeError::NotUtf8 { .. } => Self::NotUtf8,
        }
    }
}

impl CallError {
    /// Returns the kind of the failure.
    ///
    /// Exhaustive on purpose: a new variant must pick a code, and with it a side, to compile.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadInput(error) => ErrorCode::of_input(error),
            Self::UnsupportedMediaType { .. } => ErrorCode::UnsupportedMediaType,
            Self::UnsupportedInput(_) => ErrorCode::MethodNotAllowed,
            Self::InputTooLarge { .. } => ErrorCode::BodyTooLarge,
            Self::Trapped(_) | Self::StackExhausted(_) => ErrorCode::Trap,
            Self::ResourceLimit { .. } => ErrorCode::ResourceLimit,
            Self::OutputTooLarge { .. } => ErrorCode::OutputTooLarge,
            Self::InvalidAnswer(_) => ErrorCode::InvalidAnswer,
            Self::Failed { .. } => ErrorCode::FunctionFailed,
            Self::DeadlineExceeded { .. } => ErrorCode::DeadlineExceeded,
            Self::Overloaded { .. } | Self::NoSlot => ErrorCode::Overloaded,
            Self::PipelineLimit { .. } => ErrorCode::PipelineLimit,
            Self::Step(failure) => match failure.cause.code() {
                code if code.fault() == Fault::Caller => ErrorCode::StepRefused,
                code => code,
            },
            Self::Load(error) => match error.fault() {
                Fault::Load => ErrorCode::Overloaded,
                Fault::Caller | Fault::Guest | Fault::Host => ErrorCode::Internal,
            },
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// Returns whose fault the failure is.
    pub fn fault(&self) -> Fault {
        self.code().fault()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_indices_are_in_order() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index, "{code:?}");
        }
    }
}
