//! The control plane's bearer token: created at the first start, in a file of mode 0600 in the data
//! directory.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::endpoints::Scope;

/// The file's name in the data directory.
const FILE: &str = "token";

/// The secret of the operator. It grants every scope.
#[derive(Clone)]
pub struct Token(String);

/// The token can't be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be read or written.
    #[error("cannot use the token file `{}`", path.display())]
    File {
        /// The file's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds no token.
    #[error("the token file `{}` is empty: delete it, and the next start makes a new one", path.display())]
    Empty {
        /// The file's path.
        path: PathBuf,
    },
}

impl Token {
    /// Returns the path of a data directory's token.
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
        Self::parse(&text).ok_or_else(|| TokenError::Empty { path: path.to_owned() })
    }

    /// Returns the token in a text, without the white space around it; `None` if it is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        (!token.is_empty()).then(|| Self(token.to_owned()))
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

    /// Returns the secret itself.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns the value of an `Authorization` header with this token.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Returns whether a request with this `Authorization` header may use endpoints of this scope.
    pub(super) fn grants(&self, scope: Scope, authorization: Option<&str>) -> bool {
        match scope {
            Scope::Public => true,
            Scope::Admin => self.is_in(authorization),
        }
    }

    /// Returns whether the header contains this token. Compares the token in constant time; the
    /// name of the scheme is the same in any case (RFC 9110 §11.1).
    fn is_in(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, token)) = authorization.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let token = token.trim_start_matches(' ');
        scheme.eq_ignore_ascii_case("bearer") && token.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_grants_admin_endpoints() {
        let token = Token::parse("secret").unwrap();
        for right in ["Bearer secret", "bearer secret", "BEARER  secret"] {
            assert!(token.grants(Scope::Admin, Some(right)), "{right}");
        }
        for wrong in [
            "",
            "Bearer ",
            "Bearer secre",
            "Bearer Secret",
            "Bearersecret",
            "Basic secret",
            "secret",
            " secret",
        ]
        .map(Some)
        .into_iter()
        .chain([None])
        {
            assert!(!token.grants(Scope::Admin, wrong), "{wrong:?}");
            assert!(token.grants(Scope::Public, wrong), "{wrong:?}");
        }
    }
}
