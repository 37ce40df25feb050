//! Request bodies are read whole before a call begins. All together they are bounded.
//!
//! Invariant: of bodies of more than [`SMALL_BYTES_MAX`] no more is read than what comes with their head, or
//! 72 KiB where that is all ([`fast_path`](crate::fast_path)), before there is room for as much as they announce, or for as
//! much as their function takes where they announce nothing.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::status;

/// What all of them may take, over all threads.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Smaller ones aren't counted: the number of connections bounds them.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// What room is counted in.
const UNIT_BYTES: u64 = 1024;

/// How long a request waits for room before it is shed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The room for bodies of one server.
#[derive(Clone, Debug)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(units(BYTES_MAX) as usize)))
    }

    /// Waits for room for `body`, of which at most `bytes_max` are going to be read.
    ///
    /// # Errors
    /// The problem to answer with, when there is none in time.
    pub(crate) async fn room(
        &self,
        body: &Incoming,
        bytes_max: u64,
    ) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if body.is_end_stream() {
            return Ok(None);
        }
        let announced = body.size_hint().upper().unwrap_or(bytes_max);
        // One that announces too much is refused unread.
        if announced <= SMALL_BYTES_MAX || announced > bytes_max {
            return Ok(None);
        }
        let room = Arc::clone(&self.0).acquire_many_owned(units(announced));
        // Rare and large: apart, it isn't part of every request.
        match Box::pin(timeout(PATIENCE, room)).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            // It fails only when closed, which nobody does.
            Ok(Err(_)) | Err(_) => Err(status::no_room()),
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.min(BYTES_MAX).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}
