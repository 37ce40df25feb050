//! The control plane's bearer token: made on first start, kept 0600 in the data directory.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// The file's name in the data directory.
const FILE: &str = "token";

/// Who knows it may deploy.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be read or written.
    #[error("cannot use the token file `{}`", path.display())]
    File {
        /// It.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds no token.
    #[error("the token file `{}` is empty: delete it, and the next start makes a new one", path.display())]
    Empty {
        /// It.
        path: PathBuf,
    },
}

impl Token {
    /// Where the token of a data directory is.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Reads a token file.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokenError::File { path: path.to_owned(), source })?;
        match text.trim() {
            "" => Err(TokenError::Empty { path: path.to_owned() }),
            token => Ok(Self(token.to_owned())),
        }
    }

    /// Reads the token of a data directory, or makes one.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read_or_make(data_dir: &Path) -> Result<Self, TokenError> {
        let path = Self::path(data_dir);
        match Self::make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(&path),
            made => made.map_err(|source| TokenError::File { path, source }),
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let token = hex::encode(secret);
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        Ok(Self(token))
    }

    /// As the `Authorization` header wants it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether an `Authorization` header carries this token. Takes as long whichever byte differs.
    pub(crate) fn admits(&self, authorization: Option<&str>) -> bool {
        authorization.is_some_and(|given| given.as_bytes().ct_eq(self.bearer().as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn only_the_whole_token_is_admitted() {
        let token = Token("secret".to_owned());
        assert!(token.admits(Some("Bearer secret")));
        for wrong in [None, Some("Bearer "), Some("Bearer secre"), Some("bearer secret"), Some("secret")] {
            assert!(!token.admits(wrong), "{wrong:?}");
        }
    }
}
