//! Names to versions to components, compiled code, and what is kept beside them, in one directory.
//!
//! Knows bytes and digests; nothing of wasmtime or HTTP servers.

mod inputs;
mod logs;
mod registry;

pub use self::inputs::Inputs;
pub use self::logs::{LogEntry, Logs};
pub use self::registry::{
    Compiled, NewVersion, OpenError, Publication, Registry, ResolveError, StoreError, create_private_dir,
};
