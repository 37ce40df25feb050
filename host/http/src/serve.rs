//! Listening, accepting, draining.
//!
//! The data plane has one single-threaded runtime a core, each with a listener of its own on the same
//! address (`SO_REUSEPORT`): a connection lives and dies on one thread. The control plane has a thread
//! to itself, so that a deploy never waits behind calls.
//!
//! When told to stop, listeners close, requests in flight are answered, idle connections end; what is
//! left after the drain time is cut.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use nebula_runtime::Runtime;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::problem::Reply;
use crate::token::Token;
use crate::{control, data};

/// Connections that may wait to be accepted, a listener.
const BACKLOG: i32 = 1024;

/// From the first byte of a request to the end of its headers; an idle connection ends after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// hyper's own bounds, beyond those of `body::check` so that what is over them gets our answer.
const HEADERS_MAX: usize = 256;
const READ_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Stack of a serving thread, bytes: guests run on it, up to wasmtime's own half a megabyte.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Where and how to serve.
#[derive(Clone)]
pub struct ServeConfig {
    /// The data plane's address; port 0 is fine.
    pub listen: SocketAddr,
    /// The control plane's address; port 0 is fine.
    pub control: SocketAddr,
    /// The control plane's token.
    pub token: Token,
    /// Threads of the data plane, at least one.
    pub threads: usize,
    /// How long requests in flight have when told to stop.
    pub drain: Duration,
}

/// Why an address couldn't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub source: io::Error,
}

/// A server that listens and doesn't accept yet.
pub struct Server {
    runtime: Runtime,
    token: Token,
    drain: Duration,
    data: Vec<std::net::TcpListener>,
    control: std::net::TcpListener,
    data_address: SocketAddr,
    control_address: SocketAddr,
}

impl Server {
    /// Takes both addresses.
    ///
    /// # Errors
    /// [`BindError`] for the one that isn't to be had.
    pub fn bind(config: ServeConfig, runtime: Runtime) -> Result<Self, BindError> {
        let at = |address| move |source| BindError { address, source };
        // Sockets that share a port would let a second server in unnoticed: first ask for it alone.
        let alone = listen(config.listen, false).map_err(at(config.listen))?;
        let data_address = alone.local_addr().map_err(at(config.listen))?;
        drop(alone);
        let data = (0..config.threads.max(1))
            .map(|_| listen(data_address, true))
            .collect::<io::Result<Vec<_>>>()
            .map_err(at(data_address))?;
        let control = listen(config.control, false).map_err(at(config.control))?;
        let control_address = control.local_addr().map_err(at(config.control))?;
        Ok(Self {
            runtime,
            token: config.token,
            drain: config.drain,
            data,
            control,
            data_address,
            control_address,
        })
    }

    /// Where calls go.
    pub fn data_address(&self) -> SocketAddr {
        self.data_address
    }

    /// Where deploys go.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Serves until `stop` completes, then drains. Blocks this thread.
    ///
    /// # Errors
    /// When a thread or its event loop can't be had.
    pub fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let (stopping, stopped) = watch::channel(());
        let runtime = self.runtime;
        let mut threads = Vec::new();
        for (index, listener) in self.data.into_iter().enumerate() {
            let runtime = runtime.clone();
            let serve = move |request| {
                let runtime = runtime.clone();
                async move { data::handle(&runtime, request).await }
            };
            threads.push(spawn(
                format!("nebula-data-{index}"),
                listener,
                stopped.clone(),
                self.drain,
                serve,
            )?);
        }
        let token = Arc::new(self.token);
        let serve = move |request| {
            let (runtime, token) = (runtime.clone(), Arc::clone(&token));
            async move { control::handle(&runtime, &token, request).await }
        };
        threads.push(spawn("nebula-control".to_owned(), self.control, stopped, self.drain, serve)?);
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(stop);
        drop(stopping);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a serving thread panicked"))??;
        }
        Ok(())
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn spawn<S, F>(
    name: String,
    listener: std::net::TcpListener,
    stopped: watch::Receiver<()>,
    drain: Duration,
    serve: S,
) -> io::Result<thread::JoinHandle<io::Result<()>>>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_stack_size(STACK_BYTES)
            .build()?;
        runtime.block_on(accept(listener, stopped, drain, serve))
    })
}

async fn accept<S, F>(
    listener: std::net::TcpListener,
    mut stopped: watch::Receiver<()>,
    drain: Duration,
    serve: S,
) -> io::Result<()>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(64 * 1024);
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, mostly: those in use will end.
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            // Fails when the sender is dropped, which is the signal.
            _ = stopped.changed() => break,
        };
        // Without it small answers wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let serve = serve.clone();
        let service = service_fn(move |request| {
            let reply = serve(request);
            async move { Ok::<_, std::convert::Infallible>(reply.await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A peer that breaks off or speaks no HTTP is its own affair.
            let _ = connection.await;
        });
    }
    drop(listener);
    // Whoever is still at it after the drain time is cut with the runtime.
    let _ = tokio::time::timeout(drain, connections.shutdown()).await;
    Ok(())
}
