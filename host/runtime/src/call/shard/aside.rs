//! Work beside calls that would hold up a serving thread: issuing receipts, decoding and compressing
//! content.

use std::sync::Arc;

use super::Shard;

impl Shard {
    /// Runs `work` on a thread of the compute lane, which has a lower priority than this one. As
    /// many threads do such work as there are cores, however much is requested; the rest waits.
    /// Returns `None` if `work` panics or the host is stopping.
    ///
    /// # Cancel safety
    /// Dropping the future cancels work that waits. Work that has started runs to its end, and its
    /// result is dropped.
    pub async fn run_aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let runtime = &self.0.runtime;
        let permit = Arc::clone(runtime.aside()).acquire_owned().await.ok()?;
        let work = move || {
            let _permit = permit;
            work()
        };
        runtime.executor().lane().run(work).await.ok()
    }
}
