//! One connection of the load, with at most one request in flight. It is opened again when the
//! server has closed it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::answer::{Answer, may_be_problem};
use super::target::Target;

/// The longest problem document that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// The reason why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The server didn't take the connection.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] std::io::Error),
    /// The connection ended before the answer did, or the answer isn't HTTP.
    #[error("the connection broke off: {0}")]
    BrokenOff(#[from] hyper::Error),
}

/// A connection, which may be closed.
#[derive(Default)]
pub(crate) struct Connection(Option<Open>);

/// An open connection. Dropping it closes it, also if an answer is still to come.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects, unless it is open.
    pub(crate) async fn open(&mut self, target: &Target) -> Result<(), NoAnswer> {
        if self.0.as_ref().is_none_or(|open| open.sender.is_closed()) {
            self.0 = Some(connect(target).await?);
        }
        Ok(())
    }

    /// Sends the request and reads the answer. Dropping the future closes the connection.
    pub(super) async fn exchange(&mut self, target: &Target) -> Result<Answer, NoAnswer> {
        // Put back when the answer has ended.
        let mut open = match self.0.take() {
            Some(open) if !open.sender.is_closed() => open,
            _ => connect(target).await?,
        };
        let response = match send(&mut open, target).await {
            Ok(response) => response,
            // The server closed the connection while no request was in flight.
            Err(FailedSend { error: _, unsent: true }) => {
                open = connect(target).await?;
                send(&mut open, target).await.map_err(|failed| failed.error)?
            }
            Err(failed) => return Err(failed.error.into()),
        };
        let (head, mut body) = response.into_parts();
        let is_kept = may_be_problem(head.status, &head.headers);
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref().filter(|_| is_kept) {
                kept.extend_from_slice(&data[..data.len().min(PROBLEM_BYTES_MAX - kept.len())]);
            }
        }
        self.0 = Some(open);
        Ok(Answer::new(head.status, &head.headers, &kept))
    }
}

/// A request that failed.
struct FailedSend {
    error: hyper::Error,
    /// Set if nothing of the request was sent.
    unsent: bool,
}

async fn send(open: &mut Open, target: &Target) -> Result<http::Response<hyper::body::Incoming>, FailedSend> {
    open.sender.ready().await.map_err(|error| FailedSend { error, unsent: true })?;
    open.sender.try_send_request(target.request()).await.map_err(|failed| {
        let unsent = failed.message().is_some();
        FailedSend { error: failed.into_error(), unsent }
    })
}

async fn connect(target: &Target) -> Result<Open, NoAnswer> {
    let tcp = TcpStream::connect(&*target.addresses).await.map_err(NoAnswer::Unreachable)?;
    tcp.set_nodelay(true).map_err(NoAnswer::Unreachable)?;
    match &target.tls {
        None => drive(tcp).await,
        Some(tls) => {
            let secure = tls.connector.connect(tls.name.clone(), tcp).await;
            drive(secure.map_err(NoAnswer::Unreachable)?).await
        }
    }
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Open, NoAnswer> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection reaches the request in flight.
    let driver = tokio::spawn(async { drop(connection.await) });
    Ok(Open { sender, driver })
}
