//! The file of an export: a tar archive, compressed with zstd.
//!
//! ```text
//! nebula-export.json           first: {"format": 1, "functions": {…}}
//! components/<sha256>.wasm     each component that the functions have, once
//! ```
//!
//! Invariants of reading:
//! * Only the entries that the first one implies are accepted, each once, with its length and its
//!   digest. Nothing is written to a path from the file.
//! * Memory holds one entry at a time, whose length is bounded before it is read. The components
//!   wait in a temporary directory.
//! * The end of the file is read, so a file that is cut off anywhere is refused. zstd's checksum
//!   covers what digests don't.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use nebula_http::wire::{Export, ExportedVersion};
use nebula_runtime::id::{Digest, FunctionName};
use nebula_runtime::{COMPONENT_BYTES_MAX, UPLOADS_BYTES_MAX};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::report::hinted;

/// The format that this release reads and writes.
const FORMAT: u32 = 1;

/// What to do about an export that is too long.
const SEVERAL_HINT: &str = "export the functions in several files, by their names";

/// The name of the first entry.
const MANIFEST: &str = "nebula-export.json";

/// The longest first entry, bytes: as long as the server's limit for an import.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most bytes of all components: as many as the server keeps between the uploads and the import.
const COMPONENTS_BYTES_MAX: u64 = UPLOADS_BYTES_MAX;

/// The most bytes after the last entry. Archivers fill the last block.
const PADDING_BYTES_MAX: u64 = 1024 * 1024;

/// zstd's default level, which suits components.
const COMPRESSION_LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// The first entry.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Manifest<F> {
    format: u32,
    functions: F,
}

/// The part of the first entry that every format has.
#[derive(Deserialize)]
struct AnyManifest {
    format: u32,
}

/// A component of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) digest: Digest,
    size_bytes: u64,
}

/// An export that was read and checked.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) export: Export,
    directory: TempDir,
}

/// Writes an export. `content` returns a component.
pub(crate) fn write(
    file: impl Write,
    export: &Export,
    mut content: impl FnMut(&Digest) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut encoder = zstd::Encoder::new(file, COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    let manifest = serde_json::to_vec(&Manifest { format: FORMAT, functions: &export.functions })?;
    let too_long = || hinted("the export is too long to be imported", SEVERAL_HINT);
    check_length(MANIFEST, manifest.len() as u64, MANIFEST_BYTES_MAX).with_context(too_long)?;
    append(&mut archive, MANIFEST, &manifest)?;
    for Component { digest, .. } in components(export).with_context(too_long)?.values() {
        let content = content(digest).with_context(|| format!("cannot fetch the component {digest}"))?;
        let found = Digest::of(&content);
        ensure!(found == *digest, "the server sent {found} for the component {digest}");
        append(&mut archive, &path_of(digest), &content)?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    // The same export gives the same bytes: no times, owners or modes of files.
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content)
}

fn path_of(digest: &Digest) -> String {
    format!("components/{}.wasm", digest.hex())
}

/// Returns the components of an export by their path in the archive.
fn components(export: &Export) -> anyhow::Result<BTreeMap<String, Component>> {
    let mut found = BTreeMap::new();
    for version in versions(export).filter(|version| version.pipeline.is_none()) {
        let component = Component { digest: version.digest, size_bytes: version.size_bytes };
        let first = *found.entry(path_of(&version.digest)).or_insert(component);
        ensure!(first == component, "the component {} has two lengths", version.digest);
    }
    let total = found.values().try_fold(0, |total: u64, component| total.checked_add(component.size_bytes));
    check_length("components/", total.unwrap_or(u64::MAX), COMPONENTS_BYTES_MAX)?;
    Ok(found)
}

fn check_length(what: &str, found: u64, max: u64) -> anyhow::Result<()> {
    ensure!(found <= max, "`{what}` would have {found} bytes; the limit is {max}");
    Ok(())
}

fn versions(export: &Export) -> impl Iterator<Item = &ExportedVersion> {
    export.functions.values().flat_map(|function| function.versions.values())
}

impl Archive {
    /// Reads and checks an export.
    pub(crate) fn read(file: impl Read) -> anyhow::Result<Self> {
        read(file).map_err(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(ErrorKind::UnexpectedEof) => error.context("it is cut off"),
            _ => error,
        })
    }

    /// Returns a component.
    pub(crate) fn component(&self, digest: &Digest) -> anyhow::Result<Bytes> {
        let content = std::fs::read(self.path_of(digest)).context("it isn't in the export")?;
        Ok(content.into())
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.directory.path().join(digest.hex())
    }

    /// Returns the functions that have a component.
    pub(crate) fn names_of(&self, digest: &Digest) -> Vec<FunctionName> {
        let functions = self.export.functions.iter();
        let has = functions.filter(|(_, function)| function.versions.values().any(|it| it.digest == *digest));
        has.map(|(name, _)| name.clone()).collect()
    }
}

/// Returns the number of components of an export.
pub(crate) fn component_count(export: &Export) -> anyhow::Result<usize> {
    Ok(components(export)?.len())
}

fn read(file: impl Read) -> anyhow::Result<Archive> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
    // Raw: entries with long names or other extensions are refused like any unknown entry, instead
    // of being read into memory.
    let mut entries = archive.entries()?.raw(true);
    let first = entries.next().context("it is empty")?.context("it isn't an export of nebula")?;
    let is_manifest = *first.path_bytes() == *MANIFEST.as_bytes();
    ensure!(is_manifest, "it isn't an export of nebula: `{MANIFEST}` doesn't come first");
    let manifest = content_of(first, None)?;
    let export = parse(&manifest).with_context(|| format!("`{MANIFEST}`"))?;
    let mut missing = components(&export)?;
    let archived = Archive { export, directory: tempfile::tempdir().context("cannot create a directory")? };
    for entry in entries {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(component) = missing.remove(&path) else {
            bail!("`{}` isn't part of an export, or is there twice", path.escape_debug());
        };
        let content = content_of(entry, Some(component.size_bytes)).with_context(|| format!("`{path}`"))?;
        let found = Digest::of(&content);
        ensure!(found == component.digest, "`{path}` is damaged: its digest is {found}");
        std::fs::write(archived.path_of(&component.digest), content)
            .context("cannot write the components to a temporary directory")?;
    }
    if let Some(path) = missing.keys().next() {
        bail!("`{path}` is missing: the file is damaged or cut off");
    }
    let padding = io::copy(&mut archive.into_inner().take(PADDING_BYTES_MAX + 1), &mut io::sink())?;
    ensure!(padding <= PADDING_BYTES_MAX, "it continues after its end");
    Ok(archived)
}

/// Returns the content of an entry, which has to be of this length if one is given.
fn content_of(mut entry: tar::Entry<'_, impl Read>, size_bytes: Option<u64>) -> anyhow::Result<Vec<u8>> {
    let (header, found) = (entry.header(), entry.size());
    ensure!(header.entry_type() == tar::EntryType::Regular, "it isn't a file");
    let max = if size_bytes.is_some() { COMPONENT_BYTES_MAX as u64 } else { MANIFEST_BYTES_MAX };
    ensure!(found <= max, "it has {found} bytes; the limit is {max}");
    if let Some(expected) = size_bytes {
        ensure!(found == expected, "it has {found} bytes instead of {expected}");
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if content.len() as u64 != found {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    Ok(content)
}

fn parse(manifest: &[u8]) -> anyhow::Result<Export> {
    let AnyManifest { format } = serde_json::from_slice(manifest)?;
    ensure!(
        format == FORMAT,
        "it has the format {format}, and this release reads {FORMAT}: use the release that wrote it, or a newer one"
    );
    let Manifest { functions, .. } = serde_json::from_slice(manifest)?;
    Ok(Export { functions })
}

#[cfg(test)]
mod tests;
