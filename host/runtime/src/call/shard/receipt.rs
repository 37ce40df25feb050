//! Receipts of answers, where long calls run: input and output are hashed, and the input may be written to disk.

use std::borrow::Cow;
use std::sync::Arc;

use nebula_model::answer::Answer;
use nebula_model::request::{Prefer, Request};

use super::{Met, Shard};
use crate::receipt::{Receipt, document};

/// A receipt that was given.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Whether the input is kept, so that the call can be made again from the receipt alone.
    pub input_kept: bool,
}

/// What a receipt is of.
#[derive(Debug)]
pub struct Answered {
    /// What was asked.
    pub request: Request,
    /// How it was to be answered.
    pub prefer: Prefer,
    /// What was answered.
    pub answer: Answer,
    /// What has computed that.
    pub engine: Cow<'static, str>,
}

impl Shard {
    /// The receipt of an answer, signed where the host has a key; with the input kept, if that is asked for and there is
    /// room. None where the input's media type is longer than [`MEDIA_TYPE_BYTES_MAX`](crate::MEDIA_TYPE_BYTES_MAX).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the receipt; the input may be kept all the same.
    pub async fn receipt(&self, met: &Arc<Met>, answered: Answered, keep_input: bool) -> Option<Issued> {
        let (runtime, met) = (self.0.runtime.clone(), Arc::clone(met));
        // However many ask, some threads do it.
        let permit = Arc::clone(self.0.runtime.issuing()).acquire_owned().await.ok()?;
        let issue = move || {
            let _permit = permit;
            let Answered { request, prefer, answer, engine } = answered;
            let document = document(&request);
            let mut receipt = Receipt::new(&met, (&request, &document), prefer, (&answer, &engine))?;
            receipt.input.kept =
                keep_input && runtime.results().inputs().keep(&receipt.input.digest, &document);
            Some(Issued { token: receipt.to_token(runtime.signer()), input_kept: receipt.input.kept })
        };
        self.0.runtime.executor().lane().run(issue).await.ok().flatten()
    }
}
