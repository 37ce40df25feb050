//! Why an export isn't imported.

use std::fmt;

use nebula_model::id::{Digest, FunctionName, Version};
use nebula_store::{BlobError, MayConflict, StoreError};

use crate::deploy::error::DeployError;
use crate::error::LoadError;

/// Why nothing was imported. Nothing has changed then, except perhaps if the store was late or
/// failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The host has other functions under these names or routes.
    #[error("this host has other functions: {}", list(.0))]
    Conflicts(Vec<ImportConflict>),
    /// Components aren't on this host.
    #[error("the host doesn't have {} of the components: upload them first", .0.len())]
    Missing(Vec<Digest>),
    /// The export contradicts itself.
    #[error("`{name}` {version}: {source}")]
    Inconsistent {
        /// The function or pipeline.
        name: FunctionName,
        /// The version.
        version: Version,
        /// The contradiction.
        source: Inconsistency,
    },
    /// A version was refused.
    #[error("`{name}` {version}: {source}")]
    Refused {
        /// The function or pipeline.
        name: FunctionName,
        /// The version.
        version: Version,
        /// The reason.
        source: Box<DeployError>,
    },
    /// The change as a whole was refused.
    #[error(transparent)]
    Deploy(DeployError),
}

/// A contradiction in an export.
#[derive(Debug, thiserror::Error)]
pub enum Inconsistency {
    /// The current version is missing.
    #[error("it is the current version and isn't in the export")]
    NoCurrent,
    /// The number is the last that a version can have.
    #[error("no version can follow this number")]
    LastNumber,
    /// The pipeline's content has another digest.
    #[error("the pipeline's digest is {found}, not the one in the export")]
    OtherDigest {
        /// The content's digest.
        found: Digest,
    },
    /// The content has another length.
    #[error("it has {found} bytes, not as many as the export says")]
    OtherSize {
        /// The length, bytes.
        found: u64,
    },
    /// The pipeline calls a function whose version isn't given, or gives one that it doesn't call.
    #[error("the versions that it calls are not those of the functions in its description")]
    OtherCalls,
    /// The pipeline calls a version that doesn't exist.
    #[error("it calls `{called}`, which is neither in the export nor on this host")]
    Unknown {
        /// The function with the version.
        called: String,
    },
    /// The version that the pipeline calls has another component or configuration.
    #[error("it calls `{called}`, which has another component or configuration than the pipeline says")]
    OtherCalled {
        /// The function with the version.
        called: String,
    },
    /// The component has other functions linked in.
    #[error("the functions in `linked` are not those that are linked into its component")]
    OtherLinked,
    /// The pipeline says that functions are linked into it.
    #[error("it has `linked` and is a pipeline: functions are linked into components only")]
    LinkedPipeline,
    /// The pipeline calls itself.
    #[error("it calls itself")]
    Cycle,
}

/// A function of an export that isn't the one on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportConflict {
    /// The function or pipeline.
    pub name: FunctionName,
    /// The difference.
    pub difference: Difference,
}

/// How a function of an export differs from the one on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The host has a version of this number that differs in these parts.
    Version {
        /// The number.
        version: Version,
        /// The parts, as `nebula inspect --json` calls them.
        parts: Vec<&'static str>,
    },
    /// The host has the function without this version.
    MissingVersion(Version),
    /// The host has another current version.
    Current {
        /// The current version on the host.
        here: Version,
        /// The current version in the export.
        exported: Version,
    },
    /// Another function has the route.
    Route {
        /// The host, if it has one, and the path.
        route: String,
        /// The function that has it.
        by: FunctionName,
    },
}

impl fmt::Display for ImportConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, difference } = self;
        match difference {
            Difference::Version { version, parts } => {
                write!(formatter, "`{name}` {version} differs in {}", parts.join(", "))
            }
            Difference::MissingVersion(version) => write!(formatter, "`{name}` has no {version}"),
            Difference::Current { here, exported } => {
                write!(formatter, "the current version of `{name}` is {here}, not {exported}")
            }
            Difference::Route { route, by } => {
                write!(formatter, "the route `{route}` of `{name}` is that of `{by}`")
            }
        }
    }
}

fn list(conflicts: &[ImportConflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl MayConflict for ImportError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.is_conflict(),
            Self::Deploy(source) => source.is_conflict(),
            Self::Conflicts(_) | Self::Missing(_) | Self::Inconsistent { .. } => false,
        }
    }
}

impl From<DeployError> for ImportError {
    fn from(error: DeployError) -> Self {
        if let DeployError::Store(StoreError::Blob(BlobError::Missing { digest })) = error {
            return Self::Missing(vec![digest]);
        }
        Self::Deploy(error)
    }
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        DeployError::from(error).into()
    }
}

impl From<LoadError> for ImportError {
    fn from(error: LoadError) -> Self {
        DeployError::from(error).into()
    }
}
