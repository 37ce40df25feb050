//! `nebula up`: builds, deploys and serves a project, and rebuilds it on every change.
//!
//! ```text
//! listen -> build -> deploy -> serve
//!             ^                  |  (on a thread of its own, while requests go on)
//!             +---- a change ----+
//! ```
//!
//! Invariant: a failed build or deploy changes nothing; the deployed versions keep serving.
//!
//! `watch` notices changes by comparing `snapshot`s, `calls` prints each call, `example` prints a
//! call of each function to copy.

mod calls;
mod example;
mod snapshot;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use nebula_runtime::id::FunctionName;
use nebula_runtime::{Followers, Runtime, VersionRecord, imported_functions};

use self::calls::print_calls;
use self::example::example;
use self::watch::ProjectWatcher;
use super::build;
use super::serve::{self, Addresses};
use crate::args::{Serve, Up};
use crate::data_dir;
use crate::local::read_component;
use crate::logging::{CallEvents, ServerLog};
use crate::project::{Built, PipelineConfig, Project};
use crate::report::{self, line, note};
use crate::traces::Traces;

pub(crate) fn run(up: &Up) -> anyhow::Result<()> {
    let calls = if up.quiet { CallEvents::Logged } else { CallEvents::Printed };
    let log = ServerLog::start(&up.serve.log, calls)?;
    let path = &up.build.path;
    let data_dir = data_dir::to_serve(&up.serve.data_dir, path)?;
    let traces = Traces::start()?;
    let arguments = Serve { data_dir, ..up.serve.clone() };
    let (runtime, mut server) = serve::open(&arguments)?;
    traces.observe(&mut server);
    if !up.quiet {
        print_calls(&runtime, &mut server, log.stderr());
    }
    log.observe(&mut server);
    serve::collect_garbage(runtime.clone())?;
    let project = Project::open(path, up.environment.env.as_deref())?;
    let builder = build::builder(&up.build);
    let watcher = (!up.no_watch).then(|| ProjectWatcher::before_build(&project, builder));
    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    let rebuild = move |project: &Project| -> anyhow::Result<Vec<Deployed>> {
        let outcome = project.build(builder)?;
        let deployed = deploy_all(&executor, &runtime, outcome.built);
        let pipelines = deploy_pipelines(&runtime, project.pipelines());
        anyhow::ensure!(outcome.complete, "the build failed; the deployed versions keep serving");
        let mut deployed = deployed?;
        deployed.extend(pipelines?);
        Ok(deployed)
    };
    let first = rebuild(&project);
    let failed = first.is_err();
    let deployed = match first {
        Ok(deployed) => deployed,
        Err(error) if up.no_watch => return Err(error),
        Err(error) => {
            report::error(&error);
            Vec::new()
        }
    };
    if let Some(watcher) = watcher {
        note(format!("watching `{}` for changes", project.root.display()));
        std::thread::Builder::new()
            .name("nebula-watch".to_owned())
            .spawn(move || watcher.run(project, failed, rebuild))
            .context("cannot start a thread")?;
    }
    let (addresses, access) = (Addresses::of(&server), server.access());
    let outcome = serve::run_until_stopped(server, Duration::ZERO, || {
        // Made now, because it works for some minutes only, and a first build may take longer.
        let code = access.sign_in_code().context("no random bytes for a sign-in link")?;
        addresses.print(Some(&code))?;
        addresses.log(&arguments);
        for Deployed { record, directory } in &deployed {
            line(example(record, directory, addresses.data))?;
        }
        Ok(())
    });
    traces.stop();
    outcome
}

/// A deployed function or pipeline.
struct Deployed {
    record: VersionRecord,
    /// The directory of its sample.
    directory: PathBuf,
}

/// A function that waits for the functions it imports.
struct Waiting {
    built: Built,
    component: anyhow::Result<Bytes>,
    imports: Vec<FunctionName>,
}

/// Deploys the functions, imported ones first. A refused one doesn't prevent the others: its error
/// is reported, the last one returned.
fn deploy_all(
    executor: &tokio::runtime::Runtime,
    runtime: &Runtime,
    mut built: Vec<Built>,
) -> anyhow::Result<Vec<Deployed>> {
    built.sort_by(|a, b| a.name.cmp(&b.name));
    let mut waiting = Vec::new();
    for built in built {
        let component = read_component(&built.component);
        let imports = component.as_deref().map(imported_functions).unwrap_or_default();
        waiting.push(Waiting { built, component, imports });
    }
    let mut refused = None;
    let mut deployed = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |name: &FunctionName| waiting.iter().any(|waiting| waiting.built.name == *name);
        // In a cycle every function waits; the deploy refuses the first one.
        let is_free = |waiting: &Waiting| !waiting.imports.iter().any(is_waiting);
        let at = waiting.iter().position(is_free).unwrap_or(0);
        let Waiting { built, component, .. } = waiting.remove(at);
        match executor.block_on(deploy(runtime, &built, component)) {
            Ok(record) => {
                note(format!("{} {} {}", record.name, record.version, record.description.signature));
                deployed.push(Deployed { record, directory: built.directory });
            }
            Err(error) => {
                if let Some(before) =
                    refused.replace(error.context(format!("cannot deploy `{}`", built.name)))
                {
                    report::error(&before);
                }
            }
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(deployed),
    }
}

/// Deploys the pipelines, called ones first. Errors are handled as by [`deploy_all`].
fn deploy_pipelines(runtime: &Runtime, pipelines: &[PipelineConfig]) -> anyhow::Result<Vec<Deployed>> {
    let mut waiting: Vec<_> = pipelines.iter().collect();
    let (mut deployed, mut refused) = (Vec::new(), None);
    while !waiting.is_empty() {
        let is_free = |pipeline: &&PipelineConfig| !waiting.iter().any(|other| pipeline.calls(&other.name));
        // In a cycle every pipeline waits; the deploy refuses the first one.
        let at = waiting.iter().position(is_free).unwrap_or(0);
        let PipelineConfig { name, directory, pipeline, settings } = waiting.remove(at);
        let outcome = runtime.deploy_pipeline(name, pipeline, &settings.clone().into(), Followers::MayStay);
        match outcome {
            Ok(record) => {
                note(format!("{} {} {}", record.name, record.version, record.description.signature));
                deployed.push(Deployed { record, directory: directory.clone() });
            }
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("cannot deploy the pipeline `{name}`"));
                if let Some(before) = refused.replace(error) {
                    report::error(&before);
                }
            }
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(deployed),
    }
}

async fn deploy(
    runtime: &Runtime,
    built: &Built,
    component: anyhow::Result<Bytes>,
) -> anyhow::Result<VersionRecord> {
    let deploying =
        runtime.deploy(built.name.clone(), component?, built.settings.clone(), Followers::MayStay);
    Ok(deploying.await?)
}
