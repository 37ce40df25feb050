//! `nebula token`: creates, lists and revokes tokens of a running server.

use anyhow::Context;
use nebula_http::wire::{TokenInfo, TokenRequest};

use crate::args::{CreateToken, Remote, RevokeToken, TokenCommand};
use crate::client::Client;
use crate::moment::iso_seconds;
use crate::report::{json, line, note};

/// The columns of the table.
const HEADING: [&str; 5] = ["name", "scope", "created", "expires", "last used"];

pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(create) => self::create(create),
        TokenCommand::List(remote) => list(remote),
        TokenCommand::Revoke(revoke) => self::revoke(revoke),
    }
}

/// Prints the secret alone, so that a script can take it.
fn create(create: &CreateToken) -> anyhow::Result<()> {
    let CreateToken { name, scope, expires, remote } = create;
    let expires_in_s = expires.map(|lifetime| lifetime.seconds());
    let request = TokenRequest { name: name.clone(), scope: (*scope).into(), expires_in_s };
    let created = Client::new(remote)
        .create_token(&request)
        .with_context(|| format!("cannot create the token `{name}`"))?;
    if remote.json {
        return json(&created);
    }
    line(&created.secret)?;
    let expiry = created.expires_at_unix_s.map(|at| format!(" until {}", iso_seconds(at)));
    note(format!(
        "created `{name}` with the scope `{}`{}; this is the only time that its secret is shown",
        created.scope,
        expiry.unwrap_or_default()
    ));
    Ok(())
}

fn list(remote: &Remote) -> anyhow::Result<()> {
    let list = Client::new(remote).tokens().context("cannot list the tokens")?;
    if remote.json {
        return json(&list);
    }
    let table: Vec<_> =
        std::iter::once(HEADING.map(str::to_owned)).chain(list.tokens.iter().map(row)).collect();
    let widths: [usize; HEADING.len()] =
        std::array::from_fn(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0));
    for row in &table {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn row(token: &TokenInfo) -> [String; HEADING.len()] {
    let TokenInfo {
        name,
        scope,
        built_in: _,
        expired,
        created_at_unix_s,
        expires_at_unix_s,
        last_used_at_unix_s,
    } = token;
    let time = |unix_s: &Option<u64>, absent: &str| unix_s.map_or_else(|| absent.to_owned(), iso_seconds);
    let expires = time(expires_at_unix_s, "never");
    [
        name.clone(),
        scope.to_string(),
        time(created_at_unix_s, "-"),
        if *expired { format!("{expires} (expired)") } else { expires },
        time(last_used_at_unix_s, "-"),
    ]
}

fn revoke(RevokeToken { name, remote }: &RevokeToken) -> anyhow::Result<()> {
    Client::new(remote).revoke_token(name).with_context(|| format!("cannot revoke the token `{name}`"))?;
    note(format!("revoked `{name}`: the server refuses it from now on"));
    Ok(())
}
