//! How functions, versions and contents are named. Each is checked once, where it comes in.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The longest function name, bytes: what fits a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// A text that names nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// No function name.
    #[error("`{0}` is no function name: use 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`")]
    Name(String),
    /// No version.
    #[error("`{0}` is no version: use `v3` or `sha256:` and 64 hexadecimal digits")]
    Version(String),
}

/// A deployed function's name: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid =
            (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(allowed);
        if valid { Ok(Self(Arc::from(text))) } else { Err(IdError::Name(text.to_owned())) }
    }
}

impl TryFrom<String> for FunctionName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The number of a deploy under one name, from 1: `v3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(NonZeroU32);

impl Version {
    /// The first deploy of a name.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Version `number`; there is no version 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// As a number.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The one after it. Saturates: four thousand million deploys of one name don't happen.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl FromStr for Version {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('v').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| IdError::Version(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

/// The SHA-256 of a component: `sha256:9f86d0…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Returns the digest whose bytes were stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Without the `sha256:`.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        let decoded = text.strip_prefix("sha256:").map(|hex| hex::decode_to_slice(hex, &mut bytes));
        match decoded {
            Some(Ok(())) => Ok(Self(bytes)),
            Some(Err(_)) | None => Err(IdError::Version(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Which version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Whichever is current.
    Current,
    /// One deploy.
    Version(Version),
    /// The content.
    Digest(Digest),
}

/// A function as a caller names it: `csv-stats`, `csv-stats@v3`, `csv-stats@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    /// The function.
    pub name: FunctionName,
    /// Which of its versions.
    pub selector: Selector,
}

impl FromStr for FunctionRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (name, selector) = match text.split_once('@') {
            None => (text, Selector::Current),
            Some((name, digest)) if digest.starts_with("sha256:") => {
                (name, Selector::Digest(digest.parse()?))
            }
            Some((name, version)) => (name, Selector::Version(version.parse()?)),
        };
        Ok(Self { name: name.parse()?, selector })
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.selector {
            Selector::Current => write!(formatter, "{}", self.name),
            Selector::Version(version) => write!(formatter, "{}@{version}", self.name),
            Selector::Digest(digest) => write!(formatter, "{}@{digest}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_exactly_those_of_the_rule(text in "[a-z0-9A-Z_-]{0,70}") {
            let bytes = text.as_bytes();
            let valid = !bytes.is_empty() && bytes.len() <= 63 && bytes[0] != b'-'
                && !bytes.iter().any(|b| b.is_ascii_uppercase() || *b == b'_');
            prop_assert_eq!(text.parse::<FunctionName>().is_ok(), valid);
        }

        #[test]
        fn references_read_back(name in "[a-z0-9][a-z0-9-]{0,62}", number in 1_u32.., content: Vec<u8>) {
            let name: FunctionName = name.parse().unwrap();
            let digest = Digest::of(&content);
            let version = Version::new(number).unwrap();
            for selector in [Selector::Current, Selector::Version(version), Selector::Digest(digest)] {
                let reference = FunctionRef { name: name.clone(), selector };
                prop_assert_eq!(&reference.to_string().parse::<FunctionRef>().unwrap(), &reference);
            }
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".*") {
            let _ = text.parse::<FunctionRef>().is_ok();
        }
    }

    #[test]
    fn refusals_quote_the_offender() {
        let error = "Bad".parse::<FunctionRef>().unwrap_err();
        assert!(error.to_string().starts_with("`Bad` is no function name"));
        for version in ["a@", "a@v0", "a@v+1", "a@3", "a@sha256:00"] {
            assert!(version.parse::<FunctionRef>().is_err(), "{version}");
        }
    }
}
