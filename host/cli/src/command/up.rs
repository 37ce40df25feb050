//! `nebula up`: build, deploy, serve, and do it again on every change.
//!
//! ```text
//! listen -> build -> deploy -> serve
//!             ^                  |  (in a thread of its own: requests go on)
//!             +---- a change ----+
//! ```
//!
//! A build or a deploy that fails changes nothing: what was deployed goes on serving.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use nebula_runtime::id::FunctionName;
use nebula_runtime::{Followers, Form, Runtime, VersionRecord, imported_functions};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::{build, serve};
use crate::args::Up;
use crate::input::media_type_of;
use crate::local::read_component;
use crate::project::{Built, PipelineConfig, Project};
use crate::report::{self, note};

/// How long nothing may change before what did is built.
const SETTLE: Duration = Duration::from_millis(200);

/// A sample that is at most this long is shown in the call itself, bytes.
const INLINE_BYTES_MAX: usize = 60;

pub(crate) fn run(up: &Up) -> anyhow::Result<()> {
    let (runtime, server) = serve::open(&up.serve)?;
    serve::collect_garbage(runtime.clone())?;
    let project = Project::open(&up.build.path)?;
    let builder = build::builder(&up.build);
    let executor = tokio::runtime::Builder::new_current_thread().build()?;
    let rebuild = move |project: &Project| -> anyhow::Result<Vec<Deployed>> {
        let outcome = project.build(builder)?;
        let deployed = deploy_all(&executor, &runtime, outcome.built);
        let pipelines = deploy_pipelines(&runtime, project.pipelines());
        anyhow::ensure!(outcome.complete, "the build failed: what was deployed before goes on serving");
        let mut deployed = deployed?;
        deployed.extend(pipelines?);
        Ok(deployed)
    };
    let deployed = match rebuild(&project) {
        Ok(deployed) => deployed,
        Err(error) if up.no_watch => return Err(error),
        Err(error) => {
            report::error(&error);
            Vec::new()
        }
    };
    serve::say_addresses(&server)?;
    for deployed in &deployed {
        println!("{}", example(deployed, server.data_address()));
    }
    if !up.no_watch {
        let path = up.build.path.clone();
        let watching = Watching::start(&project)?;
        note(format!("watching `{}` for changes", project.directory.display()));
        std::thread::Builder::new()
            .name("nebula-watch".to_owned())
            .spawn(move || watching.run(project, &path, rebuild))
            .context("cannot start a thread")?;
    }
    serve::run_until_stopped(server)
}

/// A function or pipeline that was deployed.
struct Deployed {
    record: VersionRecord,
    /// Where its sample is.
    directory: PathBuf,
}

/// Deploys what was built, what others import first; what is refused is said, and doesn't keep the others back.
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
        waiting.push((built, component, imports));
    }
    let mut refused = None;
    let mut deployed = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |name: &FunctionName| waiting.iter().any(|(built, ..)| built.name == *name);
        // In a circle there is none; then whichever is first is refused.
        let at = waiting.iter().position(|(.., imports)| !imports.iter().any(is_waiting)).unwrap_or(0);
        let (built, component, _) = waiting.remove(at);
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

/// Deploys pipelines, those that others call first; what is refused is said, and doesn't keep the others back.
fn deploy_pipelines(runtime: &Runtime, pipelines: &[PipelineConfig]) -> anyhow::Result<Vec<Deployed>> {
    let mut waiting: Vec<_> = pipelines.iter().collect();
    let (mut deployed, mut refused) = (Vec::new(), None);
    while !waiting.is_empty() {
        let is_free = |pipeline: &&PipelineConfig| !waiting.iter().any(|other| pipeline.calls(&other.name));
        // In a circle there is none; then whichever is first is refused.
        let at = waiting.iter().position(is_free).unwrap_or(0);
        let PipelineConfig { name, directory, pipeline, settings } = waiting.remove(at);
        let outcome = runtime.deploy_pipeline(name, pipeline, settings, Followers::MayStay);
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

/// A call to copy, with the function's sample for an input.
fn example(deployed: &Deployed, address: SocketAddr) -> String {
    let url = format!("http://{address}/f/{}", deployed.record.name);
    let Some(input) = sample(&deployed.directory, "input") else { return format!("curl {url}") };
    let header = match media_type_of(&input) {
        Some(media_type) if !goes_unlabelled(&deployed.record, media_type) => {
            format!(" -H 'content-type: {media_type}'")
        }
        Some(_) | None => String::new(),
    };
    let inline = std::fs::read_to_string(&input)
        .ok()
        .map(|text| text.trim_end().to_owned())
        .filter(|text| text.len() <= INLINE_BYTES_MAX && !text.contains(['\'', '\n', '@']));
    let body = match inline {
        Some(text) => format!("-d '{text}'"),
        None => format!("--data-binary @{}", from_here(&input).display()),
    };
    // What a terminal couldn't show goes to a file.
    let output =
        sample(&deployed.directory, "output").filter(|output| std::fs::read_to_string(output).is_err());
    let output = output.and_then(|output| output.extension().map(|end| end.display().to_string()));
    let output = output.map_or_else(String::new, |end| format!(" -o {}.{end}", deployed.record.name));
    format!("curl{header} {body}{output} {url}")
}

/// Whether the function takes an input of this media type for what it is, also if nobody says so.
fn goes_unlabelled(record: &VersionRecord, media_type: &str) -> bool {
    let schema = record.description.input_schema.as_ref();
    let plain = schema.is_some_and(|schema| schema["type"] == "string");
    match record.description.form {
        Form::Typed if plain => media_type.starts_with("text/"),
        Form::Typed => media_type == "application/json",
        Form::Raw | Form::Http => false,
    }
}

/// The sample named `stem`, of whatever type.
fn sample(directory: &Path, stem: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory.join("sample")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_stem().is_some_and(|found| found == stem))
}

/// `path` as one would type it here.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// The files of a project, watched.
struct Watching {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<notify::Result<Event>>,
    watched: BTreeSet<PathBuf>,
}

impl Watching {
    fn start(project: &Project) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(sender).context("cannot watch for changes")?;
        let mut watching = Self { watcher, events, watched: BTreeSet::new() };
        watching.watch(&project.directory, RecursiveMode::NonRecursive)?;
        watching.follow(project);
        Ok(watching)
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> anyhow::Result<()> {
        self.watcher.watch(path, mode).with_context(|| format!("cannot watch `{}`", path.display()))
    }

    /// Watches the directories below the project's own, but for those that builds write.
    fn follow(&mut self, project: &Project) {
        let entries = std::fs::read_dir(&project.directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() && project.is_source(&path) && !self.watched.contains(&path) {
                match self.watch(&path, RecursiveMode::Recursive) {
                    Ok(()) => _ = self.watched.insert(path),
                    Err(error) => report::error(&error),
                }
            }
        }
    }

    fn run(
        mut self,
        mut project: Project,
        path: &Path,
        rebuild: impl Fn(&Project) -> anyhow::Result<Vec<Deployed>>,
    ) {
        while let Ok(event) = self.events.recv() {
            if !is_change(&project, event) {
                continue;
            }
            // Editors write a file in several steps, and people several files.
            while self.events.recv_timeout(SETTLE).is_ok() {}
            note("changed: building again");
            // Functions may have come, gone, or changed their limits.
            let rebuilt = Project::open(path).and_then(|reopened| {
                project = reopened;
                rebuild(&project)
            });
            match rebuilt {
                Ok(_) => note("up to date"),
                Err(error) => report::error(&error),
            }
            self.follow(&project);
        }
    }
}

/// Whether something happened to a source; reading one is nothing.
fn is_change(project: &Project, event: notify::Result<Event>) -> bool {
    match event {
        Ok(event) => !event.kind.is_access() && event.paths.iter().any(|path| project.is_source(path)),
        Err(error) => {
            note(format!("watching for changes failed: {error}"));
            false
        }
    }
}
