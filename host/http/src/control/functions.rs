//! Functions by name: list, inspect, deploy, remove, roll back, component, cache, explain.
//!
//! Handlers that are generic over the name also serve the paths of pipelines. There the name has to
//! be that of a pipeline.

use axum::extract::State;
use nebula_runtime::id::FunctionName;
use nebula_runtime::{
    Answer, ClearError, DeployError, ExplainError, FunctionVersions, NamingError, Request, ResolveError,
    StoreError, VersionRecord,
};

use super::endpoints;
use super::events;
use super::path::{FunctionPath, ReferencePath};
use super::payload::{ComponentBody, InputBody, JsonBody};
use super::precondition::{self, Conditions};
use super::refusal::Refusal;
use super::reply::{Component, Json, NoContent, Tagged};
use super::routes::Routes;
use super::settings::{DeployQuery, FollowersQuery};
use super::state::{BlockingRuntime, ControlState};
use crate::wire::{CallExplanation, FunctionDetail, FunctionList, FunctionVersion, RollbackRequest};

/// The part of an answer that an explanation shows, characters.
const OUTPUT_CHARS_MAX: usize = 64 * 1024;

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::LIST, list)
        .add(&endpoints::INSPECT, inspect)
        .add(&endpoints::DEPLOY, deploy)
        .add(&endpoints::REMOVE, remove::<FunctionPath>)
        .add(&endpoints::ROLLBACK, roll_back::<FunctionPath>)
        .add(&endpoints::COMPONENT, component::<FunctionPath>)
        .add(&endpoints::CLEAR_CACHE_OF, clear_cache::<FunctionPath>)
        .add(&endpoints::EXPLAIN, explain)
}

type Runtime = State<BlockingRuntime>;

async fn list(State(runtime): Runtime) -> Result<Json<FunctionList>, Refusal<StoreError>> {
    let list = runtime.run(|runtime| {
        let functions = runtime.list()?.into_iter().map(Into::into).collect();
        Ok(Json::new(&FunctionList { functions }))
    });
    list.await
}

async fn inspect(
    State(runtime): Runtime,
    FunctionPath(name): FunctionPath,
) -> Result<Tagged<FunctionDetail>, Refusal<ResolveError>> {
    let inspect = runtime.run(move |runtime| {
        let FunctionVersions { current, all: versions } = runtime.versions(&name)?;
        let disagreement = runtime.disagreement(&current.digest)?.map(Into::into);
        let versions = versions.into_iter().map(Into::into).collect();
        let tag = precondition::tag(&current, disagreement.is_some());
        let detail = FunctionDetail { current: current.into(), versions, disagreement };
        Ok(Tagged { tag, document: Json::new(&detail) })
    });
    inspect.await
}

async fn deploy(
    State(runtime): Runtime,
    FunctionPath(name): FunctionPath,
    query: DeployQuery,
    conditions: Conditions,
    ComponentBody(component): ComponentBody,
) -> Result<Tagged<FunctionVersion>, Refusal<DeployError>> {
    let named = name.clone();
    let precondition = runtime.run(move |runtime| conditions.evaluate(runtime, &named)).await?;
    let DeployQuery { settings, followers } = query;
    let record = runtime.deploy(name, component, settings, followers, precondition).await?;
    events::deployed(&record);
    Ok(tagged(record))
}

/// Answers with a version that has just become current.
pub(super) fn tagged(record: VersionRecord) -> Tagged<FunctionVersion> {
    Tagged { tag: precondition::tag(&record, false), document: Json::new(&record.into()) }
}

pub(super) async fn remove<Name: Into<FunctionName>>(
    State(runtime): Runtime,
    name: Name,
    conditions: Conditions,
) -> Result<NoContent, Refusal<NamingError>> {
    let name = name.into();
    let remove = runtime.run(move |runtime| {
        let precondition = conditions.evaluate::<NamingError>(runtime, &name)?;
        runtime.remove_if(&name, precondition)?;
        events::removed(&name);
        Ok(NoContent)
    });
    remove.await
}

pub(super) async fn roll_back<Name: Into<FunctionName>>(
    State(runtime): Runtime,
    name: Name,
    FollowersQuery(followers): FollowersQuery,
    JsonBody(to): JsonBody<RollbackRequest>,
) -> Result<Tagged<FunctionVersion>, Refusal<NamingError>> {
    let name = name.into();
    let roll_back = runtime.run(move |runtime| {
        let record = runtime.rollback(&name, to.version, followers)?;
        events::rolled_back(&record);
        Ok(tagged(record))
    });
    roll_back.await
}

pub(super) async fn component<Name: Into<FunctionName>>(
    State(runtime): Runtime,
    name: Name,
) -> Result<Component, Refusal<ResolveError>> {
    let name = name.into();
    let read = runtime.run(move |runtime| {
        let current = runtime.versions(&name)?.current;
        Ok(Component(runtime.component(&current.digest)?))
    });
    read.await
}

pub(super) async fn clear_cache<Name: Into<FunctionName>>(
    State(runtime): Runtime,
    name: Name,
) -> Result<NoContent, Refusal<ClearError>> {
    let name = name.into();
    let clear = runtime.run(move |runtime| {
        runtime.clear_cache_of(&name)?;
        events::cleared(Some(&name));
        Ok(NoContent)
    });
    clear.await
}

pub(super) async fn explain(
    State(runtime): Runtime,
    ReferencePath(reference): ReferencePath,
    input: InputBody,
) -> Result<Json<CallExplanation>, Refusal<ExplainError>> {
    let request = Request::Payload { media_type: input.media_type, body: input.body };
    let explanation = runtime.explain(reference, request, input.prefer).await?;
    let (outcome, output) = match &explanation.called.result {
        Ok(Answer::Value(content)) => ("ok", shown(content.told_media_type(), &content.body)),
        Ok(Answer::Error(content)) => ("error", shown(content.told_media_type(), &content.body)),
        Ok(Answer::Http(response)) => ("ok", format!("a response of {}", response.status())),
        Err(error) => ("failed", error.to_string()),
    };
    let took_us = u64::try_from(explanation.called.cost.total().as_micros()).unwrap_or(u64::MAX);
    let steps = explanation.steps.into_iter().map(Into::into).collect();
    Ok(Json::new(&CallExplanation { outcome: outcome.to_owned(), output, took_us, steps }))
}

/// Returns the beginning of a text, or the size of any other content.
fn shown(media_type: &str, body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => text.chars().take(OUTPUT_CHARS_MAX).collect(),
        Err(_) => format!("{} bytes of {media_type}", body.len()),
    }
}
