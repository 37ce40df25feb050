//! A function's configuration: constants that its deploy binds, which the function reads as
//! environment variables and through `wasi:config/store`.
//!
//! Constants are text. Another type has several spellings (`1.0`, `1`), and a function would see one
//! that its author didn't write.
//!
//! Invariants:
//! * The entries are ordered by key, so a function sees the same configuration in the same order.
//! * An empty configuration costs nothing to copy.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::id::Digest;

/// The most constants of a function.
pub const CONFIG_ENTRIES_MAX: usize = 64;

/// The most bytes of all keys and values together. A deploy gives them in a query, which may have 32
/// KiB and encodes some characters as three.
pub const CONFIG_BYTES_MAX: usize = 16 * 1024;

/// The longest key, bytes.
const KEY_BYTES_MAX: usize = 128;

/// The constants of a function, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration(
    /// `None` without constants.
    Option<Arc<BTreeMap<String, String>>>,
);

impl Configuration {
    /// Returns whether the configuration is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of constants.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.len())
    }

    /// Returns keys and values, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|entries| entries.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the SHA-256 of the constants as a JSON object with sorted keys and without white
    /// space; `None` if there are none.
    pub fn digest(&self) -> Option<Digest> {
        let entries = self.0.as_deref()?;
        #[expect(clippy::expect_used, reason = "a map from text to text always serializes")]
        let json = serde_json::to_vec(entries).expect("text serializes");
        Some(Digest::of(&json))
    }

    /// Checks the bounds. They hold for all constants together, so they are checked when a deploy
    /// has put these together.
    ///
    /// # Errors
    /// [`InvalidConfiguration`].
    pub fn check(&self) -> Result<(), InvalidConfiguration> {
        if self.len() > CONFIG_ENTRIES_MAX {
            return Err(InvalidConfiguration::TooMany { entries: self.len() });
        }
        match self.iter().map(|(key, value)| key.len() + value.len()).sum() {
            bytes if bytes > CONFIG_BYTES_MAX => Err(InvalidConfiguration::TooLarge { bytes }),
            _ => Ok(()),
        }
    }
}

impl FromIterator<ConfigEntry> for Configuration {
    /// Collects constants. The last one with a key replaces those before.
    fn from_iter<I: IntoIterator<Item = ConfigEntry>>(entries: I) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

/// Why a configuration can't be deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfiguration {
    /// There are more than [`CONFIG_ENTRIES_MAX`] constants.
    #[error("the configuration has {entries} constants; the limit is {CONFIG_ENTRIES_MAX}")]
    TooMany {
        /// The number of constants.
        entries: usize,
    },
    /// The constants have more than [`CONFIG_BYTES_MAX`] bytes.
    #[error(
        "the keys and values of the configuration have {bytes} bytes together; the limit is {CONFIG_BYTES_MAX}. \
         Data of this size belongs into the input or the component"
    )]
    TooLarge {
        /// The length of all keys and values.
        bytes: usize,
    },
    /// A pipeline has no code that could read it.
    #[error("a pipeline has no configuration: give it to the functions that it calls")]
    OfPipeline,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    key: String,
    value: String,
}

impl ConfigEntry {
    /// Creates a constant.
    ///
    /// # Errors
    /// [`InvalidConfigEntry`] if an environment variable can't have that name or value.
    pub fn new(key: String, value: String) -> Result<Self, InvalidConfigEntry> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(is_plain) {
            return Err(InvalidConfigEntry::Key(key));
        }
        if value.contains('\0') {
            return Err(InvalidConfigEntry::Zero(key));
        }
        Ok(Self { key, value })
    }
}

/// Parses `KEY=VALUE`.
impl FromStr for ConfigEntry {
    type Err = InvalidConfigEntry;

    fn from_str(text: &str) -> Result<Self, InvalidConfigEntry> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| InvalidConfigEntry::NoValue(text.to_owned()))?;
        Self::new(key.to_owned(), value.to_owned())
    }
}

/// Why something isn't a constant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfigEntry {
    /// The key has other characters, or a wrong length.
    #[error(
        "`{0}` is not a key of the configuration: a key has 1 to {KEY_BYTES_MAX} ASCII letters, digits, `_`, `-` \
         and `.`"
    )]
    Key(String),
    /// The value has a zero byte, which ends an environment variable.
    #[error("the value of `{0}` has a zero byte")]
    Zero(String),
    /// There is no `=`.
    #[error("`{0}` has no value: write KEY=VALUE")]
    NoValue(String),
    /// The value isn't text.
    #[error("the value of `{key}` is {found}: constants are text, so write `{key} = \"…\"`")]
    NotText {
        /// The key.
        key: String,
        /// The type of the value.
        found: &'static str,
    },
}

impl Serialize for Configuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigurationVisitor)
    }
}

struct ConfigurationVisitor;

impl<'de> Visitor<'de> for ConfigurationVisitor {
    type Value = Configuration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of constants, each of them text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Configuration, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, ConfigValue>()? {
            let value = match value {
                ConfigValue::Text(value) => value,
                ConfigValue::Other(found) => {
                    return Err(Error::custom(InvalidConfigEntry::NotText { key, found }));
                }
            };
            entries.push(ConfigEntry::new(key, value).map_err(Error::custom)?);
        }
        Ok(entries.into_iter().collect())
    }
}

/// A value in a document.
enum ConfigValue {
    Text(String),
    /// The type of a value that isn't text.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for ConfigValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Bool(_) => Self::Other("a boolean"),
            serde_json::Value::Number(_) => Self::Other("a number"),
            serde_json::Value::Array(_) => Self::Other("a list"),
            serde_json::Value::Object(_) => Self::Other("a table"),
            serde_json::Value::Null => Self::Other("null"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Configuration, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn constants_are_text_under_plain_keys() {
        let config = parsed(r#"{"b.c-d": "ü = 1", "A_1": ""}"#).unwrap();
        assert_eq!(config.iter().collect::<Vec<_>>(), [("A_1", ""), ("b.c-d", "ü = 1")]);
        assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"A_1":"","b.c-d":"ü = 1"}"#);
        assert_eq!((config.get("A_1"), config.get("a_1")), (Some(""), None));
        for (value, found) in [("1", "a number"), ("true", "a boolean"), ("[]", "a list"), ("{}", "a table")]
        {
            let error = parsed(&format!(r#"{{"KEY": {value}}}"#)).unwrap_err();
            let expected =
                format!("the value of `KEY` is {found}: constants are text, so write `KEY = \"…\"`");
            assert!(error.starts_with(&expected), "{error}");
        }
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for key in ["", "a b", "a=b", "ä", "a/b", &long] {
            assert!(parsed(&format!(r#"{{"{key}": ""}}"#)).unwrap_err().contains("is not a key"), "{key}");
        }
        assert!(parsed(r#"{"KEY": "\u0000"}"#).unwrap_err().contains("zero byte"));
    }

    #[test]
    fn an_entry_is_split_at_its_first_equals_sign() {
        let entry = |text: &str| text.parse::<ConfigEntry>().map(|entry| (entry.key, entry.value));
        assert_eq!(entry("URL=a?b=c"), Ok(("URL".to_owned(), "a?b=c".to_owned())));
        assert_eq!(entry("EMPTY="), Ok(("EMPTY".to_owned(), String::new())));
        assert_eq!(entry("NONE"), Err(InvalidConfigEntry::NoValue("NONE".to_owned())));
        assert_eq!(entry("=x"), Err(InvalidConfigEntry::Key(String::new())));
    }

    #[test]
    fn the_bounds_hold_for_all_constants_together() {
        let of = |count: usize, bytes: usize| -> Configuration {
            let value = "x".repeat(bytes);
            (0..count).map(|at| ConfigEntry::new(format!("{at:02}"), value.clone()).unwrap()).collect()
        };
        assert_eq!(of(CONFIG_ENTRIES_MAX, CONFIG_BYTES_MAX / CONFIG_ENTRIES_MAX - 2).check(), Ok(()));
        let entries = CONFIG_ENTRIES_MAX + 1;
        assert_eq!(of(entries, 0).check(), Err(InvalidConfiguration::TooMany { entries }));
        let bytes = CONFIG_BYTES_MAX + 1;
        assert_eq!(of(1, bytes - 2).check(), Err(InvalidConfiguration::TooLarge { bytes }));
    }

    /// Receipts hold the digest.
    #[test]
    fn the_digest_is_that_of_the_sorted_json() {
        assert_eq!(Configuration::default().digest(), None);
        assert_eq!(parsed("{}").unwrap(), Configuration::default());
        let config = parsed(r#"{"B": "2", "A": "1"}"#).unwrap();
        assert_eq!(config.digest(), Some(Digest::of(br#"{"A":"1","B":"2"}"#)));
    }
}
