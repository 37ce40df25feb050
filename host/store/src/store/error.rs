//! Errors of the store.

use nebula_model::id::{FunctionName, Version};

use crate::blobs::BlobError;
use crate::catalog::{AppendError, CatalogError};

/// Why the store couldn't read or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A component or compiled code can't be read or written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The names can't be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The names can't be changed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The numbers of the name's versions are used up.
    #[error("no version can follow `{name}` {latest}: remove it, or deploy under another name")]
    LastVersion {
        /// The function or pipeline.
        name: FunctionName,
        /// Its version with the last number.
        latest: Version,
    },
}

impl StoreError {
    /// Returns whether the component isn't there.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Blob(BlobError::Missing { .. }))
    }

    /// Returns the kind of failure, which decides what its caller can do.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Blob(error) => match error {
                BlobError::OutOfSpace { .. } => StoreErrorKind::OutOfSpace,
                BlobError::DeadlineExceeded => StoreErrorKind::Late,
                BlobError::Missing { .. } | BlobError::Damaged { .. } | BlobError::Failed { .. } => {
                    StoreErrorKind::Defect
                }
            },
            Self::Catalog(error) | Self::Append(AppendError::Catalog(error)) => match error {
                CatalogError::OutOfSpace(_) => StoreErrorKind::OutOfSpace,
                CatalogError::DeadlineExceeded => StoreErrorKind::Late,
                CatalogError::Failed(_) | CatalogError::Log { .. } | CatalogError::Version { .. } => {
                    StoreErrorKind::Defect
                }
            },
            Self::Append(AppendError::Conflict { .. }) => StoreErrorKind::Conflict,
            Self::Append(AppendError::DeadlineExceeded) => StoreErrorKind::Late,
            Self::Append(AppendError::TooLarge { .. }) => StoreErrorKind::Defect,
            Self::LastVersion { .. } => StoreErrorKind::LastVersion,
        }
    }
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Other changes of names came first, each time that this one was tried. It can be tried again.
    Conflict,
    /// A deadline passed. The operation can be tried again.
    Late,
    /// The disk, or the user's share of it, is full. The operation can be tried again when it
    /// isn't.
    OutOfSpace,
    /// A name has no number for another version.
    LastVersion,
    /// The stored data or the medium is damaged, or Nebula has a defect.
    Defect,
}

/// Why a reference doesn't resolve.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The function doesn't exist.
    #[error("there is no function `{name}`{}", question(similar.as_ref()))]
    UnknownFunction {
        /// The name in the reference.
        name: FunctionName,
        /// A deployed function whose name is similar.
        similar: Option<FunctionName>,
    },
    /// The function exists, and this version of it doesn't.
    #[error("`{name}` has no version `{asked}`; its current one is {current}")]
    UnknownVersion {
        /// The function.
        name: FunctionName,
        /// The version in the reference.
        asked: String,
        /// The function's current version.
        current: Version,
    },
    /// The current version is the first.
    #[error("`{name}` has no version before {current}")]
    NoEarlierVersion {
        /// The function.
        name: FunctionName,
        /// Its current version.
        current: Version,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn question(similar: Option<&FunctionName>) -> String {
    similar.map(|similar| format!(": did you mean `{similar}`?")).unwrap_or_default()
}

impl From<CatalogError> for ResolveError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}
