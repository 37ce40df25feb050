//! The counts of calls since the server's start, of one function or of all.

use std::convert::Infallible;

use axum::extract::State;
use nebula_runtime::ResolveError;

use super::endpoints;
use super::path::FunctionPath;
use super::refusal::Refusal;
use super::reply::Json;
use super::routes::Routes;
use super::state::{BlockingMetrics, BlockingRuntime, ControlState};
use crate::wire::{FunctionStats, Stats};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::STATS, of_all).add(&endpoints::STATS_OF, of_function)
}

async fn of_all(State(metrics): State<BlockingMetrics>) -> Result<Json<Stats>, Refusal<Infallible>> {
    metrics.run(|metrics| Ok(Json::new(&metrics.stats()))).await
}

async fn of_function(
    State(runtime): State<BlockingRuntime>,
    State(metrics): State<BlockingMetrics>,
    FunctionPath(name): FunctionPath,
) -> Result<Json<FunctionStats>, Refusal<ResolveError>> {
    let deployed = name.clone();
    runtime.run(move |runtime| runtime.versions(&deployed).map(drop)).await?;
    metrics.run(move |metrics| Ok(Json::new(&metrics.function_stats(name)))).await
}
