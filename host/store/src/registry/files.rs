//! The files beside the database: components, compiled code, the key.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nebula_model::id::Digest;

use super::compiled::Compiled;
use super::{Collected, StoreError};

/// Domain separation of the key that MACs compiled code, as BLAKE3's key derivation wants it.
const MAC_CONTEXT: &str = "nebula 2026-11 authentication of compiled code";

/// What follows an artefact in its file. wasmtime finds the artefact's parts from its beginning.
const MAC_BYTES: u64 = blake3::OUT_LEN as u64;

pub(super) struct Files {
    components: PathBuf,
    compiled: PathBuf,
    secret: Vec<u8>,
    mac_key: [u8; 32],
}

/// Makes a directory that only its owner can enter, and its parents.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file, in parts, so that it is there whole or not at all, and durable on return.
pub(super) fn write_whole(path: &Path, content: &[&[u8]]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(directory)?;
    for part in content {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

impl Files {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let components = directory.join("components");
        let compiled = directory.join("compiled");
        create_private_dir(&components)?;
        create_private_dir(&compiled)?;
        let key = directory.join("key");
        let secret = match fs::read(&key) {
            Ok(secret) if secret.len() == 32 => secret,
            // A key of another length authenticates nothing: a new one makes all code be compiled anew.
            Ok(_) => new_key(&key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => new_key(&key)?,
            Err(error) => return Err(error),
        };
        let mac_key = blake3::derive_key(MAC_CONTEXT, &secret);
        Ok(Self { components, compiled, secret, mac_key })
    }

    pub(super) fn key_for(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.secret)
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

fn new_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    write_whole(path, &[&key])?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(key.to_vec())
}
