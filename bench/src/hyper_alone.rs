//! The native peer: an HTTP server without a platform behind it.
//!
//! Includes: accept, parse, read the body, send it back. Excludes: everything that a FaaS platform
//! does. `/fibonacci` computes natively on tokio's blocking threads, for `mixed`. The server is
//! built like Nebula's data plane: one single-threaded runtime per core, each with its own listener
//! on one port (`SO_REUSEPORT`), `TCP_NODELAY`, mimalloc.

use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use anyhow::Context;
use clap::Args as ClapArgs;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

/// The number of connections that may wait to be accepted on each listener.
const BACKLOG: i32 = 1024;

/// The largest input of `/fibonacci`, which takes some seconds.
const FIBONACCI_MAX: u32 = 45;

/// The arguments of `hyper-alone`.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct HttpProtocol {
    /// Serve HTTP/2 with prior knowledge (RFC 9113 §3.3) instead of HTTP/1.1
    #[arg(long)]
    http2: bool,
}

/// Prints the address, then serves until it is killed.
pub(crate) fn run(protocol: HttpProtocol) -> anyhow::Result<()> {
    let threads = thread::available_parallelism()?.get();
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(listen(address)?);
    }
    println!("http://{address}");
    std::io::stdout().flush()?;
    let threads: Vec<_> =
        listeners.into_iter().map(|listener| thread::spawn(move || serve(listener, protocol))).collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a serving thread panicked"))??;
    }
    Ok(())
}

/// Opens a listener whose port other listeners may share.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and answers on this thread forever.
pub(crate) fn serve(listener: TcpListener, protocol: HttpProtocol) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            stream.set_nodelay(true)?;
            // The load reports connections that fail.
            tokio::spawn(async move {
                let _ = serve_connection(stream, protocol).await;
            });
        }
    })
}

/// Serves one connection until it is closed.
async fn serve_connection(stream: TcpStream, protocol: HttpProtocol) -> hyper::Result<()> {
    let (stream, service) = (TokioIo::new(stream), service_fn(answer));
    if protocol.http2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
    } else {
        http1::Builder::new().serve_connection(stream, service).await
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let long = request.uri().path() == "/fibonacci";
    let Ok(body) = request.into_body().collect().await else { return Ok(bad_request()) };
    let mut body = body.to_bytes();
    if long {
        let n = std::str::from_utf8(&body).ok().and_then(|n| n.parse().ok());
        let Some(n) = n.filter(|n| *n <= FIBONACCI_MAX) else { return Ok(bad_request()) };
        let Ok(number) = tokio::task::spawn_blocking(move || fibonacci(n)).await else {
            return Ok(bad_request());
        };
        body = number.to_string().into();
    }
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

fn bad_request() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// Returns the nth Fibonacci number by its recursive definition.
pub(crate) fn fibonacci(n: u32) -> u64 {
    // The optimiser must not replace the recursion.
    let n = std::hint::black_box(n);
    if n < 2 { n.into() } else { fibonacci(n - 1) + fibonacci(n - 2) }
}
