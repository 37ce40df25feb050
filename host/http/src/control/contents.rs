//! Components and inputs by their digest.

use axum::extract::State;
use nebula_runtime::StoreError;
use nebula_runtime::id::Digest;

use super::endpoints;
use super::path::Digested;
use super::refusal::{Refusal, Refuse};
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
    Digested(digest): Digested,
) -> Result<Component, Refusal<ContentError>> {
    let read = runtime.run(move |runtime| match runtime.component(&digest) {
        Ok(content) => Ok(Component(content)),
        Err(error) if error.is_absence() => Err(ContentError::Absent { what: "component", digest }),
        Err(error) => Err(ContentError::Store(error)),
    });
    read.await
}

async fn input(
    State(runtime): State<BlockingRuntime>,
    Digested(digest): Digested,
) -> Result<Input, Refusal<ContentError>> {
    let read = runtime.run(move |runtime| {
        runtime.input(&digest).map(Input).ok_or(ContentError::Absent { what: "input", digest })
    });
    read.await
}

/// Why content can't be read.
enum ContentError {
    Absent { what: &'static str, digest: Digest },
    Store(StoreError),
}

impl Refuse for ContentError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[(404, "no content with this digest is kept")];

    fn problem(&self) -> Problem {
        match self {
            Self::Absent { what, digest } => status::nothing_kept(what, digest),
            Self::Store(error) => status::store(error),
        }
    }
}
