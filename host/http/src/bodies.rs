//! The memory for request bodies, bounded over all threads.
//!
//! A body is read whole before its call begins. A large one first waits for memory: for the length
//! that it announces, or for its function's input limit if it announces none. `body` reads it.
//!
//! Invariant: before it has reserved memory, the server reads of a body over [`SMALL_BYTES_MAX`]
//! only the part that arrives with its head, or up to 72 KiB if that is the whole body
//! ([`fast_path`](crate::fast_path)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::status;

/// Memory for all counted bodies, bytes, over all threads.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The longest body that isn't counted, bytes. The number of connections bounds these.
pub(crate) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of one permit of the semaphore.
const UNIT_BYTES: u64 = 1024;

/// The longest time that a request waits for memory before it is shed.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The memory for bodies of one server.
#[derive(Clone, Debug)]
pub(crate) struct BodyMemory {
    free: Arc<FreeMemory>,
}

#[derive(Debug)]
struct FreeMemory {
    /// Shared with every body that has memory or waits for it, and with nothing else.
    permits: Arc<Semaphore>,
    refused: AtomicU64,
}

/// The memory for bodies at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyMemoryUsage {
    /// Bodies that have memory or wait for it.
    pub(crate) bodies: u64,
    /// Memory that is reserved, bytes.
    pub(crate) bytes: u64,
    /// All memory, bytes.
    pub(crate) bytes_max: u64,
    /// Requests that were refused since the start, because no memory became free.
    pub(crate) refused: u64,
}

impl BodyMemory {
    /// Creates the budget, all of it free.
    pub(crate) fn new() -> Self {
        let permits = Arc::new(Semaphore::new(units(BYTES_MAX) as usize));
        Self { free: Arc::new(FreeMemory { permits, refused: AtomicU64::new(0) }) }
    }

    /// Returns the use of the memory.
    pub(crate) fn usage(&self) -> BodyMemoryUsage {
        let FreeMemory { permits, refused } = &*self.free;
        let free = (permits.available_permits() as u64).saturating_mul(UNIT_BYTES);
        BodyMemoryUsage {
            bodies: Arc::strong_count(permits).saturating_sub(1) as u64,
            bytes: BYTES_MAX.saturating_sub(free),
            bytes_max: BYTES_MAX,
            refused: refused.load(Ordering::Relaxed),
        }
    }

    /// Waits for memory for `body`, of which at most `bytes_max` will be read, and for as much again
    /// if it is `decoded`: a call that waited for the second part while it holds the first could wait
    /// for others that do the same. Returns `None` if the body isn't counted. Dropping the permit
    /// frees the memory.
    ///
    /// # Errors
    /// The problem to answer with, if [`RESERVE_TIMEOUT`] passes first.
    pub(crate) fn reserve(
        &self,
        body: &impl Body,
        bytes_max: u64,
        decoded: bool,
    ) -> impl Future<Output = Result<Option<OwnedSemaphorePermit>, Problem>> {
        let announced = body.size_hint().upper().unwrap_or(bytes_max);
        // `body::read` refuses a body that announces too much, without reading it.
        let is_counted = !body.is_end_stream() && announced > SMALL_BYTES_MAX && announced <= bytes_max;
        // The future doesn't hold the body, which needn't be one that threads may share.
        async move {
            if !is_counted {
                return Ok(None);
            }
            // This future is large and rarely needed. Boxed, it doesn't enlarge that of every request.
            let bytes = announced.saturating_add(if decoded { bytes_max } else { 0 });
            Box::pin(self.reserve_bytes(bytes)).await.map(Some)
        }
    }

    /// Waits for memory for `bytes`.
    ///
    /// # Errors
    /// The problem to answer with, if [`RESERVE_TIMEOUT`] passes first.
    pub(crate) async fn reserve_bytes(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = Arc::clone(&self.free.permits).acquire_many_owned(units(bytes));
        match timeout(RESERVE_TIMEOUT, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // It fails only if the semaphore is closed, and nothing closes it.
            Ok(Err(_)) | Err(_) => {
                self.free.refused.fetch_add(1, Ordering::Relaxed);
                Err(status::body_memory_full())
            }
        }
    }
}

/// Frees the part of reserved memory that isn't needed for `bytes`.
pub(crate) fn shrink(reserved: &mut OwnedSemaphorePermit, bytes: u64) {
    drop(reserved.split(reserved.num_permits().saturating_sub(units(bytes) as usize)));
}

/// Returns the permits that a body of `bytes` takes, at most all of them.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.min(BYTES_MAX).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bodies_count_while_they_have_memory_or_wait_for_it() {
        let memory = BodyMemory::new();
        let of_a_thread = memory.clone();
        let counts = || {
            let BodyMemoryUsage { bodies, bytes, bytes_max: _, refused } = memory.usage();
            (bodies, bytes, refused)
        };
        assert_eq!(counts(), (0, 0, 0));
        let mut most = of_a_thread.reserve_bytes(BYTES_MAX).await.unwrap();
        shrink(&mut most, BYTES_MAX - UNIT_BYTES);
        assert_eq!(counts(), (1, BYTES_MAX - UNIT_BYTES, 0));
        let waiting = tokio::spawn(async move { of_a_thread.reserve_bytes(2 * UNIT_BYTES).await });
        tokio::task::yield_now().await;
        // It has a part of its memory.
        assert_eq!(counts(), (2, BYTES_MAX, 0));
        assert!(waiting.await.unwrap().is_err());
        assert_eq!(counts(), (1, BYTES_MAX - UNIT_BYTES, 1));
        drop(most);
        assert_eq!(counts(), (0, 0, 1));
    }
}
