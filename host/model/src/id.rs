//! Names of functions, versions and contents. Each is checked once, when it is parsed.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The longest function name, bytes: the length of a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// Why a text isn't a name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// The text isn't a function name.
    #[error("`{0}` is not a function name: use 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`")]
    Name(String),
    /// The text isn't a project name.
    #[error("`{0}` is not a project name: use 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`")]
    Project(String),
    /// The text isn't a token's name.
    #[error("`{0}` is not a token's name: use 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`")]
    Token(String),
    /// The text isn't a version.
    #[error("`{0}` is not a version: use `v3` or `sha256:` and 64 lower-case hexadecimal digits")]
    Version(String),
}

/// A deployed function's name: `[a-z0-9][a-z0-9-]{0,62}`.
///
/// ```
/// use nebula_model::id::FunctionName;
///
/// let name: FunctionName = "csv-stats".parse()?;
/// assert_eq!(name.as_str(), "csv-stats");
/// assert!("CSV stats".parse::<FunctionName>().is_err());
/// # Ok::<(), nebula_model::id::IdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Returns the name as text.
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

/// The name of a project, which deploys several functions together. It has the form of a function's
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectName(FunctionName);

impl ProjectName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ProjectName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError::Project(text.to_owned()))
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The number of a version of a function, from 1: `v3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(NonZeroU32);

impl Version {
    /// The first version of a function.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Returns the version of that number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Returns the number.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// Returns the next version; `None` after the last of four thousand million.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl FromStr for Version {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // One spelling for each version: `v01` isn't `v1`.
        let is_number =
            |digits: &&str| !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        let digits = text.strip_prefix('v').filter(is_number);
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

/// The SHA-256 digest of a content, such as a component: `sha256:9f86d0…`.
///
/// ```
/// use nebula_model::id::Digest;
///
/// let digest = Digest::of(b"test");
/// assert!(digest.to_string().starts_with("sha256:9f86d0"));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Returns the digest of these stored bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the hexadecimal digits, without `sha256:`.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:");
        // One spelling for each digest.
        let digits = digits.filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()));
        match digits.map(|digits| hex::decode_to_slice(digits, &mut bytes)) {
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

/// Selects a version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The version that is current when the call is made.
    Current,
    /// The version of that number.
    Version(Version),
    /// The version with that digest.
    Digest(Digest),
}

/// A caller's reference to a function: `csv-stats`, `csv-stats@v3`, `csv-stats@sha256:…`.
///
/// ```
/// use nebula_model::id::{FunctionRef, Selector, Version};
///
/// let current: FunctionRef = "csv-stats".parse()?;
/// assert_eq!(current.selector, Selector::Current);
///
/// let third: FunctionRef = "csv-stats@v3".parse()?;
/// assert_eq!(third.name, current.name);
/// assert_eq!(third.selector, Selector::Version(Version::new(3).unwrap()));
/// assert_eq!(third.to_string(), "csv-stats@v3");
/// # Ok::<(), nebula_model::id::IdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    /// The function's name.
    pub name: FunctionName,
    /// The version.
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
        fn names_follow_the_rule(text in "[a-z0-9A-Z_-]{0,70}") {
            let bytes = text.as_bytes();
            let valid = !bytes.is_empty() && bytes.len() <= 63 && bytes[0] != b'-'
                && !bytes.iter().any(|b| b.is_ascii_uppercase() || *b == b'_');
            prop_assert_eq!(text.parse::<FunctionName>().is_ok(), valid);
        }

        #[test]
        fn references_parse_back_from_their_text(name in "[a-z0-9][a-z0-9-]{0,62}", number in 1_u32.., content: Vec<u8>) {
            let name: FunctionName = name.parse().unwrap();
            let digest = Digest::of(&content);
            let version = Version::new(number).unwrap();
            for selector in [Selector::Current, Selector::Version(version), Selector::Digest(digest)] {
                let reference = FunctionRef { name: name.clone(), selector };
                prop_assert_eq!(&reference.to_string().parse::<FunctionRef>().unwrap(), &reference);
            }
        }

        #[test]
        fn each_version_but_the_last_has_a_next_one(number in 1..u32::MAX) {
            let version = Version::new(number).unwrap();
            prop_assert_eq!(version.next(), Version::new(number + 1));
            prop_assert_eq!(Version::new(u32::MAX).unwrap().next(), None);
        }

        #[test]
        fn no_text_panics_the_parser(text in ".*") {
            let _ = text.parse::<FunctionRef>().is_ok();
        }

        /// Two URLs never name the same version.
        #[test]
        fn every_reference_has_one_spelling(text in "a@(v0{0,2}[0-9]{0,3}|sha256:[0-9a-f]{64}|sha256:[0-9a-fA-F]{64})") {
            if let Ok(reference) = text.parse::<FunctionRef>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }

    #[test]
    fn errors_quote_the_text() {
        let error = "Bad".parse::<FunctionRef>().unwrap_err();
        assert!(error.to_string().starts_with("`Bad` is not a function name"));
        for version in ["a@", "a@v0", "a@v+1", "a@3", "a@sha256:00", "a@v01", "a@V1", "a@v4294967296"] {
            assert!(version.parse::<FunctionRef>().is_err(), "{version}");
        }
    }
}
