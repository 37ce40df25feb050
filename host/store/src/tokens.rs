//! The named tokens of the control plane.
//!
//! ```text
//! insert, remove --> the file `named-tokens` in the data directory --> a snapshot in memory
//! find, list     <-- the snapshot
//! ```
//!
//! `file` has the file's format.
//!
//! Invariants:
//! * Nothing here holds a secret, only its SHA-256. A fast hash is enough: a secret is 256 random
//!   bits, so there is no list of likely secrets that a slow hash would make expensive to try.
//! * A change takes effect once it is durable. If it can't be written, the tokens stay as they are.
//! * A file that isn't whole is an error at the start, and never taken for an empty one.
//! * Finding a token reads no file and waits for no lock.

mod error;
mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use nebula_model::id::Digest;
use nebula_model::token::{TokenName, TokenRecord};
use subtle::ConstantTimeEq;

pub use self::error::{InsertTokenError, OpenTokensError, RemoveTokenError, WriteTokensError};
use crate::directory::write_whole;

/// The file's name in the data directory.
const FILE: &str = "named-tokens";

/// The most named tokens of a server, expired ones included. A request compares its token with
/// each.
pub const TOKENS_MAX: usize = 256;

/// The named tokens of a data directory.
pub struct NamedTokens {
    path: PathBuf,
    current: ArcSwap<Vec<Arc<NamedToken>>>,
    /// Held during a change.
    change: Mutex<()>,
}

/// A named token, with the time of its last use.
#[derive(Debug)]
pub struct NamedToken {
    /// The token as it is kept.
    pub record: TokenRecord,
    last_use: LastUse,
}

impl NamedToken {
    fn new(record: TokenRecord) -> Arc<Self> {
        Arc::new(Self { record, last_use: LastUse::default() })
    }

    /// Returns the time of the last use.
    pub fn last_use(&self) -> &LastUse {
        &self.last_use
    }
}

/// The time of a token's last use since the server has started. It isn't written to disk.
#[derive(Debug, Default)]
pub struct LastUse {
    /// 0 before the first use.
    unix_s: AtomicU64,
}

impl LastUse {
    /// Records a use.
    pub fn record(&self, now_unix_s: u64) {
        self.unix_s.store(now_unix_s, Ordering::Relaxed);
    }

    /// Returns the time, seconds since the Unix epoch; `None` before the first use.
    pub fn unix_s(&self) -> Option<u64> {
        Some(self.unix_s.load(Ordering::Relaxed)).filter(|unix_s| *unix_s > 0)
    }
}

impl NamedTokens {
    /// Reads the tokens of a data directory, which this process has open. Without a file there are
    /// none.
    ///
    /// # Errors
    /// [`OpenTokensError`].
    pub fn open(data_dir: &Path) -> Result<Self, OpenTokensError> {
        let path = data_dir.join(FILE);
        let records = match fs::read(&path) {
            Ok(content) => file::parse(&content)
                .map_err(|reason| OpenTokensError::Damaged { path: path.clone(), reason })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(OpenTokensError::Unreadable { path, source }),
        };
        let tokens = records.into_iter().map(NamedToken::new).collect();
        Ok(Self { path, current: ArcSwap::from_pointee(tokens), change: Mutex::default() })
    }

    /// Returns all tokens, oldest first.
    pub fn list(&self) -> Arc<Vec<Arc<NamedToken>>> {
        self.current.load_full()
    }

    /// Returns the token whose secret has this digest, expired or not. The time doesn't depend on
    /// which token it is.
    pub fn find(&self, digest: &Digest) -> Option<Arc<NamedToken>> {
        let tokens = self.current.load();
        let mut found = None;
        for token in tokens.iter() {
            if token.record.digest.bytes().ct_eq(digest.bytes()).into() {
                found = Some(token);
            }
        }
        found.map(Arc::clone)
    }

    /// Adds a token. Waits for the disk.
    ///
    /// # Errors
    /// [`InsertTokenError`]. The tokens are then as before.
    pub fn insert(&self, record: TokenRecord) -> Result<Arc<NamedToken>, InsertTokenError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.current.load().to_vec();
        if tokens.iter().any(|token| token.record.name == record.name) {
            return Err(InsertTokenError::Exists { name: record.name });
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(InsertTokenError::TooMany);
        }
        let token = NamedToken::new(record);
        tokens.push(Arc::clone(&token));
        self.replace(tokens)?;
        Ok(token)
    }

    /// Removes a token. Waits for the disk.
    ///
    /// # Errors
    /// [`RemoveTokenError`]. The tokens are then as before.
    pub fn remove(&self, name: &TokenName) -> Result<(), RemoveTokenError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.current.load().to_vec();
        let Some(at) = tokens.iter().position(|token| token.record.name == *name) else {
            return Err(RemoveTokenError::Unknown { name: name.clone() });
        };
        tokens.remove(at);
        Ok(self.replace(tokens)?)
    }

    /// Writes the tokens, then lets requests see them.
    fn replace(&self, tokens: Vec<Arc<NamedToken>>) -> Result<(), WriteTokensError> {
        let records: Vec<_> = tokens.iter().map(|token| &token.record).collect();
        let written = file::print(&records).and_then(|content| write_whole(&self.path, &[&content]));
        written.map_err(|source| match crate::is_out_of_space(&source) {
            true => WriteTokensError::OutOfSpace { path: self.path.clone(), source },
            false => WriteTokensError::Failed { path: self.path.clone(), source },
        })?;
        self.current.store(Arc::new(tokens));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
