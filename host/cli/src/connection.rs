//! The server that a command talks to: its URLs, its CA and the token for it.
//!
//! | part | taken from, the first that is given |
//! |---|---|
//! | control plane | `--server`: the name of a saved server or a URL; else the default |
//! | data plane | `--url`; the saved server; the default, if no server is named; the control plane's word |
//! | CA | `--ca`; the saved server; the system |
//! | token | `--token-file`; `NEBULA_TOKEN`; the saved server; for a server on this machine `--data-dir`, or the nearest data directory, here or above |
//!
//! A saved server also counts if `--server`, or the default, is its URL. Its token is sent to no
//! other server.

use std::path::Path;

use anyhow::Context;
use nebula_http::Token;

use crate::address::PlaneUrl;
use crate::args::{CONTROL_ADDRESS, DATA_ADDRESS, Remote};
use crate::data_dir;
use crate::failure::Failure;
use crate::hints::TOKEN_HINT;
use crate::report::hinted;
use crate::servers::{SavedServer, SavedServers};

/// A server, and the way to reach it.
pub(crate) struct Connection {
    /// The URL of the control plane.
    pub(crate) control: PlaneUrl,
    /// The URL of the data plane, if it is known without asking the server.
    pub(crate) calls: Option<PlaneUrl>,
    /// The CA to trust, in PEM.
    pub(crate) ca: Option<String>,
    saved_token: Option<String>,
}

impl Connection {
    /// Returns the server that the arguments name.
    pub(crate) fn of(remote: &Remote) -> anyhow::Result<Self> {
        let servers = SavedServers::load()?;
        let default = PlaneUrl::from(CONTROL_ADDRESS);
        let (saved, url) = match &remote.server {
            None => (servers.find(default.as_str()), Some(default)),
            Some(text) => {
                let url = text.parse::<PlaneUrl>().ok();
                let by_url = || url.as_ref().and_then(|url| servers.find(url.as_str()));
                (servers.find(text).or_else(by_url), url)
            }
        };
        let Some(control) = saved.map_or(url, |saved| saved.control.parse().ok()) else {
            return Err(unknown(remote.server.as_deref().unwrap_or_default(), &servers));
        };
        let ca = match &remote.ca {
            Some(path) => Some(read_ca(path)?),
            None => saved.and_then(|saved| saved.ca.clone()),
        };
        let is_default = remote.server.is_none();
        let calls = remote.url.clone().or_else(|| saved.and_then(SavedServer::calls_url));
        let calls = calls.or_else(|| is_default.then(|| DATA_ADDRESS.into()));
        Ok(Self { control, calls, ca, saved_token: saved.map(|saved| saved.token.clone()) })
    }

    /// Returns the token for the control plane.
    pub(crate) fn token(&self, remote: &Remote) -> anyhow::Result<Token> {
        let read = |path: &Path| {
            let missing = |error| {
                anyhow::Error::new(error).context(hinted("no token for the control plane", MISSING_HINT))
            };
            Token::read(path).map_err(missing)
        };
        if let Some(path) = &remote.token_file {
            return read(path);
        }
        if let Some(token) = token_of_the_environment() {
            return token;
        }
        if let Some(token) = &self.saved_token {
            return Token::parse(token).context("the saved token is empty");
        }
        // Data directories are of servers here: another server doesn't get their token.
        if !self.control.is_loopback() {
            let message = format!("no token for {}", self.control);
            return Err(hinted(message, REMOTE_HINT).into());
        }
        match &remote.data_dir {
            Some(directory) => read(&Token::path(directory)),
            None => read(&Token::path(&data_dir::to_ask())),
        }
    }
}

/// The hint for a command without a token for a server elsewhere.
const REMOTE_HINT: &str = "give `--token-file` or `NEBULA_TOKEN`, or run `nebula login` once: a data directory here has the token of a server here";

/// The hint for a command without a token.
const MISSING_HINT: &str = "run this where the server's data directory is, give `--data-dir`, `--token-file` or `NEBULA_TOKEN`, or run `nebula login` once";

/// Returns the token in `NEBULA_TOKEN`. An argument would show it to other users of the machine.
pub(crate) fn token_of_the_environment() -> Option<anyhow::Result<Token>> {
    let token = std::env::var_os("NEBULA_TOKEN")?;
    let token = token.to_str().and_then(Token::parse);
    Some(token.ok_or_else(|| hinted("`NEBULA_TOKEN` holds no token", TOKEN_HINT).into()))
}

/// Reads the certificates of a CA.
pub(crate) fn read_ca(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read the CA `{shown}`"))?;
    crate::tls::certificates(&pem).with_context(|| format!("cannot use the CA `{shown}`"))?;
    Ok(pem)
}

fn unknown(name: &str, servers: &SavedServers) -> anyhow::Error {
    let saved = servers.names().map_or_else(String::new, |names| format!("; saved are {names}"));
    let hint = format!(
        "`nebula login URL --name {name}` saves one; or give `https://HOST`, `http://HOST:PORT` or `HOST:PORT`{saved}"
    );
    Failure::usage(format!("no server is saved as `{name}`, and it isn't an address"), hint).into()
}
