//! The errors of a deploy.

use nebula_engine::{CompileError, Inadmissible, Refused};
use nebula_linker::{InvalidImport, InvalidImporter, LinkError};
use nebula_model::configuration::InvalidConfiguration;
use nebula_model::id::FunctionName;
use nebula_model::limits::LimitTooHigh;
use nebula_model::route::ROUTES_MAX;
use nebula_pipeline::InvalidPipeline;
use nebula_store::{MayConflict, ResolveError, StoreError};

use super::precondition::UnmetPrecondition;
use crate::error::LoadError;

/// Why a component wasn't deployed. Nothing has changed then, except perhaps if the store was late or
/// failed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The bytes aren't an admissible component.
    #[error(transparent)]
    Admission(#[from] Inadmissible),
    /// The component imports functions that can't be linked into it.
    #[error(transparent)]
    Import(#[from] InvalidImport),
    /// The component doesn't export a supported function.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The component doesn't compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The settings ask for more than the host allows.
    #[error(transparent)]
    Limit(#[from] LimitTooHigh),
    /// The configuration is too large, or a pipeline's.
    #[error(transparent)]
    Config(#[from] InvalidConfiguration),
    /// The types of the pipeline don't fit.
    #[error(transparent)]
    Pipeline(#[from] InvalidPipeline),
    /// Pipelines that follow the name would be broken.
    #[error("it would break {}", broken(.0))]
    Breaks(Vec<Broken>),
    /// The function can't have its routes.
    #[error(transparent)]
    Routes(#[from] InvalidRoutes),
    /// The name has another state than the client's condition says.
    #[error(transparent)]
    Unmet(#[from] UnmetPrecondition),
    /// The types of a pipeline's function couldn't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect in Nebula.
    #[error("internal error: {0}")]
    Internal(String),
}

impl MayConflict for DeployError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl From<ResolveError> for DeployError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => Self::Store(error),
            error @ (ResolveError::UnknownFunction { .. }
            | ResolveError::UnknownVersion { .. }
            | ResolveError::NoEarlierVersion { .. }) => Self::Internal(error.to_string()),
        }
    }
}

impl From<LinkError> for DeployError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Import(error) => Self::Import(error),
            LinkError::Importer(error) => Self::Refused(match error {
                InvalidImporter::NoHandle { exports } => Refused::NoHandle { exports },
                InvalidImporter::NotAFunction => Refused::NotAFunction,
                InvalidImporter::Type(error) => Refused::Type(error),
                InvalidImporter::Imports { imports } => Refused::Imports { imports },
            }),
        }
    }
}

/// Why a function can't have its routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoutes {
    /// Another function has the same route.
    #[error("the route `{route}` of `{name}` is already that of `{by}`")]
    Taken {
        /// The function.
        name: FunctionName,
        /// The host, if it has one, and the path.
        route: String,
        /// The function that has it.
        by: FunctionName,
    },
    /// The function sees no path, and the route has many.
    #[error(
        "`{name}` can't have the route `{route}`: only functions of the http form see the path below a route; leave out \
         the `/...`"
    )]
    Below {
        /// The function.
        name: FunctionName,
        /// The path.
        route: String,
    },
    /// The function has hosts and no paths.
    #[error("`{name}` has a `host` and no `route`: give the paths on that host")]
    HostAlone {
        /// The function.
        name: FunctionName,
    },
    /// The function has too many paths or hosts.
    #[error("`{name}` has too many routes: a function has up to {ROUTES_MAX} paths and {ROUTES_MAX} hosts")]
    TooMany {
        /// The function.
        name: FunctionName,
    },
}

/// A pipeline that a change would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The pipeline.
    pub pipeline: FunctionName,
    /// The reason why it wouldn't fit any more.
    pub reason: InvalidPipeline,
}

/// Returns the broken pipelines as text, each with its reason.
pub(super) fn broken(broken: &[Broken]) -> String {
    let each =
        broken.iter().map(|Broken { pipeline, reason }| format!("the pipeline `{pipeline}` ({reason})"));
    each.collect::<Vec<_>>().join(", ")
}
