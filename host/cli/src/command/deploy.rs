//! `nebula deploy`: a component, or all functions and pipelines of a project.
//!
//! ```text
//! project --build--> components --(those that the server lacks are uploaded)--> one change
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use nebula_http::wire::{ProjectChange, ProjectChangeKind, ProjectFunction, ProjectReport, ProjectRequest};
use nebula_runtime::id::{Digest, ProjectName};
use nebula_runtime::{Settings, SettingsUpdate};

use super::apply::{spinner, with_uploads};
use super::functions::{name_of, print_deployed};
use crate::args::{self, Remote};
use crate::client::Client;
use crate::failure::Failure;
use crate::local::read_component;
use crate::project::{Builder, ComponentConfig, Project, project_pipelines};
use crate::report::{json, line, note};

pub(crate) fn run(deploy: &args::Deploy) -> anyhow::Result<()> {
    if deploy.path.is_dir() { deploy_project(deploy) } else { deploy_component(deploy) }
}

fn deploy_component(deploy: &args::Deploy) -> anyhow::Result<()> {
    if deploy.dry_run || deploy.prune || deploy.project.is_some() || deploy.cargo_component {
        let message = "`--dry-run`, `--prune`, `--project` and `--cargo-component` are for projects";
        return Err(Failure::usage(message, "give the directory of a project").into());
    }
    let path = &deploy.path;
    let component = read_component(path)?;
    let config = ComponentConfig::beside(path, deploy.environment.env.as_deref())?;
    let name = match deploy.name.clone().or(config.name) {
        Some(name) => name,
        None => name_of(path)?,
    };
    let settings = match config.settings {
        Some(settings) => {
            note("note: uses the settings in the `nebula.toml` beside the component");
            SettingsUpdate::from(settings).then(&deploy.settings.update())
        }
        None => deploy.settings.update(),
    };
    let progress = spinner(format!("compiling `{name}`"));
    let client = Client::new(&deploy.remote);
    let record = client.deploy(&name, &component, &settings, deploy.followers.followers());
    progress.finish_and_clear();
    let record = record.with_context(|| format!("cannot deploy `{}`", path.display()))?;
    for line in &record.notes {
        note(format!("note: {line}"));
    }
    if deploy.remote.json {
        return json(&record);
    }
    print_deployed(&client, &record)
}

fn deploy_project(deploy: &args::Deploy) -> anyhow::Result<()> {
    if deploy.name.is_some() || deploy.settings.any() {
        let message = "names and settings of a project's functions are in its `nebula.toml`";
        return Err(Failure::usage(message, "leave out these options, or give a component file").into());
    }
    let project = Project::open(&deploy.path, deploy.environment.env.as_deref())?;
    if deploy.prune && deploy.project.is_none() && !project.is_named() {
        let message =
            "`--prune` needs a project with a name of its own: other directories may have this one's";
        let hint = "put `project = \"NAME\"` into its `nebula.toml`, or give `--project`";
        return Err(Failure::usage(message, hint).into());
    }
    let name = match &deploy.project {
        Some(name) => name.clone(),
        None => project.name()?,
    };
    let builder = if deploy.cargo_component { Builder::CargoComponent } else { Builder::Cargo };
    let outcome = project.build(builder)?;
    anyhow::ensure!(outcome.complete, "the build failed; nothing was deployed");
    let mut functions = BTreeMap::new();
    let mut components = HashMap::new();
    for built in outcome.built {
        let component = read_component(&built.component)?;
        let digest = Digest::of(&component);
        let Settings { limits, cache, config, cors, routes, hosts } = built.settings;
        let function = ProjectFunction {
            component: digest,
            limits: limits.into(),
            cache: cache.into(),
            config,
            cors: cors.map(Into::into),
            routes,
            hosts,
        };
        functions.insert(built.name, function);
        components.insert(digest, component);
    }
    let request = ProjectRequest {
        functions,
        pipelines: project.pipelines().iter().map(crate::project::PipelineConfig::to_wire).collect(),
        prune: deploy.prune,
        dry_run: deploy.dry_run,
        followers: deploy.followers.followers().into(),
    };
    let report = send(&deploy.remote, &name, &request, &components)
        .with_context(|| format!("cannot deploy the project `{name}`"))?;
    print(&deploy.remote, &report)
}

/// Checks or deploys the pipelines in a `nebula.toml`, as `nebula deploy` of the project would.
pub(super) fn pipelines_only(
    remote: &Remote,
    config: &Path,
    dry_run: bool,
    followers: nebula_runtime::Followers,
) -> anyhow::Result<()> {
    let found = project_pipelines(config)?;
    let pipelines = found.pipelines.iter().map(crate::project::PipelineConfig::to_wire).collect();
    let request =
        ProjectRequest { pipelines, dry_run, followers: followers.into(), ..ProjectRequest::default() };
    let report = send(remote, &found.project, &request, &HashMap::new())
        .with_context(|| format!("the pipelines in `{}` can't be deployed", config.display()))?;
    print(remote, &report)
}

/// Deploys the project, and uploads the components that the server asks for.
fn send(
    remote: &Remote,
    project: &ProjectName,
    request: &ProjectRequest,
    components: &HashMap<Digest, Bytes>,
) -> anyhow::Result<ProjectReport> {
    let client = Client::new(remote);
    let component = |digest: &Digest| components.get(digest).cloned().context("it isn't in the project");
    let names = |digest: &Digest| {
        let names = request.functions.iter().filter(|(_, function)| function.component == *digest);
        names.map(|(name, _)| name.clone()).collect()
    };
    with_uploads(&client, || client.deploy_project(project, request), component, names)
}

fn print(remote: &Remote, report: &ProjectReport) -> anyhow::Result<()> {
    if remote.json {
        return json(report);
    }
    let width = report.changes.iter().map(|change| change.name.as_str().len()).max().unwrap_or(0);
    for change in &report.changes {
        line(text_of(change, width))?;
        for note in &change.notes {
            line(format!("    {note}"))?;
        }
    }
    let has_changed = |change: &ProjectChange| {
        !matches!(change.change, ProjectChangeKind::Unchanged | ProjectChangeKind::Kept)
    };
    let changed = report.changes.iter().filter(|change| has_changed(change)).count();
    note(match (report.dry_run, changed) {
        (true, _) => format!("dry run of `{}`: nothing was changed", report.project),
        (false, 0) => format!("`{}` is deployed as it is", report.project),
        (false, _) => match Client::new(remote).function_url(&"NAME") {
            Ok(url) => format!("deployed `{}`: {url}", report.project),
            // The deploy succeeded all the same.
            Err(_) => format!("deployed `{}`", report.project),
        },
    });
    Ok(())
}

/// Returns the line of a change: its kind, the name, the versions and the signature.
fn text_of(change: &ProjectChange, width: usize) -> String {
    let kind = match change.change {
        ProjectChangeKind::New => "new",
        ProjectChangeKind::Changed => "changed",
        ProjectChangeKind::Follows => "follows",
        ProjectChangeKind::Unchanged => "unchanged",
        ProjectChangeKind::Removed => "removed",
        ProjectChangeKind::Kept => "kept",
    };
    let name = change.name.as_str();
    let versions = match (change.before, change.version) {
        (Some(before), Some(version)) => format!("{before} -> {version}"),
        (None, Some(version)) => version.to_string(),
        (_, None) => String::new(),
    };
    let about = match (&change.signature, change.called_by.as_slice()) {
        (Some(signature), _) => signature.clone(),
        (None, []) => String::new(),
        (None, by) => {
            let by: Vec<_> = by.iter().map(|name| format!("`{name}`")).collect();
            format!("versions of {} call it", by.join(", "))
        }
    };
    format!("{kind:9}  {name:width$}  {versions:10}  {about}").trim_end().to_owned()
}
