//! A bearer token of the control plane, and the file of the built-in one.
//!
//! The first start makes the built-in token, in a file of mode 0600 in the data directory. `access`
//! decides which tokens the plane accepts.

use std::io;
use std::path::{Path, PathBuf};

use nebula_runtime::id::Digest;
use nebula_runtime::write_whole;

/// The file's name in the data directory.
const FILE: &str = "token";

/// The beginning of every secret, by which programs that look for leaked secrets recognise one.
const PREFIX: &str = "nebula_";

/// The secret that a client sends with each request.
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

    /// Reads the token of a data directory, which this process has open, or makes one.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read_or_make(data_dir: &Path) -> Result<Self, TokenError> {
        let path = Self::path(data_dir);
        match Self::read(&path) {
            Err(TokenError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::make(&path).map_err(|source| TokenError::File { path, source })
            }
            read => read,
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        let token = Self::random()?;
        write_whole(path, &[token.0.as_bytes()])?;
        Ok(token)
    }

    /// Returns a new token of 256 random bits.
    pub(super) fn random() -> io::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(secret))))
    }

    /// Returns the SHA-256 of the secret.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Returns the secret itself.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns the value of an `Authorization` header with this token.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Returns the token in the value of an `Authorization` header. The name of the scheme is the
    /// same in any case (RFC 9110 §11.1).
    pub(super) fn of_authorization(value: &str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { Self::parse(token) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_header_has_a_token_after_its_scheme() {
        for right in ["Bearer secret", "bearer secret", "BEARER  secret", "Bearer secret "] {
            assert_eq!(Token::of_authorization(right).unwrap().secret(), "secret", "{right}");
        }
        for wrong in ["", "Bearer", "Bearer ", "Bearersecret", "Basic secret", "secret", " secret"] {
            assert!(Token::of_authorization(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_token_of_a_directory_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let made = Token::read_or_make(directory.path()).unwrap();
        assert_eq!(Token::read_or_make(directory.path()).unwrap().secret(), made.secret());
        let path = Token::path(directory.path());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // 256 bits after the prefix.
        let digits = made.secret().strip_prefix(PREFIX).unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
        assert_ne!(Token::random().unwrap().secret(), made.secret());

        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(Token::read_or_make(directory.path()), Err(TokenError::Empty { .. })));
    }
}
