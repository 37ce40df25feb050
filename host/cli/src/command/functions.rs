//! `nebula list`, `rollback`, `remove`: requests to a running server.

use anyhow::Context;
use nebula_http::wire::{FunctionVersion, RollbackRequest};
use nebula_runtime::id::FunctionName;

use crate::args::{self, Named, Remote};
use crate::client::Client;
use crate::failure::Failure;
use crate::report::{json, line, note};

/// Prints a version that was deployed, and its URL.
pub(super) fn print_deployed(client: &Client<'_>, record: &FunctionVersion) -> anyhow::Result<()> {
    line(format!("{} {} {}", record.name, record.version, record.digest))?;
    match client.function_url(&record.name) {
        Ok(url) => line(url),
        // The deploy succeeded all the same.
        Err(error) => {
            note(format!("note: the server doesn't tell the URL of its data plane: {error}"));
            Ok(())
        }
    }
}

/// Derives a function's name from its file: cargo writes `csv_stats.wasm` for `csv-stats`.
pub(super) fn name_of(path: &std::path::Path) -> anyhow::Result<FunctionName> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-")).unwrap_or_default();
    stem.parse().map_err(|error| {
        let message = match path.to_str() {
            Some("-") => "a component from stdin needs a name".to_owned(),
            _ => format!("cannot derive a function name from `{}`", path.display()),
        };
        anyhow::Error::new(error).context(Failure::usage(message, "give a name with `--name`"))
    })
}

pub(crate) fn list(remote: &Remote) -> anyhow::Result<()> {
    let list = Client::new(remote).list()?;
    if remote.json {
        return json(&list);
    }
    if list.functions.is_empty() {
        note("nothing is deployed");
    }
    let width = |text: fn(&FunctionVersion) -> String| {
        list.functions.iter().map(|record| text(record).len()).max().unwrap_or(0)
    };
    let (names, versions) =
        (width(|record| record.name.to_string()), width(|record| record.version.to_string()));
    for record in &list.functions {
        let (name, version) = (record.name.to_string(), record.version.to_string());
        line(format!("{name:names$}  {version:versions$}  {}", record.signature))?;
    }
    Ok(())
}

pub(crate) fn rollback(rollback: &args::Rollback) -> anyhow::Result<()> {
    let to = RollbackRequest { version: rollback.to };
    let record = Client::new(&rollback.remote)
        .rollback(&rollback.name, &to, rollback.followers.followers())
        .with_context(|| format!("cannot roll `{}` back", rollback.name))?;
    if rollback.remote.json {
        return json(&record);
    }
    line(format!("{} {} {}", record.name, record.version, record.digest))
}

pub(crate) fn remove(named: &Named) -> anyhow::Result<()> {
    Client::new(&named.remote)
        .remove(&named.name)
        .with_context(|| format!("cannot remove `{}`", named.name))?;
    note(format!("removed `{}` with all its versions", named.name));
    Ok(())
}
