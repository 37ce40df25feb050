//! The arguments of the commands that work on a project's sources.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::serve::Serve;
use super::settings::EnvironmentArgs;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Template {
    /// Types in, types out: one attribute on one function
    Typed,
    /// Bytes with a media type in and out
    Raw,
    /// Your own WIT world
    WitFirst,
    /// A wasi:http component
    Http,
    /// A directory for several functions and pipelines, with a first function
    Workspace,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct New {
    /// The directory to create; its name becomes the function's. Inside a workspace, the function
    /// joins it
    pub(crate) path: PathBuf,
    /// The kind of function
    #[arg(long, value_enum, default_value_t = Template::Typed)]
    pub(crate) template: Template,
    /// The directory of the guest SDK's source, instead of a copy of the one in this binary
    #[arg(long, env = "NEBULA_SDK")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Add {
    /// The function's name
    pub(crate) name: String,
    /// The kind of function
    #[arg(long, value_enum, default_value_t = Template::Typed)]
    pub(crate) template: Template,
    /// The directory of the guest SDK's source, instead of the project's
    #[arg(long, env = "NEBULA_SDK")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sdk {
    /// Replace the project's copy of the SDK by the one in this binary
    Update(SdkUpdateArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SdkUpdateArgs {
    /// A directory in the project
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Overwrite local edits and newer versions
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Build {
    /// A function's directory, a workspace of them, or a directory inside
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Build with `cargo component` instead of plain cargo
    #[arg(long)]
    pub(crate) cargo_component: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) build: Build,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// Don't rebuild on changes
    #[arg(long)]
    pub(crate) no_watch: bool,
    /// Don't print calls and what functions print
    #[arg(long)]
    pub(crate) quiet: bool,
}
