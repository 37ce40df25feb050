//! Work beside calls that would hold up a serving thread: issuing receipts, decoding and compressing
//! content.

use std::time::Duration;

use super::Shard;
use crate::call::lane::NotRun;

impl Shard {
    /// Runs `work` on a thread of the compute lane, which has a lower priority than this one. As
    /// many threads do such work as there are cores; the rest waits in a queue, at most for
    /// `patience`.
    ///
    /// # Errors
    /// [`NotRun`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels work that waits. Work that has started runs to its end, and its
    /// result is dropped.
    pub async fn run_aside<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        self.0.runtime.executor().lane().run_aside(patience, work).await
    }
}
