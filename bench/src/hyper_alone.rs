//! The native peer: what HTTP costs on this machine with no platform behind it.
//!
//! Includes: accept, parse, read the body, answer it back. Excludes: everything a FaaS platform does.
//! `/fibonacci` computes natively on tokio's blocking threads, for `mixed`.
//! Built as Nebula's data plane is: one single-threaded runtime a core, a listener each on one port
//! (`SO_REUSEPORT`), no Nagle, mimalloc.

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

/// Connections that may wait to be accepted, a listener.
const BACKLOG: i32 = 1024;

/// What the long call takes: some seconds.
const FIBONACCI_MAX: u32 = 45;

/// What it speaks, as `hyper-alone` is told.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct Speaks {
    /// HTTP/2, begun without asking (RFC 9113 §3.3), instead of HTTP/1.1
    #[arg(long)]
    http2: bool,
}

/// Prints the address, then serves until killed.
pub(crate) fn run(speaks: Speaks) -> anyhow::Result<()> {
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
        listeners.into_iter().map(|listener| thread::spawn(move || serve(listener, speaks))).collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a serving thread panicked"))??;
    }
    Ok(())
}

/// A listener that others may share the port of.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and answers on this thread, for ever.
pub(crate) fn serve(listener: TcpListener, speaks: Speaks) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            stream.set_nodelay(true)?;
            // A connection that breaks off is noticed by the load.
            tokio::spawn(async move {
                let _ = converse(stream, speaks).await;
            });
        }
    })
}

/// One connection, to its end.
async fn converse(stream: TcpStream, speaks: Speaks) -> hyper::Result<()> {
    let (stream, service) = (TokioIo::new(stream), service_fn(answer));
    if speaks.http2 {
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

/// The nth Fibonacci number, by its definition.
pub(crate) fn fibonacci(n: u32) -> u64 {
    // Opaque to the optimiser, so that the definition is what runs.
    let n = std::hint::black_box(n);
    if n < 2 { n.into() } else { fibonacci(n - 1) + fibonacci(n - 2) }
}
