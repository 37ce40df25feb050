//! The arguments of the commands that change what is deployed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use nebula_runtime::Followers;
use nebula_runtime::id::{FunctionName, ProjectName, Version};

use super::remote::Remote;
use super::settings::{EnvironmentArgs, SettingsArgs};

#[derive(Debug, ClapArgs)]
pub(crate) struct Deploy {
    /// A project's directory, or a component: a file, or `-` for stdin
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// The function's name, for a component; by default the file's
    #[arg(long)]
    pub(crate) name: Option<FunctionName>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove the functions that the project deployed earlier and no longer has
    #[arg(long)]
    pub(crate) prune: bool,
    /// The project's name; by default the one in `nebula.toml`, or the directory's
    #[arg(long)]
    pub(crate) project: Option<ProjectName>,
    /// Build with `cargo component` instead of plain cargo
    #[arg(long)]
    pub(crate) cargo_component: bool,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// Functions and pipelines, which are exported with all that they call; by default everything
    pub(crate) names: Vec<FunctionName>,
    /// The file to write, or `-` for stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Import {
    /// The file that `nebula export` has written, or `-` for stdin
    pub(crate) file: PathBuf,
    /// Check everything, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Check that the steps exist and their types fit; changes nothing
    Check(PipelineFile),
    /// Check and deploy a pipeline
    Deploy(Box<DeployPipeline>),
    /// Draw a pipeline with the types between its steps
    Show(ShowPipeline),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PipelineFile {
    /// The description, in JSON or TOML; or a project's `nebula.toml`, for all its pipelines
    #[arg(default_value = "nebula.toml")]
    pub(crate) file: PathBuf,
    /// The pipeline's name; by default the file's
    #[arg(long)]
    pub(crate) name: Option<FunctionName>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DeployPipeline {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowPipeline {
    /// A deployed pipeline (`name`, `name@v3`), or a description (a file that ends in `.json` or
    /// `.toml`)
    pub(crate) pipeline: String,
    /// Draw as SVG
    #[arg(long)]
    pub(crate) svg: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The choice for pipelines that call a function by name and don't fit its new version.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct FollowerArgs {
    /// Let pipelines that don't fit keep the version they call, instead of refusing the change
    #[arg(long)]
    pub(crate) keep_pipelines: bool,
}

impl FollowerArgs {
    pub(crate) fn followers(self) -> Followers {
        if self.keep_pipelines { Followers::MayStay } else { Followers::MustFit }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The function
    pub(crate) name: FunctionName,
    /// The version to make current; by default the previous one
    #[arg(value_name = "VERSION")]
    pub(crate) to: Option<Version>,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};

    /// Scripts of earlier releases keep working.
    #[test]
    fn former_names_of_the_cache_options_are_accepted() {
        let settings = |prefix: &str| {
            let options = ["", "-ttl-s", "-bytes-max", "-traps"].map(|name| format!("--{prefix}{name}"));
            let [off, ttl, bytes, traps] = options.each_ref().map(String::as_str);
            let words = ["nebula", "deploy", off, "off", ttl, "60", bytes, "1K", traps];
            let Ok(Args { command: Command::Deploy(deploy) }) = Args::try_parse_from(words) else {
                panic!("the options `--{prefix}…` are accepted")
            };
            deploy.settings.update().patch().clone()
        };
        assert_eq!(settings("remember"), settings("cache"));
        let Err(help) = Args::try_parse_from(["nebula", "deploy", "--help"]) else { panic!("help is shown") };
        assert!(!help.to_string().contains("remember"), "{help}");
    }
}
