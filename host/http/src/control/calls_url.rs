//! The URL at which callers reach the data plane.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;

/// The facts that decide the URL of the data plane.
#[derive(Clone, Debug)]
pub(crate) struct CallsUrl(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    /// The URL that the operator gives, without a slash at its end.
    public: Option<String>,
    /// The address on which the data plane listens.
    address: SocketAddr,
}

impl CallsUrl {
    pub(crate) fn new(public: Option<String>, address: SocketAddr) -> Self {
        let public = public.map(|url| url.trim_end_matches('/').to_owned());
        Self(Arc::new(Facts { public, address }))
    }

    /// Returns the URL for a client that has reached the control plane at `host`.
    ///
    /// A plane that listens on all interfaces has no address of its own. The host by which the
    /// client has reached this machine then leads to it too.
    pub(super) fn for_client(&self, host: Option<&str>) -> String {
        let Facts { public, address } = &*self.0;
        if let Some(public) = public {
            return public.clone();
        }
        let reached = host.and_then(|host| host.parse::<Authority>().ok());
        match reached {
            Some(reached) if address.ip().is_unspecified() => {
                format!("http://{}:{}", reached.host(), address.port())
            }
            _ => format!("http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_the_operators_the_address_or_the_reached_host() {
        let url = |public: Option<&str>, address: &str, host: Option<&str>| {
            CallsUrl::new(public.map(str::to_owned), address.parse().unwrap()).for_client(host)
        };
        let public = Some("https://calls.example.org/");
        assert_eq!(url(public, "0.0.0.0:80", Some("x:1")), "https://calls.example.org");
        assert_eq!(url(None, "127.0.0.1:8080", Some("x:1")), "http://127.0.0.1:8080");
        assert_eq!(url(None, "[::1]:8080", None), "http://[::1]:8080");
        assert_eq!(url(None, "0.0.0.0:8080", Some("host.example:8081")), "http://host.example:8080");
        assert_eq!(url(None, "[::]:8080", Some("[2001:db8::1]:8081")), "http://[2001:db8::1]:8080");
        assert_eq!(url(None, "0.0.0.0:8080", None), "http://0.0.0.0:8080");
        assert_eq!(url(None, "0.0.0.0:8080", Some("not a host")), "http://0.0.0.0:8080");
    }
}
