//! `nebula export`: functions and pipelines with all their versions, as one file.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use nebula_http::wire::Export;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::archive;
use crate::args;
use crate::client::Client;
use crate::failure::{Failure, FailureKind};
use crate::report::{self, note};

/// The part of a file that is copied to stdout at once, bytes.
const COPY_BYTES: usize = 1024 * 1024;

pub(crate) fn run(arguments: &args::Export) -> anyhow::Result<()> {
    let args::Export { names, output, remote } = arguments;
    let to_stdout = output == Path::new("-");
    // A link stays, and what it names is replaced.
    let target = std::fs::canonicalize(output).unwrap_or_else(|_| output.clone());
    // A pipe or a device is written, and can't be replaced.
    let is_stream = std::fs::metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if to_stdout && io::stdout().is_terminal() {
        let failure = Failure::new(FailureKind::Usage, "an export is not for a terminal");
        return Err(failure.with_hint("give a file with `-o FILE`, or redirect stdout").into());
    }
    let client = Client::new(remote);
    let export = client.export(names).context("cannot export")?;
    // Nothing is written before the export is complete.
    let cannot_write = || format!("cannot write `{}`", output.display());
    if to_stdout {
        let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
        write(&mut file, &client, &export)?;
        copy_to_stdout(file)?;
    } else if is_stream {
        let mut stream = File::options().write(true).open(&target).with_context(cannot_write)?;
        let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
        write(&mut file, &client, &export)?;
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut file, &mut stream).with_context(cannot_write)?;
    } else {
        let directory = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        // Only its owner can read it, because the configuration of functions is in it.
        let mut file = NamedTempFile::new_in(directory).with_context(cannot_write)?;
        write(file.as_file_mut(), &client, &export)?;
        file.as_file().sync_all().with_context(cannot_write)?;
        file.persist(&target).with_context(cannot_write)?;
    }
    let functions = export.functions.len();
    let versions: usize = export.functions.values().map(|function| function.versions.len()).sum();
    let components = archive::component_count(&export)?;
    if remote.json && !to_stdout {
        let report = json!({"functions": functions, "versions": versions, "components": components});
        return report::json(&report);
    }
    note(format!("exported {functions} functions with {versions} versions and {components} components"));
    Ok(())
}

fn write(file: &mut File, client: &Client<'_>, export: &Export) -> anyhow::Result<()> {
    let mut file = io::BufWriter::new(file);
    archive::write(&mut file, export, |digest| client.component_of(digest))?;
    file.flush().context("cannot write the export")
}

fn copy_to_stdout(mut file: File) -> anyhow::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut part = Vec::new();
    loop {
        part.clear();
        Read::by_ref(&mut file).take(COPY_BYTES as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            return Ok(());
        }
        report::bytes(&part)?;
    }
}
