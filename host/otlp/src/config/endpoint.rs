//! The collector's URL.

use http::Uri;
use http::uri::Scheme;

/// The path of the signal below a URL for all signals.
const TRACES_PATH: &str = "v1/traces";

/// The method of the collector's gRPC service.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The protocol to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Protobuf over HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

impl Protocol {
    /// Returns the URL of a collector on this machine.
    pub(super) fn default_url(self) -> &'static str {
        match self {
            Self::Http => "http://localhost:4318",
            Self::Grpc => "http://localhost:4317",
        }
    }
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) protocol: Protocol,
    pub(crate) is_secure: bool,
    /// The host: a name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The URL that requests are sent to.
    pub(crate) uri: Uri,
}

impl Endpoint {
    /// Reads the URL for traces, which is complete.
    ///
    /// # Errors
    /// What is wrong about it.
    pub(super) fn of_traces(url: &str, protocol: Protocol, is_insecure: bool) -> Result<Self, &'static str> {
        Self::new(url, protocol, is_insecure, str::to_owned)
    }

    /// Reads the URL for all signals, which the path of traces is added to.
    ///
    /// # Errors
    /// What is wrong about it.
    pub(super) fn of_all_signals(
        url: &str,
        protocol: Protocol,
        is_insecure: bool,
    ) -> Result<Self, &'static str> {
        Self::new(url, protocol, is_insecure, |path| format!("{}/{TRACES_PATH}", path.trim_end_matches('/')))
    }

    fn new(
        url: &str,
        protocol: Protocol,
        is_insecure: bool,
        path_of: impl FnOnce(&str) -> String,
    ) -> Result<Self, &'static str> {
        // For gRPC the scheme may be missing.
        let url = match (url.contains("://"), protocol) {
            (false, Protocol::Grpc) if is_insecure => format!("http://{url}"),
            (false, Protocol::Grpc) => format!("https://{url}"),
            (_, Protocol::Grpc | Protocol::Http) => url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| "it isn't a URL")?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err("it begins with neither `http://` nor `https://`"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user: give credentials as headers");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("it has no host");
        }
        let port = match (authority.port_u16(), authority.as_str() == authority.host()) {
            (Some(port), _) => port,
            (None, false) => return Err("its port isn't a number up to 65535"),
            (None, true) if is_secure => 443,
            (None, true) => 80,
        };
        let path = match protocol {
            Protocol::Grpc => GRPC_PATH.to_owned(),
            Protocol::Http => path_of(uri.path()),
        };
        let query = match (uri.query(), protocol) {
            (Some(query), Protocol::Http) => format!("?{query}"),
            (Some(_) | None, Protocol::Grpc | Protocol::Http) => String::new(),
        };
        let scheme = if is_secure { "https" } else { "http" };
        let uri = format!("{scheme}://{authority}{path}{query}").parse().map_err(|_| "it isn't a URL")?;
        Ok(Self { protocol, is_secure, host, port, uri })
    }
}
