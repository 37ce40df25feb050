//! Errors of the store.

use std::path::PathBuf;

use nebula_model::id::{Digest, FunctionName, Version};

use crate::catalog::{AppendError, CatalogError};

/// Why the store couldn't read or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A component's bytes don't match its digest.
    #[error("the component {digest} is damaged on disk: deploy it again")]
    Damaged {
        /// The digest.
        digest: Digest,
    },
    /// The catalog can't be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The change wasn't acknowledged.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl StoreError {
    /// Returns whether the content that was asked for isn't there.
    pub fn is_absence(&self) -> bool {
        if let Self::File { source, .. } = self {
            source.kind() == std::io::ErrorKind::NotFound
        } else {
            false
        }
    }

    /// Returns whether the disk, or the user's share of it, is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::File { source, .. } => crate::is_out_of_space(source),
            Self::Catalog(error) | Self::Append(AppendError::Catalog(error)) => {
                matches!(error, CatalogError::OutOfSpace(_))
            }
            Self::Damaged { .. } | Self::Append(_) => false,
        }
    }
}

/// Why a reference doesn't resolve.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is no such function.
    #[error("there is no function `{0}`")]
    UnknownFunction(FunctionName),
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

impl From<CatalogError> for ResolveError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}
