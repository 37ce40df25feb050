//! Receipts of answers, off the serving threads: input and output are hashed, and the input may be written to disk.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Met, Shard};
use crate::answer::Answer;
use crate::invoke::{Prefer, Request};
use crate::receipt::{Receipt, document};

/// A receipt that was given.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Whether the input is kept, so that the call can be made again from the receipt alone.
    pub input_kept: bool,
}

impl Shard {
    /// The receipt of an answer to `request`, which `engine` has computed; signed where the host has a key, and
    /// with the input kept, if that is asked for and there is room. None if there is no thread for it.
    pub async fn receipt(
        &self,
        met: &Arc<Met>,
        (request, prefer): (Request, Prefer),
        (answer, engine): (Answer, Cow<'static, str>),
        keep_input: bool,
    ) -> Option<Issued> {
        let (runtime, met) = (self.0.runtime.clone(), Arc::clone(met));
        // However many ask, some threads do it.
        let _permit = self.0.runtime.issuing().acquire().await.ok()?;
        let issue = move || {
            let document = document(&request);
            let mut receipt = Receipt::new(&met, (&request, &document), prefer, (&answer, &engine));
            receipt.input.kept = keep_input && runtime.inputs().keep(&receipt.input.digest, &document);
            Issued { token: receipt.to_token(runtime.signer()), input_kept: receipt.input.kept }
        };
        tokio::task::spawn_blocking(issue).await.ok()
    }
}
