//! The server under load, and the request that it gets.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header, request};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::address::PlaneUrl;
use crate::tls;

/// A server with the request to send to it.
pub(crate) struct Target {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) tls: Option<Tls>,
    request: Request<Full<Bytes>>,
}

/// The encryption of a server's connections.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Target {
    /// Prepares a request to a server at `plane`, and asks the resolver for the addresses of its host.
    /// `ca` is the CA to trust, in PEM.
    pub(crate) fn new(
        plane: &PlaneUrl,
        request: request::Builder,
        body: Option<Vec<u8>>,
        ca: Option<&str>,
    ) -> anyhow::Result<Self> {
        let length = body.as_ref().map(Vec::len);
        let mut request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let host = plane.host_and_port().0;
        let addresses = plane.host_and_port().to_socket_addrs();
        let addresses = addresses.with_context(|| format!("cannot find the address of `{host}`"))?.collect();
        let tls = match plane.is_https() {
            true => Some(Tls {
                connector: TlsConnector::from(Arc::new(tls::client_config(ca)?)),
                name: ServerName::try_from(host.to_owned())
                    .with_context(|| format!("`{host}` is not a host name"))?,
            }),
            false => None,
        };
        // A client sends the path alone, and the host as a header.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(path);
        }
        let headers = request.headers_mut();
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::from_str(plane.authority())?);
        }
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        Ok(Self { addresses, tls, request })
    }

    /// Returns the request.
    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        self.request.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(plane: &str, path: &str, body: Option<&str>) -> Target {
        let request = Request::post(format!("{plane}{path}"));
        Target::new(&plane.parse().unwrap(), request, body.map(|body| body.into()), None).unwrap()
    }

    #[test]
    fn requests_have_a_path_a_host_and_the_length_of_their_body() {
        for (plane, path, sent, host, port) in [
            ("http://127.0.0.1:8080", "/f/adds", "/f/adds", "127.0.0.1:8080", 8080),
            ("http://127.0.0.1", "/f/adds@v1?a=b", "/f/adds@v1?a=b", "127.0.0.1", 80),
            ("http://[::1]:81/below", "/f/adds", "/below/f/adds", "[::1]:81", 81),
        ] {
            let target = target(plane, path, Some("abc"));
            let request = target.request();
            assert_eq!(
                (request.uri().to_string().as_str(), request.headers()["host"].as_bytes()),
                (sent, host.as_bytes())
            );
            assert_eq!(request.headers()["content-length"], "3");
            assert!(target.tls.is_none() && target.addresses.iter().all(|address| address.port() == port));
        }
        assert!(!target("http://127.0.0.1", "/f/a", None).request().headers().contains_key("content-length"));
    }
}
