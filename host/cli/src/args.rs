//! The arguments of the command line. No I/O here.
//!
//! Defaults of the host's limits come from `nebula_runtime::limits`. The other defaults are here.

mod bench;
mod logging;
mod remote;
mod settings;
mod token;
mod top;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use nebula_http::ConsoleHost;
use nebula_runtime::id::{FunctionName, FunctionRef, IdError, ProjectName, Version};
use nebula_runtime::limits::HostLimits;
use nebula_runtime::size::parse_bytes;
use nebula_runtime::{CorsOrigin, Followers};

pub(crate) use self::bench::Bench;
pub(crate) use self::logging::{AccessLog, DEFAULT_FILTER, FILTER_VARIABLES, LogArgs, LogFormat};
pub(crate) use self::remote::{CONTROL_ADDRESS, DATA_ADDRESS, DATA_DIR, Login, Logout, Remote};
pub(crate) use self::settings::{ConfigArgs, EnvironmentArgs, LimitArgs, SettingsArgs, Switch};
pub(crate) use self::token::{CreateToken, RevokeToken, TokenCommand};
pub(crate) use self::top::Top;
use crate::address::{Address, PlaneUrl};
use crate::failure::exit_codes_help;
use crate::http_parts::HttpParts;
use crate::moment::Since;

/// The default share of cached answers that an idle server recomputes.
const VERIFY_SHARE: f64 = 0.001;

/// The default number of functions that have metrics of their own.
const METRICS_FUNCTIONS_MAX: usize = 100;

/// The default time for calls in flight when the server stops, seconds.
const DRAIN_SECONDS: u64 = 10;

/// The default time from SIGTERM to the drain, seconds.
const NOTICE_SECONDS: u64 = 5;

/// The default number of fresh instances for each way of compiling.
const VERIFY_RUNS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

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

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Address for calls; `:PORT` is this machine alone, port 0 takes a free one
    #[arg(long, env = "NEBULA_LISTEN", default_value_t = DATA_ADDRESS.into())]
    pub(crate) listen: Address,
    /// Address for deploys; `:PORT` is this machine alone, port 0 takes a free one
    #[arg(long, env = "NEBULA_CONTROL", default_value_t = CONTROL_ADDRESS.into())]
    pub(crate) control: Address,
    /// Address for scrapers of `/metrics`, which need no token there; by default only the control plane
    /// has them
    #[arg(long, env = "NEBULA_METRICS", value_name = "ADDRESS")]
    pub(crate) metrics: Option<Address>,
    /// Functions that have metrics of their own, chosen by traffic; all others are one sum
    #[arg(long, env = "NEBULA_METRICS_FUNCTIONS_MAX", default_value_t = METRICS_FUNCTIONS_MAX)]
    pub(crate) metrics_functions_max: usize,
    /// A directory that `cargo xtask experiment` wrote, whose chart of start times the server shows
    #[arg(long, env = "NEBULA_EXPERIMENT", value_name = "DIR")]
    pub(crate) experiment: Option<PathBuf>,
    /// The URL at which callers reach the data plane; by default its address
    #[arg(long, env = "NEBULA_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PlaneUrl>,
    /// A name by which browsers reach the console, besides addresses and `localhost`; may be repeated
    #[arg(long, env = "NEBULA_CONSOLE_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) console_host: Vec<ConsoleHost>,
    /// The directory of the deployed functions
    #[arg(long, env = "NEBULA_DATA_DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// Serving threads; by default as many as cores
    #[arg(long, env = "NEBULA_THREADS")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Calls on the compute lane at once
    #[arg(long, env = "NEBULA_CALLS_MAX", default_value_t = calls_max())]
    pub(crate) calls_max: NonZeroUsize,
    /// Calls that may wait for the compute lane
    #[arg(long, env = "NEBULA_QUEUE_MAX", default_value_t = HostLimits::default().queue_max)]
    pub(crate) queue_max: usize,
    /// Memory for compiled code that is kept loaded, bytes, all threads together
    #[arg(long, env = "NEBULA_LOADED_BYTES_MAX", value_parser = parse_bytes, value_name = "SIZE",
        default_value_t = HostLimits::default().loaded_bytes_max)]
    pub(crate) loaded_bytes_max: u64,
    /// Memory for cached results, bytes; 0 caches nothing
    #[arg(long, env = "NEBULA_CACHE_BYTES_MAX", value_parser = parse_bytes, value_name = "SIZE",
        default_value_t = HostLimits::default().cache_bytes_max)]
    pub(crate) cache_bytes_max: u64,
    /// Disk for results that took long to compute, bytes; 0 keeps none
    #[arg(long, env = "NEBULA_CACHE_DISK_BYTES_MAX", value_parser = parse_bytes, value_name = "SIZE",
        default_value_t = HostLimits::default().cache_disk_bytes_max)]
    pub(crate) cache_disk_bytes_max: u64,
    /// Answer repeated requests with their cached response, without parsing them
    #[arg(long, env = "NEBULA_CACHED_FAST_PATH", value_enum, default_value_t = Switch::On)]
    pub(crate) cached_fast_path: Switch,
    /// Compress answers for clients that ask for it
    #[arg(long, env = "NEBULA_COMPRESS", value_enum, default_value_t = Switch::On)]
    pub(crate) compress: Switch,
    /// Serve callers the OpenAPI document of all functions, which reveals their names and types
    #[arg(long, env = "NEBULA_OPENAPI", value_enum, default_value_t = Switch::On)]
    pub(crate) openapi: Switch,
    /// Share of cached answers that an idle server recomputes and compares, 0 to 1
    #[arg(long, env = "NEBULA_VERIFY_SHARE", default_value_t = VERIFY_SHARE, value_parser = share)]
    pub(crate) verify_share: f64,
    /// Disk for inputs that callers ask to keep, bytes; 0 keeps none
    #[arg(long, env = "NEBULA_INPUTS_BYTES_MAX", value_parser = parse_bytes, value_name = "SIZE",
        default_value_t = HostLimits::default().inputs_bytes_max)]
    pub(crate) inputs_bytes_max: u64,
    /// The Ed25519 private key that signs receipts, in PEM; by default they are unsigned
    #[arg(long, env = "NEBULA_RECEIPT_KEY", value_name = "FILE")]
    pub(crate) receipt_key: Option<PathBuf>,
    /// Instances alive at once on each serving thread; each reserves 16 GiB of address space, not
    /// memory
    #[arg(long, env = "NEBULA_INSTANCES_MAX", default_value_t = HostLimits::default().instances_max)]
    pub(crate) instances_max: NonZeroU32,
    /// Time for calls in flight to finish when the server stops, seconds
    #[arg(long, env = "NEBULA_DRAIN_SECONDS", default_value_t = DRAIN_SECONDS)]
    pub(crate) drain_seconds: u64,
    /// Time from SIGTERM until the server closes its listeners, seconds. `/readyz` answers 503
    /// meanwhile, and calls are answered
    #[arg(long, env = "NEBULA_NOTICE_SECONDS", default_value_t = NOTICE_SECONDS)]
    pub(crate) notice_seconds: u64,
    /// An origin whose pages may call functions that have no `[cors]` of their own, or `*`; may be
    /// repeated
    #[arg(long, env = "NEBULA_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<CorsOrigin>,
    /// Stop after this time without connections, seconds; for servers that a connection starts
    #[arg(long, env = "NEBULA_EXIT_AFTER_IDLE_SECONDS")]
    pub(crate) exit_after_idle_seconds: Option<NonZeroU64>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl Serve {
    pub(crate) fn host_limits(&self) -> HostLimits {
        HostLimits {
            calls_max: self.calls_max.get(),
            queue_max: self.queue_max,
            instances_max: self.instances_max,
            loaded_bytes_max: self.loaded_bytes_max,
            cache_bytes_max: self.cache_bytes_max,
            cache_disk_bytes_max: self.cache_disk_bytes_max,
            inputs_bytes_max: self.inputs_bytes_max,
        }
    }
}

/// Returns the default of `--calls-max`, which can't be 0.
fn calls_max() -> NonZeroUsize {
    NonZeroUsize::new(HostLimits::default().calls_max).unwrap_or(NonZeroUsize::MIN)
}

/// Parses a share.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share is a number from 0 to 1".to_owned()),
    }
}

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
pub(crate) struct Explain {
    /// A deployed function or pipeline (`name`, `name@v3`, `name@sha256:…`)
    pub(crate) function: FunctionRef,
    /// The input: inline, `@file`, or `-` for stdin; by default what is piped in. Several are the
    /// values of the parameters, each as JSON or else as text
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// The input's media type; by default that of the file's extension or the function's type
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
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
pub(crate) struct Invoke {
    /// A deployed function (`name`, `name@v3`, `name@sha256:…`), or a component file (with a `/` or
    /// `.wasm`)
    pub(crate) function: Target,
    /// The input: inline, `@file`, or `-` for stdin; by default what is piped in. Several are the
    /// values of the parameters, each as JSON or else as text
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// The input's media type; by default that of the file's extension or the function's type
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// Write the answer's receipt to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Let the server keep the input, so that the receipt alone is enough for a replay
    #[arg(long, requires = "receipt")]
    pub(crate) keep_input: bool,
    #[command(flatten)]
    pub(crate) http: HttpParts,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) invoke: Invoke,
    /// Fresh instances to call for each way of compiling
    #[arg(long, default_value_t = VERIFY_RUNS)]
    pub(crate) runs: NonZeroU32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Replay {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The component, if the server doesn't have it
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The input, if the server hasn't kept it: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyReceipt {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The Ed25519 public key of the expected signer, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Check that this is the input: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) input: Option<String>,
    /// Check that this is the output: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) output: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A deployed function's name, or a component file
    pub(crate) function: Target,
    #[command(flatten)]
    pub(crate) remote: Remote,
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

/// The target of `invoke`, `inspect` and `verify`.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Deployed(FunctionRef),
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed(reference) => reference.fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// Files have a slash or end in `.wasm`; function names have neither.
impl FromStr for Target {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
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
    fn defaults_of_the_hosts_limits_are_the_models() {
        let Ok(Args { command: Command::Serve(serve) }) = Args::try_parse_from(["nebula", "serve"]) else {
            panic!("`serve` needs no arguments")
        };
        assert_eq!(serve.host_limits(), HostLimits::default());
    }

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

    #[test]
    fn targets_are_files_or_functions() {
        for file in ["a.wasm", "./a", "dir/a.wasm", "/a"] {
            assert!(matches!(file.parse(), Ok(Target::File(_))), "{file}");
        }
        for function in ["a", "a@v3", "a-b"] {
            assert!(matches!(function.parse(), Ok(Target::Deployed(_))), "{function}");
        }
        assert!("No Name".parse::<Target>().is_err());
    }
}
