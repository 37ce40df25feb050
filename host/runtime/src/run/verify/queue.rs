//! The sample of hits to verify, and the queue of their checks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nebula_model::request::{Prefer, Request};

use crate::cache::CachedResult;
use crate::call::function::Function;

/// The sampling of hits, and the queue of checks.
pub(crate) struct Verification {
    /// Share of hits to sample, out of 2^64.
    part: u64,
    salt: u64,
    pub(super) queued_bytes: AtomicU64,
    /// Rises whenever an operator trusts results again.
    trusted: AtomicU64,
    begun: AtomicU64,
    pub(super) queue: Mutex<Option<SyncSender<Check>>>,
}

/// A hit to be verified.
pub(super) struct Check {
    pub(super) function: Arc<Function>,
    pub(super) request: Request,
    pub(super) prefer: Prefer,
    pub(super) cached: Arc<CachedResult>,
    pub(super) trusted: u64,
    pub(super) queued_at: Instant,
}

impl Verification {
    /// Samples `share` of the hits, from 0 to 1.
    pub(crate) fn new(share: f64) -> Self {
        // Differs between processes, so that they sample different hits. Its quality doesn't
        // matter.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            part: (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
            salt: since.as_nanos() as u64,
            queued_bytes: AtomicU64::new(0),
            trusted: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            queue: Mutex::default(),
        }
    }

    /// Returns the first number for a new counter of hits, far from those of other counters.
    pub(crate) fn begin(&self) -> u64 {
        mixed(self.begun.fetch_add(1, Ordering::Relaxed) ^ self.salt)
    }

    /// Returns whether the hit with this number is sampled.
    pub(crate) fn samples(&self, number: u64) -> bool {
        self.part > 0 && mixed(number) <= self.part
    }

    /// Returns how often an operator trusted results again.
    pub(super) fn trusted(&self) -> u64 {
        self.trusted.load(Ordering::Acquire)
    }

    /// Invalidates the checks in the queue.
    pub(crate) fn restart(&self) {
        self.trusted.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether the verifying thread runs.
    #[cfg(test)]
    pub(crate) fn is_working(&self) -> bool {
        self.lock().is_some()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<SyncSender<Check>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): spreads consecutive numbers evenly.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Returns the memory that a request holds besides its head, bytes.
pub(super) fn request_bytes(request: &Request) -> u64 {
    let bytes = match request {
        Request::Payload { body, .. } => body.len(),
        Request::Query(pairs) => pairs.iter().map(|(name, value)| name.len() + value.len()).sum(),
        Request::Http(request) => request.body().len(),
    };
    bytes as u64
}

impl Check {
    /// Returns the memory that the check holds, bytes.
    pub(super) fn bytes(&self) -> u64 {
        request_bytes(&self.request) + self.cached.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_matches_the_requested_share() {
        for share in [0.0, 0.001, 0.25, 1.0] {
            let verification = Verification::new(share);
            // Many counters with few hits each, as when most functions are rarely called.
            let hits = (0..10_000).flat_map(|_| {
                let begin = verification.begin();
                (0..10).map(move |index| begin.wrapping_add(index))
            });
            let sampled = hits.filter(|number| verification.samples(*number)).count() as f64;
            let expected = share * 100_000.0;
            // Five standard deviations of a fair draw.
            assert!(
                (sampled - expected).abs() <= 5.0 * (expected * (1.0 - share)).sqrt(),
                "{share}: {sampled}"
            );
        }
    }
}
