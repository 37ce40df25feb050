//! Nebula's runtime inside this process. Only this module opens and calls the runtime.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use bytes::Bytes;
use nebula_runtime::id::{FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::{
    Answer, CacheDirectives, CallOutcome, Codegen, Compiler, Followers, Prefer, Request, RoutedFunction,
    Runtime, RuntimeConfig, Settings, Shard,
};

use crate::prepare::BODY;

/// A runtime and the shard of one calling thread, like that of a serving thread.
pub(crate) struct InProcess {
    runtime: Runtime,
    shard: Shard,
    executor: tokio::runtime::Runtime,
}

impl InProcess {
    /// Opens a data directory without a cache.
    ///
    /// # Errors
    /// Returns an error if the runtime can't be opened.
    pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(data_dir, 0)
    }

    /// Opens a data directory with a cache of the default size, for calls from one thread.
    ///
    /// # Errors
    /// Returns an error if the runtime can't be opened.
    pub(crate) fn open_with_cache(data_dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(data_dir, HostLimits::default().cache_bytes_max)
    }

    fn open_with(data_dir: &Path, cache_bytes_max: u64) -> anyhow::Result<Self> {
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.to_owned(),
            compiler: Compiler::InProcess(Codegen::Optimised),
            limits: Limits::default(),
            // A small pool is enough, because these calls run one at a time; tools such as valgrind
            // don't support a large address space.
            host_limits: HostLimits {
                calls_max: 1,
                instances_max: NonZeroU32::MIN.saturating_add(1),
                cache_bytes_max,
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

    /// Opens a shard of the same runtime for another thread.
    ///
    /// # Errors
    /// Returns an error if the shard can't be created.
    pub(crate) fn for_another_thread(&self) -> anyhow::Result<Self> {
        Self::of(self.runtime.clone())
    }

    /// Deploys a component with the host's limits.
    ///
    /// # Errors
    /// Returns an error if the runtime refuses the component.
    pub(crate) fn deploy(&self, name: &str, component: Bytes) -> anyhow::Result<()> {
        self.deploy_all([(name.to_owned(), component)])
    }

    /// Deploys several components, as many at once as the runtime allows.
    ///
    /// # Errors
    /// Returns an error if the runtime refuses a component.
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

    /// Deploys a pipeline with the host's limits.
    ///
    /// # Errors
    /// Returns an error if the runtime refuses the pipeline.
    pub(crate) fn deploy_pipeline(&self, name: &str, description: &str) -> anyhow::Result<()> {
        let (name, pipeline) = (name.parse()?, serde_json::from_str(description)?);
        self.runtime.deploy_pipeline(&name, &pipeline, &Settings::default().into(), Followers::MustFit)?;
        Ok(())
    }

    /// Finds the current version of a function.
    ///
    /// # Errors
    /// Returns an error if the function isn't deployed.
    pub(crate) fn resolve(&self, name: &str) -> anyhow::Result<Arc<RoutedFunction>> {
        let current = FunctionRef { name: name.parse()?, selector: Selector::Current };
        Ok(self.executor.block_on(self.shard.find(&current))?)
    }

    /// Calls an echo with [`BODY`].
    pub(crate) fn call(&self, function: &Arc<RoutedFunction>) -> CallOutcome {
        self.call_with(function, BODY)
    }

    /// Calls a function with any body.
    pub(crate) fn call_with(&self, function: &Arc<RoutedFunction>, body: &'static [u8]) -> CallOutcome {
        let request = Request::Payload { media_type: None, body: Bytes::from_static(body) };
        self.executor.block_on(self.shard.call(function, request, Prefer::AsSent, CacheDirectives::default()))
    }

    /// Does the work that a serving thread does after writing its answers, before it sleeps.
    pub(crate) fn tidy(&self) {
        self.shard.tidy();
    }
}

/// Checks that an echo returned [`BODY`].
///
/// # Errors
/// Returns an error if it didn't.
pub(crate) fn check(outcome: &CallOutcome) -> anyhow::Result<()> {
    match &outcome.result {
        Ok(Answer::Value(content)) if content.body == BODY => Ok(()),
        result => bail!("wrong answer: {result:?}"),
    }
}
