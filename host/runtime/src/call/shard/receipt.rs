//! Receipts of answers. They are made on the compute lane, because input and output are hashed and
//! the input may be written to disk.

use std::sync::Arc;

use super::{RoutedFunction, Shard};
use crate::receipt::{Receipt, ReceiptSubject, document};

/// A receipt that was issued.
#[derive(Debug)]
pub struct IssuedReceipt {
    /// The token.
    pub token: String,
    /// The input is stored, so that the call can be repeated from the receipt alone.
    pub input_kept: bool,
}

impl Shard {
    /// Returns the receipt of an answer, signed if the host has a key. Stores the input if
    /// `keep_input` is set and there is room. `None` if the input's media type is longer than
    /// [`MEDIA_TYPE_BYTES_MAX`](crate::MEDIA_TYPE_BYTES_MAX), or no thread becomes free within the
    /// function's deadline.
    ///
    /// # Cancel safety
    /// Dropping the future drops the receipt. The input may be stored all the same.
    pub async fn receipt(
        &self,
        routed: &Arc<RoutedFunction>,
        subject: ReceiptSubject,
        keep_input: bool,
    ) -> Option<IssuedReceipt> {
        let patience = routed.limits().deadline();
        let (runtime, routed) = (self.0.runtime.clone(), Arc::clone(routed));
        let issue = move || {
            let document = document(&subject.request);
            let mut receipt = Receipt::new(&routed, &subject, &document)?;
            receipt.input.kept =
                keep_input && runtime.results().inputs().keep(&receipt.input.digest, &document);
            Some(IssuedReceipt { token: receipt.to_token(runtime.signer()), input_kept: receipt.input.kept })
        };
        self.run_aside(patience, issue).await.ok().flatten()
    }
}
