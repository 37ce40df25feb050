//! The arguments of the command line. No I/O here.
//!
//! Defaults of the host's limits come from `nebula_runtime::limits`. The other defaults are here.

mod bench;
mod call;
mod deploy;
mod logging;
mod project;
mod remote;
mod serve;
mod settings;
mod token;
mod top;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use nebula_runtime::id::FunctionName;

pub(crate) use self::bench::Bench;
pub(crate) use self::call::{Explain, Invoke, Replay, Target, Verify, VerifyReceipt};
pub(crate) use self::deploy::{
    Deploy, DeployPipeline, Export, Import, Pipeline, PipelineFile, Rollback, ShowPipeline,
};
pub(crate) use self::logging::{AccessLog, DEFAULT_FILTER, FILTER_VARIABLES, LogArgs, LogFormat};
pub(crate) use self::project::{Add, Build, New, Sdk, SdkUpdateArgs, Template, Up};
pub(crate) use self::remote::{CONTROL_ADDRESS, DATA_ADDRESS, DATA_DIR, Login, Logout, Remote};
pub(crate) use self::serve::Serve;
pub(crate) use self::settings::{SettingsArgs, Switch};
pub(crate) use self::token::{CreateToken, RevokeToken, TokenCommand};
pub(crate) use self::top::Top;
use crate::address::Address;
use crate::failure::exit_codes_help;
use crate::moment::Since;

/// Run pure WebAssembly functions.
#[derive(Debug, Parser)]
#[command(name = "nebula", version, propagate_version = true, after_help = exit_codes_help())]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a function, or a workspace of functions, in a new directory
    New(New),
    /// Add a function to the project here
    Add(Add),
    /// Build the functions of a directory to components
    Build(Build),
    /// Build, deploy and serve a project, again on every change
    Up(Up),
    /// The project's copy of the guest SDK
    #[command(subcommand)]
    Sdk(Sdk),
    /// Print the JSON Schema of `nebula.toml`, for editors
    Schema,
    /// Serve the deployed functions
    Serve(Serve),
    /// Deploy a project or a component to a running server
    Deploy(Deploy),
    /// Write functions and pipelines with all their versions to one file
    Export(Export),
    /// Add the functions of an export to a server, with all their versions
    Import(Import),
    /// Call a deployed function, or a component file without a server
    Invoke(Invoke),
    /// Measure a function of a running server: latency, processor time and energy at a rate, or the
    /// highest rate that holds a latency
    Bench(Box<Bench>),
    /// List the deployed functions
    List(Remote),
    /// Show a deployed function or a component file: signature, versions, size, imports, limits
    Inspect(Inspect),
    /// Make an earlier version current
    Rollback(Rollback),
    /// Remove a function with all its versions
    Remove(Named),
    /// Check that a function is pure: fresh instances and differently compiled code must agree
    Verify(Verify),
    /// Recompute an answer from its receipt and compare
    Replay(Replay),
    /// Check the signature of a receipt, without a server
    VerifyReceipt(VerifyReceipt),
    /// Show the output and the failures of the last calls
    Logs(Logs),
    /// Compose functions: check a pipeline, deploy it, show it
    #[command(subcommand)]
    Pipeline(Pipeline),
    /// Call a function and show the input, output, time and cache state of each step
    Explain(Explain),
    /// Show the functions by rate, live: durations, hits, cold starts, errors, power, and the server
    Top(Top),
    /// Show what the server has counted of a function's calls: sources, errors, durations, energy
    Stats(Named),
    /// Show the cached results and what they save, by function; or clear them
    Cache(Cache),
    /// The tokens of a running server: create one, list them, revoke one
    #[command(subcommand)]
    Token(TokenCommand),
    /// Save a server's URL, CA and token, for `--server NAME`
    Login(Login),
    /// Forget a saved server
    Logout(Logout),
    /// Check what the commands need: toolchain, ports, data directory, server
    Doctor(Doctor),
    /// Write man pages to a directory
    Man {
        /// The directory, which is created if it doesn't exist
        directory: PathBuf,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Compile a component from stdin to an artefact on stdout, under limits
    #[command(hide = true)]
    CompileComponent,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cache {
    /// A function; by default all
    pub(crate) name: Option<FunctionName>,
    /// Clear the results instead of showing them
    #[arg(long)]
    pub(crate) clear: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A deployed function's name, or a component file
    pub(crate) function: Target,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// The address for calls that should be free
    #[arg(long, env = "NEBULA_LISTEN", default_value_t = DATA_ADDRESS.into())]
    pub(crate) listen: Address,
    /// The address for deploys that should be free
    #[arg(long, env = "NEBULA_CONTROL", default_value_t = CONTROL_ADDRESS.into())]
    pub(crate) control: Address,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Logs {
    /// Functions; by default all
    pub(crate) names: Vec<FunctionName>,
    /// A function, like NAMES; can be repeated
    #[arg(long = "function", value_name = "NAME")]
    pub(crate) functions: Vec<FunctionName>,
    /// Only calls since then: a time (`2026-01-31T12:00:00Z`), or how long ago (`10m`, `2h 30m`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Keep printing calls as they end, until stopped
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Named {
    /// The function
    pub(crate) name: FunctionName,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
