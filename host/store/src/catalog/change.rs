//! Changes of names, and how each is written.
//!
//! A change is a kind and a content, whose length the record gives. So a reader steps over a kind
//! that it doesn't know. A kind's number and content never change; a different content gets a new
//! number.
//!
//! | kind | change | content |
//! |---|---|---|
//! | 1 | [`Change::Publish`] | the version record, JSON |
//! | 2 | [`Change::SetCurrent`] | the version's number, 4 bytes little-endian; the name |
//! | 3 | [`Change::Remove`] | the name |
//! | 4 | [`Change::Distrust`] | the disagreement, JSON |
//! | 5 | [`Change::Trust`] | the component's digest, 32 bytes |

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;

use crate::Cause;

const PUBLISH: u16 = 1;
const SET_CURRENT: u16 = 2;
const REMOVE: u16 = 3;
const DISTRUST: u16 = 4;
const TRUST: u16 = 5;

/// One change of names.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a version and makes it current. Replaces a version of the same number.
    Publish(Box<VersionRecord>),
    /// Makes a version current. Has no effect if the function doesn't have it.
    SetCurrent {
        /// The function.
        name: FunctionName,
        /// The version.
        version: Version,
    },
    /// Removes a function with all its versions. Has no effect if the function doesn't exist.
    Remove(FunctionName),
    /// Distrusts a component, so its results are no longer cached. Replaces an earlier
    /// disagreement.
    Distrust(Disagreement),
    /// Trusts a component again. Has no effect if it isn't distrusted.
    Trust(Digest),
    /// A change of a kind that this release doesn't know. Has no effect on the view.
    Unknown(RawChange),
}

/// A change as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawChange {
    /// The number of its kind.
    pub kind: u16,
    /// The content.
    pub content: Vec<u8>,
}

/// The content of a change isn't what its kind requires.
#[derive(Debug, thiserror::Error)]
#[error("the content of a change of kind {kind} is invalid")]
pub struct ContentError {
    /// The number of the kind.
    pub kind: u16,
    /// The reason.
    source: Cause,
}

impl RawChange {
    /// Returns the change that makes `version` current, without checking the name.
    pub(super) fn set_current(name: &str, version: u32) -> Self {
        Self { kind: SET_CURRENT, content: [&version.to_le_bytes(), name.as_bytes()].concat() }
    }

    /// Returns the change that publishes a version record, which is JSON.
    pub(super) fn publish(record: &[u8]) -> Self {
        Self { kind: PUBLISH, content: record.to_vec() }
    }

    /// Returns the change that distrusts a component because of a disagreement, which is JSON.
    pub(super) fn distrust(disagreement: &[u8]) -> Self {
        Self { kind: DISTRUST, content: disagreement.to_vec() }
    }

    /// Parses the change.
    ///
    /// # Errors
    /// [`ContentError`] if this release knows the kind and the content is invalid.
    pub fn parse(&self) -> Result<Change, ContentError> {
        let Self { kind, content } = self;
        let invalid = |source| ContentError { kind: *kind, source };
        Ok(match *kind {
            PUBLISH => Change::Publish(serde_json::from_slice(content).map_err(|e| invalid(e.into()))?),
            SET_CURRENT => {
                let (number, name) =
                    content.split_first_chunk().ok_or_else(|| invalid("it is too short".into()))?;
                let version = Version::new(u32::from_le_bytes(*number))
                    .ok_or_else(|| invalid("there is no version 0".into()))?;
                Change::SetCurrent { name: parse_name(name).map_err(invalid)?, version }
            }
            REMOVE => Change::Remove(parse_name(content).map_err(invalid)?),
            DISTRUST => Change::Distrust(serde_json::from_slice(content).map_err(|e| invalid(e.into()))?),
            TRUST => {
                let bytes = content.as_slice().try_into().map_err(|_| invalid("it isn't a digest".into()))?;
                Change::Trust(Digest::from_bytes(bytes))
            }
            _ => Change::Unknown(self.clone()),
        })
    }
}

impl From<&Change> for RawChange {
    fn from(change: &Change) -> Self {
        match change {
            Change::Publish(record) => Self { kind: PUBLISH, content: to_json(record) },
            Change::SetCurrent { name, version } => Self::set_current(name.as_str(), version.number()),
            Change::Remove(name) => Self { kind: REMOVE, content: name.as_str().as_bytes().to_vec() },
            Change::Distrust(disagreement) => Self { kind: DISTRUST, content: to_json(disagreement) },
            Change::Trust(component) => Self { kind: TRUST, content: component.bytes().to_vec() },
            Change::Unknown(raw) => raw.clone(),
        }
    }
}

fn parse_name(bytes: &[u8]) -> Result<FunctionName, Cause> {
    Ok(str::from_utf8(bytes)?.parse()?)
}

#[expect(clippy::expect_used, reason = "strings, numbers and JSON values always serialize")]
fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a record serializes")
}
