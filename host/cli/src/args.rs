//! What was typed. No I/O here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use nebula_runtime::id::{FunctionName, FunctionRef, Version};
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::{Followers, Remember, Settings};

/// Run pure WebAssembly functions.
#[derive(Debug, Parser)]
#[command(name = "nebula", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a function in a new directory
    New(New),
    /// Build the functions of a directory to components
    Build(Build),
    /// Build, deploy, serve, and do it again on every change
    Up(Up),
    /// Serve what is deployed
    Serve(Serve),
    /// Deploy a component to a running server
    Deploy(Deploy),
    /// Call a deployed function, or a component file with no server
    Invoke(Invoke),
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
    /// Make an answer again from its receipt, and compare
    Replay(Replay),
    /// Check who signed a receipt; asks no server
    VerifyReceipt(VerifyReceipt),
    /// Show what the last calls of a function printed, and how they failed
    Logs(Named),
    /// Compose functions: check a pipeline, deploy it, show it
    #[command(subcommand)]
    Pipeline(Pipeline),
    /// Call a function and show how it went: of a pipeline each step's input, output, time and cache state
    Explain(Explain),
    /// Show what is remembered and what that saves, by function; or forget it
    Cache(Cache),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Compile a component from stdin to an artefact on stdout, under limits
    #[command(hide = true)]
    CompileComponent,
}

/// How to reach a server.
#[derive(Debug, ClapArgs)]
pub(crate) struct Remote {
    /// The server's control plane
    #[arg(long, env = "NEBULA_SERVER", default_value = "http://127.0.0.1:8081")]
    pub(crate) server: String,
    /// The server's data plane
    #[arg(long, env = "NEBULA_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// The server's data directory, for its token
    #[arg(long, env = "NEBULA_DATA_DIR", default_value = ".nebula")]
    pub(crate) data_dir: PathBuf,
    /// The token's file, if it isn't in the data directory
    #[arg(long, env = "NEBULA_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A function's own limits.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct LimitArgs {
    /// Wall-clock time of a call, milliseconds
    #[arg(long)]
    pub(crate) deadline_ms: Option<std::num::NonZeroU64>,
    /// Linear memory of an instance, bytes
    #[arg(long)]
    pub(crate) memory_bytes_max: Option<u64>,
    /// The input, bytes
    #[arg(long)]
    pub(crate) input_bytes_max: Option<u64>,
    /// The output, bytes
    #[arg(long)]
    pub(crate) output_bytes_max: Option<u64>,
    /// What is kept of a call's stdout and stderr, bytes
    #[arg(long)]
    pub(crate) log_bytes_max: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn overrides(&self) -> LimitOverrides {
        LimitOverrides {
            memory_bytes_max: self.memory_bytes_max,
            deadline_ms: self.deadline_ms,
            input_bytes_max: self.input_bytes_max,
            output_bytes_max: self.output_bytes_max,
            log_bytes_max: self.log_bytes_max,
        }
    }

    /// Whether one was given.
    pub(crate) fn any(&self) -> bool {
        self.overrides() != LimitOverrides::default()
    }
}

/// What is remembered of a function.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct RememberArgs {
    /// Whether its results are remembered; they are unless `off`
    #[arg(long, value_enum)]
    pub(crate) remember: Option<Switch>,
    /// How long a result is used, seconds; for as long as there is room unless given
    #[arg(long)]
    pub(crate) remember_ttl_s: Option<std::num::NonZeroU64>,
    /// The largest answer that is remembered, bytes; 1 MiB unless given
    #[arg(long)]
    pub(crate) remember_bytes_max: Option<u64>,
    /// Remember too that it fails: traps, its own limits, invalid answers
    #[arg(long)]
    pub(crate) remember_traps: bool,
}

impl RememberArgs {
    fn settings(&self) -> Remember {
        Remember {
            off: self.remember == Some(Switch::Off),
            ttl_s: self.remember_ttl_s,
            bytes_max: self.remember_bytes_max,
            traps: self.remember_traps,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

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
}

#[derive(Debug, ClapArgs)]
pub(crate) struct New {
    /// The directory to make; its name is the function's
    pub(crate) path: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, default_value = "typed")]
    pub(crate) template: Template,
    /// Where the guest SDK's source is, instead of a release
    #[arg(long, env = "NEBULA_SDK")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Build {
    /// A function's directory, or a workspace of them
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
    pub(crate) serve: Serve,
    /// Don't rebuild on changes
    #[arg(long)]
    pub(crate) no_watch: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Where calls go; port 0 takes a free one
    #[arg(long, env = "NEBULA_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where deploys go; port 0 takes a free one
    #[arg(long, env = "NEBULA_CONTROL", default_value = "127.0.0.1:8081")]
    pub(crate) control: SocketAddr,
    /// Where functions are kept
    #[arg(long, env = "NEBULA_DATA_DIR", default_value = ".nebula")]
    pub(crate) data_dir: PathBuf,
    /// Serving threads; as many as there are cores unless given
    #[arg(long, env = "NEBULA_THREADS")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    /// Calls on the compute lane at once
    #[arg(long, env = "NEBULA_CALLS_MAX", default_value = "64")]
    pub(crate) calls_max: std::num::NonZeroUsize,
    /// Calls that may wait for it
    #[arg(long, env = "NEBULA_QUEUE_MAX", default_value_t = 1024)]
    pub(crate) queue_max: usize,
    /// Memory for compiled code that is kept loaded, bytes, all threads together
    #[arg(long, env = "NEBULA_LOADED_BYTES_MAX", default_value_t = 256 * 1024 * 1024)]
    pub(crate) loaded_bytes_max: u64,
    /// Memory for results that are remembered, bytes; 0 remembers nothing
    #[arg(long, env = "NEBULA_CACHE_BYTES_MAX", default_value_t = 64 * 1024 * 1024)]
    pub(crate) cache_bytes_max: u64,
    /// Disk for results that took long to compute, bytes; 0 keeps none
    #[arg(long, env = "NEBULA_CACHE_DISK_BYTES_MAX", default_value_t = 256 * 1024 * 1024)]
    pub(crate) cache_disk_bytes_max: u64,
    /// Whether repeated requests get their cached response without being parsed
    #[arg(long, env = "NEBULA_CACHED_FAST_PATH", value_enum, default_value_t = Switch::On)]
    pub(crate) cached_fast_path: Switch,
    /// Of the answers that were remembered, the share that is computed again when there is nothing else to do, and compared: 0 to 1
    #[arg(long, env = "NEBULA_VERIFY_SHARE", default_value_t = 0.001, value_parser = share)]
    pub(crate) verify_share: f64,
    /// Disk for inputs that callers ask to have kept, bytes; 0 keeps none
    #[arg(long, env = "NEBULA_INPUTS_BYTES_MAX", default_value_t = 64 * 1024 * 1024)]
    pub(crate) inputs_bytes_max: u64,
    /// The Ed25519 private key that signs receipts, in PEM; unsigned unless given
    #[arg(long, env = "NEBULA_RECEIPT_KEY", value_name = "FILE")]
    pub(crate) receipt_key: Option<PathBuf>,
    /// Instances alive at once on each serving thread; each reserves 16 GiB of address space, which isn't memory
    #[arg(long, env = "NEBULA_INSTANCES_MAX", default_value = "32")]
    pub(crate) instances_max: std::num::NonZeroU32,
    /// How long calls in flight have when told to stop, seconds
    #[arg(long, env = "NEBULA_DRAIN_SECONDS", default_value_t = 10)]
    pub(crate) drain_seconds: u64,
    /// Stop when nobody was connected for so long, seconds; for servers that are started by a connection
    #[arg(long, env = "NEBULA_EXIT_AFTER_IDLE_SECONDS")]
    pub(crate) exit_after_idle_seconds: Option<std::num::NonZeroU64>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share is a number from 0 to 1".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Deploy {
    /// The component
    pub(crate) component: PathBuf,
    /// The function's name; the file's unless given
    #[arg(long)]
    pub(crate) name: Option<FunctionName>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) remember: RememberArgs,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

impl Deploy {
    pub(crate) fn settings(&self) -> Settings {
        Settings { limits: self.limits.overrides(), remember: self.remember.settings() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Check that its steps are there and their types fit; changes nothing
    Check(PipelineFile),
    /// Check it and deploy it
    Deploy(DeployPipeline),
    /// Draw it, with the types between its steps
    Show(ShowPipeline),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PipelineFile {
    /// Its description, in JSON or TOML
    pub(crate) file: PathBuf,
    /// The pipeline's name; the file's unless given
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
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) remember: RememberArgs,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
}

impl DeployPipeline {
    pub(crate) fn settings(&self) -> Settings {
        Settings { limits: self.limits.overrides(), remember: self.remember.settings() }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowPipeline {
    /// A deployed pipeline (`name`, `name@v3`), or a description (a file that ends in `.json` or `.toml`)
    pub(crate) pipeline: String,
    /// As SVG
    #[arg(long)]
    pub(crate) svg: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What becomes of pipelines that call a function by its name, where they don't fit its new version.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct FollowerArgs {
    /// Have pipelines that don't fit stay with the version that they call, instead of refusing the change
    #[arg(long)]
    pub(crate) keep_pipelines: bool,
}

impl FollowerArgs {
    pub(crate) fn followers(self) -> Followers {
        if self.keep_pipelines { Followers::MayStay } else { Followers::MustFit }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// A deployed function or pipeline (`name`, `name@v3`, `name@sha256:…`)
    pub(crate) function: FunctionRef,
    /// The input: inline, `@file`, or `-` for stdin; what comes from a pipe unless given
    pub(crate) input: Option<String>,
    /// The input's media type; by the file's ending unless given, else as the function's type suggests
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cache {
    /// A function; all of them unless given
    pub(crate) name: Option<FunctionName>,
    /// Forget the results instead of showing what there is
    #[arg(long)]
    pub(crate) clear: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invoke {
    /// A deployed function (`name`, `name@v3`, `name@sha256:…`), or a component file (with a `/` or `.wasm`)
    pub(crate) function: String,
    /// The input: inline, `@file`, or `-` for stdin; what comes from a pipe unless given
    pub(crate) input: Option<String>,
    /// The input's media type; by the file's ending unless given, else as the function's type suggests
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// Write the answer's receipt to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Have the server keep the input, so that the receipt alone is enough to make the call again
    #[arg(long, requires = "receipt")]
    pub(crate) keep_input: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) invoke: Invoke,
    /// Fresh instances to call, of each way of compiling
    #[arg(long, default_value = "3")]
    pub(crate) runs: std::num::NonZeroU32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Replay {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The component, if the server doesn't have it
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    /// The input, if the server hasn't kept it: inline, `@file`, or `-` for stdin
    #[arg(long)]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyReceipt {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The Ed25519 public key of who should have signed it, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Check that this is the input: inline, `@file`, or `-` for stdin
    #[arg(long)]
    pub(crate) input: Option<String>,
    /// Check that this is the output: inline, `@file`, or `-` for stdin
    #[arg(long)]
    pub(crate) output: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A deployed function's name, or a component file
    pub(crate) function: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The function
    pub(crate) name: FunctionName,
    /// Where to; one version back unless given
    #[arg(value_name = "VERSION")]
    pub(crate) to: Option<Version>,
    #[command(flatten)]
    pub(crate) followers: FollowerArgs,
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

/// What `invoke` is pointed at.
#[derive(Debug)]
pub(crate) enum Target {
    Deployed(FunctionRef),
    File(PathBuf),
}

impl Target {
    /// Files have a slash or end in `.wasm`; function names have neither.
    pub(crate) fn parse(text: &str) -> Result<Self, nebula_runtime::id::IdError> {
        let is_file = text.contains('/') && !text.contains('@') || text.ends_with(".wasm");
        if is_file { Ok(Self::File(PathBuf::from(text))) } else { text.parse().map(Self::Deployed) }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn files_and_functions_are_told_apart() {
        for file in ["a.wasm", "./a", "dir/a.wasm", "/a"] {
            assert!(matches!(Target::parse(file), Ok(Target::File(_))), "{file}");
        }
        for function in ["a", "a@v3", "a-b"] {
            assert!(matches!(Target::parse(function), Ok(Target::Deployed(_))), "{function}");
        }
        assert!(Target::parse("No Name").is_err());
    }
}
