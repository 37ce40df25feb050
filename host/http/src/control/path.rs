//! Names and digests from a request's path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, IdError};

use super::describe::{DescribeArgument, Description};
use super::refusal::UNKNOWN;
use super::state::ControlState;
use crate::problem::Problem;
use crate::status;
use crate::wire::schema::{DIGEST_PATTERN, NAME_PATTERN, REFERENCE_PATTERN, string};

/// A function's name, of a path with `{name}`.
pub(super) struct Named(pub(super) FunctionName);

/// A pipeline's name, of a path with `{name}`. Another function's name is refused.
pub(super) struct NamedPipeline(pub(super) FunctionName);

/// A function's name and maybe a version, of a path with `{name}`.
pub(super) struct Referenced(pub(super) FunctionRef);

/// A digest, of a path with `{digest}`.
pub(super) struct Digested(pub(super) Digest);

impl From<Named> for FunctionName {
    fn from(Named(name): Named) -> Self {
        name
    }
}

impl From<NamedPipeline> for FunctionName {
    fn from(NamedPipeline(name): NamedPipeline) -> Self {
        name
    }
}

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for Named {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
    }
}

impl FromRequestParts<ControlState> for NamedPipeline {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ControlState) -> Result<Self, Problem> {
        let name: FunctionName = parameter(parts, "bad-name").await?;
        let lookup = {
            let name = name.clone();
            state.runtime.run(move |runtime| runtime.versions(&name))
        };
        match lookup.await {
            Ok((current, _)) if current.pipeline.is_some() => Ok(Self(name)),
            Ok(_) => Err(status::no_pipeline(&name)),
            Err(refusal) => Err(refusal.into_problem()),
        }
    }
}

impl DescribeArgument for NamedPipeline {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(NAME_PATTERN));
        description.problem(UNKNOWN.0, UNKNOWN.1);
        description.problem(404, "the function isn't a pipeline");
    }
}

impl<S: Sync> FromRequestParts<S> for Referenced {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-name").await.map(Self)
    }
}

impl DescribeArgument for Referenced {
    fn describe(description: &mut Description) {
        description.path_parameter("name", string(REFERENCE_PATTERN));
    }
}

impl<S: Sync> FromRequestParts<S> for Digested {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parameter(parts, "bad-digest").await.map(Self)
    }
}

impl DescribeArgument for Digested {
    fn describe(description: &mut Description) {
        description.path_parameter("digest", string(DIGEST_PATTERN));
    }
}

/// The path's one parameter, parsed.
async fn parameter<T: FromStr<Err = IdError>>(parts: &mut Parts, kind: &str) -> Result<T, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await;
    let parameters = parameters.map_err(|error| status::bad_request(kind, error.body_text()))?;
    let (_, value) = parameters.iter().next().unwrap_or_default();
    value.parse().map_err(|error: IdError| status::bad_request(kind, error.to_string()))
}
