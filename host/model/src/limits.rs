//! The limits of a call and of the host. Each has a unit, a default, and a stated consequence when
//! it is reached.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One MiB, in bytes.
pub const MIB: u64 = 1024 * 1024;

/// The largest component that can be deployed, bytes.
pub const COMPONENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most functions that a component may import. Each adds a memory, of which an instance has
/// few, so more than three are rare.
pub const FUNCTIONS_IMPORTED_MAX: usize = 16;

/// The highest memory limit of a function, bytes: the size of a pooled slot.
pub const MEMORY_BYTES_CEILING: u64 = 1024 * MIB;

/// The longest deadline of a function, milliseconds: a quarter of an hour.
pub const DEADLINE_MS_CEILING: u64 = 15 * 60 * 1000;

/// The highest input limit and the highest output limit of a function, bytes.
pub const PAYLOAD_BYTES_CEILING: u64 = 256 * MIB;

/// The highest log limit of a function, bytes for each call.
pub const LOG_BYTES_CEILING: u64 = MIB;

/// The largest table of a function, elements: the size of a pooled slot.
pub const TABLE_ELEMENTS_CEILING: usize = 20_000;

/// Linear memory that a component's initialisation may grow to, bytes over all its memories: 64
/// MiB, the default of a function. The limits of initialisation are the same for all functions,
/// because all functions of one component share the snapshot. Beyond them the component is refused.
pub const INITIALISE_MEMORY_BYTES_MAX: u64 = 64 * MIB;

/// Wall-clock time that a component's initialisation may take, milliseconds.
pub const INITIALISE_DEADLINE_MS: u64 = 10_000;

/// The part of the output of an initialisation that is kept for its error, bytes from the end.
pub const INITIALISE_LOG_BYTES_MAX: u64 = 16 * 1024;

/// By how much a component's initialisation may make it longer, bytes: about what it leaves in its
/// memories that isn't zero. Each loaded function holds it in memory, once for all cores.
pub const SNAPSHOT_ADDED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The limits of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory an instance may grow to, bytes over all its memories. Default 64 MiB, at most
    /// [`MEMORY_BYTES_CEILING`]. Growth beyond it fails inside the guest; if the guest then ends
    /// abnormally the call is answered as having hit its memory limit.
    pub memory_bytes_max: u64,
    /// Wall-clock time of a call from admission, milliseconds. Default 1,000. At the deadline the
    /// call is aborted, and nothing of it is kept.
    pub deadline_ms: NonZeroU64,
    /// Length of the request body, bytes. Default 8 MiB. A longer one is refused before the guest
    /// runs.
    pub input_bytes_max: u64,
    /// Length of the answer, bytes. Default 8 MiB. A longer one fails the call, as the guest's
    /// fault.
    pub output_bytes_max: u64,
    /// Standard output and standard error together, bytes kept of each call. Default 16 KiB. The
    /// rest is dropped, and the log says so.
    pub log_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 * MIB,
            deadline_ms: NonZeroU64::MIN.saturating_add(999),
            input_bytes_max: 8 * MIB,
            output_bytes_max: 8 * MIB,
            log_bytes_max: 16 * 1024,
        }
    }
}

impl Limits {
    /// Returns the deadline as a duration.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.get())
    }

    /// Returns these limits, replaced by `overrides` where given.
    ///
    /// # Errors
    /// [`LimitTooHigh`] if an override exceeds its ceiling.
    pub fn with(&self, overrides: &LimitOverrides) -> Result<Self, LimitTooHigh> {
        let under = |limit, asked: Option<u64>, default, ceiling| match asked {
            Some(asked) if asked > ceiling => Err(LimitTooHigh { limit, asked, ceiling }),
            Some(asked) => Ok(asked),
            None => Ok(default),
        };
        let LimitOverrides {
            memory_bytes_max,
            deadline_ms,
            input_bytes_max,
            output_bytes_max,
            log_bytes_max,
        } = overrides;
        let memory_bytes_max =
            under("memory_bytes_max", *memory_bytes_max, self.memory_bytes_max, MEMORY_BYTES_CEILING)?;
        let input_bytes_max =
            under("input_bytes_max", *input_bytes_max, self.input_bytes_max, PAYLOAD_BYTES_CEILING)?;
        let output_bytes_max =
            under("output_bytes_max", *output_bytes_max, self.output_bytes_max, PAYLOAD_BYTES_CEILING)?;
        let log_bytes_max = under("log_bytes_max", *log_bytes_max, self.log_bytes_max, LOG_BYTES_CEILING)?;
        let deadline_ms = deadline_ms.unwrap_or(self.deadline_ms);
        under("deadline_ms", Some(deadline_ms.get()), 0, DEADLINE_MS_CEILING)?;
        Ok(Self { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max })
    }
}

/// A function's own limits. Absent ones have the host's default. Stored with each version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitOverrides {
    /// See [`Limits::memory_bytes_max`].
    #[serde(deserialize_with = "crate::size::deserialize", skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// See [`Limits::deadline_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<NonZeroU64>,
    /// See [`Limits::input_bytes_max`].
    #[serde(deserialize_with = "crate::size::deserialize", skip_serializing_if = "Option::is_none")]
    pub input_bytes_max: Option<u64>,
    /// See [`Limits::output_bytes_max`].
    #[serde(deserialize_with = "crate::size::deserialize", skip_serializing_if = "Option::is_none")]
    pub output_bytes_max: Option<u64>,
    /// See [`Limits::log_bytes_max`].
    #[serde(deserialize_with = "crate::size::deserialize", skip_serializing_if = "Option::is_none")]
    pub log_bytes_max: Option<u64>,
}

/// A limit exceeds its ceiling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{limit}` is {asked}; the highest possible value is {ceiling}")]
pub struct LimitTooHigh {
    /// The limit's name.
    pub limit: &'static str,
    /// The value requested.
    pub asked: u64,
    /// The highest possible value.
    pub ceiling: u64,
}

/// The limits of the whole host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostLimits {
    /// Calls on the compute lane at once. Default 64. Beyond it calls wait in the queue.
    pub calls_max: usize,
    /// Calls waiting for the compute lane. Default 1,024. Beyond it calls are shed with
    /// `CallError::Overloaded` before any of their work starts.
    pub queue_max: usize,
    /// Instances alive at once on each serving thread: the running one and the prepared ones.
    /// Default 32. Each of them, and each of `calls_max`, reserves 16 GiB of address space. That
    /// isn't memory: only systems that limit address space need fewer. When all are in use, calls
    /// go to the compute lane.
    pub instances_max: NonZeroU32,
    /// Compiled code kept loaded, bytes; all threads share it. Default 256 MiB. Beyond it
    /// components without recent calls are unloaded; the one loaded last stays, however large it
    /// is.
    pub loaded_bytes_max: u64,
    /// Memory for cached results, bytes, over all functions. Default 64 MiB; 0 caches nothing.
    /// Beyond it the least requested results are evicted.
    pub cache_bytes_max: u64,
    /// Disk for results that took a millisecond or longer to compute, bytes. Default 256 MiB; 0
    /// keeps none. Beyond it the oldest results are evicted, except requested ones.
    pub cache_disk_bytes_max: u64,
    /// Disk for inputs that callers ask to keep, bytes. Default 64 MiB; 0 keeps none. Beyond it the
    /// oldest are deleted.
    pub inputs_bytes_max: u64,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            calls_max: 64,
            queue_max: 1024,
            instances_max: NonZeroU32::MIN.saturating_add(31),
            loaded_bytes_max: 256 * MIB,
            cache_bytes_max: 64 * MIB,
            cache_disk_bytes_max: 256 * MIB,
            inputs_bytes_max: 64 * MIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_replace_only_what_they_name() {
        let overrides = LimitOverrides { log_bytes_max: Some(1), ..LimitOverrides::default() };
        let limits = Limits::default().with(&overrides).unwrap();
        assert_eq!(limits, Limits { log_bytes_max: 1, ..Limits::default() });
    }

    #[test]
    fn limits_above_their_ceiling_are_refused() {
        let none = LimitOverrides::default;
        for (limit, overrides) in [
            ("memory_bytes_max", LimitOverrides { memory_bytes_max: Some(u64::MAX), ..none() }),
            ("deadline_ms", LimitOverrides { deadline_ms: NonZeroU64::new(u64::MAX), ..none() }),
            ("input_bytes_max", LimitOverrides { input_bytes_max: Some(u64::MAX), ..none() }),
            ("output_bytes_max", LimitOverrides { output_bytes_max: Some(u64::MAX), ..none() }),
            ("log_bytes_max", LimitOverrides { log_bytes_max: Some(u64::MAX), ..none() }),
        ] {
            assert_eq!(Limits::default().with(&overrides).unwrap_err().limit, limit);
        }
    }
}
