//! Changes of a name that happen only if it still stands for what the client has seen.

use nebula_model::id::{Digest, Version};
use nebula_model::record::VersionRecord;

/// The state that a name must have for a change of it. It is checked while no other change happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Any state.
    #[default]
    None,
    /// The name stands for this version.
    Current {
        /// The version's number.
        version: Version,
        /// The version's digest: numbers begin again once a function is removed.
        digest: Digest,
    },
    /// No function has the name.
    Unused,
}

/// The name has another state than the precondition says. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name stands for another version than the condition says; nothing has changed")]
pub struct UnmetPrecondition;

impl Precondition {
    /// Returns the state of a name that stands for this version.
    pub fn current(record: &VersionRecord) -> Self {
        Self::Current { version: record.version, digest: record.digest }
    }

    /// Checks the version that the name stands for.
    pub(super) fn check(self, current: Option<&VersionRecord>) -> Result<(), UnmetPrecondition> {
        let is_met = match self {
            Self::None => true,
            Self::Unused => current.is_none(),
            Self::Current { .. } => current.map(Self::current) == Some(self),
        };
        if is_met { Ok(()) } else { Err(UnmetPrecondition) }
    }
}
