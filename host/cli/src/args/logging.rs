//! The arguments about what a server logs.

use clap::{Args as ClapArgs, ValueEnum};

use super::settings::{Switch, share};

/// The filter of a server that is given none.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// The variables with the filter. The first that is set counts.
pub(crate) const FILTER_VARIABLES: [&str; 2] = ["NEBULA_LOG", "RUST_LOG"];

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct LogArgs {
    /// The format of the log on stderr. NEBULA_LOG, or RUST_LOG, has its filter: a level (`warn`), or
    /// levels by target (`info,nebula::call=error`)
    #[arg(long, env = "NEBULA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Write a line for each request on stdout: in the Combined Log Format with more fields, or JSON
    #[arg(long, env = "NEBULA_ACCESS_LOG", value_enum, default_value_t = AccessLog::Off)]
    pub(crate) access_log: AccessLog,
    /// Share of the requests in the access log, 0 to 1; failed ones are always in it
    #[arg(long, env = "NEBULA_ACCESS_LOG_SAMPLE", value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub(crate) access_log_sample: f64,
    /// Log what functions print, which may be callers' data
    #[arg(long, env = "NEBULA_GUEST_LOG", value_enum, default_value_t = Switch::Off)]
    pub(crate) guest_log: Switch,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// An object on each line
    Json,
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLog {
    /// None
    Off,
    /// The Combined Log Format, and more fields after it
    Text,
    /// An object on each line
    Json,
}
