//! Addresses on the command line: those to listen on, and the URLs of servers.
//!
//! `:8080` is port 8080 of this machine alone, as in the defaults. All interfaces are `0.0.0.0:8080`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The host of an address that names none.
const LOOPBACK: &str = "127.0.0.1";

/// A host and a port: `localhost:8080`, `:8080`, `127.0.0.1:0`, `[::1]:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name or an IP address, without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Returns a port of this machine alone.
    pub(crate) const fn loopback(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    /// Returns the socket address, an IPv4 one if the name has both kinds. Asks the system's
    /// resolver.
    pub(crate) fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.into_iter().next().ok_or_else(|| io::Error::other("the name has no address"))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "an address is `HOST:PORT` or `:PORT`, such as `localhost:8080`".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong()),
            None if host.is_empty() => LOOPBACK,
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.parse::<IpAddr>().is_err() && !host.chars().all(is_name) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// The URL of a plane, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaneUrl(String);

impl PlaneUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether requests are encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns whether the server is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let Ok(uri) = self.0.parse::<ureq::http::Uri>() else { return false };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Returns the host, an IPv6 address without its brackets, and the port.
    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        let authority = self.authority();
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| is_port(port)) {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority, None),
        };
        (host.trim_matches(['[', ']']), port.unwrap_or(if self.is_https() { 443 } else { 80 }))
    }

    /// Returns the host and, if it is given, the port: a name for the server.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

impl fmt::Display for PlaneUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<SocketAddr> for PlaneUrl {
    fn from(address: SocketAddr) -> Self {
        Self(format!("http://{address}"))
    }
}

impl FromStr for PlaneUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "a server is `https://HOST`, `http://HOST:PORT`, or an address such as `localhost:8081` or `:8081`"
                .to_owned()
        };
        if !text.contains("://") {
            let address: Address = text.parse().map_err(|_| wrong())?;
            return Ok(Self(format!("http://{address}")));
        }
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        // Credentials in a URL would be printed with it.
        if authority.host().is_empty() || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, shown) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("localhost:8080", "localhost:8080"),
            (":8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::]:80", "[::]:80"),
            ("a-host.example_.org:1", "a-host.example_.org:1"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown, "{text}");
        }
        for wrong in [
            "",
            "somewhere",
            "8080",
            "localhost",
            ":",
            ":x",
            ":70000",
            "[::1]",
            "[x]:1",
            "a b:1",
            "http://a:1",
            "a/b:1",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_resolve_to_ipv4_first() {
        assert_eq!("localhost:81".parse::<Address>().unwrap().resolve().unwrap().to_string(), "127.0.0.1:81");
        assert_eq!("[::1]:81".parse::<Address>().unwrap().resolve().unwrap().to_string(), "[::1]:81");
    }

    #[test]
    fn urls_are_complete_or_addresses() {
        for (text, shown) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("https://nebula.example.org", "https://nebula.example.org"),
            ("https://example.org/control/", "https://example.org/control"),
            ("localhost:8081", "http://localhost:8081"),
            (":8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
        ] {
            assert_eq!(text.parse::<PlaneUrl>().unwrap().as_str(), shown, "{text}");
        }
        for wrong in
            ["", "prod", "localhost", "ftp://a", "http://", "https:///x", "http://user:pass@a", "http://a?b"]
        {
            assert!(wrong.parse::<PlaneUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_have_a_host_and_a_port() {
        for (url, host, port) in [
            ("http://127.0.0.1:8081", "127.0.0.1", 8081),
            ("https://example.org/below", "example.org", 443),
            ("http://example.org", "example.org", 80),
            ("http://[::1]:81", "::1", 81),
            ("http://[::1]", "::1", 80),
        ] {
            assert_eq!(url.parse::<PlaneUrl>().unwrap().host_and_port(), (host, port), "{url}");
        }
    }

    #[test]
    fn servers_on_this_machine_are_recognized() {
        let is_loopback = |text: &str| text.parse::<PlaneUrl>().unwrap().is_loopback();
        for here in [":8081", "localhost:8081", "http://127.8.9.1", "https://[::1]:8081", "https://localhost"]
        {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["http://10.0.0.1", "https://localhost.example.org", "http://127.0.0.1.example.org"]
        {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }
}
