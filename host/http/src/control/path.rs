//! Names and digests from a request's path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, IdError, ProjectName};
use nebula_runtime::token::TokenName;

use super::describe::{DescribeArgument, Description, ListedProblem};
use super::refusal::UNKNOWN;
use super::state::ControlState;
use crate::problem::Problem;
use crate::status;
use crate::wire::schema::{DIGEST_PATTERN, NAME_PATTERN, REFERENCE_PATTERN, string};

/// A function's name, from a path with `{name}`.
pub(super) struct FunctionPath(pub(super) FunctionName);

/// A pipeline's name, from a path with `{name}`. Another function's name is refused.
pub(super) struct PipelinePath(pub(super) FunctionName);

/// A function's name and optionally a version, from a path with `{name}`.
pub(super) struct ReferencePath(pub(super) FunctionRef);

/// A project's name, from a path with `{name}`.
pub(super) struct ProjectPath(pub(super) ProjectName);

/// A token's name, from a path with `{name}`.
pub(super) struct TokenPath(pub(super) TokenName);

/// A digest, from a path with `{digest}`.
pub(super) struct DigestPath(pub(super) Digest);

/// The name is that of another function.
pub(super) const NOT_A_PIPELINE: ListedProblem = ListedProblem::new(404, "the function isn't a pipeline");

impl From<FunctionPath> for FunctionName {
    fn from(FunctionPath(name): FunctionPath) -> Self {
        name
    }
}

impl From<PipelinePath> for FunctionName {
    fn from(PipelinePath(name): PipelinePath) -> Self {
        name
    }
}

impl<S: Sync> FromRequestParts<S> for FunctionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for FunctionPath {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
    }
}

impl FromRequestParts<ControlState> for PipelinePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ControlState) -> Result<Self, Problem> {
        let name: FunctionName = parameter(parts, "bad-name").await?;
        let lookup = {
            let name = name.clone();
            state.runtime.run(move |runtime| runtime.versions(&name))
        };
        match lookup.await {
            Ok(versions) if versions.current.pipeline.is_some() => Ok(Self(name)),
            Ok(_) => Err(status::no_pipeline(&name)),
            Err(refusal) => Err(refusal.into_problem()),
        }
    }
}

impl DescribeArgument for PipelinePath {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
        description.problem(&UNKNOWN);
        description.problem(&NOT_A_PIPELINE);
    }
}

impl<S: Sync> FromRequestParts<S> for ReferencePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for ReferencePath {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(REFERENCE_PATTERN));
    }
}

impl<S: Sync> FromRequestParts<S> for ProjectPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for ProjectPath {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
    }
}

impl<S: Sync> FromRequestParts<S> for TokenPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for TokenPath {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
    }
}

impl<S: Sync> FromRequestParts<S> for DigestPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-digest").await.map(Self)
    }
}

impl DescribeArgument for DigestPath {
    fn describe(description: &mut Description) {
        description.path_parameter("digest", string(DIGEST_PATTERN));
    }
}

/// Parses the path's one parameter. `kind` is that of the problem if it is malformed.
async fn parameter<T: FromStr<Err = IdError>>(parts: &mut Parts, kind: &str) -> Result<T, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await;
    let parameters = parameters.map_err(|error| status::bad_request(kind, error.body_text()))?;
    let (_, value) = parameters.iter().next().unwrap_or_default();
    value.parse().map_err(|error: IdError| status::bad_request(kind, error.to_string()))
}
