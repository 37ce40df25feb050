//! The arguments of `nebula serve`, and of the server of `nebula up`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use nebula_http::ConsoleHost;
use nebula_runtime::CorsOrigin;
use nebula_runtime::limits::HostLimits;
use nebula_runtime::size::parse_bytes;

use super::logging::LogArgs;
use super::remote::{CONTROL_ADDRESS, DATA_ADDRESS, DATA_DIR};
use super::settings::{Switch, share};
use crate::address::{Address, PlaneUrl};

/// The default share of cached answers that an idle server recomputes.
const VERIFY_SHARE: f64 = 0.001;

/// The default number of functions that have metrics of their own.
const METRICS_FUNCTIONS_MAX: usize = 100;

/// The default time for calls in flight when the server stops, seconds.
const DRAIN_SECONDS: u64 = 10;

/// The default time from SIGTERM to the drain, seconds.
const NOTICE_SECONDS: u64 = 5;

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};
    use super::*;

    #[test]
    fn defaults_of_the_hosts_limits_are_the_models() {
        let Ok(Args { command: Command::Serve(serve) }) = Args::try_parse_from(["nebula", "serve"]) else {
            panic!("`serve` needs no arguments")
        };
        assert_eq!(serve.host_limits(), HostLimits::default());
    }
}
