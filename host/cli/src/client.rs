//! A client of both planes.

mod tokens;

use std::cell::OnceCell;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use anyhow::Context;
use nebula_http::endpoints::{self, Endpoint};
use nebula_http::settings::{deploy_query, followers_query};
use nebula_http::wire::{
    CacheReport, CallExplanation, Export, FunctionDetail, FunctionList, FunctionLogs, FunctionStats,
    FunctionVersion, ImportReport, ImportRequest, PipelineCheck, PipelineDetail, ProjectReport,
    ProjectRequest, RollbackRequest, ServerInfo, Stats,
};
use nebula_http::{Token, logs_query, names_query};
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, ProjectName};
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{Followers, SettingsUpdate};
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, header, request};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::address::PlaneUrl;
use crate::args::Remote;
use crate::connection::Connection;
use crate::failure::{Failure, FailureKind, problem_document};
use crate::http_parts::{Header, HttpParts};
use crate::input::Input;
use crate::tls;

/// The time for a whole request, unless a command has its own: deploys compile, which takes a while.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The longest body that is sent before the server has agreed to read it, bytes. A server that
/// refuses a longer one answers instead of breaking the connection off.
const UNASKED_BYTES_MAX: usize = 1024 * 1024;

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

/// A client of one server. It finds out which one when it sends the first request.
pub(crate) struct Client<'a> {
    remote: &'a Remote,
    /// The token to use instead of the one that the arguments name.
    token: Option<Token>,
    /// The time for a whole request.
    timeout: Duration,
    link: OnceCell<Link>,
}

/// A server with the agents for it.
struct Link {
    connection: Connection,
    plain: Agent,
    timeout: Duration,
    /// The agent for `https://` URLs, made when it is needed: it reads the system's certificates.
    secure: OnceCell<Agent>,
}

/// The answer to a call.
pub(crate) struct CallReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl CallReply {
    /// Returns a header; `None` if it isn't text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn media_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// Returns the failure, unless this is the function's answer: a problem of the server, or an
    /// error of a proxy in between, which doesn't name the function.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let status = self.status;
        if status.is_success() {
            return None;
        }
        let document = problem_document(self.media_type(), &self.body);
        if document.is_none() && self.header("nebula-function").is_some() {
            return None;
        }
        Some(Failure::of_answer(status.as_u16(), &status.to_string(), document))
    }
}

impl Link {
    fn open(remote: &Remote, timeout: Duration) -> anyhow::Result<Self> {
        let plain = agent(None, timeout);
        Ok(Self { connection: Connection::of(remote)?, plain, timeout, secure: OnceCell::new() })
    }

    /// Returns the agent for a URL.
    fn agent(&self, url: &PlaneUrl) -> anyhow::Result<&Agent> {
        if !url.is_https() {
            return Ok(&self.plain);
        }
        if let Some(agent) = self.secure.get() {
            return Ok(agent);
        }
        let agent = agent(Some(tls::config(self.connection.ca.as_deref())?), self.timeout);
        Ok(self.secure.get_or_init(|| agent))
    }

    /// Sends a request to a plane at `url`.
    fn run(&self, request: request::Builder, body: &[u8], url: &PlaneUrl) -> anyhow::Result<Response<Body>> {
        let agent = self.agent(url)?;
        let sent = if has_body(&request, body) {
            let waits = (body.len() > UNASKED_BYTES_MAX).then_some((header::EXPECT, "100-continue"));
            let request = match waits {
                Some((name, value)) => request.header(name, value),
                None => request,
            };
            agent.run(request.body(body)?)
        } else {
            agent.run(request.body(())?)
        };
        sent.map_err(|error| self.unreachable(url, error))
    }

    /// Returns the error of a request without an answer.
    fn unreachable(&self, url: &PlaneUrl, error: ureq::Error) -> anyhow::Error {
        let failure = |message, hint: &str| Failure::new(FailureKind::NoServer, message).with_hint(hint);
        let failure = if is_of_tls(&error) {
            let hint = match &self.connection.ca {
                Some(_) => {
                    "the given CA alone is trusted, and a certificate counts only for its names: check `--ca` and the host in the URL"
                }
                None => {
                    "give the CA that signed its certificate with `--ca FILE`, or keep it with `nebula login --ca FILE`"
                }
            };
            failure(format!("no secure connection to {url}"), hint)
        } else if matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_)) {
            return anyhow::Error::new(error).context(format!("cannot send a request to {url}"));
        } else if matches!(error, ureq::Error::Timeout(_)) {
            failure(format!("{url} didn't answer in time"), "the server may be busy: try again")
        } else if matches!(&error, ureq::Error::Io(cause) if is_broken(cause)) {
            failure(format!("the connection to {url} broke off"), OTHER_SPEAKER_HINT)
        } else if matches!(error, ureq::Error::Protocol(_)) {
            failure(format!("{url} doesn't answer in HTTP"), OTHER_SPEAKER_HINT)
        } else {
            failure(format!("no server answers at {url}"), NO_SERVER_HINT)
        };
        anyhow::Error::new(error).context(failure)
    }
}

/// Returns an agent, with TLS if it is configured.
fn agent(tls: Option<TlsConfig>, timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A redirect is an answer of the function. The control plane sends none.
        .max_redirects(0)
        .allow_non_standard_methods(true);
    match tls {
        Some(tls) => config.tls_config(tls).build().into(),
        None => config.build().into(),
    }
}

/// The hint for an address without a server.
const NO_SERVER_HINT: &str =
    "start one with `nebula serve` or `nebula up`, or give its address with `--server` and `--url`";

/// The hint for an address at which something else answers.
const OTHER_SPEAKER_HINT: &str = "another program may listen there, or the server needs `https://`";

/// Returns whether a connection existed and then ended.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Returns whether the two sides couldn't agree on encryption.
fn is_of_tls(error: &ureq::Error) -> bool {
    if let ureq::Error::Io(error) = error {
        return error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    }
    matches!(error, ureq::Error::Rustls(_) | ureq::Error::Tls(_))
}

impl<'a> Client<'a> {
    pub(crate) fn new(remote: &'a Remote) -> Self {
        Self { remote, token: None, timeout: TIMEOUT, link: OnceCell::new() }
    }

    /// Sets the time for a whole request.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Creates a client that uses this token.
    pub(crate) fn with_token(remote: &'a Remote, token: Token) -> Self {
        Self { remote, token: Some(token), timeout: TIMEOUT, link: OnceCell::new() }
    }

    fn link(&self) -> anyhow::Result<&Link> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let link = Link::open(self.remote, self.timeout)?;
        Ok(self.link.get_or_init(|| link))
    }

    fn token(&self) -> anyhow::Result<Token> {
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => self.link()?.connection.token(self.remote),
        }
    }

    /// Sends a request to an endpoint of the control plane. `path_and_query` is the endpoint's,
    /// with its parameter.
    fn send(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        payload: Payload<'_>,
    ) -> anyhow::Result<Response<Body>> {
        let response = self.exchange(endpoint, path_and_query, payload)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(refusal(endpoint, status, &read(response)?))
    }

    /// Sends a request, and returns its response also if it is a problem.
    fn exchange(
        &self,
        endpoint: &Endpoint,
        path_and_query: &str,
        Payload { media_type, body }: Payload<'_>,
    ) -> anyhow::Result<Response<Body>> {
        let link = self.link()?;
        let server = &link.connection.control;
        let mut request = Request::builder()
            .method(endpoint.method.as_str())
            .uri(format!("{server}{path_and_query}"))
            .header(header::AUTHORIZATION, self.token()?.bearer());
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        link.run(request, body, server)
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

    /// Returns the log of the calls after a time, of one function or of all.
    pub(crate) fn logs(
        &self,
        name: Option<&FunctionName>,
        after_unix_us: u64,
    ) -> anyhow::Result<FunctionLogs> {
        let endpoint = if name.is_some() { &endpoints::LOGS } else { &endpoints::LOGS_OF_ALL };
        let path = name.map_or_else(|| endpoint.path.to_owned(), |name| endpoint.path_of(name));
        read_json(self.send(endpoint, &with_query(path, &[logs_query(after_unix_us)]), Payload::EMPTY)?)
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

    /// Stores a component for a deploy of a project or an import.
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
    ) -> anyhow::Result<ChangeReply<ProjectReport>> {
        let endpoint = &endpoints::DEPLOY_PROJECT;
        self.change(endpoint, &endpoint.path_of(project), &serde_json::to_vec(request)?)
    }

    /// Imports functions, unless the server lacks components.
    pub(crate) fn import(&self, request: &ImportRequest) -> anyhow::Result<ChangeReply<ImportReport>> {
        let endpoint = &endpoints::IMPORT;
        self.change(endpoint, endpoint.path, &serde_json::to_vec(request)?)
    }

    /// Sends a change that names components by their digest.
    fn change<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: &[u8],
    ) -> anyhow::Result<ChangeReply<T>> {
        let response = self.exchange(endpoint, path, Payload::json(request))?;
        if response.status().is_success() {
            return Ok(ChangeReply::Done(read_json(response)?));
        }
        let status = response.status();
        let body = read(response)?;
        match serde_json::from_slice(&body) {
            Ok(MissingComponents { components }) => Ok(ChangeReply::Missing(components)),
            Err(_) => Err(refusal(endpoint, status, &body)),
        }
    }

    /// Returns functions with all their versions and what they call, or everything.
    pub(crate) fn export(&self, names: &[FunctionName]) -> anyhow::Result<Export> {
        let endpoint = &endpoints::EXPORT;
        let path = match names {
            [] => endpoint.path.to_owned(),
            names => with_query(endpoint.path.to_owned(), &names_query(names)),
        };
        read_json(self.send(endpoint, &path, Payload::EMPTY)?)
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

    /// Returns the counts of all functions since the server's start, and the use of the server.
    pub(crate) fn stats(&self) -> anyhow::Result<Stats> {
        read_json(self.ask(&endpoints::STATS)?)
    }

    /// Returns the counts of a function since the server's start.
    pub(crate) fn stats_of(&self, name: &FunctionName) -> anyhow::Result<FunctionStats> {
        read_json(self.ask_of(&endpoints::STATS_OF, name)?)
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

    /// Returns what the server tells about itself.
    fn server(&self) -> anyhow::Result<ServerInfo> {
        read_json(self.ask(&endpoints::SERVER)?)
    }

    /// Returns the URL of a function on the data plane: as given, else as the server tells.
    pub(crate) fn function_url(&self, name: &impl Display) -> anyhow::Result<String> {
        let url = match &self.remote.url {
            Some(url) => url.clone(),
            None => self.told_calls_url()?,
        };
        Ok(format!("{url}/f/{name}"))
    }

    /// Returns the URL of the data plane that the server tells.
    pub(crate) fn told_calls_url(&self) -> anyhow::Result<PlaneUrl> {
        let told = self.server()?.calls_url;
        told.parse().map_err(|_| anyhow::anyhow!("the server gives `{told}` as the URL of its data plane"))
    }

    /// Calls a function on the data plane. `prefer` is the header of that name (RFC 7240).
    pub(crate) fn call(
        &self,
        function: &str,
        input: &Input,
        http: &HttpParts,
        prefer: Option<&str>,
    ) -> anyhow::Result<CallReply> {
        let CallHead { plane, mut request } = self.call_head(function, input, http)?;
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        let response = self.link()?.run(request, &input.body, &plane)?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(CallReply { status, headers, body: read(response)? })
    }

    /// Returns the request of a call, without its body.
    pub(crate) fn call_head(
        &self,
        function: &str,
        input: &Input,
        http: &HttpParts,
    ) -> anyhow::Result<CallHead> {
        let method = http.method();
        if !input.body.is_empty() && [Method::HEAD, Method::CONNECT].contains(&method) {
            let message = format!("a {method} request carries no input");
            let hint = "leave the input out, or give another `--method`";
            return Err(Failure::usage(message, hint).into());
        }
        let plane = match &self.link()?.connection.calls {
            Some(url) => url.clone(),
            None => self
                .told_calls_url()
                .map_err(|error| error.context("cannot ask the server for the URL of its data plane"))?,
        };
        let mut request =
            Request::builder().method(method).uri(format!("{plane}/f/{function}{}", http.path()));
        if let Some(media_type) = input.media_type.as_ref().filter(|_| !http.has(&header::CONTENT_TYPE)) {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        for Header { name, value } in &http.headers {
            request = request.header(name, value);
        }
        Ok(CallHead { plane, request })
    }

    /// Returns the server that the client talks to.
    pub(crate) fn connection(&self) -> anyhow::Result<&Connection> {
        Ok(&self.link()?.connection)
    }
}

/// The request of a call, without its body.
pub(crate) struct CallHead {
    /// The URL of the data plane that it is for.
    pub(crate) plane: PlaneUrl,
    pub(crate) request: request::Builder,
}

/// Returns whether a request has a body, which may be empty.
pub(crate) fn has_body(request: &request::Builder, body: &[u8]) -> bool {
    request.method_ref().is_some_and(|method| {
        let may_be_empty = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        may_be_empty || !body.is_empty()
    })
}

/// The answer to a change that names components by their digest.
pub(crate) enum ChangeReply<T> {
    Done(T),
    /// The server lacks these components.
    Missing(Vec<Digest>),
}

/// The problem document for a change whose components aren't uploaded.
#[derive(serde::Deserialize)]
struct MissingComponents {
    components: Vec<Digest>,
}

/// Returns the answer of an endpoint that isn't a success as an error.
fn refusal(endpoint: &Endpoint, status: StatusCode, body: &[u8]) -> anyhow::Error {
    let document = serde_json::from_slice(body).ok();
    let mut failure = Failure::of_answer(status.as_u16(), &status.to_string(), document);
    // An upload isn't an input.
    let is_upload = endpoint.method == endpoints::Method::Put || endpoint.path == endpoints::IMPORT.path;
    if is_upload && failure.kind == FailureKind::BadInput {
        failure.kind = FailureKind::Refused;
    }
    failure.into()
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
