//! Everything that Nebula keeps: functions with their versions, components and compiled code, and,
//! beside them, kept inputs, the logs of recent calls, and named tokens.
//!
//! ```text
//! Store --> Catalog (names, versions: an ordered log of changes and its view)
//!       \-> Blobs (components and compiled code, by digest)
//! Directory: the data directory that both are in
//! ```
//!
//! The crate handles bytes and digests. It doesn't know WebAssembly or HTTP.

pub mod blobs;
pub mod catalog;
mod directory;
mod inputs;
mod logs;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokens;

pub use self::blobs::{BlobError, Collected, Compiled};
pub use self::catalog::Sequence;
pub use self::directory::{Directory, OpenError, Secret, create_private_dir, write_whole};
pub use self::inputs::Inputs;
pub use self::logs::{LogEntry, Logs, now_unix_us};
pub use self::store::{
    ImportedFunction, MayConflict, NewVersion, Publication, ResolveError, Store, StoreError, StoreErrorKind,
    retry_conflicts,
};

/// The cause of an error, without the types of the database or the network that reported it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The target of events about the data directory.
const STORE: &str = "nebula::store";

/// Returns whether the disk, or the user's share of it, is full.
fn is_out_of_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
