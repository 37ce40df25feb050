//! Endpoints of the server itself: its health, and its OpenAPI document.

use std::sync::Arc;

use axum::extract::State;
use nebula_runtime::StoreError;

use super::endpoints;
use super::openapi::document;
use super::refusal::Refusal;
use super::reply::{Healthy, OpenApi};
use super::routes::{Operations, Routes};
use super::state::{BlockingRuntime, ControlState};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::HEALTH, health).add(&endpoints::OPENAPI, openapi)
}

async fn health() -> Healthy {
    Healthy
}

async fn openapi(
    State(runtime): State<BlockingRuntime>,
    State(operations): State<Arc<Operations>>,
) -> Result<OpenApi, Refusal<StoreError>> {
    runtime.run(move |runtime| Ok(OpenApi::new(document(&operations, &runtime.list()?)))).await
}
