//! The cached results of all functions.

use axum::extract::State;
use nebula_runtime::{ClearError, StoreError};

use super::endpoints;
use super::events;
use super::refusal::Refusal;
use super::reply::{Json, NoContent};
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::wire::CacheReport;

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::CACHE, report).add(&endpoints::CLEAR_CACHE, clear)
}

async fn report(State(runtime): State<BlockingRuntime>) -> Result<Json<CacheReport>, Refusal<StoreError>> {
    runtime.run(|runtime| Ok(Json::new(&runtime.cache_report()?.into()))).await
}

async fn clear(State(runtime): State<BlockingRuntime>) -> Result<NoContent, Refusal<ClearError>> {
    let clear = runtime.run(|runtime| {
        runtime.clear_cache()?;
        events::cleared(None);
        Ok(NoContent)
    });
    clear.await
}
