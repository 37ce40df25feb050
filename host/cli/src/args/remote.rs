//! The arguments that name a server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::address::{Address, PlaneUrl};

/// The default address of the data plane.
pub(crate) const DATA_ADDRESS: SocketAddr = Address::loopback(8080);

/// The default address of the control plane.
pub(crate) const CONTROL_ADDRESS: SocketAddr = Address::loopback(8081);

/// The default data directory.
pub(crate) const DATA_DIR: &str = ".nebula";

/// A server, and the credentials for it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Remote {
    #[arg(long, env = "NEBULA_SERVER", value_name = "NAME|URL", help = server_help())]
    pub(crate) server: Option<String>,
    /// The server's data plane; by default the one that the server names
    #[arg(long, env = "NEBULA_URL")]
    pub(crate) url: Option<PlaneUrl>,
    /// The CA that signed the server's certificate, in PEM; by default those of the system
    #[arg(long, env = "NEBULA_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    #[arg(long, env = "NEBULA_DATA_DIR", help = data_dir_help())]
    pub(crate) data_dir: Option<PathBuf>,
    /// A token's file, if it isn't the one in the data directory; `NEBULA_TOKEN` holds the token itself
    #[arg(long, env = "NEBULA_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer in JSON, and report a failure in JSON on stderr
    #[arg(long)]
    pub(crate) json: bool,
}

/// Returns the help of `--server`.
fn server_help() -> String {
    format!(
        "The server: a name that `nebula login` saved, or its control plane's URL or address; by default \
         {CONTROL_ADDRESS}"
    )
}

/// Returns the help of `--data-dir` of a client.
fn data_dir_help() -> String {
    format!("The server's data directory, which contains its token; by default `{DATA_DIR}`")
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Login {
    /// The control plane's URL; without it, the saved servers are listed
    pub(crate) server: Option<PlaneUrl>,
    /// The name to save it under; by default the URL's host
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The data plane's URL, if it isn't the one that the server names
    #[arg(long)]
    pub(crate) url: Option<PlaneUrl>,
    /// The CA that signed the server's certificate, in PEM; by default those of the system
    #[arg(long, env = "NEBULA_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The token's file; by default `NEBULA_TOKEN`, else stdin
    #[arg(long, env = "NEBULA_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer in JSON, and report a failure in JSON on stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Logout {
    /// The name of the saved server; by default the only one
    pub(crate) name: Option<String>,
}
