//! Caching of results: a function's settings, a caller's directives, and the source of an answer.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::MIB;

/// The default of [`Caching::bytes_max`].
const ANSWER_BYTES_MAX: u64 = MIB;

/// A function's settings for caching its results. By default they are cached. Stored with each
/// version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caching {
    /// Runs the function for every call. Identical calls aren't merged either.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// Seconds for which a result is used. Without it, until it is evicted: a result is never
    /// wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<NonZeroU64>,
    /// The largest answer that is cached, bytes. Default 1 MiB.
    #[serde(deserialize_with = "crate::size::deserialize", skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Also caches failures, in memory only: traps, and reaching the memory or output limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub traps: bool,
}

impl Caching {
    /// Returns whether these are the defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Restricts the settings to what `other` also allows.
    pub fn narrow(&mut self, other: &Self) {
        let Self {
            off,
            ttl_s,
            // Of the other's answers, not of what is made of them.
            bytes_max: _,
            // It allows more, and is the function's own to say.
            traps: _,
        } = other;
        self.off |= off;
        self.ttl_s = [self.ttl_s, *ttl_s].into_iter().flatten().min();
    }

    /// Returns the time for which a result is used; `None` is unbounded.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_s.map(|seconds| Duration::from_secs(seconds.get()))
    }

    /// Returns the largest answer that is cached, bytes.
    pub fn answer_bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or(ANSWER_BYTES_MAX)
    }
}

/// A caller's `Cache-Control` (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheDirectives {
    /// Runs the function even if its result is cached.
    pub no_cache: bool,
    /// Caches nothing of this call.
    pub no_store: bool,
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The function ran for this call, or the call failed before it could.
    Ran {
        /// The reason why no cached result was used.
        because: Because,
        /// Whether the answer is cached now.
        stored: bool,
    },
    /// The answer was cached.
    Cached {
        /// Time since it was computed, seconds.
        age_s: u64,
        /// Time for which it will still be used, seconds; `None` is unbounded.
        ttl_s: Option<u64>,
        /// Whether it was read from disk.
        on_disk: bool,
    },
    /// The function ran for another, identical call in flight.
    Collapsed,
}

/// The reason why a function ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The function's results aren't cached.
    Off,
    /// The caller sent `no-cache`.
    Asked,
    /// No result was cached.
    Missed,
}
