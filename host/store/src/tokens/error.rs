//! The errors of named tokens.

use std::io;
use std::path::PathBuf;

use nebula_model::token::TokenName;

use super::TOKENS_MAX;
use super::file::DamagedTokens;

/// Why the tokens of a data directory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenTokensError {
    /// The file can't be read.
    #[error("cannot read the named tokens in `{}`", path.display())]
    Unreadable {
        /// The file's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file isn't as this release writes it.
    #[error("cannot use the named tokens in `{}`", path.display())]
    Damaged {
        /// The file's path.
        path: PathBuf,
        /// The difference.
        #[source]
        reason: DamagedTokens,
    },
}

/// Why the tokens can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteTokensError {
    /// The disk is full.
    #[error("cannot write the named tokens to `{}`", path.display())]
    OutOfSpace {
        /// The file's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("cannot write the named tokens to `{}`", path.display())]
    Failed {
        /// The file's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Why a token can't be added.
#[derive(Debug, thiserror::Error)]
pub enum InsertTokenError {
    /// Another token has the name.
    #[error("there is a token `{name}` already")]
    Exists {
        /// The name.
        name: TokenName,
    },
    /// There are as many as a server can have.
    #[error("the server has {TOKENS_MAX} named tokens, the limit: revoke one first")]
    TooMany,
    /// The tokens can't be written.
    #[error(transparent)]
    Write(#[from] WriteTokensError),
}

/// Why a token can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveTokenError {
    /// No token has the name.
    #[error("there is no token `{name}`")]
    Unknown {
        /// The name.
        name: TokenName,
    },
    /// The tokens can't be written.
    #[error(transparent)]
    Write(#[from] WriteTokensError),
}
