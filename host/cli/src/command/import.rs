//! `nebula import`: the functions of an export, added to a server in one change.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::Context;
use nebula_http::wire::{ImportChange, ImportReport, ImportRequest, ImportedFunction};
use nebula_runtime::id::Digest;

use super::apply::with_uploads;
use crate::archive::Archive;
use crate::args;
use crate::client::Client;
use crate::report::{hinted, json, line, note};

pub(crate) fn run(import: &args::Import) -> anyhow::Result<()> {
    let args::Import { file, dry_run, remote } = import;
    // Read and checked as a whole before anything is sent.
    let archive = read(file)?;
    let client = Client::new(remote);
    let request = ImportRequest { functions: archive.export.functions.clone(), dry_run: *dry_run };
    let component = |digest: &Digest| archive.component(digest);
    let report = with_uploads(&client, || client.import(&request), component, |it| archive.names_of(it))
        .with_context(|| format!("cannot import {}", shown(file)))?;
    if remote.json {
        return json(&report);
    }
    print(&report)
}

fn read(path: &Path) -> anyhow::Result<Archive> {
    let cannot_import = || format!("cannot import {}", shown(path));
    if path == Path::new("-") {
        return Archive::read(io::stdin().lock()).with_context(cannot_import);
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", shown(path)))?;
    Archive::read(file).map_err(|error| {
        error.context(hinted(cannot_import(), "give a file that `nebula export` has written, as it is"))
    })
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { format!("`{}`", path.display()) }
}

fn print(report: &ImportReport) -> anyhow::Result<()> {
    let width = report.functions.iter().map(|function| function.name.as_str().len()).max().unwrap_or(0);
    for ImportedFunction { name, change, current, versions } in &report.functions {
        let kind = match change {
            ImportChange::New => "new",
            ImportChange::Unchanged => "unchanged",
        };
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let versions = versions.join(" ");
        line(format!("{kind:9}  {:width$}  {current} of {versions}", name.as_str()))?;
    }
    let new = report.functions.iter().filter(|function| function.change == ImportChange::New).count();
    note(match (report.dry_run, new) {
        (true, _) => "dry run: nothing was changed".to_owned(),
        (false, 0) => "the server has these functions already: nothing was changed".to_owned(),
        (false, 1) => "imported 1 function".to_owned(),
        (false, new) => format!("imported {new} functions"),
    });
    Ok(())
}
