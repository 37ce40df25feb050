//! Two computations of one call that came to different answers.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// Two computations of one call that came to different answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Whose call.
    pub component: Digest,
    /// As which it was called: `name@v3`.
    pub function: String,
    /// Of the input's document, which is kept for a while.
    pub input: Digest,
    /// What was remembered.
    pub remembered: String,
    /// What was computed later.
    pub computed: String,
    /// What computed each.
    pub engines: [String; 2],
    /// When that was seen.
    pub at_unix_s: u64,
}

impl Disagreement {
    /// A disagreement whose record can't be read by this release.
    pub fn unreadable(component: Digest) -> Self {
        let unknown = || "something that this release can't read".to_owned();
        Self {
            component,
            function: unknown(),
            input: Digest::of(&[]),
            remembered: unknown(),
            computed: unknown(),
            engines: [unknown(), unknown()],
            at_unix_s: 0,
        }
    }
}
