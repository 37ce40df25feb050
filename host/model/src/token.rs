//! Named tokens of the control plane: names, scopes, and the record that is kept of each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, FunctionName, IdError};

/// The name of a token. It has the form of a function's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(FunctionName);

impl TokenName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for TokenName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError::Token(text.to_owned()))
    }
}

impl TryFrom<String> for TokenName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The permission that a token gives. Each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenScope {
    /// See functions, their components, logs and statistics.
    Read,
    /// Make calls through the control plane.
    Invoke,
    /// Change everything, and read the inputs that callers had kept.
    Admin,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Invoke, Self::Admin];

    /// Returns the name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Invoke => "invoke",
            Self::Admin => "admin",
        }
    }

    /// Returns whether a token of this scope may do what `required` allows.
    pub fn includes(self, required: Self) -> bool {
        self >= required
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A named token as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's name.
    pub name: TokenName,
    /// The permission that it gives.
    pub scope: TokenScope,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// The time of its creation, seconds since the Unix epoch.
    pub created_at_unix_s: u64,
    /// The time from which it is refused, seconds since the Unix epoch; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_s: Option<u64>,
}

impl TokenRecord {
    /// Returns whether the token is refused at this time.
    pub fn is_expired(&self, now_unix_s: u64) -> bool {
        self.expires_at_unix_s.is_some_and(|expires_at| now_unix_s >= expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_includes_those_before_it() {
        use TokenScope::{Admin, Invoke, Read};

        for (scope, included) in
            [(Read, &[Read][..]), (Invoke, &[Read, Invoke]), (Admin, &[Read, Invoke, Admin])]
        {
            for required in TokenScope::ALL {
                assert_eq!(scope.includes(required), included.contains(&required), "{scope} {required}");
            }
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
    }

    #[test]
    fn a_token_is_refused_from_the_second_at_which_it_expires() {
        let record = |expires_at_unix_s| TokenRecord {
            name: "ci".parse().unwrap(),
            scope: TokenScope::Read,
            digest: Digest::of(b"secret"),
            created_at_unix_s: 10,
            expires_at_unix_s,
        };
        for (expires_at, now, expired) in [
            (Some(20), 19, false),
            (Some(20), 20, true),
            (Some(20), 21, true),
            (Some(0), 0, true),
            (None, u64::MAX, false),
        ] {
            assert_eq!(record(expires_at).is_expired(now), expired, "{expires_at:?} at {now}");
        }
    }

    #[test]
    fn names_follow_the_rule_of_functions() {
        for right in ["ci", "0", "grafana-2", &"a".repeat(63)] {
            assert_eq!(right.parse::<TokenName>().unwrap().to_string(), right);
        }
        for wrong in ["", "-ci", "CI", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert_eq!(wrong.parse::<TokenName>(), Err(IdError::Token(wrong.to_owned())));
            assert!(serde_json::from_value::<TokenName>(wrong.into()).is_err(), "{wrong}");
        }
    }
}
