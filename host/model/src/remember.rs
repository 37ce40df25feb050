//! Whether, and for how long, a function's results are remembered.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::MIB;

/// The largest answer that is remembered unless the function says otherwise, bytes.
const ANSWER_BYTES_MAX: u64 = MIB;

/// What a function says of its results. Stored with each version; nothing said is: remember them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remember {
    /// Run it for every call; calls that are the same aren't merged either.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// Seconds for which a result is used. Without it for as long as there is room: a result is never wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<NonZeroU64>,
    /// The largest answer that is remembered, bytes; 1 MiB unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Also that it fails: its traps, and that it hits its memory or output limit. In memory alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub traps: bool,
}

impl Remember {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Has it say no more than `other` does.
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

    /// Returns how long a result is used; `None` has no bound.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_s.map(|seconds| Duration::from_secs(seconds.get()))
    }

    /// Returns the largest answer that is kept, bytes.
    pub fn answer_bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or(ANSWER_BYTES_MAX)
    }
}

/// What a deploy says of a function besides its component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its own limits.
    pub limits: crate::limits::LimitOverrides,
    /// What is remembered of it.
    pub remember: Remember,
}

/// What a caller says of remembered results: `Cache-Control` in a request (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheDirectives {
    /// Run the function, whatever is remembered.
    pub no_cache: bool,
    /// Keep nothing of this call.
    pub no_store: bool,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The function ran for this call, or the call failed before it could.
    Ran {
        /// Why what is remembered didn't do.
        because: Because,
        /// Whether the answer is remembered now.
        stored: bool,
    },
    /// It is remembered.
    Remembered {
        /// Since it was computed, seconds.
        age_s: u64,
        /// How long it will be used from now, seconds; for as long as there is room if this isn't said.
        ttl_s: Option<u64>,
        /// It had to be read from disk.
        on_disk: bool,
    },
    /// The function ran for another call, which asked the same at the same time.
    Collapsed,
}

/// Why a function ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Nothing of the function is remembered.
    Off,
    /// The caller would have it so.
    Asked,
    /// The answer wasn't there.
    Missed,
}
