//! The functions that a pipeline may call.

use nebula_model::id::FunctionRef;

use crate::callee::Callee;
use crate::error::InvalidPipeline;

/// The caller's lookup of functions.
pub(super) struct Lookup<'a> {
    pub(super) callee: &'a mut dyn FnMut(&FunctionRef) -> Result<Callee, String>,
}

impl Lookup<'_> {
    /// Returns the types of the function that `step` calls.
    pub(super) fn callee(&mut self, step: &str, function: &FunctionRef) -> Result<Callee, InvalidPipeline> {
        (self.callee)(function).map_err(|reason| InvalidPipeline::UnknownFunction {
            step: step.to_owned(),
            function: function.to_string(),
            reason,
        })
    }
}
