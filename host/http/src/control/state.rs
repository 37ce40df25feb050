//! The state that handlers extract.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRef;
use bytes::Bytes;
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, Selector};
use nebula_runtime::{
    DeployError, ExplainError, Explanation, Followers, Import, ImportError, ImportedFunction, Precondition,
    Prefer, ProjectChange, ProjectDeploy, ProjectError, Request, Runtime, SettingsUpdate, UploadError,
    VersionRecord,
};
use nebula_telemetry::trace::Scope;
use tokio::task::spawn_blocking;
use tracing::Span;

use super::access::Access;
use super::browser::ConsoleHosts;
use super::calls_url::CallsUrl;
use super::refusal::{AsProblem, Refusal};
use super::routes::Operations;
use crate::data::relay::CallRelay;
use crate::metrics::{Format, Metrics};
use crate::status;

/// The state that handlers extract.
#[derive(Clone)]
pub(super) struct ControlState {
    pub(super) runtime: BlockingRuntime,
    pub(super) access: BlockingAccess,
    pub(super) operations: Arc<Operations>,
    pub(super) calls_url: CallsUrl,
    pub(super) console_hosts: ConsoleHosts,
    pub(super) calls: CallRelay,
    pub(super) metrics: BlockingMetrics,
    pub(super) experiment: BlockingExperiment,
}

/// The metrics, read only on the blocking pool, because some of them are on disk.
#[derive(Clone)]
pub(super) struct BlockingMetrics(Arc<Metrics>);

impl BlockingMetrics {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }

    /// Writes all metrics.
    pub(super) async fn encode(&self, format: Format) -> Result<String, Refusal<Infallible>> {
        let written = self.run(move |metrics| Ok(metrics.encode(format))).await?;
        written.map_err(|error| Refusal::new(status::internal(&error)))
    }

    /// Runs `work` on the blocking pool.
    ///
    /// # Cancel safety
    /// Dropping the future doesn't stop `work` once it has started.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Metrics) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal<E>>
    where
        T: Send + 'static,
        E: AsProblem + Send + 'static,
    {
        let metrics = Arc::clone(&self.0);
        run_blocking(move || work(&metrics)).await
    }
}

/// The directory of the experiment that the server shows, if there is one, reachable only through
/// the blocking pool.
#[derive(Clone)]
pub(super) struct BlockingExperiment(Option<Arc<Path>>);

impl BlockingExperiment {
    pub(super) fn new(directory: Option<&Path>) -> Self {
        Self(directory.map(Into::into))
    }

    /// Returns whether there is one.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Runs `work` on the blocking pool.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(Option<&Path>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal<E>>
    where
        T: Send + 'static,
        E: AsProblem + Send + 'static,
    {
        let directory = self.0.clone();
        run_blocking(move || work(directory.as_deref())).await
    }
}

/// The runtime, reachable only through the blocking pool.
///
/// The plane has one thread for all its connections. The runtime reads files and its database, and
/// a handler that did so on that thread would stall every other request. So the runtime is private
/// here.
#[derive(Clone)]
pub(super) struct BlockingRuntime(Runtime);

impl BlockingRuntime {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self(runtime)
    }

    /// Runs `work` on the blocking pool.
    ///
    /// # Cancel safety
    /// Dropping the future doesn't stop `work` once it has started.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Runtime) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal<E>>
    where
        T: Send + 'static,
        E: AsProblem + Send + 'static,
    {
        let runtime = self.0.clone();
        run_blocking(move || work(&runtime)).await
    }

    /// Deploys a component. The runtime moves this work to the blocking pool itself.
    pub(super) async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, Refusal<DeployError>> {
        Ok(self.0.deploy_if(name, component, settings, followers, precondition).await?)
    }

    /// Stores a component for a later deploy of a project. The runtime moves this work to the
    /// blocking pool itself.
    pub(super) async fn upload(&self, digest: Digest, component: Bytes) -> Result<(), Refusal<UploadError>> {
        Ok(self.0.upload(digest, component).await?)
    }

    /// Deploys a project. The runtime moves this work to the blocking pool itself.
    pub(super) async fn deploy_project(
        &self,
        deploy: ProjectDeploy,
    ) -> Result<Vec<ProjectChange>, Refusal<ProjectError>> {
        Ok(self.0.deploy_project(deploy).await?)
    }

    /// Imports functions. The runtime moves this work to the blocking pool itself.
    pub(super) async fn import(&self, import: Import) -> Result<Vec<ImportedFunction>, Refusal<ImportError>> {
        Ok(self.0.import(import).await?)
    }

    /// Makes a call and reports its steps. The call runs on the compute lane; the function is
    /// looked up on the blocking pool first, so that the lookup at its beginning finds it in
    /// memory.
    pub(super) async fn explain(
        &self,
        reference: FunctionRef,
        request: Request,
        prefer: Prefer,
    ) -> Result<Explanation, Refusal<ExplainError>> {
        let lookup = move |runtime: &Runtime| Ok::<_, ExplainError>(runtime.resolve(&reference)?);
        let record = &self.run(lookup).await?.record;
        let exact = FunctionRef { name: record.name.clone(), selector: Selector::Version(record.version) };
        Ok(self.0.explain(&exact, request, prefer).await?)
    }
}

/// The tokens that the plane accepts, reachable only through the blocking pool: a change waits for
/// the disk.
#[derive(Clone)]
pub(super) struct BlockingAccess(Access);

impl BlockingAccess {
    pub(super) fn new(access: Access) -> Self {
        Self(access)
    }

    /// Runs `work` on the blocking pool.
    ///
    /// # Cancel safety
    /// Dropping the future doesn't stop `work` once it has started.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Access) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal<E>>
    where
        T: Send + 'static,
        E: AsProblem + Send + 'static,
    {
        let access = self.0.clone();
        run_blocking(move || work(&access)).await
    }
}

async fn run_blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Refusal<E>>
where
    T: Send + 'static,
    E: AsProblem + Send + 'static,
{
    // Events and spans of the pool's thread belong to the request, too.
    let (span, scope) = (Span::current(), Scope::current());
    match spawn_blocking(move || span.in_scope(|| Scope::enter(scope, work))).await {
        Ok(worked) => Ok(worked?),
        // `work` panicked, or the server is shutting down.
        Err(error) => Err(Refusal::new(status::internal(&error))),
    }
}

impl FromRef<ControlState> for BlockingAccess {
    fn from_ref(state: &ControlState) -> Self {
        state.access.clone()
    }
}

impl FromRef<ControlState> for BlockingRuntime {
    fn from_ref(state: &ControlState) -> Self {
        state.runtime.clone()
    }
}

impl FromRef<ControlState> for Arc<Operations> {
    fn from_ref(state: &ControlState) -> Self {
        Arc::clone(&state.operations)
    }
}

impl FromRef<ControlState> for BlockingMetrics {
    fn from_ref(state: &ControlState) -> Self {
        state.metrics.clone()
    }
}

impl FromRef<ControlState> for CallRelay {
    fn from_ref(state: &ControlState) -> Self {
        state.calls.clone()
    }
}

impl FromRef<ControlState> for BlockingExperiment {
    fn from_ref(state: &ControlState) -> Self {
        state.experiment.clone()
    }
}

impl FromRef<ControlState> for CallsUrl {
    fn from_ref(state: &ControlState) -> Self {
        state.calls_url.clone()
    }
}
