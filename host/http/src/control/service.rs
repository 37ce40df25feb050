//! Endpoints of the server itself: its health, its OpenAPI document, its version and addresses.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use http::header;
use http::request::Parts;
use nebula_runtime::{StoreError, VersionRecord};

use super::calls_url::CallsUrl;
use super::describe::{DescribeArgument, Description};
use super::endpoints;
use super::openapi::document;
use super::refusal::Refusal;
use super::reply::{Healthy, Json, OpenApi};
use super::routes::{Operations, Routes};
use super::state::{BlockingExperiment, BlockingRuntime, ControlState};
use crate::body;
use crate::wire::ServerInfo;

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::HEALTH, health)
        .add(&endpoints::OPENAPI, openapi)
        .add(&endpoints::SERVER, server)
}

async fn health() -> Healthy {
    Healthy
}

async fn openapi(
    State(runtime): State<BlockingRuntime>,
    State(operations): State<Arc<Operations>>,
    State(calls_url): State<CallsUrl>,
    host: ReachedHost,
) -> Result<OpenApi, Refusal<StoreError>> {
    let calls_url = calls_url.for_client(host.0.as_deref());
    let document = move |functions: &[VersionRecord]| document(&operations, functions, &calls_url);
    runtime.run(move |runtime| Ok(OpenApi::new(document(&runtime.list()?)))).await
}

async fn server(
    State(runtime): State<BlockingRuntime>,
    State(calls_url): State<CallsUrl>,
    State(experiment): State<BlockingExperiment>,
    host: ReachedHost,
) -> Result<Json<ServerInfo>, Refusal<Infallible>> {
    let calls_url = calls_url.for_client(host.0.as_deref());
    let (version, experiment) = (env!("CARGO_PKG_VERSION").to_owned(), experiment.is_some());
    let info = ServerInfo { version, calls_url, experiment };
    runtime.run(move |_| Ok(Json::new(&info))).await
}

/// The host by which the client has reached the control plane.
struct ReachedHost(Option<String>);

impl<S: Sync> FromRequestParts<S> for ReachedHost {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let of_target = || parts.uri.authority().map(|authority| authority.as_str());
        let host = body::text(&parts.headers, header::HOST).or_else(of_target);
        Ok(Self(host.map(str::to_owned)))
    }
}

impl DescribeArgument for ReachedHost {
    /// Every request has a host, so the document doesn't mention it.
    fn describe(_: &mut Description) {}
}
