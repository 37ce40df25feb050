//! The data directory: its format, its lock and its key.
//!
//! ```text
//! FORMAT    the version of the layout
//! lock      held by the one process that has the directory open
//! key       32 random bytes, from which the keys for all purposes derive
//! ```
//!
//! Invariants:
//! * One process has the directory open.
//! * A file appears under its final name whole or not at all: it is written under another name,
//!   synced and renamed. A crash can leave a file whose name begins with `.tmp-`, which the next
//!   process deletes.
//! * Only its owner can enter it (0700). Write access to it means control of the host.
//! * Opening a directory of format 1 leaves it as it is. The first change makes it format 2.

mod error;
mod format;
mod lock;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

pub use self::error::OpenError;
use self::format::{FORMAT, FORMAT_1};
use self::lock::DirectoryLock;
use crate::STORE;

/// The beginning of the name of a file that isn't written to its end.
const UNFINISHED: &str = ".tmp-";

/// Secret bytes, from which the keys for all purposes derive.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Returns the secret with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Derives the key for one purpose, which `context` names.
    pub fn key_for(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

/// An open data directory. It stays locked while the value lives.
pub struct Directory {
    path: PathBuf,
    secret: Secret,
    is_format_1: Mutex<bool>,
    _lock: DirectoryLock,
}

impl Directory {
    /// Opens the directory, or creates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable { path: path.to_owned(), source };
        create_private_dir(path).map_err(not_writable)?;
        let lock = DirectoryLock::take(path)?;
        remove_unfinished(path).map_err(not_writable)?;
        let format = path.join("FORMAT");
        let is_format_1 = match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => false,
            Ok(found) if found == FORMAT_1 => true,
            Ok(found) => {
                return Err(OpenError::OtherFormat { path: path.to_owned(), found: found.trim().to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_whole(&format, &[FORMAT.as_bytes()]).map_err(not_writable)?;
                false
            }
            Err(error) => return Err(not_writable(error)),
        };
        let secret = read_secret(&path.join("key")).map_err(not_writable)?;
        Ok(Self { path: path.to_owned(), secret, is_format_1: Mutex::new(is_format_1), _lock: lock })
    }

    /// Returns the directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory's secret.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Makes it the current format, durably, if it isn't.
    pub(crate) fn upgrade(&self) -> io::Result<()> {
        let mut is_format_1 = self.is_format_1.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_format_1 {
            write_whole(&self.path.join("FORMAT"), &[FORMAT.as_bytes()])?;
            *is_format_1 = false;
        }
        Ok(())
    }
}

/// Creates a directory that only its owner can enter, and its parents.
///
/// # Errors
/// The system's reason.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file from parts, so that it appears whole or not at all. Only its owner can read it
/// (0600). It is durable on return.
///
/// # Errors
/// The system's reason. The file is then as before, unless only the sync of its directory failed.
pub fn write_whole(path: &Path, content: &[&[u8]]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    for part in content {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Deletes the files that a crash has left half written. The lock is held, so no process writes one.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
        if is_unfinished && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn read_secret(path: &Path) -> io::Result<Secret> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(bytes) => Ok(Secret(bytes)),
            // A key of another length is damaged. With a new one all code is compiled again.
            Err(_) => {
                let file = path.display().to_string();
                warn!(target: STORE, file, "the key is damaged and is replaced: all code is compiled again");
                create_secret(path)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_secret(path),
        Err(error) => Err(error),
    }
}

fn create_secret(path: &Path) -> io::Result<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    write_whole(path, &[&bytes])?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Secret(bytes))
}
