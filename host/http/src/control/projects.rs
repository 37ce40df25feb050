//! Deploys of projects, and uploads of their components.

use axum::extract::State;
use http::StatusCode;
use nebula_runtime::{DeployError, ProjectError, UploadError};

use super::describe::ListedProblem;
use super::endpoints;
use super::events;
use super::path::{DigestPath, ProjectPath};
use super::payload::{ComponentBody, JsonBody};
use super::refusal::{AsProblem, Refusal};
use super::reply::{Json, NoContent};
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::problem::Problem;
use crate::status;
use crate::wire::{ProjectReport, ProjectRequest};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::UPLOAD, upload).add(&endpoints::DEPLOY_PROJECT, deploy)
}

async fn upload(
    State(runtime): State<BlockingRuntime>,
    DigestPath(digest): DigestPath,
    ComponentBody(component): ComponentBody,
) -> Result<NoContent, Refusal<UploadError>> {
    runtime.upload(digest, component).await?;
    Ok(NoContent)
}

async fn deploy(
    State(runtime): State<BlockingRuntime>,
    ProjectPath(project): ProjectPath,
    JsonBody(request): JsonBody<ProjectRequest>,
) -> Result<Json<ProjectReport>, Refusal<ProjectError>> {
    let dry_run = request.dry_run;
    let changes = runtime.deploy_project(request.into_deploy(project.clone())).await?;
    if !dry_run {
        events::project_deployed(&changes);
    }
    let changes = changes.into_iter().map(Into::into).collect();
    Ok(Json::new(&ProjectReport { project, dry_run, changes }))
}

impl AsProblem for UploadError {
    const PROBLEMS: &'static [ListedProblem] = DeployError::PROBLEMS;

    fn problem(&self) -> Problem {
        match self {
            Self::Digest { found } => {
                status::bad_request("bad-digest", format!("the body's digest is {found}, not the path's"))
            }
            Self::Deploy(error) => status::deploy(error),
        }
    }
}

impl AsProblem for ProjectError {
    const PROBLEMS: &'static [ListedProblem] = DeployError::PROBLEMS;

    fn problem(&self) -> Problem {
        let detail = self.to_string();
        let unprocessable = |kind, detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, detail);
        match self {
            Self::Missing(digests) => status::missing_components(detail, digests),
            Self::Twice(name) => unprocessable("bad-project", detail).with("name", name.as_str()),
            Self::TooMany { .. } | Self::TooLarge => unprocessable("bad-project", detail),
            Self::Refused { name, source } => {
                status::deploy(source).with("detail", detail).with("name", name.as_str())
            }
            Self::Deploy(source) => status::deploy(source),
        }
    }
}
