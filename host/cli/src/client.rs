//! A client of both planes.

use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::Context;
use nebula_http::Token;
use nebula_http::wire::{
    ExplainedCall, FunctionDetail, FunctionList, Logs, PipelineCheck, PipelineDetail, Rollback,
};
use nebula_runtime::id::{Digest, FunctionName, FunctionRef};
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{CacheReport, Followers, Remember, Settings, VersionRecord};
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::args::Remote;
use crate::input::Input;
use crate::report::{IMPORT_HINT, INITIALISE_HINT, hinted};

/// Deploys compile, which takes a while.
const TIMEOUT: Duration = Duration::from_secs(180);

pub(crate) struct Client<'a> {
    agent: Agent,
    remote: &'a Remote,
}

/// What a call came to.
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
        let path = self.remote.token_file.clone().unwrap_or_else(|| Token::path(&self.remote.data_dir));
        Token::read(&path).map_err(|error| {
            let hint =
                "run this where the server's data directory is, or give `--data-dir` or `--token-file`";
            anyhow::Error::new(error).context(hinted("no token for the control plane", hint))
        })
    }

    fn api(&self, rest: &str) -> String {
        format!("{}/api/v1/functions{rest}", self.remote.server.trim_end_matches('/'))
    }

    fn unreachable(server: &str, error: ureq::Error) -> anyhow::Error {
        let hint =
            "start one with `nebula serve` or `nebula up`, or give its address with `--server` and `--url`";
        anyhow::Error::new(error).context(hinted(format!("no server answers at {server}"), hint))
    }

    fn get(&self, rest: &str) -> anyhow::Result<Response<Body>> {
        self.get_at(&format!("/api/v1/functions{rest}"))
    }

    fn get_at(&self, path: &str) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.remote.server.trim_end_matches('/'));
        let request = self.agent.get(url).header("authorization", self.token()?.bearer());
        accepted(request.call().map_err(|error| Self::unreachable(&self.remote.server, error))?)
    }

    fn post(&self, path: &str, media_type: Option<&str>, body: &[u8]) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.remote.server.trim_end_matches('/'));
        let mut request = self.agent.post(url).header("authorization", self.token()?.bearer());
        if let Some(media_type) = media_type {
            request = request.content_type(media_type);
        }
        accepted(request.send(body).map_err(|error| Self::unreachable(&self.remote.server, error))?)
    }

    pub(crate) fn deploy(
        &self,
        name: &FunctionName,
        component: &[u8],
        settings: &Settings,
        followers: Followers,
    ) -> anyhow::Result<VersionRecord> {
        let url = self.api(&format!("/{name}"));
        self.put(url, "application/wasm", component, settings, followers)
    }

    fn put(
        &self,
        url: String,
        media_type: &str,
        body: &[u8],
        settings: &Settings,
        followers: Followers,
    ) -> anyhow::Result<VersionRecord> {
        let mut request = self
            .agent
            .put(url)
            .header("authorization", self.token()?.bearer())
            .content_type(media_type)
            .query("followers", spelled(followers));
        let Settings { limits, remember } = settings;
        for (limit, value) in serde_json::to_value(limits)?.as_object().into_iter().flatten() {
            request = request.query(limit, value.to_string());
        }
        let Remember { off, ttl_s, bytes_max, traps } = remember;
        if *off {
            request = request.query("remember", "off");
        }
        if *traps {
            request = request.query("remember_traps", "on");
        }
        for (name, value) in
            [("remember_ttl_s", ttl_s.map(NonZeroU64::get)), ("remember_bytes_max", *bytes_max)]
        {
            if let Some(value) = value {
                request = request.query(name, value.to_string());
            }
        }
        let response = request.send(body).map_err(|error| Self::unreachable(&self.remote.server, error))?;
        read_json(accepted(response)?)
    }

    pub(crate) fn list(&self) -> anyhow::Result<FunctionList> {
        read_json(self.get("")?)
    }

    pub(crate) fn detail(&self, name: &FunctionName) -> anyhow::Result<FunctionDetail> {
        read_json(self.get(&format!("/{name}"))?)
    }

    pub(crate) fn logs(&self, name: &FunctionName) -> anyhow::Result<Logs> {
        read_json(self.get(&format!("/{name}/logs"))?)
    }

    pub(crate) fn component(&self, name: &FunctionName) -> anyhow::Result<Vec<u8>> {
        read(self.get(&format!("/{name}/component"))?)
    }

    /// A component, whatever it is called.
    pub(crate) fn component_of(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        read(self.get_at(&format!("/api/v1/components/{digest}"))?)
    }

    /// An input that was kept.
    pub(crate) fn input(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        read(self.get_at(&format!("/api/v1/inputs/{digest}"))?)
    }

    pub(crate) fn rollback(
        &self,
        name: &FunctionName,
        to: &Rollback,
        followers: Followers,
    ) -> anyhow::Result<VersionRecord> {
        let followers = spelled(followers);
        let path = format!("/api/v1/functions/{name}/rollback?followers={followers}");
        read_json(self.post(&path, None, &serde_json::to_vec(to)?)?)
    }

    pub(crate) fn deploy_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &Settings,
        followers: Followers,
    ) -> anyhow::Result<VersionRecord> {
        let url = format!("{}/api/v1/pipelines/{name}", self.remote.server.trim_end_matches('/'));
        self.put(url, "application/json", &serde_json::to_vec(pipeline)?, settings, followers)
    }

    pub(crate) fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
    ) -> anyhow::Result<PipelineCheck> {
        let path = format!("/api/v1/pipelines/{name}/check");
        read_json(self.post(&path, None, &serde_json::to_vec(pipeline)?)?)
    }

    pub(crate) fn pipeline(&self, reference: &FunctionRef) -> anyhow::Result<PipelineDetail> {
        read_json(self.get_at(&format!("/api/v1/pipelines/{reference}"))?)
    }

    /// A call, step by step.
    pub(crate) fn explain(&self, reference: &FunctionRef, input: &Input) -> anyhow::Result<ExplainedCall> {
        let path = format!("/api/v1/functions/{reference}/explain");
        read_json(self.post(&path, input.media_type.as_deref(), &input.body)?)
    }

    pub(crate) fn cache(&self) -> anyhow::Result<CacheReport> {
        read_json(self.get_at("/api/v1/cache")?)
    }

    /// All of it, or one function's.
    pub(crate) fn clear_cache(&self, name: Option<&FunctionName>) -> anyhow::Result<()> {
        let url = match name {
            Some(name) => self.api(&format!("/{name}/cache")),
            None => format!("{}/api/v1/cache", self.remote.server.trim_end_matches('/')),
        };
        let request = self.agent.delete(url).header("authorization", self.token()?.bearer());
        accepted(request.call().map_err(|error| Self::unreachable(&self.remote.server, error))?)?;
        Ok(())
    }

    pub(crate) fn remove(&self, name: &FunctionName) -> anyhow::Result<()> {
        let request =
            self.agent.delete(self.api(&format!("/{name}"))).header("authorization", self.token()?.bearer());
        accepted(request.call().map_err(|error| Self::unreachable(&self.remote.server, error))?)?;
        Ok(())
    }

    /// `prefer` is what is asked for beside the answer (RFC 7240).
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

/// As the control plane takes it.
fn spelled(followers: Followers) -> &'static str {
    match followers {
        Followers::MustFit => "must-fit",
        Followers::MayStay => "may-stay",
    }
}

fn read(mut response: Response<Body>) -> anyhow::Result<Vec<u8>> {
    response.body_mut().with_config().limit(u64::MAX).read_to_vec().context("the answer broke off")
}

fn read_json<T: DeserializeOwned>(response: Response<Body>) -> anyhow::Result<T> {
    serde_json::from_slice(&read(response)?).context("the server's answer is not what this client expects")
}

/// The response if it is one of success, else what its problem says.
fn accepted(response: Response<Body>) -> anyhow::Result<Response<Body>> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    Err(problem(status, &read(response)?))
}

/// A problem document as an error.
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
