//! A chain of functions, and what can't be fused.

use nebula_codec::{Signature, Type};

use crate::nest::{INITIALISES, NestError};

/// The longest chain, in functions.
pub(super) const LINKS_MAX: usize = 20;

/// One function of a chain.
pub struct Link<'a> {
    /// The component.
    pub component: &'a [u8],
    /// The reflected signature of its `handle`.
    pub signature: &'a Signature,
    /// The function's output limit, bytes: of the JSON, or of the content if the answer is one
    /// `string` or `list<u8>`.
    pub output_bytes_max: u64,
}

impl<'a> Link<'a> {
    /// Returns the type that the next function gets: the result, or the `ok` of a `result`.
    pub(super) fn answer(&self) -> Option<&'a Type> {
        let ty = self.signature.result.as_ref()?;
        if let Type::Result(result) = ty { result.ok.as_ref() } else { Some(ty) }
    }

    /// Returns whether `next` takes exactly what this function answers.
    pub(super) fn fits(&self, next: &Link<'_>) -> bool {
        match (self.answer(), next.signature.params.as_slice()) {
            (Some(output), [param]) => *output == param.ty,
            (Some(_) | None, _) => false,
        }
    }
}

/// Why a chain can't be one component. Steps count from 0.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FuseError {
    /// The chain is too short or too long.
    #[error("the chain has {links} functions; it takes 2 to {LINKS_MAX}")]
    Length {
        /// The number of functions.
        links: usize,
    },
    /// The function doesn't export a function `handle`.
    #[error("function {step} of the chain isn't typed")]
    Untyped {
        /// The function.
        step: usize,
    },
    /// The function's answer and the input of the next one have different types.
    #[error("function {step} of the chain doesn't return the type that the next one takes")]
    Types {
        /// The function.
        step: usize,
    },
    /// The function would answer differently beside others in one store.
    #[error("function {step} of the chain imports `{import}`, which depends on what else runs")]
    Shared {
        /// The function.
        step: usize,
        /// The interface.
        import: String,
    },
    /// The function starts from a snapshot.
    #[error("function {step} of the chain exports `{INITIALISES}`")]
    Initialises {
        /// The function.
        step: usize,
    },
    /// Even the function's shortest answers may exceed its output limit, so the check would always
    /// trap.
    #[error("every answer of function {step} of the chain may exceed its output limit")]
    AnswerBound {
        /// The function.
        step: usize,
    },
    /// The functions' imports can't be imported by one component.
    #[error("the imports of the chain can't be linked: {0}")]
    Imports(#[from] NestError),
}
