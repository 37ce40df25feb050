//! Listening, accepting, draining.
//!
//! The data plane has one single-threaded runtime a core, each with a listener of its own on the same
//! address (`SO_REUSEPORT`): a connection lives and dies on one thread. The control plane has a thread
//! to itself, so that a deploy never waits behind calls.
//!
//! When told to stop, listeners close, requests in flight are answered, idle connections end; what is
//! left after the drain time is cut, whatever it is doing.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use axum::BoxError;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use nebula_runtime::{Runtime, Shard};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::bodies::Bodies;
use crate::connections::{Connections, Place, Traffic};
use crate::control::{ControlPlane, Token};
use crate::data;
use crate::fast_path::{FastPath, RequestInFlight};

/// Connections that may wait to be accepted, a listener.
const BACKLOG: i32 = 1024;

/// Connections of the data plane at once, over all threads; further ones wait to be accepted.
const CONNECTIONS_MAX: u32 = 16 * 1024;

/// Connections of the control plane at once.
const CONTROL_CONNECTIONS_MAX: u32 = 256;

/// hyper's own bounds, beyond those of `body::check` so that what is over them gets our answer.
const HEADERS_MAX: usize = 256;
const READ_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 100;

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Stack of a serving thread, bytes: guests run on it, up to wasmtime's own half a megabyte.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Where a plane listens.
#[derive(Debug)]
pub enum Listen {
    /// On an address of our own; port 0 is fine.
    Address(SocketAddr),
    /// On a socket that somebody else has bound and keeps: who asks while no server runs waits in its queue.
    Inherited(std::net::TcpListener),
}

/// Where and how to serve.
pub struct ServeConfig {
    /// The data plane.
    pub listen: Listen,
    /// The control plane.
    pub control: Listen,
    /// The control plane's token.
    pub token: Token,
    /// Threads of the data plane, at least one.
    pub threads: usize,
    /// How long requests in flight have when told to stop.
    pub drain: Duration,
    /// Without a connection for so long, it stops by itself.
    pub exit_after_idle: Option<Duration>,
    /// Send cached responses to repeated requests without parsing them.
    pub cached_fast_path: bool,
}

/// Why a server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// On an address.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// On a socket that was handed over.
    #[error("cannot listen on the socket that was handed over")]
    Inherited(#[source] io::Error),
}

/// A server that listens and doesn't accept yet.
pub struct Server {
    runtime: Runtime,
    token: Token,
    drain: Duration,
    exit_after_idle: Option<Duration>,
    cached_fast_path: bool,
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
        let (data, data_address) = config.listen.listeners(config.threads.max(1))?;
        let (control, control_address) = config.control.listener()?;
        Ok(Self {
            runtime,
            token: config.token,
            drain: config.drain,
            exit_after_idle: config.exit_after_idle,
            cached_fast_path: config.cached_fast_path,
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
        let (failing, mut failed) = mpsc::channel(1);
        let mut threads = Vec::new();
        let (bodies, traffic) = (Bodies::new(), Traffic::default());
        let connections_max =
            CONNECTIONS_MAX.div_ceil(u32::try_from(self.data.len()).unwrap_or(u32::MAX).max(1));
        for (index, listener) in self.data.into_iter().enumerate() {
            let (runtime, bodies) = (self.runtime.clone(), bodies.clone());
            let thread = Thread {
                name: format!("nebula-data-{index}"),
                listener,
                stopped: stopped.clone(),
                failing: failing.clone(),
                drain: self.drain,
                connections: Connections::new(connections_max, traffic.clone()),
            };
            threads.push(thread.spawn(move || {
                let shard = Shard::new(runtime).map_err(io::Error::other)?;
                let fast_path = if self.cached_fast_path { FastPath::on(&shard) } else { FastPath::off() };
                let tidy = {
                    let (shard, fast_path) = (shard.clone(), fast_path.clone());
                    move || {
                        shard.tidy();
                        fast_path.tidy();
                    }
                };
                let serve =
                    move |request, in_flight| data::serve(shard.clone(), bodies.clone(), request, in_flight);
                Ok(Serving { serve, tidy, fast_path })
            })?);
        }
        let ending = self.runtime.clone();
        let plane = ControlPlane::new(self.runtime, self.token);
        let thread = Thread {
            name: "nebula-control".to_owned(),
            listener: self.control,
            stopped,
            failing,
            drain: self.drain,
            connections: Connections::new(CONTROL_CONNECTIONS_MAX, traffic.clone()),
        };
        threads.push(thread.spawn(move || {
            let serve = move |request, in_flight: RequestInFlight| {
                let plane = plane.clone();
                async move {
                    let reply = plane.handle(request).await;
                    drop(in_flight);
                    Ok(reply)
                }
            };
            Ok(Serving { serve, tidy: || (), fast_path: FastPath::off() })
        })?);
        let exit_after_idle = self.exit_after_idle;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let idle = async {
                match exit_after_idle {
                    Some(idle) => traffic.ceases(idle).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop => {}
                () = idle => {}
                // Its listener is there all the same: whoever came to it would wait for ever.
                _ = failed.recv() => {}
            }
        });
        drop(stopping);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a serving thread panicked"))??;
        }
        // The next server finds what this one has computed last.
        ending.flush();
        Ok(())
    }
}

impl Listen {
    /// One.
    fn listener(self) -> Result<(std::net::TcpListener, SocketAddr), BindError> {
        let listener = match self {
            Self::Address(address) => {
                listen(address, false).map_err(|source| BindError::Address { address, source })?
            }
            Self::Inherited(listener) => {
                listener.set_nonblocking(true).map_err(BindError::Inherited)?;
                listener
            }
        };
        let address = listener.local_addr().map_err(BindError::Inherited)?;
        Ok((listener, address))
    }

    /// One for each thread: of their own on the same port, or the one there is, shared.
    fn listeners(self, count: usize) -> Result<(Vec<std::net::TcpListener>, SocketAddr), BindError> {
        let inherited = matches!(self, Self::Inherited(_));
        // Sockets that share a port would let a second server in unnoticed: first ask for it alone.
        let (first, address) = self.listener()?;
        if inherited {
            let all = (0..count).map(|_| first.try_clone()).collect::<io::Result<_>>();
            return Ok((all.map_err(BindError::Inherited)?, address));
        }
        drop(first);
        let all = (0..count).map(|_| listen(address, true)).collect::<io::Result<_>>();
        Ok((all.map_err(|source| BindError::Address { address, source })?, address))
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

/// HTTP/1.1 and HTTP/2 within our bounds.
pub(crate) fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Idle and slow connections are `connections`' to end, without a timer for each request.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(64 * 1024);
    builder
}

/// Serves one connection in a task of its own, until it closes or is cut.
pub(crate) fn spawn_connection<S, F, B>(
    builder: &auto::Builder<TokioExecutor>,
    place: Place,
    fast_path: &FastPath,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    serve: S,
) where
    S: Fn(Request<Incoming>, RequestInFlight) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let connection = fast_path.connection(place.requests());
    let stream = TokioIo::new(connection.stream(socket));
    // The service returns the future of `serve` itself: another one around it would be moved with every request.
    let service = service_fn(move |request| serve(request, connection.begin_request()));
    let connection = builder.serve_connection(stream, service).into_owned();
    // An error is the client's: it broke off, or it doesn't speak HTTP.
    place.spawn(connection, |connection| connection.graceful_shutdown());
}

/// What a thread does for each request, and besides.
struct Serving<S, T> {
    serve: S,
    /// Done whenever the thread is about to sleep.
    tidy: T,
    fast_path: FastPath,
}

/// A thread that serves one listener.
struct Thread {
    name: String,
    listener: std::net::TcpListener,
    stopped: watch::Receiver<()>,
    /// Says that this thread doesn't serve; joining it says why.
    failing: mpsc::Sender<()>,
    drain: Duration,
    connections: Connections,
}

impl Thread {
    /// `make` is called on the thread itself.
    fn spawn<S, F, B, T>(
        self,
        make: impl FnOnce() -> io::Result<Serving<S, T>> + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<()>>>
    where
        S: Fn(Request<Incoming>, RequestInFlight) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
        T: Fn() + Clone + Send + Sync + 'static,
    {
        thread::Builder::new().name(self.name.clone()).stack_size(STACK_BYTES).spawn(move || {
            let failing = self.failing.clone();
            let serve = || {
                let Serving { serve, tidy, fast_path } = make()?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .on_thread_park(tidy.clone())
                    .build()?;
                runtime.spawn(fast_path.clone().busy_poll(tidy));
                let served = runtime.block_on(self.accept(serve, fast_path));
                // What a connection or a deploy is still at is past the drain time.
                runtime.shutdown_background();
                served
            };
            serve().inspect_err(|_| {
                // Where it is full somebody else has said so.
                let _ = failing.try_send(());
            })
        })
    }

    async fn accept<S, F, B>(mut self, serve: S, fast_path: FastPath) -> io::Result<()>
    where
        S: Fn(Request<Incoming>, RequestInFlight) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let listener = TcpListener::from_std(self.listener)?;
        let builder = protocol();
        loop {
            let accepted = tokio::select! {
                accepted = async {
                    let place = self.connections.place().await;
                    listener.accept().await.map(|(stream, _)| (place, stream))
                } => accepted,
                // Fails when the sender is dropped, which is the signal.
                _ = self.stopped.changed() => break,
            };
            let (place, stream) = match accepted {
                Ok(accepted) => accepted,
                // Out of file descriptors, mostly: those in use will end.
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Without it small answers wait for the peer's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            spawn_connection(&builder, place, &fast_path, stream, serve.clone());
        }
        drop(listener);
        // Whoever is still at it after the drain time is cut with the runtime.
        let _ = tokio::time::timeout(self.drain, self.connections.drain()).await;
        Ok(())
    }
}
