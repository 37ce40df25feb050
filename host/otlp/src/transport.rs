//! One request to a collector over a connection of its own.
//!
//! A connection is opened for a request and closed after it. Under load that is one every few seconds,
//! and an idle host holds none that could wake it up. `tasks` drives it, and ends it.

mod tasks;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::tasks::ConnectionTasks;
use crate::config::{Endpoint, Protocol};

/// The longest answer of a collector, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The way to trust a collector.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// No TLS.
    Plain,
    Tls(Arc<ClientConfig>),
}

/// A certificate or a key that can't be used.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// The certificates to trust.
    Ca(String),
    /// This host's own certificate or its key.
    Own(String),
}

/// The answer of a collector.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Empty, unless the answer has some.
    pub(crate) trailers: HeaderMap,
}

/// A failure of the connection.
pub(crate) type TransportError = Box<dyn Error + Send + Sync>;

impl Trust {
    /// Prepares TLS. The collector's certificate has to be signed by `ca` (PEM), else by a CA that the
    /// system trusts. `own` are the certificate and key of this host, if the collector asks for one.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn tls(
        ca: Option<&[u8]>,
        own: Option<(Vec<u8>, Vec<u8>)>,
        is_http2: bool,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let trusted = match ca {
            Some(pem) => certificates(pem).map_err(TlsError::Ca)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        // Some systems trust certificates that rustls doesn't support.
        if roots.add_parsable_certificates(trusted).0 == 0 {
            return Err(TlsError::Ca("it has no certificate that can be used".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::Ca(error.to_string()))?.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(&certificate).map_err(TlsError::Own)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&key).map_err(|error| TlsError::Own(error.to_string()))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| TlsError::Own(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Self::Tls(Arc::new(config)))
    }
}

/// Returns the certificates in a PEM text, which has at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it has no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends a request to the collector and returns its answer, within `timeout`. The connection is closed
/// by then.
///
/// # Errors
/// If the collector can't be reached, or its answer isn't complete in time.
pub(crate) async fn exchange(
    endpoint: &Endpoint,
    trust: &Trust,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> Result<Answer, TransportError> {
    let tasks = ConnectionTasks::default();
    let answer = tokio::time::timeout(timeout, answer(endpoint, trust, request, &tasks)).await;
    tasks.end().await;
    answer.unwrap_or_else(|_| {
        Err(format!("the collector did not answer within {} ms", timeout.as_millis()).into())
    })
}

/// Sends a request over a new connection, which ends when the answer is returned or the future dropped.
async fn answer(
    endpoint: &Endpoint,
    trust: &Trust,
    request: Request<Full<Bytes>>,
    tasks: &ConnectionTasks,
) -> Result<Answer, TransportError> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let response = match trust {
        Trust::Plain => send(endpoint.protocol, stream, request, tasks).await?,
        Trust::Tls(config) => {
            let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
            send(endpoint.protocol, stream, request, tasks).await?
        }
    };
    let (parts, body) = response.into_parts();
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers })
}

/// Sends a request over a connection, which the tasks drive until the answer is read or dropped.
async fn send(
    protocol: Protocol,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Full<Bytes>>,
    tasks: &ConnectionTasks,
) -> Result<Response<Incoming>, TransportError> {
    let stream = TokioIo::new(stream);
    match protocol {
        Protocol::Http => {
            let (mut sender, connection) = http1::handshake(stream).await?;
            tasks.execute(connection);
            // Over HTTP/1.1 the target is a path, and a header has the host.
            if let Some(authority) = request.uri().authority()
                && let Ok(host) = authority.as_str().parse()
            {
                request.headers_mut().insert(header::HOST, host);
            }
            let path = request.uri().path_and_query().map(|path| path.as_str().parse());
            if let Some(path) = path.transpose()? {
                *request.uri_mut() = path;
            }
            Ok(sender.send_request(request).await?)
        }
        Protocol::Grpc => {
            let (mut sender, connection) = http2::handshake(tasks.clone(), stream).await?;
            tasks.execute(connection);
            Ok(sender.send_request(request).await?)
        }
    }
}
