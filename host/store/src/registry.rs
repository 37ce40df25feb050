//! Names to versions to components, and their compiled code, in one directory.
//!
//! ```text
//! FORMAT                               the layout's version
//! lock                                 held by the one process that has the directory open
//! key                                  32 random bytes: authenticates compiled code
//! registry.redb                        names -> current version; (name, version) -> record; names of pipelines;
//!                                      names of what has functions linked in; components that are distrusted
//! components/<sha256>                  immutable, content-addressed; of a pipeline its description, every function by its digest
//! compiled/<compatibility>/<sha256>    derived; its MAC at the end
//! ```
//!
//! Invariants:
//! * What [`Registry::publish`] has returned survives a crash: the component's file and directory
//!   are synced before the transaction that names it commits, and redb's commit is durable.
//! * A file appears under its final name whole or not at all (written aside, synced, renamed).
//! * Compiled code is handed out only if its MAC, over content, digest and compatibility, is right;
//!   anything else is made again. It is handed out as a copy that can't change ([`Compiled`]).
//! * The directory is the operator's alone (0700): whoever can write to it owns the host.
//!
//! Knows bytes and digests; nothing of wasmtime or HTTP.

mod compiled;
mod distrust;
mod files;
mod lock;
mod records;
mod store;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nebula_model::id::{Digest, FunctionName, FunctionRef, Selector, Version};
use nebula_model::limits::LimitOverrides;
use nebula_model::record::{Composition, Description, Linked, VersionRecord};
use nebula_model::remember::Remember;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

pub use self::compiled::Compiled;
pub use self::files::create_private_dir;
use self::files::{Files, write_whole};
use self::lock::DirectoryLock;
use self::records::{CURRENT, IMPORTERS, PIPELINES, RECORDS};
use self::store::Store;

/// What stands in `FORMAT`.
const FORMAT: &str = "nebula registry 1\n";

/// Why the data directory couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("`{}` is in use by another process{}", path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who, if the lock file says.
        pid: Option<u32>,
    },
    /// It can't be created or written to.
    #[error("cannot write to the data directory `{}`", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It was written by another release.
    #[error("`{}` has the format `{found}`, and this release reads `{}`", path.display(), FORMAT.trim())]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// What `FORMAT` says.
        found: String,
    },
    /// Its database can't be read.
    #[error("the registry database in `{}` cannot be opened", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// redb's reason.
        source: Box<redb::Error>,
    },
}

/// Why the registry couldn't read or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The database.
    #[error("the registry database failed")]
    Database(#[source] Box<redb::Error>),
    /// A component's bytes aren't those of its digest any more.
    #[error("the component {digest} is damaged on disk: deploy it again")]
    Damaged {
        /// Which.
        digest: Digest,
    },
    /// A record that this release can't read.
    #[error("the record of `{name}` {version} cannot be read")]
    Record {
        /// The function.
        name: String,
        /// The version.
        version: u32,
        /// serde's reason.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// Whether what was asked for isn't there.
    pub fn is_absence(&self) -> bool {
        if let Self::File { source, .. } = self {
            source.kind() == std::io::ErrorKind::NotFound
        } else {
            false
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn is_out_of_space(&self) -> bool {
        let io = match self {
            Self::File { source, .. } => Some(source),
            Self::Database(error) => {
                if let redb::Error::Io(source) = &**error {
                    Some(source)
                } else {
                    None
                }
            }
            Self::Damaged { .. } | Self::Record { .. } => None,
        };
        let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
        io.is_some_and(|io| full.contains(&io.kind()))
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such function.
    #[error("there is no function `{0}`")]
    UnknownFunction(FunctionName),
    /// The function is there, that version of it isn't.
    #[error("`{name}` has no version `{asked}`; its current one is {current}")]
    UnknownVersion {
        /// The function.
        name: FunctionName,
        /// What was asked for.
        asked: String,
        /// What there is.
        current: Version,
    },
    /// The current version is the first.
    #[error("`{name}` has no version before {current}")]
    NoEarlierVersion {
        /// The function.
        name: FunctionName,
        /// Its current version.
        current: Version,
    },
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a deploy adds.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Of the component, which [`Registry::put_component`] has stored.
    pub digest: Digest,
    /// The component's length.
    pub size_bytes: u64,
    /// The function's own limits.
    pub limits: LimitOverrides,
    /// What is remembered of it.
    pub remember: Remember,
    /// If it is a pipeline: of what.
    pub pipeline: Option<Composition>,
    /// The functions that were linked into it.
    pub linked: Vec<Linked>,
    /// What it is, for listing without loading it.
    pub description: Description,
}

/// What a garbage collection freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many files.
    pub files: u64,
    /// Their length, bytes.
    pub bytes: u64,
}

/// The open registry. Synchronous: callers keep it off the request path.
pub struct Registry {
    store: Store,
    files: Files,
    /// Serialises storing with collecting: what is stored and not yet named is not garbage.
    changing: std::sync::Mutex<()>,
    _lock: DirectoryLock,
}

impl Registry {
    /// Opens the directory, making it if need be.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable { path: path.to_owned(), source };
        files::create_private_dir(path).map_err(not_writable)?;
        let lock = DirectoryLock::take(path)?;
        let format = path.join("FORMAT");
        match std::fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => {
                return Err(OpenError::OtherFormat { path: path.to_owned(), found: found.trim().to_owned() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_whole(&format, &[FORMAT.as_bytes()]).map_err(not_writable)?;
            }
            Err(error) => return Err(not_writable(error)),
        }
        let files = Files::open(path).map_err(not_writable)?;
        let store = Store::open(path.join("registry.redb"))
            .map_err(|source| OpenError::Database { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { store, files, changing: std::sync::Mutex::new(()), _lock: lock })
    }

    /// A key for another purpose, from the secret that authenticates compiled code.
    pub fn key_for(&self, context: &str) -> [u8; 32] {
        self.files.key_for(context)
    }

    /// Stores contents and names them, all at once: durable when it returns.
    ///
    /// The same content with the same settings as the current version is that version.
    ///
    /// # Errors
    /// [`StoreError`]; the registry is then as it was.
    pub fn publish(&self, news: &[Publication<'_>]) -> Result<Vec<VersionRecord>, StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.put_contents(news)?;
        self.store.write(|transaction| {
            let records = publish(&transaction, news)?;
            transaction.commit()?;
            Ok(records)
        })
    }

    fn put_contents(&self, news: &[Publication<'_>]) -> Result<(), StoreError> {
        news.iter().try_for_each(|new| self.files.put_component(&new.version.digest, &new.content))
    }

    /// What publishing this would give.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prospect(&self, name: &FunctionName, new: &NewVersion) -> Result<VersionRecord, StoreError> {
        self.store.read(|transaction| {
            let (current, records) = (transaction.open_table(CURRENT)?, transaction.open_table(RECORDS)?);
            Ok(match next(&current, &records, name, new)? {
                Next::Current(record) | Next::New(record) => record,
            })
        })
    }

    /// Every version of every name that has, or had, one that is a pipeline.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pipelines(&self) -> Result<Vec<FunctionName>, StoreError> {
        self.names(PIPELINES)
    }

    /// Every name that has, or had, a version with functions linked into it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn importers(&self) -> Result<Vec<FunctionName>, StoreError> {
        self.names(IMPORTERS)
    }

    fn names(&self, table: TableDefinition<'_, &'static str, ()>) -> Result<Vec<FunctionName>, StoreError> {
        self.store.read(|transaction| {
            let table = match transaction.open_table(table) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut names = Vec::new();
            for entry in table.iter()? {
                // What this release wouldn't have named isn't there for it.
                names.extend(entry?.0.value().parse().ok());
            }
            Ok(names)
        })
    }

    /// The version that `reference` names.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, reference: &FunctionRef) -> Result<VersionRecord, ResolveError> {
        let name = &reference.name;
        let current = self.current(name)?.ok_or_else(|| ResolveError::UnknownFunction(name.clone()))?;
        let (found, asked) = match reference.selector {
            Selector::Current => (self.version(name, current)?, current.to_string()),
            Selector::Version(version) => (self.version(name, version)?, version.to_string()),
            Selector::Digest(digest) => {
                let latest = self.versions(name)?.into_iter().rev().find(|record| record.digest == digest);
                (latest, digest.to_string())
            }
        };
        found.ok_or_else(|| ResolveError::UnknownVersion { name: name.clone(), asked, current })
    }

    fn version(&self, name: &FunctionName, version: Version) -> Result<Option<VersionRecord>, StoreError> {
        self.store.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            let record = records.get((name.as_str(), version.number()))?;
            record.map(|record| records::read(name, version.number(), record.value())).transpose()
        })
    }

    fn current(&self, name: &FunctionName) -> Result<Option<Version>, StoreError> {
        self.store.read(|transaction| {
            let table = transaction.open_table(CURRENT)?;
            Ok(table.get(name.as_str())?.and_then(|version| Version::new(version.value())))
        })
    }

    /// The current version of every function, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<VersionRecord>, StoreError> {
        self.store.read(|transaction| {
            let (current, records) = (transaction.open_table(CURRENT)?, transaction.open_table(RECORDS)?);
            let mut list = Vec::new();
            for entry in current.iter()? {
                let (name, version) = entry?;
                let (name, version) = (name.value(), version.value());
                if let Some(record) = records.get((name, version))? {
                    list.push(records::read_named(name, version, record.value())?);
                }
            }
            Ok(list)
        })
    }

    /// Every version of a function, oldest first; empty if there is no such function.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, StoreError> {
        self.store.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            let mut versions = Vec::new();
            for entry in records.range((name.as_str(), 0)..=(name.as_str(), u32::MAX))? {
                let (key, record) = entry?;
                versions.push(records::read(name, key.value().1, record.value())?);
            }
            Ok(versions)
        })
    }

    /// The version `to`, or the one before the current one.
    ///
    /// # Errors
    /// [`ResolveError`]: also when there is no earlier version.
    pub fn earlier(&self, name: &FunctionName, to: Option<Version>) -> Result<VersionRecord, ResolveError> {
        let current = self.current(name)?.ok_or_else(|| ResolveError::UnknownFunction(name.clone()))?;
        let versions = self.versions(name)?;
        let target = versions.into_iter().rev().find(|record| match to {
            Some(version) => record.version == version,
            None => record.version < current,
        });
        target.ok_or_else(|| match to {
            Some(asked) => {
                ResolveError::UnknownVersion { name: name.clone(), asked: asked.to_string(), current }
            }
            None => ResolveError::NoEarlierVersion { name: name.clone(), current },
        })
    }

    /// Makes a version current, and publishes `news` at once. Nothing is deleted.
    ///
    /// # Errors
    /// [`StoreError`]; the registry is then as it was.
    pub fn roll_back(
        &self,
        target: &VersionRecord,
        news: &[Publication<'_>],
    ) -> Result<Vec<VersionRecord>, StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.put_contents(news)?;
        self.store.write(|transaction| {
            transaction.open_table(CURRENT)?.insert(target.name.as_str(), target.version.number())?;
            let records = publish(&transaction, news)?;
            transaction.commit()?;
            Ok(records)
        })
    }

    /// Removes a function with all its versions; false if there was none. Its files go with the next
    /// [`collect_garbage`](Self::collect_garbage).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, name: &FunctionName) -> Result<bool, StoreError> {
        self.store.write(|transaction| {
            let existed = {
                let mut current = transaction.open_table(CURRENT)?;
                let mut records = transaction.open_table(RECORDS)?;
                records.retain_in((name.as_str(), 0)..=(name.as_str(), u32::MAX), |_, _| false)?;
                for table in [PIPELINES, IMPORTERS] {
                    match transaction.open_table(table) {
                        // Where none ever was there is none to remove.
                        Ok(mut names) => drop(names.remove(name.as_str())?),
                        Err(redb::TableError::TableDoesNotExist(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                current.remove(name.as_str())?.is_some()
            };
            transaction.commit()?;
            Ok(existed)
        })
    }

    /// A component's bytes, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read_component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.files.read_component(digest)
    }

    /// Stores compiled code with its MAC.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
        artefact: &[u8],
    ) -> Result<(), StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.files.store_compiled(digest, compatibility, artefact)
    }

    /// Authentic compiled code, read and copied; `None` if there is none: compile it again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_compiled(
        &self,
        digest: &Digest,
        compatibility: &str,
    ) -> Result<Option<Compiled>, StoreError> {
        self.files.open_compiled(digest, compatibility)
    }

    /// Deletes components that no version names, and compiled code of other engines or of them. What is
    /// `in_use` is spared; that is asked when the names have been read, so that what a call has found by a name
    /// until then is either named or in use.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted until then is gone, and was garbage.
    pub fn collect_garbage(
        &self,
        compatibility: &str,
        in_use: impl FnOnce() -> HashSet<Digest>,
    ) -> Result<Collected, StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut named = self.store.read(|transaction| {
            let records = transaction.open_table(RECORDS)?;
            let mut named: HashSet<String> = HashSet::new();
            for entry in records.iter()? {
                let (key, record) = entry?;
                let (name, version) = key.value();
                named.insert(records::read_digest(name, version, record.value())?.hex());
            }
            Ok(named)
        })?;
        named.extend(in_use().iter().map(Digest::hex));
        self.files.collect(&named, compatibility)
    }
}

/// What is published under a name.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The name that the version is published under.
    pub name: &'a FunctionName,
    /// What the version's digest is of.
    pub content: Cow<'a, [u8]>,
    /// The version.
    pub version: NewVersion,
}

/// Adds versions and makes them current, but for those that are it already.
fn publish(
    transaction: &WriteTransaction,
    news: &[Publication<'_>],
) -> Result<Vec<VersionRecord>, StoreError> {
    let mut current = transaction.open_table(CURRENT)?;
    let mut records = transaction.open_table(RECORDS)?;
    let mut published = Vec::new();
    for Publication { name, version: new, .. } in news {
        let record = match next(&current, &records, name, new)? {
            Next::Current(record) => record,
            Next::New(record) => {
                let number = record.version.number();
                let written = records::write(&record);
                // What couldn't be read again would be in everybody's way.
                records::read(name, number, &written)?;
                records.insert((name.as_str(), number), written.as_slice())?;
                current.insert(name.as_str(), number)?;
                if record.pipeline.is_some() {
                    transaction.open_table(PIPELINES)?.insert(name.as_str(), ())?;
                }
                if !record.linked.is_empty() {
                    transaction.open_table(IMPORTERS)?.insert(name.as_str(), ())?;
                }
                record
            }
        };
        published.push(record);
    }
    Ok(published)
}

/// What publishing something comes to.
enum Next {
    /// It is current already.
    Current(VersionRecord),
    New(VersionRecord),
}

fn next(
    current: &impl ReadableTable<&'static str, u32>,
    records: &impl ReadableTable<(&'static str, u32), &'static [u8]>,
    name: &FunctionName,
    new: &NewVersion,
) -> Result<Next, StoreError> {
    if let Some(version) = current.get(name.as_str())?.map(|version| version.value())
        && let Some(found) = records.get((name.as_str(), version))?
    {
        let found = records::read(name, version, found.value())?;
        if records::is_made_of(&found, new) {
            return Ok(Next::Current(found));
        }
    }
    let last = records.range((name.as_str(), 0)..=(name.as_str(), u32::MAX))?.next_back().transpose()?;
    let last = last.and_then(|(key, _)| Version::new(key.value().1));
    let version = last.map_or(Version::FIRST, Version::next);
    Ok(Next::New(records::record_of(name.clone(), version, new.clone())))
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod tests;
