//! The data plane's own document: the deployed functions, and no more. It needs no token.
//!
//! Invariants:
//! * The document is made once for each change of a function, whatever the number of requests and
//!   serving threads.
//! * Only the blocking pool reads the store and serializes the document.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use nebula_runtime::{Runtime, StoreError};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::paths::{FunctionPaths, function_paths};
use crate::etag::EntityTag;
use crate::problem::{Problem, Reply};
use crate::status;

/// The document, which all serving threads share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallsDocument(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    /// The URL of the plane, if the operator has given it.
    public_url: Option<String>,
    made: Mutex<Option<Made>>,
}

/// A document as it is sent.
#[derive(Clone)]
struct Made {
    /// The state of the functions that the document describes.
    generation: u64,
    body: Bytes,
    etag: EntityTag,
}

impl CallsDocument {
    /// The document's path on the data plane.
    pub(crate) const PATH: &'static str = "/openapi.json";

    pub(crate) fn new(runtime: Runtime, public_url: Option<String>) -> Self {
        Self(Arc::new(Inner { runtime, public_url, made: Mutex::default() }))
    }

    /// Answers a request for the document.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(crate) async fn answer(&self, parts: &Parts) -> Result<Reply, Problem> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(status::method_not_allowed("GET, HEAD"));
        }
        let Made { body, etag, .. } = self.current().await?;
        let mut known = parts.headers.get_all(header::IF_NONE_MATCH).iter();
        let mut reply = match known.any(|line| etag.is_named_in(line)) {
            true => {
                let mut reply = Response::new(Full::default());
                *reply.status_mut() = StatusCode::NOT_MODIFIED;
                reply
            }
            false => {
                let mut reply = Response::new(Full::new(body));
                let json = HeaderValue::from_static("application/json");
                reply.headers_mut().insert(header::CONTENT_TYPE, json);
                reply
            }
        };
        reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        reply.headers_mut().insert(header::ETAG, etag.into());
        Ok(reply)
    }

    /// Returns the document of the functions as they are. Requests wait for the one that makes it.
    async fn current(&self) -> Result<Made, Problem> {
        let mut made = self.0.made.lock().await;
        // Read before the functions: if one changes meanwhile, the next request makes another.
        let generation = self.0.runtime.functions_generation();
        if let Some(made) = made.as_ref().filter(|made| made.generation == generation) {
            return Ok(made.clone());
        }
        let inner = Arc::clone(&self.0);
        let body = spawn_blocking(move || inner.make()).await.map_err(|error| status::internal(&error))?;
        let body = Bytes::from(body?);
        let new = Made { generation, etag: EntityTag::of(&body), body };
        *made = Some(new.clone());
        Ok(new)
    }
}

impl Inner {
    fn make(&self) -> Result<Vec<u8>, Problem> {
        let functions = self.runtime.list().map_err(|error: StoreError| status::store(&error))?;
        let document = function_paths(&functions).map(|paths| document(paths, self.public_url.as_deref()));
        document.and_then(|document| serde_json::to_vec(&document)).map_err(|error| status::internal(&error))
    }
}

fn document(FunctionPaths { paths, schemas }: FunctionPaths, public_url: Option<&str>) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nebula functions", "version": env!("CARGO_PKG_VERSION"),
            "description": "Pure functions over HTTP.",
        },
        // Relative to the document, which any name of this server leads to.
        "servers": [{"url": public_url.unwrap_or("/")}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}
