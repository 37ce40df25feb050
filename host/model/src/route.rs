//! Routes: the paths, and the hosts, under which a function answers beside `/f/NAME`.
//!
//! ```text
//! /api/items    this path
//! /api/...      /api and everything below it
//! ```
//!
//! Invariant: patterns are canonical, so two that match the same requests are equal.
//! Characters of a path are encoded in one way (RFC 3986 §6.2.2), and hosts are in lower case.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most paths, and the most hosts, of one function.
pub const ROUTES_MAX: usize = 32;

/// The longest path of a route, bytes.
const PATH_BYTES_MAX: usize = 256;

/// The longest host name, bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// The longest label of a host name, bytes (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The first segments of paths that are the server's own.
const RESERVED: [&str; 4] = ["f", "healthz", "readyz", "openapi.json"];

/// The end of a path that stands for everything below it.
const BELOW: &str = "/...";

/// The path of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePath {
    /// Without the wildcard, and so empty for `/...`.
    path: String,
    covers_below: bool,
}

/// The host of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteHost {
    /// Without the wildcard.
    name: String,
    covers_subdomains: bool,
}

/// Why a text isn't a route's path or host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {reason}")]
pub struct RouteError {
    text: String,
    kind: &'static str,
    reason: &'static str,
}

impl RoutePath {
    /// Returns the path without the wildcard: empty for `/...`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether the route also has every path below.
    pub fn covers_below(&self) -> bool {
        self.covers_below
    }
}

impl RouteHost {
    /// Returns the name without the wildcard.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the route has the subdomains, at any depth, instead of the host itself.
    pub fn covers_subdomains(&self) -> bool {
        self.covers_subdomains
    }
}

impl FromStr for RoutePath {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let error = |reason| RouteError { text: text.to_owned(), kind: "route", reason };
        let canonical = canonical_path(text);
        let (path, covers_below) = match canonical.strip_suffix(BELOW) {
            Some(path) => (path, true),
            None => (&*canonical, false),
        };
        if let Some(reason) = path_error(path, covers_below) {
            return Err(error(reason));
        }
        Ok(Self { path: path.to_owned(), covers_below })
    }
}

fn path_error(path: &str, covers_below: bool) -> Option<&'static str> {
    if path.is_empty() && covers_below || path == "/" && !covers_below {
        return None;
    }
    let Some(segments) = path.strip_prefix('/') else { return Some("it doesn't begin with a slash") };
    if path.len() > PATH_BYTES_MAX {
        return Some("it is longer than 256 bytes");
    }
    for segment in segments.split('/') {
        match segment {
            "" => return Some("it has an empty segment, or ends in a slash"),
            "." | ".." => return Some("clients resolve `.` and `..` before they send a path"),
            "..." => return Some("`...` stands at the end of a path"),
            _ if segment.starts_with(':') || segment.starts_with('{') => {
                return Some("it can't have parameters: `/...` at its end stands for everything below");
            }
            _ if segment.contains('*') => {
                return Some("`*` isn't a wildcard: `/...` at its end stands for everything below");
            }
            _ if !is_segment(segment) => {
                return Some("it has a character that a path can't have: percent-encode it");
            }
            _ => {}
        }
    }
    is_reserved(path).then_some("the server has this path itself")
}

/// Returns whether a segment has only characters of paths (RFC 3986 §3.3).
fn is_segment(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, encoded_byte(rest)) {
            (b'%', None) => return false,
            (b'%', Some(_)) => &rest[ENCODED_BYTES..],
            (byte, _) if is_unreserved(*byte) || b"!$&'()+,;=:@".contains(byte) => after,
            (_, _) => return false,
        };
    }
    true
}

/// Returns whether a canonical path is the server's own, or below one.
pub fn is_reserved(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|segments| segments.split('/').next());
    first.is_some_and(|first| RESERVED.contains(&first))
}

/// The length of a percent-encoded byte.
const ENCODED_BYTES: usize = 3;

/// Returns a path with every character encoded in one way: those that need no encoding without it,
/// and the others with capital digits (RFC 3986 §6.2.2). An encoded slash stays encoded.
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    if path.is_ascii() && !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, is_encoded) = match encoded_byte(rest) {
            Some(byte) => (byte, true),
            None => (*first, false),
        };
        match is_encoded && !is_unreserved(byte) || !byte.is_ascii() {
            true => canonical.push_str(&format!("%{byte:02X}")),
            false => canonical.push(char::from(byte)),
        }
        rest = if is_encoded { &rest[ENCODED_BYTES..] } else { after };
    }
    Cow::Owned(canonical)
}

/// Returns the byte that is percent-encoded at the beginning of a text.
fn encoded_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Returns whether a character means the same with and without encoding (RFC 3986 §2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl FromStr for RouteHost {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let error = |reason| Err(RouteError { text: text.to_owned(), kind: "host", reason });
        let lower = text.to_ascii_lowercase();
        let (name, covers_subdomains) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*lower, false),
        };
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match name {
            "" | "*" => error("leave it out for every host"),
            name if name.contains(['/', ':']) => error("give the name alone, without scheme, port and path"),
            name if name.contains('*') => error("`*.` stands at the beginning, for every subdomain"),
            name if !name.is_ascii() => error("give it in ASCII, as in `xn--caf-dma.example`"),
            name if name.len() > HOST_BYTES_MAX || !name.split('.').all(is_label) => {
                error("it isn't a name such as `api.example.org`")
            }
            name => Ok(Self { name: name.to_owned(), covers_subdomains }),
        }
    }
}

/// Returns the host of a request's authority, as routes have it; `None` if no route can match it.
pub fn host_of(authority: &str) -> Option<Cow<'_, str>> {
    let name = authority.split(':').next()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > HOST_BYTES_MAX {
        return None;
    }
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Some(Cow::Owned(name.to_ascii_lowercase())),
        false => Some(Cow::Borrowed(name)),
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)?;
        if self.covers_below { formatter.write_str(BELOW) } else { Ok(()) }
    }
}

impl fmt::Display for RouteHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = if self.covers_subdomains { "*." } else { "" };
        write!(formatter, "{wildcard}{}", self.name)
    }
}

impl TryFrom<String> for RoutePath {
    type Error = RouteError;

    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl TryFrom<String> for RouteHost {
    type Error = RouteError;

    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl From<RoutePath> for String {
    fn from(path: RoutePath) -> Self {
        path.to_string()
    }
}

impl From<RouteHost> for String {
    fn from(host: RouteHost) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_exact_or_end_in_a_wildcard() {
        for (text, path, covers_below) in [
            ("/", "/", false),
            ("/...", "", true),
            ("/api", "/api", false),
            ("/api/items", "/api/items", false),
            ("/api/...", "/api", true),
            ("/a.b/~c/-_/x:y@z/a+b,c;d=e", "/a.b/~c/-_/x:y@z/a+b,c;d=e", false),
            ("/caf%c3%a9", "/caf%C3%A9", false),
            ("/café/...", "/caf%C3%A9", true),
            ("/%61pi", "/api", false),
            ("/a%2fb", "/a%2Fb", false),
            ("/fa", "/fa", false),
            ("/healthz2", "/healthz2", false),
        ] {
            let found: RoutePath = text.parse().unwrap();
            assert_eq!((found.path(), found.covers_below()), (path, covers_below), "{text}");
            assert_eq!(found.to_string().parse(), Ok(found), "{text}");
        }
    }

    #[test]
    fn wrong_paths_are_refused_with_a_reason() {
        for (text, reason) in [
            ("", "doesn't begin with a slash"),
            ("api", "doesn't begin with a slash"),
            ("...", "doesn't begin with a slash"),
            ("https://a/b", "doesn't begin with a slash"),
            ("/api/", "ends in a slash"),
            ("//...", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a/../b", "clients resolve"),
            ("/a/%2E%2e", "clients resolve"),
            ("/a/.../b", "at the end"),
            ("/a/:id", "parameters"),
            ("/a/{id}", "parameters"),
            ("/api/*", "isn't a wildcard"),
            ("/a?b", "percent-encode it"),
            ("/a#b", "percent-encode it"),
            ("/a b", "percent-encode it"),
            ("/a%zz", "percent-encode it"),
            ("/a%", "percent-encode it"),
            ("/f", "the server has"),
            ("/f/...", "the server has"),
            ("/f/x", "the server has"),
            ("/%66/x", "the server has"),
            ("/healthz", "the server has"),
            ("/readyz/...", "the server has"),
            ("/openapi.json", "the server has"),
        ] {
            let error = text.parse::<RoutePath>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(format!("/{}", "a".repeat(255)).parse::<RoutePath>().is_ok());
        assert!(format!("/{}", "a".repeat(256)).parse::<RoutePath>().is_err());
    }

    #[test]
    fn hosts_are_names_or_all_their_subdomains() {
        for (text, name, covers_subdomains) in [
            ("api.example.org", "api.example.org", false),
            ("*.example.org", "example.org", true),
            ("API.Example.org", "api.example.org", false),
            ("localhost", "localhost", false),
            ("127.0.0.1", "127.0.0.1", false),
            ("xn--caf-dma.example", "xn--caf-dma.example", false),
        ] {
            let found: RouteHost = text.parse().unwrap();
            assert_eq!((found.name(), found.covers_subdomains()), (name, covers_subdomains), "{text}");
            assert_eq!(found.to_string().parse(), Ok(found), "{text}");
        }
        let (label, name) = ("a".repeat(64), "a.".repeat(127) + "a");
        for wrong in [
            "",
            "*",
            "*.",
            "a:1",
            "https://a",
            "a/b",
            "a.*.b",
            "**.a",
            "a..b",
            ".a",
            "a.",
            "a b",
            "café",
            &label,
            &name,
        ] {
            assert!(wrong.parse::<RouteHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_requests_host_has_no_port_and_no_capitals() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("A.Example:8080", "a.example"),
            ("a.example.", "a.example"),
            ("a.example.:80", "a.example"),
            ("a:", "a"),
        ] {
            assert_eq!(host_of(authority).as_deref(), Some(host), "{authority}");
        }
        assert_eq!(host_of(&"a".repeat(254)), None);
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own(path in "(/[a%2Fé6c.~:]{0,6}){0,4}") {
            let canonical = canonical_path(&path).into_owned();
            prop_assert_eq!(canonical_path(&canonical), &*canonical);
            // The segments stay: a route's rest is found by counting slashes.
            prop_assert_eq!(canonical.matches('/').count(), path.matches('/').count());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(/|[.]{1,3}|%[0-9a-f]{0,2}|[a-z*:é ]){0,8}") {
            if let Ok(path) = text.parse::<RoutePath>() {
                prop_assert_eq!(path.to_string().parse::<RoutePath>(), Ok(path));
            }
        }
    }
}
