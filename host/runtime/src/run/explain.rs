//! An explained call: it reports the input and output of each step of a pipeline.

use std::time::Instant;

use nebula_engine::CancelFlag;
use nebula_model::caching::CacheDirectives;
use nebula_model::form::Form;
use nebula_model::id::FunctionRef;
use nebula_model::request::{Prefer, Request};
use nebula_store::ResolveError;

use super::code::Code;
use super::steps::{Explained, LongCall};
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest};
use crate::call::lane::NoSlot;
use crate::error::{CallError, LoadError};
use crate::runtime::Runtime;

/// A call and its explanation.
#[derive(Debug)]
pub struct Explanation {
    /// The outcome of the call.
    pub called: CallOutcome,
    /// The calls of a pipeline, in the order in which they ended; of many, the first ones.
    pub steps: Vec<Explained>,
}

/// Why a call can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The function doesn't exist.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The function can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The function is of the http form, which has no input to pass.
    #[error("it takes whole HTTP requests, which can't be explained: call it instead")]
    WholeRequests,
    /// The compute lane has no slot for another call.
    #[error("the host has no room for another call")]
    Overloaded,
    /// The input isn't valid for the function.
    #[error(transparent)]
    Input(CallError),
}

impl Runtime {
    /// Makes a call and explains it. The function itself runs even if its result is cached; the
    /// steps of a pipeline use cached results as usual.
    ///
    /// # Errors
    /// [`ExplainError`]. A call that fails is an explanation, not an error.
    ///
    /// # Cancel safety
    /// Once the call has started, it runs to its end even if the future is dropped.
    pub async fn explain(
        &self,
        reference: &FunctionRef,
        request: Request,
        prefer: Prefer,
    ) -> Result<Explanation, ExplainError> {
        let function = self.find(reference).await?;
        let code = self.lane_code(&function).await?.code;
        if function.record.description.form == Form::Http {
            return Err(ExplainError::WholeRequests);
        }
        let deadline = function.limits().deadline();
        let slot = self.executor().lane().enter(function.share(), deadline, true).await;
        let slot = slot.map_err(|_: NoSlot| ExplainError::Overloaded)?;
        let runtime = self.clone();
        let explain = move || {
            let (_slot, directives) = (slot, CacheDirectives::default());
            let request = CallRequest { request: &request, prefer };
            let decoded = invoke::decode(code.interface(), request).map_err(ExplainError::Input)?;
            Ok(match &code {
                Code::Component(_) => {
                    let called = runtime.run_long(
                        &function,
                        &code,
                        &decoded,
                        LongCall {
                            admitted: Instant::now(),
                            cancel: CancelFlag::default(),
                            directives,
                            may_offer: false,
                        },
                    );
                    Explanation { called, steps: Vec::new() }
                }
                Code::Pipeline(staged) => {
                    let (called, steps) = runtime.run_explained(&function, staged, &decoded);
                    Explanation { called, steps }
                }
            })
        };
        self.executor()
            .lane()
            .run(explain)
            .await
            .map_err(|error| ExplainError::Load(LoadError::Engine(error)))?
    }
}
