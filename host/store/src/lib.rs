//! Everything that Nebula keeps: functions with their versions, components and compiled code, and,
//! beside them, kept inputs and the logs of recent calls.
//!
//! ```text
//! Store --> Catalog (names, versions: an ordered log of changes and its view)
//!       \-> components and compiled code, by digest
//! Directory: the data directory that both are in
//! ```
//!
//! The crate handles bytes and digests. It doesn't know WebAssembly or HTTP.

pub mod catalog;
mod directory;
mod inputs;
mod logs;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use self::directory::{Directory, OpenError, create_private_dir};
pub use self::inputs::Inputs;
pub use self::logs::{LogEntry, Logs};
pub use self::store::{Collected, Compiled, NewVersion, Publication, ResolveError, Store, StoreError};

/// Returns whether the disk, or the user's share of it, is full.
fn is_out_of_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
