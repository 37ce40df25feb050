//! The blobs: components by digest, and the code compiled from them.
//!
//! [`FileBlobs`] keeps them as files on this machine. The tests' `MemoryBlobs` keeps them in
//! memory. `testing::blobs` has the tests that every implementation passes.

mod compiled;
mod files;
#[cfg(any(test, feature = "testing"))]
mod memory;

use std::collections::HashSet;
use std::time::Instant;

use nebula_model::id::Digest;

pub use self::compiled::{Compiled, CompiledKey};
pub use self::files::FileBlobs;
#[cfg(any(test, feature = "testing"))]
pub use self::memory::MemoryBlobs;
use crate::Cause;

/// Components by digest, and the code compiled from them.
///
/// * **Components** are immutable. Reading one checks that the bytes have its digest.
/// * **Compiled code** derives from a component for one kind of engine, which its compatibility
///   names. It is native code, so it is handed out only if its MAC is right, over code, digest and
///   compatibility, and as a copy that can't change.
/// * **Order.** A `put` that has returned is seen by every read that begins after it. Each blob is
///   replaced as a whole: a read sees the bytes before or after a `put`.
/// * **Durability.** A component whose `put` has returned survives a crash of the process and a
///   loss of power, so that a change that names it can be appended. Compiled code may be lost: it
///   is compiled again. A crash during a `put` can leave garbage, which `collect` deletes. The
///   implementation for tests keeps nothing beyond its own life.
/// * **Garbage.** Blobs don't know which components have a name. `collect` deletes all but the
///   given ones. The caller makes sure that nothing is stored meanwhile, or that it is among them.
/// * **Threads.** All methods may wait for a disk or a network. Call them on a thread that may
///   wait, never on an event loop. They may be called from several threads at once.
/// * **Deadlines.** A method that takes a deadline returns [`BlobError::DeadlineExceeded`] when it
///   has passed, soon after. A local read or write that has begun is finished first.
pub trait Blobs: Send + Sync {
    /// Stores a component, whose digest is `digest`. Replaces a damaged one.
    ///
    /// # Errors
    /// [`BlobError`]. After [`BlobError::DeadlineExceeded`] it may be stored all the same.
    fn put_component(&self, digest: &Digest, content: &[u8], deadline: Instant) -> Result<(), BlobError>;

    /// Returns a component's bytes, checked against its digest.
    ///
    /// # Errors
    /// [`BlobError`]: also if it isn't there or is damaged.
    fn component(&self, digest: &Digest, deadline: Instant) -> Result<Vec<u8>, BlobError>;

    /// Stores compiled code with its MAC.
    ///
    /// # Errors
    /// [`BlobError`].
    fn put_compiled(&self, id: CompiledId<'_>, code: &[u8], deadline: Instant) -> Result<(), BlobError>;

    /// Returns authentic compiled code. `None` means: compile it again.
    ///
    /// # Errors
    /// [`BlobError`].
    fn compiled(&self, id: CompiledId<'_>, deadline: Instant) -> Result<Option<Compiled>, BlobError>;

    /// Deletes components that aren't `kept`, compiled code of them, and all compiled code of other
    /// engines than those of `compatibility`.
    ///
    /// # Errors
    /// [`BlobError`]. The blobs deleted until then were garbage.
    fn collect(&self, kept: &HashSet<Digest>, compatibility: &str) -> Result<Collected, BlobError>;
}

/// The name of compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompiledId<'a> {
    /// The component's digest.
    pub digest: &'a Digest,
    /// The kind of engine that the code runs on.
    pub compatibility: &'a str,
}

/// Blobs that a garbage collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Their number.
    pub blobs: u64,
    /// Their length together, bytes.
    pub bytes: u64,
}

/// Why a blob can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The component isn't there.
    #[error("the component {digest} is missing")]
    Missing {
        /// The digest.
        digest: Digest,
    },
    /// The bytes don't match the digest.
    #[error("the component {digest} is damaged on disk: deploy it again")]
    Damaged {
        /// The digest.
        digest: Digest,
    },
    /// The disk, or the user's share of it, is full. The operation can be repeated when it isn't.
    #[error("cannot {action}")]
    OutOfSpace {
        /// The operation and its object.
        action: String,
        /// The reason.
        source: Cause,
    },
    /// The disk or the service that holds the blobs failed.
    #[error("cannot {action}")]
    Failed {
        /// The operation and its object.
        action: String,
        /// The reason.
        source: Cause,
    },
    /// The deadline passed.
    #[error("the components couldn't be read or written in time")]
    DeadlineExceeded,
}
