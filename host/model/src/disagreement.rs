//! The record of a verification that failed.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// Two computations of one call gave different answers: the function isn't pure, or the host is at
/// fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The function's component.
    pub component: Digest,
    /// The function as it was called: `name@v3`.
    pub function: String,
    /// Digest of the input's document, which the host keeps for a while.
    pub input: Digest,
    /// Summary of the cached answer. Stored as `remembered`, which earlier releases read.
    #[serde(rename = "remembered")]
    pub cached: String,
    /// Summary of the answer computed later.
    pub computed: String,
    /// The engines that computed the cached answer and the later one.
    pub engines: [String; 2],
    /// When the host found the difference, seconds since the Unix epoch.
    pub at_unix_s: u64,
}

impl Disagreement {
    /// Returns the stand-in for a stored record that this release can't read.
    pub fn unreadable(component: Digest) -> Self {
        let unknown = || "something that this release can't read".to_owned();
        Self {
            component,
            function: unknown(),
            input: Digest::of(&[]),
            cached: unknown(),
            computed: unknown(),
            engines: [unknown(), unknown()],
            at_unix_s: 0,
        }
    }
}
