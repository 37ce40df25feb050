//! Nebula's runtime inside this process: the one place that knows how it is opened and called.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use bytes::Bytes;
use nebula_runtime::id::{FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::{
    Answer, CacheDirectives, Called, Codegen, Compiler, Followers, Met, Prefer, Request, Runtime,
    RuntimeConfig, Settings, Shard,
};

use crate::prepare::BODY;

/// A runtime, and what one thread that calls it has to itself, as a serving thread does.
pub(crate) struct InProcess {
    runtime: Runtime,
    shard: Shard,
    executor: tokio::runtime::Runtime,
}

impl InProcess {
    /// Opens a data directory.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Self> {
        // Every call is to run.
        Self::open_with(data_dir, 0)
    }

    /// Likewise, remembering results as a server does unless told otherwise.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn open_remembering(data_dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(data_dir, HostLimits::default().remembered_bytes_max)
    }

    fn open_with(data_dir: &Path, remembered_bytes_max: u64) -> anyhow::Result<Self> {
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.to_owned(),
            compiler: Compiler::InProcess(Codegen::Optimised),
            limits: Limits::default(),
            // A small pool: these calls come one at a time, and tools that watch a process choke on address
            // space.
            host_limits: HostLimits {
                calls_max: 1,
                instances_max: NonZeroU32::MIN.saturating_add(1),
                remembered_bytes_max,
                ..HostLimits::default()
            },
            signer: None,
            verify_share: 0.0,
            alarm: |_| {},
        })?;
        Self::of(runtime)
    }

    fn of(runtime: Runtime) -> anyhow::Result<Self> {
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { shard: Shard::new(runtime.clone())?, runtime, executor })
    }

    /// The same runtime for another thread.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn for_another_thread(&self) -> anyhow::Result<Self> {
        Self::of(self.runtime.clone())
    }

    /// Deploys a component under the host's limits.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn deploy(&self, name: &str, component: Bytes) -> anyhow::Result<()> {
        self.deploy_all([(name.to_owned(), component)])
    }

    /// Likewise several, as many at once as the runtime will.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn deploy_all(
        &self,
        functions: impl IntoIterator<Item = (String, Bytes)>,
    ) -> anyhow::Result<()> {
        self.executor.block_on(async {
            let mut deploys = tokio::task::JoinSet::new();
            for (name, component) in functions {
                let (runtime, name) = (self.runtime.clone(), name.parse()?);
                deploys.spawn(async move {
                    runtime.deploy(name, component, Settings::default(), Followers::MustFit).await
                });
            }
            while let Some(deployed) = deploys.join_next().await {
                deployed??;
            }
            Ok(())
        })
    }

    /// Deploys a pipeline under the host's limits.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn deploy_pipeline(&self, name: &str, description: &str) -> anyhow::Result<()> {
        let (name, pipeline) = (name.parse()?, serde_json::from_str(description)?);
        self.runtime.deploy_pipeline(&name, &pipeline, &Settings::default(), Followers::MustFit)?;
        Ok(())
    }

    /// A function's current version.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn resolve(&self, name: &str) -> anyhow::Result<Arc<Met>> {
        let current = FunctionRef { name: name.parse()?, selector: Selector::Current };
        Ok(self.executor.block_on(self.shard.find(&current))?)
    }

    /// Calls an echo with the usual body.
    pub(crate) fn call(&self, function: &Arc<Met>) -> Called {
        self.call_with(function, BODY)
    }

    /// Calls with another body.
    pub(crate) fn call_with(&self, function: &Arc<Met>, body: &'static [u8]) -> Called {
        let request = Request::Payload { media_type: None, body: Bytes::from_static(body) };
        self.executor.block_on(self.shard.call(function, request, Prefer::AsSent, CacheDirectives::default()))
    }

    /// What a serving thread does once its answers are on the wire and it is about to sleep.
    pub(crate) fn tidy(&self) {
        self.shard.tidy();
    }
}

/// Whether an echo answered what it was sent; the usual body.
///
/// # Errors
/// When it didn't.
pub(crate) fn check(called: &Called) -> anyhow::Result<()> {
    match &called.result {
        Ok(Answer::Value(content)) if content.body == BODY => Ok(()),
        result => bail!("wrong answer: {result:?}"),
    }
}
