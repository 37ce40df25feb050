//! Components and inputs by their digest.

use axum::extract::State;
use nebula_runtime::StoreError;
use nebula_runtime::id::Digest;

use super::describe::ListedProblem;
use super::endpoints;
use super::path::DigestPath;
use super::refusal::{AsProblem, Refusal};
use super::reply::{Component, Input};
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::problem::Problem;
use crate::status;

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::COMPONENT_OF, component).add(&endpoints::INPUT, input)
}

async fn component(
    State(runtime): State<BlockingRuntime>,
    DigestPath(digest): DigestPath,
) -> Result<Component, Refusal<ContentError>> {
    let read = runtime.run(move |runtime| match runtime.component(&digest) {
        Ok(content) => Ok(Component(content)),
        Err(error) if error.is_absence() => Err(ContentError::Absent { kind: "component", digest }),
        Err(error) => Err(ContentError::Store(error)),
    });
    read.await
}

async fn input(
    State(runtime): State<BlockingRuntime>,
    DigestPath(digest): DigestPath,
) -> Result<Input, Refusal<ContentError>> {
    let read = runtime.run(move |runtime| {
        runtime.input(&digest).map(Input).ok_or(ContentError::Absent { kind: "input", digest })
    });
    read.await
}

/// Why content can't be read.
enum ContentError {
    /// No content of this kind has the digest.
    Absent {
        kind: &'static str,
        digest: Digest,
    },
    Store(StoreError),
}

impl AsProblem for ContentError {
    const PROBLEMS: &'static [ListedProblem] =
        &[ListedProblem::new(404, "the server doesn't have content with this digest")];

    fn problem(&self) -> Problem {
        match self {
            Self::Absent { kind, digest } => status::unknown_digest(kind, digest),
            Self::Store(error) => status::store(error),
        }
    }
}
