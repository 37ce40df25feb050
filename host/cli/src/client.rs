//! A client of both planes.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context;
use nebula_http::Token;
use nebula_http::endpoints::{self, Endpoint, Method};
use nebula_http::settings::{deploy_query, followers_query};
use nebula_http::wire::{
    CacheReport, CallExplanation, FunctionDetail, FunctionList, FunctionLogs, FunctionVersion, PipelineCheck,
    PipelineDetail, ProjectReport, ProjectRequest, RollbackRequest,
};
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, ProjectName};
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{Followers, SettingsUpdate};
use serde::de::DeserializeOwned;
use ureq::http::{Request, Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::args::Remote;
use crate::data_dir;
use crate::input::Input;
use crate::report::{IMPORT_HINT, INITIALISE_HINT, hinted};

/// The time for a whole request: deploys compile, which takes a while.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The body of a request, with its media type if it is given.
struct Payload<'a> {
    media_type: Option<&'a str>,
    body: &'a [u8],
}

impl<'a> Payload<'a> {
    const EMPTY: Payload<'static> = Payload { media_type: None, body: &[] };

    fn json(body: &'a [u8]) -> Self {
        Self { media_type: Some("application/json"), body }
    }
}

pub(crate) struct Client<'a> {
    agent: Agent,
    remote: &'a Remote,
}

/// The answer to a call.
pub(crate) struct CallReply {
    pub(crate) status: StatusCode,
    pub(crate) media_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) receipt: Option<String>,
    pub(crate) input_kept: bool,
}

impl<'a> Client<'a> {
    pub(crate) fn new(remote: &'a Remote) -> Self {
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Self { agent: config.build().into(), remote }
    }

    fn token(&self) -> anyhow::Result<Token> {
        let path = self
            .remote
            .token_file
            .clone()
            .unwrap_or_else(|| Token::path(&data_dir::to_ask(&self.remote.data_dir)));
        Token::read(&path).map_err(|error| {
            let hint =
                "run this where the server's data directory is, or give `--data-dir` or `--token-file`";
            anyhow::Error::new(error).context(hinted("no token for the control plane", hint))
        })
    }

    fn unreachable(server: &str, error: ureq::Error) -> anyhow::Error {
        let hint =
            "start one with `nebula serve` or `nebula up`, or give its address with `--server` and `--url`";
        anyhow::Error::new(error).context(hinted(format!("no server answers at {server}"), hint))
    }

    /// Sends a request to an endpoint of the control plane. `path_and_query` is the endpoint's,
    /// with its parameter.
    fn send(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        payload: Payload<'_>,
    ) -> anyhow::Result<Response<Body>> {
        accepted(self.exchange(endpoint, path_and_query, payload)?)
    }

    /// Sends a request, and returns its response also if it is a problem.
    fn exchange(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        Payload { media_type, body }: Payload<'_>,
    ) -> anyhow::Result<Response<Body>> {
        let server = &self.remote.server;
        let mut request = Request::builder()
            .method(endpoint.method.as_str())
            .uri(format!("{}{path_and_query}", server.trim_end_matches('/')))
            .header(header::AUTHORIZATION, self.token()?.bearer());
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let sent = match endpoint.method {
            Method::Get | Method::Delete => self.agent.run(request.body(())?),
            Method::Put | Method::Post => self.agent.run(request.body(body)?),
        };
        sent.map_err(|error| Self::unreachable(server, error))
    }

    /// Sends a request without a body to an endpoint without a parameter.
    fn ask(&self, endpoint: &Endpoint) -> anyhow::Result<Response<Body>> {
        self.send(endpoint, endpoint.path, Payload::EMPTY)
    }

    /// Sends a request without a body to an endpoint about one function, version or digest.
    fn ask_of(&self, endpoint: &Endpoint, parameter: &impl Display) -> anyhow::Result<Response<Body>> {
        self.send(endpoint, &endpoint.path_of(parameter), Payload::EMPTY)
    }

    pub(crate) fn deploy(
        &self,
        name: &FunctionName,
        component: &[u8],
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> anyhow::Result<FunctionVersion> {
        let query = deploy_query(settings, followers);
        let path = with_query(endpoints::DEPLOY.path_of(name), &query);
        read_json(self.send(
            &endpoints::DEPLOY,
            &path,
            Payload { media_type: Some("application/wasm"), body: component },
        )?)
    }

    pub(crate) fn list(&self) -> anyhow::Result<FunctionList> {
        read_json(self.ask(&endpoints::LIST)?)
    }

    pub(crate) fn detail(&self, name: &FunctionName) -> anyhow::Result<FunctionDetail> {
        read_json(self.ask_of(&endpoints::INSPECT, name)?)
    }

    pub(crate) fn logs(&self, name: &FunctionName) -> anyhow::Result<FunctionLogs> {
        read_json(self.ask_of(&endpoints::LOGS, name)?)
    }

    pub(crate) fn component(&self, name: &FunctionName) -> anyhow::Result<Vec<u8>> {
        read(self.ask_of(&endpoints::COMPONENT, name)?)
    }

    /// Returns the component with this digest.
    pub(crate) fn component_of(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        read(self.ask_of(&endpoints::COMPONENT_OF, digest)?)
    }

    /// Returns an input that was kept.
    pub(crate) fn input(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        read(self.ask_of(&endpoints::INPUT, digest)?)
    }

    pub(crate) fn rollback(
        &self,
        name: &FunctionName,
        to: &RollbackRequest,
        followers: Followers,
    ) -> anyhow::Result<FunctionVersion> {
        let path = with_query(endpoints::ROLLBACK.path_of(name), &[followers_query(followers)]);
        read_json(self.send(&endpoints::ROLLBACK, &path, Payload::json(&serde_json::to_vec(to)?))?)
    }

    pub(crate) fn deploy_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> anyhow::Result<FunctionVersion> {
        let query = deploy_query(settings, followers);
        let path = with_query(endpoints::DEPLOY_PIPELINE.path_of(name), &query);
        read_json(self.send(
            &endpoints::DEPLOY_PIPELINE,
            &path,
            Payload::json(&serde_json::to_vec(pipeline)?),
        )?)
    }

    /// Stores a component for a deploy of a project.
    pub(crate) fn upload(&self, digest: &Digest, component: &[u8]) -> anyhow::Result<()> {
        let payload = Payload { media_type: Some("application/wasm"), body: component };
        self.send(&endpoints::UPLOAD, &endpoints::UPLOAD.path_of(digest), payload)?;
        Ok(())
    }

    /// Deploys a project, unless the server lacks components.
    pub(crate) fn deploy_project(
        &self,
        project: &ProjectName,
        request: &ProjectRequest,
    ) -> anyhow::Result<ProjectReply> {
        let (endpoint, body) = (&endpoints::DEPLOY_PROJECT, serde_json::to_vec(request)?);
        let response = self.exchange(endpoint, &endpoint.path_of(project), Payload::json(&body))?;
        if response.status().is_success() {
            return Ok(ProjectReply::Deployed(read_json(response)?));
        }
        let status = response.status();
        let body = read(response)?;
        match serde_json::from_slice(&body) {
            Ok(MissingComponents { components }) => Ok(ProjectReply::Missing(components)),
            Err(_) => Err(problem(status, &body)),
        }
    }

    pub(crate) fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
    ) -> anyhow::Result<PipelineCheck> {
        let path = endpoints::CHECK_PIPELINE.path_of(name);
        read_json(self.send(
            &endpoints::CHECK_PIPELINE,
            &path,
            Payload::json(&serde_json::to_vec(pipeline)?),
        )?)
    }

    pub(crate) fn pipeline(&self, reference: &FunctionRef) -> anyhow::Result<PipelineDetail> {
        read_json(self.ask_of(&endpoints::PIPELINE, reference)?)
    }

    /// Makes a call that the server reports step by step.
    pub(crate) fn explain(&self, reference: &FunctionRef, input: &Input) -> anyhow::Result<CallExplanation> {
        let path = endpoints::EXPLAIN.path_of(reference);
        read_json(self.send(
            &endpoints::EXPLAIN,
            &path,
            Payload { media_type: input.media_type.as_deref(), body: &input.body },
        )?)
    }

    pub(crate) fn cache(&self) -> anyhow::Result<CacheReport> {
        read_json(self.ask(&endpoints::CACHE)?)
    }

    /// Clears the cached results of one function, or of all.
    pub(crate) fn clear_cache(&self, name: Option<&FunctionName>) -> anyhow::Result<()> {
        match name {
            Some(name) => self.ask_of(&endpoints::CLEAR_CACHE_OF, name)?,
            None => self.ask(&endpoints::CLEAR_CACHE)?,
        };
        Ok(())
    }

    pub(crate) fn remove(&self, name: &FunctionName) -> anyhow::Result<()> {
        self.ask_of(&endpoints::REMOVE, name)?;
        Ok(())
    }

    /// Calls a function on the data plane. `prefer` is the header of that name (RFC 7240).
    pub(crate) fn call(
        &self,
        function: &str,
        input: &Input,
        prefer: Option<&str>,
    ) -> anyhow::Result<CallReply> {
        let url = &self.remote.url;
        let mut request = self.agent.post(format!("{}/f/{function}", url.trim_end_matches('/')));
        if let Some(media_type) = &input.media_type {
            request = request.content_type(media_type);
        }
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        let response = request.send(&input.body).map_err(|error| Self::unreachable(url, error))?;
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let media_type = header("content-type").unwrap_or_default();
        let receipt = header("nebula-receipt");
        let input_kept = header("preference-applied").is_some_and(|applied| applied == "receipt=with-input");
        Ok(CallReply { status, media_type, body: read(response)?, receipt, input_kept })
    }
}

/// The answer to the deploy of a project.
pub(crate) enum ProjectReply {
    Deployed(ProjectReport),
    /// The server lacks these components.
    Missing(Vec<Digest>),
}

/// The problem document for a project whose components aren't uploaded.
#[derive(serde::Deserialize)]
struct MissingComponents {
    components: Vec<Digest>,
}

fn with_query(path: String, query: &[(impl Display, String)]) -> String {
    let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn read(mut response: Response<Body>) -> anyhow::Result<Vec<u8>> {
    response.body_mut().with_config().limit(u64::MAX).read_to_vec().context("the answer broke off")
}

fn read_json<T: DeserializeOwned>(response: Response<Body>) -> anyhow::Result<T> {
    serde_json::from_slice(&read(response)?).context("the server's answer is not what this client expects")
}

/// Returns a successful response, or its problem document as an error.
fn accepted(response: Response<Body>) -> anyhow::Result<Response<Body>> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    Err(problem(status, &read(response)?))
}

/// Returns a problem document as an error.
pub(crate) fn problem(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = document["detail"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    let mut lines = vec![detail];
    for frame in document["backtrace"].as_array().into_iter().flatten().filter_map(|frame| frame.as_str()) {
        lines.push(format!("    at {frame}"));
    }
    let kind = document["type"].as_str().and_then(|kind| kind.rsplit(':').next());
    let hint = match kind {
        Some("unauthorized") => "the token is in the server's data directory: `--data-dir` or `--token-file`",
        Some("unknown-function") => "`nebula list` shows what is deployed",
        Some("unknown-version") => "`nebula inspect` shows its versions",
        Some("type-mismatch" | "invalid-json") => "`nebula inspect` shows the function's signature",
        Some("deadline-exceeded") => "deploy it with a larger `--deadline-ms`, or give it less to do",
        Some("resource-limit") => "deploy it with a larger `--memory-bytes-max`, or give it less to do",
        Some("initialisation-failed") => INITIALISE_HINT,
        Some("not-a-component") => "build one with `nebula build`",
        Some("invalid-pipeline") => {
            "docs/pipelines.md says what a step may be; `nebula inspect NAME` shows a function's signature"
        }
        Some("breaks-pipelines") => {
            "change the pipelines too, or have them stay with the version that they call: `--keep-pipelines`"
        }
        Some("in-use") => "remove the pipelines first",
        Some("unknown-import") => "deploy the function that it imports first, with `nebula deploy`",
        Some("invalid-import") => IMPORT_HINT,
        Some("refused") => "docs/purity.md says what a function may import and export",
        _ => return anyhow::anyhow!(lines.join("\n")),
    };
    hinted(lines.join("\n"), hint).into()
}
