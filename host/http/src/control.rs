//! The control plane: deploys, and requests that show or change functions.
//!
//! ```text
//! handle -> body::check -> router -> auth::admit -> a resource's handler -> Json | Problem
//! ```
//!
//! `endpoints` is the table of all operations. The router, the OpenAPI document, the command line's
//! URLs and the authorization test are derived from it and from the handlers' types. `events` logs
//! what they change.
//!
//! To add an endpoint:
//!
//! 1. Add a line to the table in `endpoints`: a summary, a name, method, path and scope.
//! 2. Write its handler in the file of its resource. The arguments declare what it reads: a part of
//!    the path (`path`), a query (`settings`), a body (`payload`). The return type declares its
//!    answers (`reply`) and the runtime's errors that it passes on (`refusal`). A JSON body is a
//!    struct of `wire`, which derives its schema.
//! 3. Add the handler in the `routes` function of that file.
//!
//! The document derives its parameters, bodies, statuses and scope from these.
//!
//! Invariants:
//! * Only the blocking pool reads files and databases (`state::BlockingRuntime`).
//! * Unless its endpoint is public, a request without a valid token or session is answered with 401,
//!   even if the path doesn't exist. A token without the endpoint's scope is answered with 403, and so is
//!   a session's cookie that a browser sends for a page of another origin (`browser`).
//! * Debug builds panic if the document doesn't list the status of an answer.

mod access;
mod auth;
mod browser;
mod cache;
mod call;
mod calls_url;
mod console;
mod contents;
mod describe;
pub mod endpoints;
mod events;
mod experiment;
pub(crate) mod exports;
mod functions;
mod lend;
pub(crate) mod logs;
mod metrics;
mod openapi;
mod path;
mod payload;
mod pipelines;
mod precondition;
mod projects;
mod refusal;
mod reply;
mod routes;
mod service;
mod session;
mod sessions;
pub mod settings;
mod sign_in;
mod state;
mod stats;
#[cfg(test)]
mod tests;
pub(crate) mod token;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router, middleware};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use nebula_runtime::Runtime;
use nebula_telemetry::trace::Tracer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_service::Service;
use tracing::Instrument;

pub use self::access::{Access, AccessError};
use self::auth::Guard;
use self::browser::ConsoleHosts;
pub use self::browser::{BadConsoleHost, ConsoleHost};
use self::call::RequestId;
pub(crate) use self::calls_url::CallsUrl;
use self::routes::Routes;
use self::state::{BlockingAccess, BlockingExperiment, BlockingMetrics, BlockingRuntime, ControlState};
use crate::data::relay::CallRelay;
use crate::metrics::Metrics;
use crate::request_id::{self, X_REQUEST_ID};
use crate::spans::RequestSpan;
use crate::trace_context::{self, SampledTrace};
use crate::{body, status};

/// The control plane's service.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    router: Router,
    /// `None` if requests aren't traced.
    tracer: Option<Tracer>,
}

/// The parts of a control plane.
pub(crate) struct ControlPlaneConfig {
    pub(crate) runtime: Runtime,
    pub(crate) access: Access,
    /// The names by which browsers reach the plane, besides addresses and `localhost`.
    pub(crate) console_hosts: Vec<ConsoleHost>,
    pub(crate) calls_url: CallsUrl,
    pub(crate) metrics: Arc<Metrics>,
    /// Makes calls on the threads of the data plane.
    pub(crate) calls: CallRelay,
    /// `None` if requests aren't traced.
    pub(crate) tracer: Option<Tracer>,
    /// The directory of the experiment that the plane shows.
    pub(crate) experiment: Option<PathBuf>,
}

/// Every endpoint with its handler.
fn routes() -> Routes<ControlState> {
    service::routes()
        .merge(functions::routes())
        .merge(call::routes())
        .merge(logs::routes())
        .merge(pipelines::routes())
        .merge(projects::routes())
        .merge(exports::routes())
        .merge(contents::routes())
        .merge(cache::routes())
        .merge(tokens::routes())
        .merge(session::routes())
        .merge(console::routes())
        .merge(metrics::routes())
        .merge(experiment::routes())
        .merge(stats::routes())
}

impl ControlPlane {
    pub(crate) fn new(config: ControlPlaneConfig) -> Self {
        let ControlPlaneConfig {
            runtime,
            access,
            console_hosts,
            calls_url,
            metrics,
            calls,
            tracer,
            experiment,
        } = config;
        let Routes { router, operations } = routes();
        let operations = Arc::new(operations);
        let console_hosts = ConsoleHosts::new(console_hosts);
        let guard = Arc::new(Guard {
            access: access.clone(),
            operations: Arc::clone(&operations),
            console_hosts: console_hosts.clone(),
        });
        let state = ControlState {
            runtime: BlockingRuntime::new(runtime),
            access: BlockingAccess::new(access),
            operations,
            calls_url,
            console_hosts,
            calls,
            metrics: BlockingMetrics::new(metrics),
            experiment: BlockingExperiment::new(experiment.as_deref()),
        };
        let router = router
            .with_state(state)
            .layer(middleware::from_fn_with_state(guard, auth::admit))
            // Outermost: nothing that prints headers shows the token or the session.
            .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]));
        Self { router, tracer }
    }

    /// Creates a plane that has the metrics alone, and needs no token.
    pub(crate) fn of_metrics(metrics: Arc<Metrics>) -> Self {
        let Routes { router, operations: _ } = metrics::routes();
        let unknown = |uri: Uri| async move { status::no_such_path(uri.path()) };
        let router = router
            .fallback(unknown)
            .method_not_allowed_fallback(|| async { status::method_not_allowed("GET, HEAD") })
            .with_state(BlockingMetrics::new(metrics));
        Self { router, tracer: None }
    }

    /// Answers one request of a client at this address.
    pub(crate) async fn handle<B>(&self, request: Request<B>, client: Option<SocketAddr>) -> Response
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static,
    {
        let (parts, body) = request.into_parts();
        let span = self.tracer.as_ref().and_then(|tracer| RequestSpan::begin_operation(tracer, &parts));
        let headers = parts.headers.clone();
        let request_id = request_id::of(&headers);
        let sampled = span.as_ref().and_then(|span| span.trace_id());
        let trace_id = sampled.or_else(|| trace_context::of(&headers).map(|trace| trace.trace_id));
        let events_span = events::span(client, &request_id, trace_id);
        let (lent, mut returned) = lend::lend(body);
        let mut response = match body::check(&parts) {
            Err(problem) => {
                drop(lent);
                problem.into_response()
            }
            Ok(_) => {
                let mut request = Request::from_parts(parts, Body::new(lent));
                request.extensions_mut().insert(RequestId(request_id.clone()));
                // A router is always ready, and never fails.
                let response = self.router.clone().call(request).instrument(events_span);
                let Ok(response) = match span.as_ref().and_then(|span| span.scope()) {
                    Some(scope) => scope.follow(response).await,
                    None => response.await,
                };
                response
            }
        };
        // The handler has dropped the body, so it has been returned.
        if let Ok(body) = returned.try_recv() {
            body::discard(&headers, body).await;
        }
        response.headers_mut().insert(X_REQUEST_ID, request_id);
        match response.status() {
            // axum lists the methods of a path that exists. Clients without a token mustn't get
            // them.
            StatusCode::UNAUTHORIZED => drop(response.headers_mut().remove(header::ALLOW)),
            // RFC 9110 §8.6.
            StatusCode::NO_CONTENT => drop(response.headers_mut().remove(header::CONTENT_LENGTH)),
            _ => {}
        }
        if let Some(span) = span {
            if let Some(trace_id) = sampled {
                response.extensions_mut().insert(SampledTrace(trace_id));
            }
            span.end_operation(&response);
        }
        response
    }
}
