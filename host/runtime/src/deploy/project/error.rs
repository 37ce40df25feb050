//! The errors of a project's deploy and of the uploads for it.

use nebula_model::id::{Digest, FunctionName};
use nebula_store::{MayConflict, StoreError};

use super::super::error::DeployError;
use super::super::pipelines::PlanError;
use super::{BYTES_MAX, NAMES_MAX};
use crate::error::LoadError;

/// Why a project wasn't deployed. Nothing has changed then, except perhaps if the store was late or
/// failed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Components aren't on this host.
    #[error("the host doesn't have {} of the components: upload them first", .0.len())]
    Missing(Vec<Digest>),
    /// A name is listed twice.
    #[error("`{0}` is listed twice")]
    Twice(FunctionName),
    /// The project has too many functions.
    #[error("the project has {found} functions and pipelines; the limit is {NAMES_MAX}")]
    TooMany {
        /// Their number.
        found: usize,
    },
    /// The components are too large together.
    #[error("the components of the project are over {BYTES_MAX} bytes together: deploy it in parts")]
    TooLarge,
    /// A function or pipeline was refused.
    #[error("`{name}`: {source}")]
    Refused {
        /// The function or pipeline.
        name: FunctionName,
        /// The reason.
        source: Box<DeployError>,
    },
    /// The change as a whole was refused.
    #[error(transparent)]
    Deploy(#[from] DeployError),
}

impl ProjectError {
    pub(super) fn of(name: &FunctionName) -> impl FnOnce(DeployError) -> Self {
        |source| Self::Refused { name: name.clone(), source: Box::new(source) }
    }
}

impl MayConflict for ProjectError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.is_conflict(),
            Self::Deploy(source) => source.is_conflict(),
            Self::Missing(_) | Self::Twice(_) | Self::TooMany { .. } | Self::TooLarge => false,
        }
    }
}

impl From<PlanError> for ProjectError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Pipeline { name, source } => Self::Refused { name, source },
            PlanError::Change(source) => Self::Deploy(source),
        }
    }
}

impl From<LoadError> for ProjectError {
    fn from(error: LoadError) -> Self {
        Self::Deploy(error.into())
    }
}

impl From<StoreError> for ProjectError {
    fn from(error: StoreError) -> Self {
        Self::Deploy(error.into())
    }
}

/// Why a component wasn't stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The content has another digest.
    #[error("the content has the digest {found}")]
    Digest {
        /// The content's digest.
        found: Digest,
    },
    /// The component was refused.
    #[error(transparent)]
    Deploy(#[from] DeployError),
}
