//! Bodies that handlers read, each with its own limit.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header;
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{COMPONENT_BYTES_MAX, Prefer};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::Required;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType};

use super::describe::{BodyContent, DescribeArgument, Description};
use crate::accept::prefer;
use crate::problem::Problem;
use crate::wire::schema::PipelineSchema;
use crate::wire::{ImportRequest, ProjectRequest, RollbackRequest, SignInRequest, TokenRequest};
use crate::{body, status};

/// A component to deploy.
pub(super) struct ComponentBody(pub(super) Bytes);

/// An input to call a function with.
pub(super) struct InputBody {
    pub(super) media_type: Option<String>,
    pub(super) body: Bytes,
    /// The form that the answer should have.
    pub(super) prefer: Prefer,
}

impl InputBody {
    /// The longest input of a call that is explained, bytes.
    const BYTES_MAX: u64 = 8 * 1024 * 1024;
}

/// A JSON document.
pub(super) struct JsonBody<T>(pub(super) T);

/// A type of JSON documents that requests have.
pub(super) trait JsonRequest: DeserializeOwned {
    /// The longest document, bytes.
    const BYTES_MAX: u64;

    /// The schema of the document.
    type Schema: ToSchema;

    /// The document that an empty body stands for, if it may be empty.
    fn when_empty() -> Option<Self> {
        None
    }
}

impl JsonRequest for Pipeline {
    const BYTES_MAX: u64 = 256 * 1024;
    type Schema = PipelineSchema;
}

impl JsonRequest for ProjectRequest {
    const BYTES_MAX: u64 = 4 * 1024 * 1024;
    type Schema = Self;
}

impl JsonRequest for ImportRequest {
    const BYTES_MAX: u64 = 64 * 1024 * 1024;
    type Schema = Self;
}

impl JsonRequest for RollbackRequest {
    const BYTES_MAX: u64 = 64 * 1024;
    type Schema = Self;

    fn when_empty() -> Option<Self> {
        Some(Self::default())
    }
}

impl JsonRequest for TokenRequest {
    const BYTES_MAX: u64 = 64 * 1024;
    type Schema = Self;
}

impl JsonRequest for SignInRequest {
    // Anybody may send one.
    const BYTES_MAX: u64 = 4 * 1024;
    type Schema = Self;
}

impl<S: Sync> FromRequest<S> for ComponentBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body::read(&mut request.into_body(), COMPONENT_BYTES_MAX as u64).await.map(Self)
    }
}

impl DescribeArgument for ComponentBody {
    fn describe(description: &mut Description) {
        description.body([BodyContent::bytes("application/wasm")], Required::True);
    }
}

impl<S: Sync> FromRequest<S> for InputBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, mut body) = request.into_parts();
        let media_type = body::text(&parts.headers, header::CONTENT_TYPE).map(str::to_owned);
        let prefer = prefer(body::text(&parts.headers, header::ACCEPT));
        let body = body::read(&mut body, Self::BYTES_MAX).await?;
        Ok(Self { media_type, body, prefer })
    }
}

impl DescribeArgument for InputBody {
    fn describe(description: &mut Description) {
        let json = BodyContent::json(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build());
        let bytes = BodyContent::bytes("application/octet-stream");
        description.body([json, BodyContent::text(), bytes], Required::False);
    }
}

impl<S: Sync, T: JsonRequest> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = body::read(&mut request.into_body(), T::BYTES_MAX).await?;
        if let (true, Some(document)) = (body.is_empty(), T::when_empty()) {
            return Ok(Self(document));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            status::bad_request("invalid-json", error.to_string())
                .with("line", error.line())
                .with("column", error.column())
        })
    }
}

impl<T: JsonRequest> DescribeArgument for JsonBody<T> {
    fn describe(description: &mut Description) {
        let required = if T::when_empty().is_some() { Required::False } else { Required::True };
        let schema = description.schema_of::<T::Schema>();
        description.body([BodyContent::json(schema)], required);
    }
}
