//! Pipelines: functions whose content is a description.
//!
//! Paths below `/functions` work for pipelines too. Paths below `/pipelines` work only for
//! pipelines.

use axum::extract::State;
use nebula_diagram::Colours;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::pipeline::{Pipeline, View};
use nebula_runtime::{DeployError, NamingError, Runtime, StoreError, VersionRecord};

use super::describe::ListedProblem;
use super::endpoints;
use super::events;
use super::functions;
use super::path::{FunctionPath, NOT_A_PIPELINE, PipelinePath, ReferencePath};
use super::payload::JsonBody;
use super::precondition::Conditions;
use super::refusal::{AsProblem, Refusal, UNKNOWN};
use super::reply::{Json, Svg, Tagged};
use super::routes::Routes;
use super::settings::DeployQuery;
use super::state::{BlockingRuntime, ControlState};
use crate::problem::Problem;
use crate::status;
use crate::wire::{FunctionList, FunctionVersion, PipelineCheck, PipelineDetail};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::LIST_PIPELINES, list)
        .add(&endpoints::PIPELINE, detail)
        .add(&endpoints::DIAGRAM, diagram)
        .add(&endpoints::DEPLOY_PIPELINE, deploy)
        .add(&endpoints::REMOVE_PIPELINE, functions::remove::<PipelinePath>)
        .add(&endpoints::CHECK_PIPELINE, check)
        .add(&endpoints::ROLLBACK_PIPELINE, functions::roll_back::<PipelinePath>)
        .add(&endpoints::COMPONENT_OF_PIPELINE, functions::component::<PipelinePath>)
        .add(&endpoints::CLEAR_CACHE_OF_PIPELINE, functions::clear_cache::<PipelinePath>)
        .add(&endpoints::EXPLAIN_PIPELINE, functions::explain)
}

async fn list(State(runtime): State<BlockingRuntime>) -> Result<Json<FunctionList>, Refusal<StoreError>> {
    let list = runtime.run(|runtime| {
        let pipelines = runtime.list()?.into_iter().filter(|function| function.pipeline.is_some());
        Ok(Json::new(&FunctionList { functions: pipelines.map(Into::into).collect() }))
    });
    list.await
}

async fn detail(
    State(runtime): State<BlockingRuntime>,
    ReferencePath(reference): ReferencePath,
) -> Result<Json<PipelineDetail>, Refusal<DetailError>> {
    let detail = runtime.run(move |runtime| {
        let (version, view) = shown(runtime, reference)?;
        Ok(Json::new(&PipelineDetail { version: version.into(), view: view.into() }))
    });
    detail.await
}

async fn diagram(
    State(runtime): State<BlockingRuntime>,
    ReferencePath(reference): ReferencePath,
) -> Result<Svg, Refusal<DetailError>> {
    let drawn = runtime.run(move |runtime| {
        let (version, view) = shown(runtime, reference)?;
        let title = format!("{}@{}", version.name, version.version);
        Ok(Svg(nebula_diagram::svg(&title, &view, Colours::Page).into_bytes()))
    });
    drawn.await
}

/// Returns a pipeline's version with its steps.
fn shown(runtime: &Runtime, reference: FunctionRef) -> Result<(VersionRecord, View), DetailError> {
    match runtime.view_pipeline(&reference) {
        Ok(Some(shown)) => Ok(shown),
        Ok(None) => Err(DetailError::NotAPipeline(reference)),
        Err(error) => Err(DetailError::Naming(error)),
    }
}

async fn deploy(
    State(runtime): State<BlockingRuntime>,
    FunctionPath(name): FunctionPath,
    DeployQuery { settings, followers }: DeployQuery,
    conditions: Conditions,
    JsonBody(pipeline): JsonBody<Pipeline>,
) -> Result<Tagged<FunctionVersion>, Refusal<DeployError>> {
    let deploy = runtime.run(move |runtime| {
        let precondition = conditions.evaluate::<DeployError>(runtime, &name)?;
        let record = runtime.deploy_pipeline_if(&name, &pipeline, &settings, followers, precondition)?;
        events::deployed(&record);
        Ok(functions::tagged(record))
    });
    deploy.await
}

async fn check(
    State(runtime): State<BlockingRuntime>,
    FunctionPath(name): FunctionPath,
    DeployQuery { settings, followers }: DeployQuery,
    JsonBody(pipeline): JsonBody<Pipeline>,
) -> Result<Json<PipelineCheck>, Refusal<DeployError>> {
    let check = runtime.run(move |runtime| {
        let view = runtime.check_pipeline(&name, &pipeline, &settings, followers)?.into();
        Ok(Json::new(&PipelineCheck { view }))
    });
    check.await
}

/// Why a pipeline can't be shown.
enum DetailError {
    /// The function has another kind of content.
    NotAPipeline(FunctionRef),
    Naming(NamingError),
}

impl AsProblem for DetailError {
    const PROBLEMS: &'static [ListedProblem] =
        &[UNKNOWN, NOT_A_PIPELINE, ListedProblem::new(422, "its types don't fit any more")];

    fn problem(&self) -> Problem {
        match self {
            Self::NotAPipeline(reference) => status::no_pipeline(reference),
            Self::Naming(error) => status::naming(error),
        }
    }
}
