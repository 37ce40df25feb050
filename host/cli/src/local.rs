//! A function run in this process, with no server.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use nebula_runtime::id::{FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{
    CacheDirectives, Called, Codegen, CompileError, Compiler, DeployError, Followers, Form, InvalidImport,
    Met, Prefer, Request, Runtime, RuntimeConfig, Settings, Shard, Uncompilable, VersionRecord,
};

use crate::bundle::{Bundle, Content, Part};
use crate::input::Input;
use crate::report::{INITIALISE_HINT, hinted};

/// One function, with what it calls, in a registry of its own, gone with this value.
pub(crate) struct Local {
    shard: Shard,
    function: Arc<Met>,
    executor: tokio::runtime::Runtime,
    _data_dir: tempfile::TempDir,
}

impl Local {
    /// A component.
    pub(crate) fn open(component: Bytes, limits: LimitOverrides, codegen: Codegen) -> anyhow::Result<Self> {
        Self::open_bundle(&Bundle::of_component(component, limits)?, codegen)
    }

    /// What a function is made of: its last is what is called.
    pub(crate) fn open_bundle(bundle: &Bundle, codegen: Codegen) -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.path().to_owned(),
            compiler: Compiler::InProcess(codegen),
            limits: Limits::default(),
            host_limits: HostLimits {
                calls_max: 1,
                queue_max: 1,
                instances_max: NonZeroU32::MIN,
                // Each call is to run.
                remembered_bytes_max: 0,
                ..HostLimits::default()
            },
            signer: None,
            verify_share: 0.0,
            alarm: |_| {},
        })?;
        let mut called = None;
        for Part { name, content, limits } in bundle.parts() {
            let settings = Settings { limits: limits.clone(), ..Settings::default() };
            let record = match content {
                Content::Component(component) => {
                    let deploy =
                        runtime.deploy(name.clone(), component.clone(), settings, Followers::MustFit);
                    executor.block_on(deploy).map_err(explained)?
                }
                Content::Pipeline(pipeline) => {
                    runtime.deploy_pipeline(name, pipeline, &settings, Followers::MustFit)?
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

    /// What there is to know of it.
    pub(crate) fn record(&self) -> &VersionRecord {
        &self.function.record
    }

    /// Calls it once, with an input as typed.
    pub(crate) fn call(&self, input: &Input) -> Called {
        let body = Bytes::from(input.body.clone());
        let request = match self.function.record.description.form {
            Form::Typed | Form::Raw => Request::Payload { media_type: input.media_type.clone(), body },
            Form::Http => Request::Http(Arc::new(whole_request(input, body))),
        };
        self.call_with(request, Prefer::AsSent)
    }

    /// Calls it once.
    pub(crate) fn call_with(&self, request: Request, prefer: Prefer) -> Called {
        let directives = CacheDirectives::default();
        self.executor.block_on(self.shard.call(&self.function, request, prefer, directives))
    }
}

/// A deploy that came to nothing; where the component ran, with where it was and what to do.
fn explained(error: DeployError) -> anyhow::Error {
    if let DeployError::Import(InvalidImport::Unknown { name }) = &error {
        let hint =
            "deploy it, with `nebula deploy`, to a server that has what it imports, and call it by its name";
        let message =
            format!("it imports the function `{name}`, which only a server links in: here there is none");
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

/// What a function of the http form sees of `POST /`.
fn whole_request(input: &Input, body: Bytes) -> http::Request<Bytes> {
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
    let media_type = input.media_type.as_ref().and_then(|text| http::HeaderValue::try_from(text).ok());
    if let Some(media_type) = media_type {
        headers.insert(http::header::CONTENT_TYPE, media_type);
    }
    request
}

/// Reads a component file.
pub(crate) fn read_component(path: &Path) -> anyhow::Result<Bytes> {
    let bytes = std::fs::read(path).map_err(|error| {
        let hint = "`nebula build` writes components below `target/wasm32-wasip2/release/`";
        anyhow::Error::new(error).context(hinted(format!("cannot read `{}`", path.display()), hint))
    })?;
    Ok(bytes.into())
}
