//! `nebula login` and `logout`: saves a server under a name, lists the saved ones, forgets one.
//!
//! A server is saved once it has accepted the token.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use nebula_http::Token;
use serde::Serialize;

use crate::address::PlaneUrl;
use crate::args::{Login, Logout, Remote};
use crate::client::Client;
use crate::connection::{read_ca, token_of_the_environment};
use crate::failure::Failure;
use crate::hidden_input;
use crate::report::{hinted, json, line, note};
use crate::servers::{SavedServer, SavedServers};

/// A saved server as `--json` prints it: without its token.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    control: &'a str,
    calls: &'a str,
    own_ca: bool,
}

impl<'a> Shown<'a> {
    fn of(name: &'a str, server: &'a SavedServer) -> Self {
        let SavedServer { control, calls, ca, token: _ } = server;
        Self { name, control, calls, own_ca: ca.is_some() }
    }
}

pub(crate) fn run(login: &Login) -> anyhow::Result<()> {
    match &login.server {
        Some(url) => save(login, url),
        None => list(login.json),
    }
}

fn save(login: &Login, url: &PlaneUrl) -> anyhow::Result<()> {
    let name = login.name.clone().unwrap_or_else(|| url.authority().to_owned());
    let token = token(login)?;
    let ca = login.ca.as_deref().map(read_ca).transpose()?;
    // The server has to be reached by exactly what is saved.
    let remote = Remote {
        server: Some(url.to_string()),
        url: login.url.clone(),
        ca: login.ca.clone(),
        data_dir: None,
        token_file: None,
        json: login.json,
    };
    let client = Client::with_token(&remote, token.clone());
    let told = client.told_calls_url().with_context(|| format!("cannot log in to {url}"))?;
    let calls = login.url.clone().unwrap_or(told);
    let server = SavedServer {
        control: url.to_string(),
        calls: calls.to_string(),
        ca,
        token: token.secret().to_owned(),
    };
    let mut servers = SavedServers::load()?;
    if login.json {
        json(&Shown::of(&name, &server))?;
    } else {
        line(format!("{name}  {url}  calls {calls}"))?;
    }
    servers.insert(name.clone(), server);
    let path = servers.save()?;
    note(format!("saved in `{}`; give `--server {name}`, or set `NEBULA_SERVER={name}`", path.display()));
    Ok(())
}

/// Returns the token: from its file, from the environment, else from stdin.
fn token(login: &Login) -> anyhow::Result<Token> {
    if let Some(path) = &login.token_file {
        return Token::read(path).map_err(Into::into);
    }
    if let Some(token) = token_of_the_environment() {
        return token;
    }
    let stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        hidden_input::read_line(
            "paste a token of the server, such as that in its data directory (it isn't shown):",
        )?
    } else {
        let mut text = String::new();
        stdin.lock().read_line(&mut text).context("cannot read the token from stdin")?;
        text
    };
    Token::parse(&text).ok_or_else(|| {
        let hint = "pipe it in, or give it with `--token-file` or `NEBULA_TOKEN`";
        hinted("there is no token", hint).into()
    })
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let servers = SavedServers::load()?;
    let shown: Vec<_> = servers.iter().map(|(name, server)| Shown::of(name, server)).collect();
    if as_json {
        return json(&shown);
    }
    if shown.is_empty() {
        note("no server is saved; `nebula login URL` saves one");
    }
    let width = shown.iter().map(|server| server.name.len()).max().unwrap_or(0);
    for Shown { name, control, calls, own_ca } in shown {
        let ca = if own_ca { "  with its own CA" } else { "" };
        line(format!("{name:width$}  {control}  calls {calls}{ca}"))?;
    }
    Ok(())
}

pub(crate) fn forget(logout: &Logout) -> anyhow::Result<()> {
    let mut servers = SavedServers::load()?;
    let names: Vec<_> = servers.iter().map(|(name, _)| name.to_owned()).collect();
    let name = match (&logout.name, names.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(hinted("no server is saved", "`nebula login URL` saves one").into()),
        (None, _) => {
            let hint = format!("saved are {}", servers.names().unwrap_or_default());
            return Err(Failure::usage("several servers are saved: name one", hint).into());
        }
    };
    if !servers.remove(&name) {
        let hint = servers.names().map_or("none is saved".to_owned(), |names| format!("saved are {names}"));
        return Err(Failure::usage(format!("no server is saved as `{name}`"), hint).into());
    }
    servers.save()?;
    note(format!("forgot `{name}` and its token"));
    Ok(())
}
