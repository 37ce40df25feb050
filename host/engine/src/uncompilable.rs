//! The fault of a component that can't be compiled.

use serde::{Deserialize, Serialize};

use super::initialise::InitialiseError;

/// Faults of the component that prevent compiling. A compiler process reports them to its parent.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncompilable {
    /// The compiler refused the component.
    #[error("the compiler refused the component: {0}")]
    Refused(String),
    /// The component's initialisation, which runs during compiling, failed.
    #[error(transparent)]
    Initialise(#[from] InitialiseError),
}
