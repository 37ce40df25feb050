//! Bodies that handlers answer with.

use std::marker::PhantomData;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::describe::{BodyContent, DescribeReply, Description};
use crate::etag::EntityTag;
use crate::problem::Problem;
use crate::spans::ProblemKind;
use crate::status;
use crate::wire::schema::PipelineSchema;

/// A JSON document of type `T`, already serialized: long ones are serialized on the blocking pool.
pub(super) struct Json<T> {
    body: serde_json::Result<Vec<u8>>,
    document: PhantomData<fn() -> T>,
}

impl<T: Serialize> Json<T> {
    pub(super) fn new(document: &T) -> Self {
        Self { body: serde_json::to_vec(document), document: PhantomData }
    }
}

impl<T> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match self.body {
            Ok(body) => content("application/json", body),
            Err(error) => status::internal(&error).into_response(),
        }
    }
}

impl<T: ToSchema> DescribeReply for Json<T> {
    fn describe(description: &mut Description) {
        let schema = description.schema_of::<T>();
        description.reply(StatusCode::OK, "done", [BodyContent::json(schema)]);
    }
}

/// A JSON document about something new, with a secret: no cache may store it.
pub(super) struct Created<T>(pub(super) Json<T>);

impl<T> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        if response.status().is_success() {
            *response.status_mut() = StatusCode::CREATED;
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<T: ToSchema> DescribeReply for Created<T> {
    fn describe(description: &mut Description) {
        let schema = description.schema_of::<T>();
        description.reply(StatusCode::CREATED, "created", [BodyContent::json(schema)]);
    }
}

/// A JSON document with the entity tag of the function that it is about.
pub(super) struct Tagged<T> {
    pub(super) tag: EntityTag,
    pub(super) document: Json<T>,
}

impl<T> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.document.into_response();
        response.headers_mut().insert(header::ETAG, self.tag.into());
        response
    }
}

impl<T: ToSchema> DescribeReply for Tagged<T> {
    fn describe(description: &mut Description) {
        Json::<T>::describe(description);
    }
}

/// An OpenAPI document, already serialized.
pub(super) struct OpenApi(Json<Value>);

impl OpenApi {
    pub(super) fn new(document: serde_json::Result<Value>) -> Self {
        let body = document.and_then(|document| serde_json::to_vec(&document));
        Self(Json { body, document: PhantomData })
    }
}

impl IntoResponse for OpenApi {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl DescribeReply for OpenApi {
    fn describe(description: &mut Description) {
        let schema = ObjectBuilder::new().schema_type(Type::Object).description(Some("OpenAPI 3.1")).build();
        description.reply(StatusCode::OK, "done", [BodyContent::json(schema)]);
    }
}

/// A component or a pipeline's description, which its first bytes tell apart.
pub(super) struct Component(pub(super) Vec<u8>);

impl IntoResponse for Component {
    fn into_response(self) -> Response {
        let is_wasm = self.0.starts_with(b"\0asm");
        content(if is_wasm { "application/wasm" } else { "application/json" }, self.0)
    }
}

impl DescribeReply for Component {
    fn describe(description: &mut Description) {
        let schema = description.schema_of::<PipelineSchema>();
        let contents = [BodyContent::bytes("application/wasm"), BodyContent::json(schema)];
        description.reply(StatusCode::OK, "the component, or the description", contents);
    }
}

/// An input's document.
pub(super) struct Input(pub(super) Vec<u8>);

impl IntoResponse for Input {
    fn into_response(self) -> Response {
        content("application/octet-stream", self.0)
    }
}

impl DescribeReply for Input {
    fn describe(description: &mut Description) {
        let bytes = BodyContent::bytes("application/octet-stream");
        description.reply(StatusCode::OK, "the input", [bytes]);
    }
}

/// A drawing. A browser that opens it runs no script and fetches nothing for it.
pub(super) struct Svg(pub(super) Vec<u8>);

impl Svg {
    /// The policy for a drawing that a browser opens as a page of its own.
    const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
}

impl IntoResponse for Svg {
    fn into_response(self) -> Response {
        let mut response = content("image/svg+xml", self.0);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(Self::POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl DescribeReply for Svg {
    fn describe(description: &mut Description) {
        let drawing = BodyContent { media_type: "image/svg+xml", ..BodyContent::text() };
        description.reply(StatusCode::OK, "the drawing", [drawing]);
    }
}

/// An answer without content: the request was carried out.
pub(super) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl DescribeReply for NoContent {
    fn describe(description: &mut Description) {
        description.reply(StatusCode::NO_CONTENT, "done", []);
    }
}

/// The server runs.
pub(super) struct Healthy;

impl IntoResponse for Healthy {
    fn into_response(self) -> Response {
        content("text/plain", b"ok\n".to_vec())
    }
}

impl DescribeReply for Healthy {
    fn describe(description: &mut Description) {
        description.reply(StatusCode::OK, "the server runs", [BodyContent::text()]);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = ProblemKind(self.kind().to_owned());
        let mut response = self.into_reply().map(Body::new);
        response.extensions_mut().insert(kind);
        response
    }
}

fn content(media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
