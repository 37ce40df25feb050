//! The control plane: deploys, and everything that there is to know and to change about functions.
//!
//! ```text
//! handle -> body::check -> router -> auth::admit -> a resource's handler -> Json | Problem
//! ```
//!
//! `endpoints` is the table of all operations. The router, the OpenAPI document, the command line's URLs and the
//! authorization test are derived from it and from the handlers' types.
//!
//! To add an endpoint:
//!
//! 1. Add a line to the table in `endpoints`: a sentence about it, a name, method, path and scope.
//! 2. Write its handler in the file of its resource. Its arguments say what it reads: a name of the path (`path`), a
//!    query (`settings`), a body (`payload`). Its return type says what it answers (`reply`) and which errors of the
//!    runtime it passes on (`refusal`). A JSON body is a struct of `wire`, which derives its schema.
//! 3. Add it in the `routes` function of that file.
//!
//! Nothing else lists it: its parameters, bodies, statuses and scope are in the document from then on.
//!
//! Invariants:
//! * Only the blocking pool reads files and databases (`state::BlockingRuntime`).
//! * A request without the token is answered with 401, whatever its path, unless its endpoint is public.
//! * In debug builds an answer whose status the document doesn't list is a panic.

mod auth;
mod cache;
mod contents;
mod describe;
pub mod endpoints;
mod functions;
mod lend;
mod openapi;
mod path;
mod payload;
mod pipelines;
mod refusal;
mod reply;
mod routes;
mod service;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router, middleware};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use nebula_runtime::Runtime;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;
use tower_service::Service;

use self::auth::Guard;
use self::routes::Routes;
use self::state::{BlockingRuntime, ControlState};
pub(crate) use self::token::Token;
use crate::body;

/// The control plane's service.
#[derive(Clone)]
pub(crate) struct ControlPlane(Router);

/// Every endpoint with its handler.
fn routes() -> Routes<ControlState> {
    service::routes()
        .merge(functions::routes())
        .merge(pipelines::routes())
        .merge(contents::routes())
        .merge(cache::routes())
}

impl ControlPlane {
    pub(crate) fn new(runtime: Runtime, token: Token) -> Self {
        let Routes { router, operations } = routes();
        let operations = Arc::new(operations);
        let runtime = BlockingRuntime::new(runtime);
        let state = ControlState { runtime, operations: Arc::clone(&operations) };
        let guard = Arc::new(Guard { token, operations });
        let router = router
            .with_state(state)
            .layer(middleware::from_fn_with_state(guard, auth::admit))
            .layer(TraceLayer::new_for_http())
            // Outermost: the trace doesn't show the token.
            .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]));
        Self(router)
    }

    /// Answers one request.
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let (lent, mut returned) = lend::lend(body);
        let mut response = match body::check(&parts) {
            Err(problem) => {
                drop(lent);
                problem.into_response()
            }
            Ok(_) => {
                let request = Request::from_parts(parts, Body::new(lent));
                // A router is always ready, and never fails.
                let Ok(response) = self.0.clone().call(request).await;
                response
            }
        };
        // Whatever read the body has dropped it.
        if let Ok(mut body) = returned.try_recv() {
            body::discard(&headers, &mut body).await;
        }
        match response.status() {
            // axum names the methods of a path that exists: not to clients without the token.
            StatusCode::UNAUTHORIZED => drop(response.headers_mut().remove(header::ALLOW)),
            // RFC 9110 §8.6.
            StatusCode::NO_CONTENT => drop(response.headers_mut().remove(header::CONTENT_LENGTH)),
            _ => {}
        }
        response
    }
}
