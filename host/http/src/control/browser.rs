//! The checks of requests from browsers, against pages of other origins.
//!
//! A browser sends a session's cookie with the requests of every page. `SameSite` keeps
//! pages of other sites out, but all ports of a host are one site, those of the data plane included,
//! on which functions answer with pages of their own. And a name of another site can be made to lead
//! to this server (DNS rebinding). So a request with a cookie has to come from a page of this plane:
//!
//! * `Host` is an address, `localhost` or a name below it, or one that the operator has given. No
//!   other site can have these.
//! * `Origin` has the same authority as `Host`. Schemes may differ, because a proxy may end TLS.
//! * `Sec-Fetch-Site` is `same-origin`, or for requests that change nothing `none`, which is the user.
//! * One of the last two is there, if the request changes something.
//!
//! A request with a token in `Authorization` isn't checked: no page of another origin can send one.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

use crate::body;
use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The most of a header's value that a refusal shows, characters.
const SHOWN_MAX: usize = 300;

/// The longest DNS name, characters.
const NAME_LENGTH_MAX: usize = 253;

/// A name by which browsers reach the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleHost(String);

/// The text isn't a host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a console's host is a name such as `nebula.example.org`, without a scheme and a port")]
pub struct BadConsoleHost;

impl FromStr for ConsoleHost {
    type Err = BadConsoleHost;

    fn from_str(text: &str) -> Result<Self, BadConsoleHost> {
        let is_label = |label: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.bytes().all(is_part)
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > NAME_LENGTH_MAX || !name.split('.').all(is_label) {
            return Err(BadConsoleHost);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// All names by which browsers reach the console, besides addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub(super) struct ConsoleHosts(Arc<[ConsoleHost]>);

/// A request that comes from a page of this plane, or from the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnRequest {
    /// Set if the browser has reached the plane by HTTPS.
    pub(super) is_https: bool,
}

/// Why a request may come from a page of another origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForeignRequest {
    /// The host may belong to another site.
    #[error(
        "the console doesn't answer at `{host}`: if that is this server's name, start it with `--console-host {host}`"
    )]
    Host {
        /// The host without its port.
        host: String,
    },
    /// The page has another origin.
    #[error(
        "the request comes from a page of `{origin}`, and this is `{host}`; a proxy in front has to pass `Host` on"
    )]
    Origin {
        /// The `Origin`.
        origin: String,
        /// The authority that the request names.
        host: String,
    },
    /// The browser says that the page has another origin.
    #[error("the request comes from a page of another origin: `Sec-Fetch-Site` is `{site}`")]
    Site {
        /// The `Sec-Fetch-Site`.
        site: String,
    },
    /// The request doesn't tell where it comes from.
    #[error(
        "the request has neither `Origin` nor `Sec-Fetch-Site`, so it may come from a page of another origin; \
         programs send a token in `Authorization`"
    )]
    Unknown,
}

impl ForeignRequest {
    /// Returns the problem to answer with.
    pub(super) fn problem(&self) -> Problem {
        let kind = match self {
            Self::Host { .. } => "unknown-host",
            Self::Origin { .. } | Self::Site { .. } | Self::Unknown => "cross-origin",
        };
        Problem::new(StatusCode::FORBIDDEN, kind, self.to_string())
    }
}

impl ConsoleHosts {
    pub(super) fn new(hosts: Vec<ConsoleHost>) -> Self {
        Self(hosts.into())
    }

    /// Checks that a request comes from a page of this plane, or from the user.
    ///
    /// # Errors
    /// [`ForeignRequest`].
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<OwnRequest, ForeignRequest> {
        // An authority in the target takes precedence (RFC 9112 §3.2.2).
        let authority = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => body::text(headers, header::HOST).unwrap_or_default(),
        };
        if !self.has(authority) {
            return Err(ForeignRequest::Host { host: shown(host_of(authority)) });
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let (origin, site) = (text(header::ORIGIN), text(SEC_FETCH_SITE));
        if changes && origin.is_none() && site.is_none() {
            return Err(ForeignRequest::Unknown);
        }
        if let Some(site) = site {
            let is_own = site == "same-origin" || (site == "none" && !changes);
            if !is_own {
                return Err(ForeignRequest::Site { site: shown(&site) });
            }
        }
        if let Some(origin) = &origin
            && !is_origin_of(origin, authority)
        {
            return Err(ForeignRequest::Origin { origin: shown(origin), host: shown(authority) });
        }
        Ok(OwnRequest { is_https: origin.is_some_and(|origin| origin.starts_with("https://")) })
    }

    /// Returns whether no other site can have this authority.
    fn has(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if inner.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.0.iter().any(|own| own.0 == name)
    }
}

/// Returns the beginning of a header's value. The whole may be long, and is logged.
fn shown(value: &str) -> String {
    value.chars().take(SHOWN_MAX).collect()
}

/// Returns an authority without its port.
fn host_of(authority: &str) -> &str {
    // `body::check` has refused others.
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns whether an `Origin` has this authority.
fn is_origin_of(origin: &str, authority: &str) -> bool {
    let (default_port, own) = match origin.split_once("://") {
        Some(("http", own)) => (":80", own),
        Some(("https", own)) => (":443", own),
        _ => return false,
    };
    let without = |authority: &str| {
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        authority.parse::<Authority>().ok()
    };
    // Authorities are equal in any case.
    without(own).is_some_and(|own| without(authority) == Some(own))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(
        method: Method,
        host: &str,
        origin: Option<&str>,
        site: Option<&str>,
    ) -> Result<OwnRequest, ForeignRequest> {
        let hosts = ConsoleHosts::new(vec!["nebula.example.org".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, Some(host)), (header::ORIGIN, origin), (SEC_FETCH_SITE, site)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        hosts.check(&method, &Uri::from_static("/x"), &headers)
    }

    #[test]
    fn hosts_are_those_that_no_other_site_can_have() {
        for host in [
            "127.0.0.1:8081",
            "10.1.2.3",
            "[::1]:8081",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:1",
            "localhost.:1",
            "a.b.localhost:8081",
            "nebula.example.org",
            "Nebula.Example.org:443",
            "nebula.example.org.",
        ] {
            assert!(check(Method::GET, host, None, None).is_ok(), "{host}");
        }
        for host in [
            "",
            "example.org",
            "evil.nebula.example.org",
            "nebula.example.org.evil.com",
            "notlocalhost",
            "localhost.evil.com:8081",
            "127.0.0.1.nip.io",
            "127.0.0.1.evil.com:8081",
            "1.2.3",
        ] {
            let expected = ForeignRequest::Host { host: host.split(':').next().unwrap().to_owned() };
            assert_eq!(check(Method::GET, host, None, None), Err(expected), "{host}");
        }
    }

    #[test]
    fn origins_are_compared_with_the_host() {
        let own = "127.0.0.1:8081";
        for (host, origin, is_https) in [
            (own, "http://127.0.0.1:8081", false),
            // A proxy ends TLS.
            (own, "https://127.0.0.1:8081", true),
            ("nebula.example.org", "https://nebula.example.org", true),
            ("nebula.example.org:443", "https://nebula.example.org", true),
            ("Nebula.example.org", "https://nebula.EXAMPLE.org:443", true),
            ("[::1]:8081", "http://[::1]:8081", false),
            ("[::1]", "http://[::1]:80", false),
        ] {
            assert_eq!(
                check(Method::POST, host, Some(origin), None),
                Ok(OwnRequest { is_https }),
                "{origin}"
            );
        }
        for origin in [
            "null",
            "",
            "127.0.0.1:8081",
            "http://127.0.0.1:8080",
            "http://127.0.0.1",
            "http://127.0.0.1:80810",
            "http://localhost:8081",
            "http://evil.com",
            "http://127.0.0.1:8081.evil.com",
            "http://127.0.0.1:8081@evil.com",
            "chrome-extension://127.0.0.1:8081",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let foreign = check(method, own, Some(origin), None);
                assert!(matches!(foreign, Err(ForeignRequest::Origin { .. })), "{origin} {foreign:?}");
            }
        }
    }

    /// Every method with every value of `Sec-Fetch-Site`, with and without the own `Origin`.
    #[test]
    fn what_a_browser_says_of_the_site_decides() {
        let own = "127.0.0.1:8081";
        for (method, changes) in [
            (Method::GET, false),
            (Method::HEAD, false),
            (Method::POST, true),
            (Method::PUT, true),
            (Method::DELETE, true),
        ] {
            for origin in [None, Some("http://127.0.0.1:8081")] {
                for (site, is_own) in [
                    (None, !changes || origin.is_some()),
                    (Some("same-origin"), true),
                    (Some("none"), !changes),
                    (Some("same-site"), false),
                    (Some("cross-site"), false),
                    (Some("other"), false),
                ] {
                    let checked = check(method.clone(), own, origin, site);
                    assert_eq!(checked.is_ok(), is_own, "{method} {origin:?} {site:?}: {checked:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_parsed() {
        for name in ["nebula", "nebula.example.org", "a_b.example", "nebula.example.org."] {
            assert!(name.parse::<ConsoleHost>().is_ok(), "{name}");
        }
        let long = "a.".repeat(128);
        for wrong in ["", ".", "a..b", "http://a", "a:80", "a/b", "*.example.org", "a b", "[::1]", "é", &long]
        {
            assert_eq!(wrong.parse::<ConsoleHost>(), Err(BadConsoleHost), "{wrong}");
        }
    }
}
