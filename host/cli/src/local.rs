//! A function that runs in this process, without a server.

use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use nebula_runtime::id::{FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{
    CacheDirectives, CallOutcome, Codegen, CompileError, Compiler, Configuration, DeployError, Followers,
    Form, InvalidImport, Prefer, Request, RoutedFunction, Runtime, RuntimeConfig, Settings, Shard,
    Uncompilable, VersionRecord,
};

use crate::bundle::{Bundle, Content, Part};
use crate::failure::Failure;
use crate::hints::INITIALISE_HINT;
use crate::http_parts::{Header, HttpParts};
use crate::input::Input;
use crate::report::hinted;

/// A function and what it calls, in a temporary data directory that is deleted with this value.
pub(crate) struct LocalFunction {
    shard: Shard,
    function: Arc<RoutedFunction>,
    executor: tokio::runtime::Runtime,
    _data_dir: tempfile::TempDir,
}

impl LocalFunction {
    /// Opens a component.
    pub(crate) fn open(
        component: Bytes,
        limits: LimitOverrides,
        config: Configuration,
        codegen: Codegen,
    ) -> anyhow::Result<Self> {
        Self::open_bundle(&Bundle::of_component(component, limits, config)?, codegen)
    }

    /// Opens a bundle. Its last part is the function to call.
    pub(crate) fn open_bundle(bundle: &Bundle, codegen: Codegen) -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir().context("cannot create a temporary directory")?;
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.path().to_owned(),
            compiler: Compiler::InProcess(codegen),
            limits: Limits::default(),
            host_limits: HostLimits {
                calls_max: 1,
                queue_max: 1,
                instances_max: NonZeroU32::MIN,
                // No results are cached: each call must run.
                cache_bytes_max: 0,
                ..HostLimits::default()
            },
            signer: None,
            verify_share: 0.0,
            alarm: |_| {},
        })?;
        let mut called = None;
        for Part { name, content, limits, config } in bundle.parts() {
            let settings = Settings { limits: limits.clone(), config: config.clone(), ..Settings::default() };
            let record = match content {
                Content::Component(component) => {
                    let deploy =
                        runtime.deploy(name.clone(), component.clone(), settings, Followers::MustFit);
                    executor.block_on(deploy).map_err(explained)?
                }
                Content::Pipeline(pipeline) => {
                    runtime.deploy_pipeline(name, pipeline, &settings.into(), Followers::MustFit)?
                }
            };
            called = Some(record.name);
        }
        let name = called.context("there is nothing to call")?;
        let shard = Shard::new(runtime)?;
        let current = FunctionRef { name, selector: Selector::Current };
        let function = executor.block_on(shard.find(&current))?;
        Ok(Self { shard, function, executor, _data_dir: data_dir })
    }

    /// Returns the record of the version.
    pub(crate) fn record(&self) -> &VersionRecord {
        &self.function.record
    }

    /// Calls the function with an input from the command line.
    pub(crate) fn call(&self, input: &Input, http: &HttpParts) -> anyhow::Result<CallOutcome> {
        let body = Bytes::from(input.body.clone());
        let request = match self.function.record.description.form {
            Form::Http => Request::Http(Arc::new(whole_request(input, http, body)?)),
            Form::Typed | Form::Raw if http.is_empty() => {
                Request::Payload { media_type: input.media_type.clone(), body }
            }
            Form::Typed | Form::Raw => {
                let message = "only a function of the http form sees a method, a path and headers";
                let hint = "leave out `--method`, `--path` and `--header`";
                return Err(Failure::usage(message, hint).into());
            }
        };
        Ok(self.call_with(request, Prefer::AsSent))
    }

    /// Calls the function.
    pub(crate) fn call_with(&self, request: Request, prefer: Prefer) -> CallOutcome {
        let directives = CacheDirectives::default();
        self.executor.block_on(self.shard.call(&self.function, request, prefer, directives))
    }
}

/// Returns the error of a failed deploy, with a hint, and the backtrace if the initialiser failed.
fn explained(error: DeployError) -> anyhow::Error {
    if let DeployError::Import(InvalidImport::Unknown { name }) = &error {
        let hint =
            "deploy it with `nebula deploy` to a server that has the imported functions, and call it by name";
        let message = format!("it imports the function `{name}`, which only a server can link");
        return hinted(message, hint).into();
    }
    let DeployError::Compile(CompileError::Uncompilable(Uncompilable::Initialise(reason))) = &error else {
        return error.into();
    };
    let mut message = reason.to_string();
    for frame in reason.failure().iter().flat_map(|failure| &failure.backtrace) {
        message.push_str("\n    at ");
        message.push_str(frame);
    }
    hinted(message, INITIALISE_HINT).into()
}

/// Returns the request for a function of the http form, by default `POST /`.
fn whole_request(input: &Input, parts: &HttpParts, body: Bytes) -> anyhow::Result<http::Request<Bytes>> {
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method();
    let path = if parts.path().starts_with('/') { "" } else { "/" };
    *request.uri_mut() = format!("{path}{}", parts.path()).parse().context("the path isn't valid")?;
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
    let media_type = input.media_type.as_ref().and_then(|text| http::HeaderValue::try_from(text).ok());
    if let Some(media_type) = media_type {
        headers.insert(http::header::CONTENT_TYPE, media_type);
    }
    // A header that is given replaces the one above.
    for Header { name, .. } in &parts.headers {
        headers.remove(name);
    }
    for Header { name, value } in &parts.headers {
        headers.append(name, value.clone());
    }
    Ok(request)
}

/// Reads a component: a file, or stdin for `-`.
pub(crate) fn read_component(path: &Path) -> anyhow::Result<Bytes> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
        return Ok(bytes.into());
    }
    let bytes = std::fs::read(path).map_err(|error| {
        let hint = "`nebula build` writes components below `target/wasm32-wasip2/release/`";
        anyhow::Error::new(error).context(hinted(format!("cannot read `{}`", path.display()), hint))
    })?;
    Ok(bytes.into())
}
