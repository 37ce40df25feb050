//! The catalog: which names there are, as an ordered log of changes and the view that it adds up
//! to.
//!
//! ```text
//! append(base, changes) --> log record (sequence, hash of the one before, MAC) --> follow(from)
//!                       \-> view: names, versions, pipelines, importers, routed names, disagreements
//! ```
//!
//! [`RedbCatalog`] keeps both in one file on this machine. The tests' `MemoryCatalog` keeps them in
//! memory. `testing::catalog` has the tests that every implementation passes. The layout of a
//! record is in [`record`].

pub mod change;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod progress;
pub mod record;
mod redb;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Instant;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;

pub use self::change::{Change, ContentError, RawChange};
#[cfg(any(test, feature = "testing"))]
pub use self::memory::MemoryCatalog;
pub use self::record::{LogKey, LogRecord, RecordError, RecordHash};
pub use self::redb::RedbCatalog;
use crate::Cause;

/// An ordered log of changes of names, and the view that they add up to.
///
/// * **Order.** All records of a log are totally ordered by [`Sequence`]. An append succeeds only
///   at the base that its caller has seen, so of several appends at one base one succeeds and the
///   others get [`AppendError::Conflict`].
/// * **Atomicity.** All changes of one append take effect together, in the log and in the view, or
///   none does. A reader sees the view before or after them.
/// * **Durability.** A record that `append` has returned survives a crash of the process and a loss
///   of power. A crash during `append` leaves all of its changes or none. The implementation for
///   tests keeps nothing beyond its own life.
/// * **Replay.** Applying a change never fails: where it makes no sense, it has no effect. So the
///   log alone determines the view. Appending the changes of one log to an empty catalog, in order,
///   gives the same view.
/// * **Unknown changes.** A change of a kind that this release doesn't know is kept in the log and
///   passed on by `follow`. It doesn't change the view.
/// * **Authenticity.** Every record has a MAC, and the hash of the record before it. `follow` and
///   `append` check both, and report a record that was altered, cut off or removed.
/// * **Threads.** All methods but `applied` may wait for a disk or a network. Call them on a thread
///   that may wait, never on an event loop. They may be called from several threads at once.
/// * **Deadlines.** A method that takes a deadline returns an error when it has passed, soon after.
///   A write that has begun is finished first. The other methods read local state.
pub trait Catalog: Send + Sync {
    /// Returns the last record that the view includes. Doesn't wait.
    fn applied(&self) -> Sequence;

    /// Returns the last record of the log, which may be ahead of [`applied`](Self::applied) if
    /// other processes append to it.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn last(&self, deadline: Instant) -> Result<Sequence, CatalogError>;

    /// Appends one record with `changes`, if the log's last record is `base`. Returns the record's
    /// sequence. Then the view includes the changes.
    ///
    /// The first append to a catalog without a log that already has names puts records before this
    /// one that add up to those names.
    ///
    /// # Errors
    /// [`AppendError`]. After [`Conflict`](AppendError::Conflict) and
    /// [`TooLarge`](AppendError::TooLarge) nothing was appended. After the others the record may be
    /// in the log, or still arrive there. Repeating the append at the same base is safe, because it
    /// conflicts if the first one succeeded.
    fn append(&self, base: Sequence, changes: &[Change], deadline: Instant) -> Result<Sequence, AppendError>;

    /// Returns records after `from`, in order, without a gap: some, not always all.
    ///
    /// Waits until there is one. At the deadline it returns no record, which isn't an error.
    ///
    /// # Errors
    /// [`CatalogError`]: among others if a record isn't authentic or doesn't continue the chain.
    fn follow(&self, from: Sequence, deadline: Instant) -> Result<Vec<LogRecord>, CatalogError>;

    /// Returns the current version of a function.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, CatalogError>;

    /// Returns one version of a function.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn version(&self, name: &FunctionName, version: Version) -> Result<Option<VersionRecord>, CatalogError>;

    /// Returns the highest version number of a function.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn latest(&self, name: &FunctionName) -> Result<Option<Version>, CatalogError>;

    /// Returns all versions of a function, oldest first.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, CatalogError>;

    /// Returns the current version of every function, ordered by name.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn list(&self) -> Result<Vec<VersionRecord>, CatalogError>;

    /// Returns the names that begin with `prefix`, in order, at most `count` of them. Reads no
    /// records.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn names(&self, prefix: &str, count: usize) -> Result<Vec<FunctionName>, CatalogError>;

    /// Returns the names that have a version that is a pipeline, in order.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn pipelines(&self) -> Result<Vec<FunctionName>, CatalogError>;

    /// Returns the names that have a version with functions linked into it, in order.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn importers(&self) -> Result<Vec<FunctionName>, CatalogError>;

    /// Returns the names that have a version with routes, in order.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn routed(&self) -> Result<Vec<FunctionName>, CatalogError>;

    /// Returns the components that are distrusted, and why.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, CatalogError>;

    /// Returns the digests of all versions of all functions.
    ///
    /// # Errors
    /// [`CatalogError`].
    fn digests(&self) -> Result<HashSet<Digest>, CatalogError>;
}

/// A position in the log. The first record is number 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// The position before the first record.
    pub const START: Self = Self(0);

    /// Returns the position with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Returns the position after this one. A log never has 2⁶⁴ records.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// Why the catalog couldn't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The disk, or the user's share of it, is full. The operation can be repeated when it isn't.
    #[error("the disk that holds the catalog is full")]
    OutOfSpace(#[source] Cause),
    /// The database or the service that holds the catalog failed.
    #[error("the catalog failed")]
    Failed(#[source] Cause),
    /// The deadline passed.
    #[error("the catalog didn't answer in time")]
    DeadlineExceeded,
    /// A record of the log isn't what was appended.
    #[error("record {sequence} of the change log can't be used")]
    Log {
        /// The record's position.
        sequence: Sequence,
        /// The reason.
        source: LogDamage,
    },
    /// The view has a version record that this release can't read.
    #[error("the record of `{name}` {version} cannot be read")]
    Version {
        /// The function.
        name: String,
        /// The version's number.
        version: u32,
        /// The parser's reason.
        source: Cause,
    },
}

/// Why a record of the log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LogDamage {
    /// The record isn't authentic, or this release can't read it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record is authentic, and isn't the one that follows the record before it.
    #[error("it doesn't continue the chain of records")]
    BrokenChain,
    /// The log has later records and not this one.
    #[error("it is missing")]
    Missing,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log has another last record than the base. Read what was appended, then decide again.
    #[error("the names have changed meanwhile: the last change is {last}")]
    Conflict {
        /// The log's last record.
        last: Sequence,
    },
    /// The deadline passed. See [`Catalog::append`] for what may have happened.
    #[error("the catalog didn't answer in time")]
    DeadlineExceeded,
    /// The changes are larger than a record may be.
    #[error("{bytes} bytes of changes are too many at once: the limit is {} bytes", record::RECORD_BYTES_MAX)]
    TooLarge {
        /// The record's length.
        bytes: u64,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}
