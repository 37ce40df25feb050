//! The answer of `GET /readyz`: load balancers may send requests to this server, or it stops soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells whether a server is ready. It is until [`stop`](Self::stop). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Makes `/readyz` answer 503 from now on. Calls are still answered.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
