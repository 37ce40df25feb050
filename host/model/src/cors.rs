//! The pages of other origins that may call a function (CORS, the Fetch standard).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Serialize};

/// The default of [`Cors::max_age_s`].
const MAX_AGE_S: u32 = 600;

/// Which pages may call a function, with any method and headers that it takes. Credentials of the
/// browser aren't sent. Stored with each version that has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins whose pages may call. None if empty.
    pub origins: Vec<CorsOrigin>,
    /// Seconds for which browsers cache the answer to a preflight. Default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
}

impl Cors {
    /// Returns whether the pages of every origin may call.
    pub fn allows_all(&self) -> bool {
        self.origins.contains(&CorsOrigin::Any)
    }

    /// Returns whether the pages of the origin `sent`, the value of an `Origin` header, may call.
    pub fn allows(&self, sent: &[u8]) -> bool {
        self.origins.iter().any(|origin| match origin {
            CorsOrigin::Any => true,
            CorsOrigin::Only(origin) => origin.as_bytes() == sent,
        })
    }

    /// Returns the seconds for which browsers cache the answer to a preflight.
    pub fn preflight_max_age_s(&self) -> u32 {
        self.max_age_s.unwrap_or(MAX_AGE_S)
    }
}

/// An origin in a list of allowed ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CorsOrigin {
    /// `*`: every origin.
    Any,
    /// One origin, as browsers send it: `https://app.example:8443`.
    Only(String),
}

/// Why a text isn't an origin.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an origin: use `https://app.example`, in lower case and without a path, or `*`")]
pub struct OriginError(String);

impl FromStr for CorsOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let uri: Option<Uri> = text.parse().ok();
        let origin = uri.and_then(|uri| {
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            let host = authority.host();
            let has_user = authority.as_str().contains('@');
            // Browsers leave these ports out.
            let has_default_port =
                matches!((scheme, authority.port_u16()), ("http", Some(80)) | ("https", Some(443)));
            (!host.is_empty() && !has_user && !has_default_port)
                .then(|| format!("{scheme}://{authority}").to_ascii_lowercase())
        });
        // Browsers send an origin in this form alone, so another would never match.
        match origin.filter(|origin| origin == text) {
            Some(origin) => Ok(Self::Only(origin)),
            None => Err(OriginError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for CorsOrigin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl From<CorsOrigin> for String {
    fn from(origin: CorsOrigin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Any => "*",
            Self::Only(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_that_browsers_send() {
        for text in [
            "*",
            "https://a.example",
            "http://localhost:3000",
            "http://[::1]:81",
            "https://a.example:80",
            "app://x",
        ] {
            assert_eq!(text.parse::<CorsOrigin>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "null",
            "a.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://A.example",
            "HTTPS://a",
            "https://me@a",
            "https://a b",
            "https://*.example/",
            "//a",
        ] {
            assert!(wrong.parse::<CorsOrigin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_listed_origins_may_call() {
        let cors = |origins: &[&str]| Cors {
            origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            max_age_s: None,
        };
        let two = cors(&["https://a", "https://b:1"]);
        assert!(two.allows(b"https://a") && two.allows(b"https://b:1") && !two.allows_all());
        assert!(!two.allows(b"https://b") && !two.allows(b"https://a.evil") && !two.allows(b"null"));
        assert!(cors(&["*"]).allows(b"null") && cors(&["https://a", "*"]).allows_all());
        assert!(!Cors::default().allows(b"https://a"));
    }
}
