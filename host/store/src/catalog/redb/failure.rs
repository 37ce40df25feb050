//! Failures of the catalog, and the errors that they become outside of it.

use super::super::{AppendError, CatalogError, LogDamage, Sequence};

/// An error of the catalog, where redb's reason still matters.
#[derive(Debug)]
pub(super) enum Failure {
    Redb(Box<redb::Error>),
    Catalog(CatalogError),
    Append(AppendError),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

impl From<Failure> for CatalogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Redb(error) if is_out_of_space(&error) => Self::OutOfSpace(error),
            Failure::Redb(error) => Self::Failed(error),
            Failure::Catalog(error) | Failure::Append(AppendError::Catalog(error)) => error,
            Failure::Append(error) => Self::Failed(error.into()),
        }
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Append(error) => error,
            failure @ (Failure::Redb(_) | Failure::Catalog(_)) => Self::Catalog(failure.into()),
        }
    }
}

fn is_out_of_space(error: &redb::Error) -> bool {
    if let redb::Error::Io(error) = error { crate::is_out_of_space(error) } else { false }
}

/// Returns the failure that reports a damaged record.
pub(super) fn damaged(sequence: Sequence, damage: LogDamage) -> Failure {
    Failure::Catalog(CatalogError::Log { sequence, source: damage })
}
