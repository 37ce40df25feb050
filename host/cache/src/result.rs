//! A cached result: what a function returned for one call, with its cost and its source.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nebula_model::answer::Answer;
use nebula_model::id::Digest;
use rustix::time::{ClockId, clock_gettime};

/// Computation time from which a result counts as expensive: longer than a call may take on the
/// fast lane, and many times the duration of a disk read.
pub const EXPENSIVE_FROM: Duration = Duration::from_millis(1);

/// Overhead of an entry in memory, bytes: its key, its place in the table, its use counter, and the
/// allocations that hold the rest.
pub(crate) const ENTRY_BYTES: usize = 320;

/// Gives the size of a failure that is cached like an answer.
pub trait FailureBytes {
    /// Returns the approximate memory that the failure takes, bytes.
    fn bytes(&self) -> usize;
}

/// A cached result: an answer, or the failure `E` of the function.
#[derive(Debug)]
pub struct CachedResult<E> {
    /// The answer, or the failure of the function.
    pub result: Result<Answer, Arc<E>>,
    /// BLAKE3 hash of the answer's body; `None` for a failure.
    pub content_hash: Option<[u8; 32]>,
    /// Computation time, which every reuse saves.
    pub cost: Duration,
    /// The engine that computed the result.
    pub engine: Cow<'static, str>,
    pub(crate) component: Digest,
    pub(crate) stored_at: SystemTime,
}

impl<E> CachedResult<E> {
    /// Creates the result of the component `component`, just computed by `engine`.
    pub fn new(
        result: Result<Answer, Arc<E>>,
        component: Digest,
        cost: Duration,
        engine: Cow<'static, str>,
    ) -> Self {
        let content_hash = result.as_ref().ok().map(|answer| *blake3::hash(answer.body()).as_bytes());
        Self { result, content_hash, cost, engine, component, stored_at: SystemTime::now() }
    }

    /// Returns the time since the computation, whole seconds.
    pub fn age_s(&self) -> u64 {
        // The coarse clock is the fastest to read, and every hit reports its age in whole seconds.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let now = u64::try_from(now.tv_sec).unwrap_or(0);
        let stored_at = self.stored_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // If the clock was set back, the result counts as new.
        now.saturating_sub(stored_at.as_secs())
    }

    /// Returns whether the result is younger than `ttl`. Without a `ttl` it never expires.
    pub fn is_fresh(&self, ttl: Option<Duration>) -> bool {
        ttl.is_none_or(|ttl| self.stored_at.elapsed().is_ok_and(|age| age < ttl))
    }

    /// Returns the component that computed the result.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// Returns the approximate memory that the result takes, bytes.
    pub fn bytes(&self) -> u64
    where
        E: FailureBytes,
    {
        let bytes = match &self.result {
            Ok(answer) => answer.bytes(),
            Err(error) => error.bytes(),
        };
        (bytes + ENTRY_BYTES) as u64
    }
}
