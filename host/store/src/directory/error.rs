//! The errors of opening a data directory.

use std::io;
use std::path::PathBuf;

use super::format::{FORMAT, FORMAT_1};

/// Why the data directory couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{}` is in use by another process{}", path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, if the lock file names it.
        pid: Option<u32>,
    },
    /// It can't be created or written to.
    #[error("cannot write to the data directory `{}`", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another release has written it, or `FORMAT` is damaged.
    #[error(
        "`{}` has the format `{found}`, and this release reads `{}` and `{}`",
        path.display(), FORMAT_1.trim(), FORMAT.trim()
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// The content of `FORMAT`.
        found: String,
    },
    /// Its database can't be opened.
    #[error("the database of functions in `{}` cannot be opened", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// The database's reason.
        source: crate::Cause,
    },
}
