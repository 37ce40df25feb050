//! The files beside the database: components, compiled code, the key.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nebula_model::id::Digest;

use super::compiled::Compiled;
use super::{Collected, StoreError};
use crate::directory::{Directory, create_private_dir, write_whole};

/// Domain separation of the key that MACs compiled code, as BLAKE3's key derivation wants it.
const MAC_CONTEXT: &str = "nebula 2026-11 authentication of compiled code";

/// What follows an artefact in its file. wasmtime finds the artefact's parts from its beginning.
const MAC_BYTES: u64 = blake3::OUT_LEN as u64;

pub(super) struct Files {
    components: PathBuf,
    compiled: PathBuf,
    mac_key: [u8; 32],
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

impl Files {
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        let components = directory.path().join("components");
        let compiled = directory.path().join("compiled");
        create_private_dir(&components)?;
        create_private_dir(&compiled)?;
        Ok(Self { components, compiled, mac_key: directory.key_for(MAC_CONTEXT) })
    }

    fn component(&self, digest: &Digest) -> PathBuf {
        self.components.join(digest.hex())
    }

    pub(super) fn put_component(&self, digest: &Digest, content: &[u8]) -> Result<(), StoreError> {
        let path = self.component(digest);
        // Written again if the file there isn't what it should be: deploying mends damage.
        if fs::read(&path).is_ok_and(|found| Digest::of(&found) == *digest) {
            return Ok(());
        }
        write_whole(&path, &[content]).map_err(at("write", &path))
    }

    pub(super) fn read_component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.component(digest);
        let content = fs::read(&path).map_err(at("read", &path))?;
        if Digest::of(&content) == *digest {
            Ok(content)
        } else {
            Err(StoreError::Damaged { digest: *digest })
        }
    }

    /// Of an artefact of this digest and compatibility; it is yet to be fed.
    fn mac(&self, digest: &Digest, compatibility: &str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac_key);
        hasher.update(digest.bytes());
        hasher.update(&(compatibility.len() as u64).to_le_bytes());
        hasher.update(compatibility.as_bytes());
        hasher
    }

    pub(super) fn store_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
        artefact: &[u8],
    ) -> Result<(), StoreError> {
        let directory = self.compiled.join(compatibility);
        create_private_dir(&directory).map_err(at("create", &directory))?;
        let path = directory.join(digest.hex());
        let mac = self.mac(digest, compatibility).update(artefact).finalize();
        write_whole(&path, &[artefact, mac.as_bytes()]).map_err(at("write", &path))
    }

    pub(super) fn open_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
    ) -> Result<Option<Compiled>, StoreError> {
        let path = self.compiled.join(compatibility).join(digest.hex());
        let authenticate = || {
            let file = File::open(&path)?;
            let Some(bytes) = file.metadata()?.len().checked_sub(MAC_BYTES) else { return Ok(None) };
            Compiled::authenticate(file, bytes, self.mac(digest, compatibility))
        };
        match authenticate() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            compiled => compiled.map_err(at("load", &path)),
        }
    }

    /// Deletes what isn't `named`, and compiled code that isn't of `compatibility`.
    pub(super) fn collect(
        &self,
        named: &HashSet<String>,
        compatibility: &str,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        sweep(&self.components, |name| named.contains(name), &mut collected)?;
        for entry in fs::read_dir(&self.compiled).map_err(at("read", &self.compiled))? {
            let path = entry.map_err(at("read", &self.compiled))?.path();
            let current = path.file_name().is_some_and(|name| name == compatibility);
            sweep(&path, |name| current && named.contains(name), &mut collected)?;
            if !current {
                fs::remove_dir(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(collected)
    }
}

fn sweep(directory: &Path, keep: impl Fn(&str) -> bool, collected: &mut Collected) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(at("read", directory))? {
        let entry = entry.map_err(at("read", directory))?;
        if entry.file_name().to_str().is_some_and(&keep) {
            continue;
        }
        let path = entry.path();
        collected.bytes += entry.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        collected.files += 1;
        fs::remove_file(&path).map_err(at("remove", &path))?;
    }
    Ok(())
}
