//! The control plane's part for pipelines, and calls that are explained.

use http::request::Parts;
use http::{StatusCode, header};
use hyper::body::Incoming;
use nebula_runtime::id::{FunctionName, FunctionRef};
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{Answer, Followers, Request, Runtime, Settings};

use crate::accept::prefer;
use crate::control::json;
use crate::problem::{Problem, Reply};
use crate::wire::{ExplainedCall, PipelineCheck, PipelineDetail};
use crate::{body, status};

/// The longest description, bytes.
const DESCRIPTION_BYTES_MAX: u64 = 256 * 1024;

/// The longest input of a call that is explained, bytes.
const INPUT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How much is told of an answer, characters.
const OUTPUT_CHARS_MAX: usize = 64 * 1024;

async fn description(body: &mut Incoming) -> Result<Pipeline, Problem> {
    let body = body::read(body, DESCRIPTION_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| {
        status::bad_request("invalid-json", error.to_string())
            .with("line", error.line())
            .with("column", error.column())
    })
}

/// `PUT /api/v1/pipelines/{name}`
pub(crate) async fn deploy(
    runtime: &Runtime,
    name: FunctionName,
    body: &mut Incoming,
    settings: Settings,
    followers: Followers,
) -> Result<Reply, Problem> {
    let (pipeline, runtime) = (description(body).await?, runtime.clone());
    let deploy = move || runtime.deploy_pipeline(&name, &pipeline, &settings, followers);
    let record = tokio::task::spawn_blocking(deploy).await.map_err(|error| status::internal(&error))?;
    Ok(json(StatusCode::OK, &record.map_err(|error| status::deploy(&error))?))
}

/// `POST /api/v1/pipelines/{name}/check`
pub(crate) async fn check(
    runtime: &Runtime,
    name: FunctionName,
    body: &mut Incoming,
    settings: Settings,
    followers: Followers,
) -> Result<Reply, Problem> {
    let (pipeline, runtime) = (description(body).await?, runtime.clone());
    let check = move || runtime.check_pipeline(&name, &pipeline, &settings, followers);
    let view = tokio::task::spawn_blocking(check).await.map_err(|error| status::internal(&error))?;
    Ok(json(StatusCode::OK, &PipelineCheck { view: view.map_err(|error| status::deploy(&error))? }))
}

/// `GET /api/v1/pipelines/{name}[@version]`
pub(crate) async fn detail(runtime: &Runtime, reference: FunctionRef) -> Result<Reply, Problem> {
    let (asked, runtime) = (reference.clone(), runtime.clone());
    let viewed = tokio::task::spawn_blocking(move || runtime.view_pipeline(&asked)).await;
    match viewed.map_err(|error| status::internal(&error))?.map_err(|error| status::naming(&error))? {
        Some((version, view)) => Ok(json(StatusCode::OK, &PipelineDetail { version, view })),
        None => Err(status::no_pipeline(&reference)),
    }
}

/// `POST /api/v1/functions/{name}[@version]/explain`
pub(crate) async fn explain(
    runtime: &Runtime,
    reference: FunctionRef,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<Reply, Problem> {
    let media_type = body::text(&parts.headers, header::CONTENT_TYPE).map(str::to_owned);
    let request = Request::Payload { media_type, body: body::read(body, INPUT_BYTES_MAX).await? };
    let prefer = prefer(body::text(&parts.headers, header::ACCEPT));
    let explanation = runtime.explain(&reference, request, prefer).await;
    let explanation = explanation.map_err(|error| status::explain(&error))?;
    let (outcome, output) = match &explanation.called.result {
        Ok(Answer::Value(content)) => ("ok", told(content.told_media_type(), &content.body)),
        Ok(Answer::Error(content)) => ("error", told(content.told_media_type(), &content.body)),
        Ok(Answer::Http(response)) => ("ok", format!("a response of {}", response.status())),
        Err(error) => ("failed", error.to_string()),
    };
    let took_us = u64::try_from(explanation.called.cost.total().as_micros()).unwrap_or(u64::MAX);
    let explained = ExplainedCall { outcome: outcome.to_owned(), output, took_us, steps: explanation.steps };
    Ok(json(StatusCode::OK, &explained))
}

fn told(media_type: &str, body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => text.chars().take(OUTPUT_CHARS_MAX).collect(),
        Err(_) => format!("{} bytes of {media_type}", body.len()),
    }
}
