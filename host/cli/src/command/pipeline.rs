//! `nebula pipeline check | deploy | show`: functions composed of functions.

use std::path::Path;

use anyhow::Context;
use nebula_diagram::Colours;
use nebula_http::wire::StepView;
use nebula_runtime::Followers;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::pipeline::Pipeline;

use super::deploy::pipelines_only;
use super::functions::{name_of, print_deployed};
use crate::args::{self, DeployPipeline, PipelineFile, SettingsArgs, ShowPipeline};
use crate::client::Client;
use crate::failure::Failure;
use crate::hints::guide;
use crate::report::{hinted, json, line, text};

pub(crate) fn run(pipeline: &args::Pipeline) -> anyhow::Result<()> {
    match pipeline {
        args::Pipeline::Check(file) => check(file),
        args::Pipeline::Deploy(deploy) => self::deploy(deploy),
        args::Pipeline::Show(show) => self::show(show),
    }
}

/// Reads the description in a file.
fn read(path: &Path) -> anyhow::Result<Pipeline> {
    let content =
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let is_toml = path.extension().is_some_and(|end| end == "toml");
    let parsed = if is_toml {
        toml::from_str(&content).map_err(anyhow::Error::new)
    } else {
        serde_json::from_str(&content).map_err(anyhow::Error::new)
    };
    parsed.map_err(|error| {
        let message = format!("`{}` is not a pipeline description", path.display());
        error.context(hinted(message, concat!("the format is described in ", guide!("pipelines.md"))))
    })
}

fn name(file: &PipelineFile) -> anyhow::Result<nebula_runtime::id::FunctionName> {
    match &file.name {
        Some(name) => Ok(name.clone()),
        None => name_of(&file.file),
    }
}

/// Returns whether a file is the configuration of a project.
fn is_config(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "nebula.toml")
}

/// Refuses options of one pipeline, when those of a project are given.
fn refuse_options(file: &PipelineFile, settings: &SettingsArgs) -> anyhow::Result<()> {
    if file.name.is_none() && !settings.any() {
        return Ok(());
    }
    let message = "names and settings of a project's pipelines are in its `nebula.toml`";
    Err(Failure::usage(message, "leave out these options, or give a pipeline's file").into())
}

fn check(file: &PipelineFile) -> anyhow::Result<()> {
    if is_config(&file.file) {
        refuse_options(file, &SettingsArgs::default())?;
        return pipelines_only(&file.remote, &file.file, true, Followers::MayStay);
    }
    let (pipeline, name) = (read(&file.file)?, name(file)?);
    let checked = Client::new(&file.remote)
        .check_pipeline(&name, &pipeline)
        .with_context(|| format!("`{}` can't be deployed", file.file.display()))?;
    if file.remote.json {
        return json(&checked);
    }
    line(format!("{name}: {} -> {}", checked.view.takes, checked.view.gives))
}

fn deploy(deploy: &DeployPipeline) -> anyhow::Result<()> {
    let file = &deploy.file;
    let followers = deploy.followers.followers();
    if is_config(&file.file) {
        refuse_options(file, &deploy.settings)?;
        return pipelines_only(&file.remote, &file.file, false, followers);
    }
    let (pipeline, name) = (read(&file.file)?, name(file)?);
    let client = Client::new(&file.remote);
    let record = client
        .deploy_pipeline(&name, &pipeline, &deploy.settings.update(), followers)
        .with_context(|| format!("cannot deploy `{}`", file.file.display()))?;
    if file.remote.json {
        return json(&record);
    }
    print_deployed(&client, &record)
}

fn show(show: &ShowPipeline) -> anyhow::Result<()> {
    let client = Client::new(&show.remote);
    let path = Path::new(&show.pipeline);
    let is_file = path.extension().is_some_and(|end| end == "json" || end == "toml");
    let (title, view) = if is_file {
        let name = name_of(path)?;
        (name.to_string(), client.check_pipeline(&name, &read(path)?)?.view)
    } else {
        let reference: FunctionRef = show.pipeline.parse().map_err(|error| {
            let hint = "name a deployed pipeline, or a description that ends in `.json` or `.toml`";
            Failure::usage(format!("{error}"), hint)
        })?;
        let detail = client.pipeline(&reference).with_context(|| format!("cannot show `{reference}`"))?;
        if show.remote.json {
            return json(&detail);
        }
        (format!("{}@{}", detail.version.name, detail.version.version), detail.view)
    };
    print(show, &title, view)
}

fn print(show: &ShowPipeline, title: &str, view: StepView) -> anyhow::Result<()> {
    if show.remote.json {
        return json(&view);
    }
    let view = view.into();
    if show.svg {
        text(nebula_diagram::svg(title, &view, Colours::Own))
    } else {
        line(format!("{title}\n\n{}", nebula_diagram::text(&view).trim_end()))
    }
}
