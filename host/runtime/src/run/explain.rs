//! A call made to be looked at: what each step of a pipeline was given, and what it gave.

use std::time::Instant;

use nebula_engine::Wanted;
use nebula_model::form::Form;
use nebula_model::id::FunctionRef;
use nebula_model::remember::CacheDirectives;
use nebula_model::request::{Prefer, Request};
use nebula_store::ResolveError;

use super::code::Code;
use super::steps::Explained;
use crate::call::invoke;
use crate::call::invoke::Called;
use crate::call::lane::NoPlace;
use crate::error::{CallError, LoadError};
use crate::runtime::Runtime;

/// A call, and what there is to say of it.
#[derive(Debug)]
pub struct Explanation {
    /// What came of it.
    pub called: Called,
    /// Of a pipeline, its calls in the order in which they ended; the first of many.
    pub steps: Vec<Explained>,
}

/// Why a call can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is no such function.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It can't be called.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is of the http form: there is no input to give it.
    #[error("it takes whole HTTP requests: ask it for what it answers")]
    WholeRequests,
    /// There is no place for another call.
    #[error("the host has no place for another call")]
    Overloaded,
    /// The input isn't one of its.
    #[error(transparent)]
    Input(CallError),
}

impl Runtime {
    /// Makes a call and tells how it went. The function itself runs, whatever is remembered; of a pipeline the steps are
    /// remembered as ever.
    ///
    /// # Errors
    /// [`ExplainError`]; what comes of the call is no error.
    ///
    /// # Cancel safety
    /// Once it has begun the call goes on to its end.
    pub async fn explain(
        &self,
        reference: &FunctionRef,
        request: Request,
        prefer: Prefer,
    ) -> Result<Explanation, ExplainError> {
        let function = self.find(reference).await?;
        let code = self.code(&function).await?;
        if function.record.description.form == Form::Http {
            return Err(ExplainError::WholeRequests);
        }
        let deadline = function.limits().deadline();
        let place = self.executor().lane().enter(function.share(), deadline, true).await;
        let place = place.map_err(|_: NoPlace| ExplainError::Overloaded)?;
        let runtime = self.clone();
        let explain = move || {
            let (_place, asked) = (place, CacheDirectives::default());
            let decoded = invoke::decode(code.interface(), &request, prefer).map_err(ExplainError::Input)?;
            Ok(match &code {
                Code::Component(_) => {
                    let called = runtime.run_long(
                        &function,
                        &code,
                        &decoded,
                        Instant::now(),
                        (Wanted::default(), asked),
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
