//! Blobs as files in the data directory.
//!
//! ```text
//! components/<sha256>                  the component
//! compiled/<compatibility>/<sha256>    the compiled code; its MAC follows it
//! ```
//!
//! A file appears under its final name whole or not at all: it is written under another name,
//! synced and renamed, and the directory is synced. A crash can leave a file whose name begins with
//! `.tmp-`, which `collect` deletes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nebula_model::id::Digest;
use tracing::{error, warn};

use super::{BlobError, Blobs, Collected, Compiled, CompiledId, CompiledKey};
use crate::STORE;
use crate::directory::{Directory, create_private_dir, write_whole};

/// Blobs in the data directory.
pub struct FileBlobs {
    components: PathBuf,
    compiled: PathBuf,
    key: CompiledKey,
    /// Keeps the directory locked.
    _directory: Arc<Directory>,
}

impl FileBlobs {
    /// Opens the blobs in `directory`. Creates the directories for them.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(directory: Arc<Directory>) -> io::Result<Self> {
        let components = directory.path().join("components");
        let compiled = directory.path().join("compiled");
        create_private_dir(&components)?;
        create_private_dir(&compiled)?;
        let key = CompiledKey::new(directory.secret());
        Ok(Self { components, compiled, key, _directory: directory })
    }

    fn component_path(&self, digest: &Digest) -> PathBuf {
        self.components.join(digest.hex())
    }

    fn compiled_path(&self, id: CompiledId<'_>) -> PathBuf {
        self.compiled.join(id.compatibility).join(id.digest.hex())
    }
}

impl Blobs for FileBlobs {
    fn put_component(&self, digest: &Digest, content: &[u8], deadline: Instant) -> Result<(), BlobError> {
        check(deadline)?;
        let path = self.component_path(digest);
        // A damaged file is written again: a deploy repairs it.
        if fs::read(&path).is_ok_and(|found| Digest::of(&found) == *digest) {
            return Ok(());
        }
        write_whole(&path, &[content]).map_err(failed("write", &path))
    }

    fn component(&self, digest: &Digest, deadline: Instant) -> Result<Vec<u8>, BlobError> {
        check(deadline)?;
        let path = self.component_path(digest);
        match fs::read(&path) {
            Ok(content) if Digest::of(&content) == *digest => Ok(content),
            Ok(_) => {
                error!(target: STORE, %digest, "a component is damaged on disk; deploy it again");
                Err(BlobError::Damaged { digest: *digest })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobError::Missing { digest: *digest })
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn put_compiled(&self, id: CompiledId<'_>, code: &[u8], deadline: Instant) -> Result<(), BlobError> {
        check(deadline)?;
        let directory = self.compiled.join(id.compatibility);
        create_private_dir(&directory).map_err(failed("create", &directory))?;
        let path = self.compiled_path(id);
        write_whole(&path, &[code, &self.key.seal(id, code)]).map_err(failed("write", &path))
    }

    fn compiled(&self, id: CompiledId<'_>, deadline: Instant) -> Result<Option<Compiled>, BlobError> {
        check(deadline)?;
        let path = self.compiled_path(id);
        let open = || {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            self.key.open(id, file, length)
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(None) => {
                warn!(target: STORE, digest = %id.digest, "compiled code is damaged; it is compiled again");
                Ok(None)
            }
            compiled => compiled.map_err(failed("load", &path)),
        }
    }

    fn collect(&self, kept: &HashSet<Digest>, compatibility: &str) -> Result<Collected, BlobError> {
        let kept: HashSet<String> = kept.iter().map(Digest::hex).collect();
        let mut collected = Collected::default();
        sweep(&self.components, |name| kept.contains(name), &mut collected)?;
        for entry in fs::read_dir(&self.compiled).map_err(failed("read", &self.compiled))? {
            let path = entry.map_err(failed("read", &self.compiled))?.path();
            let is_current = path.file_name().is_some_and(|name| name == compatibility);
            sweep(&path, |name| is_current && kept.contains(name), &mut collected)?;
            if !is_current {
                fs::remove_dir(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(collected)
    }
}

fn check(deadline: Instant) -> Result<(), BlobError> {
    if deadline <= Instant::now() { Err(BlobError::DeadlineExceeded) } else { Ok(()) }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let action = format!("{action} `{}`", path.display());
    move |error| match crate::is_out_of_space(&error) {
        true => BlobError::OutOfSpace { action, source: error.into() },
        false => BlobError::Failed { action, source: error.into() },
    }
}

/// Deletes the files of a directory but those to `keep`.
fn sweep(directory: &Path, keep: impl Fn(&str) -> bool, collected: &mut Collected) -> Result<(), BlobError> {
    for entry in fs::read_dir(directory).map_err(failed("read", directory))? {
        let entry = entry.map_err(failed("read", directory))?;
        if entry.file_name().to_str().is_some_and(&keep) {
            continue;
        }
        let path = entry.path();
        collected.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        collected.blobs += 1;
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
