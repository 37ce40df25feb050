//! The server: listening, accepting, draining.
//!
//! The data plane has several threads, usually one per core. Each has a single-threaded runtime and
//! its own listener on the same address (`SO_REUSEPORT`), so a connection stays on one thread. The
//! control plane has its own thread, so that a deploy never waits behind calls.
//!
//! To stop, the server closes its listeners and idle connections and finishes the requests in
//! flight. After the drain time it aborts the remaining ones. `connections` counts and closes
//! connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::BoxError;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use nebula_runtime::{Cors, Runtime, Shard};
use nebula_telemetry::EventRate;
use nebula_telemetry::trace::Tracer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::answer::NEBULA_FUNCTION;
use crate::bodies::BodyMemory;
use crate::compressed_contents::CompressedContents;
use crate::compression::Compression;
use crate::connections::{ConnectionSlot, Connections, Traffic};
use crate::control::{Access, CallsUrl, ConsoleHost, ControlPlane, ControlPlaneConfig};
use crate::data::relay::{RelayedCalls, relay};
use crate::data::{self, DataPlane};
use crate::fast_path::{FastPath, RequestInFlight};
use crate::hyper_refusal::RefusalStream;
use crate::listen::{BindError, Listen};
use crate::metrics::{self, Metrics, PlaneName};
use crate::observe::{ConnectionObserver, Observer, Plane, PlaneObservers, observed};
use crate::openapi::CallsDocument;
use crate::readiness::Readiness;

/// The target of events about the server as a whole.
const SERVER: &str = "nebula::server";

/// The rate of connections that can't be accepted.
static UNACCEPTED: EventRate = EventRate::new();

/// Open connections of the data plane, over all threads. Further ones wait to be accepted.
const CONNECTIONS_MAX: u32 = 16 * 1024;

/// Open connections of the control plane, and of the metrics. Further ones wait to be accepted.
const CONTROL_CONNECTIONS_MAX: u32 = 256;

/// hyper's own limit on headers. It is above that of `body::check`, so that requests between the
/// two get a problem document.
const HEADERS_MAX: usize = 256;

/// hyper's limit on its read buffer, bytes, above the limits of `body::check` for the same reason.
const READ_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Requests in flight on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;

/// hyper's limit on the headers of an HTTP/2 request, bytes, above that of `body::check` for the
/// same reason. The target is one of them. hyper answers a longer list with a bare 431. The limit isn't
/// higher because a target over 64 KiB is longer than a `Uri` can be: hyper would reset its stream
/// without any answer.
const HTTP2_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// The pause before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Threads beside each serving thread that wait for the disk: for names, results and compiled code.
/// Bounds the threads that requests can start.
const BLOCKING_THREADS_MAX: usize = 16;

/// The stack of a serving thread, bytes. Guests run on it and use up to half a megabyte, wasmtime's
/// limit.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// The configuration of a server.
pub struct ServeConfig {
    /// The socket of the data plane.
    pub listen: Listen,
    /// The socket of the control plane.
    pub control: Listen,
    /// The socket that serves the metrics alone, without a token; `None` for the control plane alone.
    pub metrics: Option<Listen>,
    /// The most functions that have metrics of their own.
    pub metrics_functions_max: usize,
    /// The version of the compiler that built the program, for the metrics.
    pub rustc: &'static str,
    /// The URL at which callers reach the data plane; `None` for its address.
    pub public_url: Option<String>,
    /// The tokens that the control plane accepts.
    pub access: Access,
    /// The names by which browsers reach the control plane, besides addresses and `localhost`.
    pub console_hosts: Vec<ConsoleHost>,
    /// Threads of the data plane, at least one.
    pub threads: usize,
    /// The longest time for requests in flight to finish when the server stops.
    pub drain: Duration,
    /// The time without connections after which the server stops by itself; `None` for never.
    pub exit_after_idle: Option<Duration>,
    /// Set to answer repeated requests with their cached response, without parsing them.
    pub cached_fast_path: bool,
    /// Set to compress answers for clients that ask for it.
    pub compress: bool,
    /// The pages that may call functions without a policy of their own.
    pub cors: Option<Cors>,
    /// Set to serve the OpenAPI document of all functions to callers.
    pub openapi: bool,
    /// The directory of the experiment whose chart the control plane shows; `None` for none.
    pub experiment: Option<PathBuf>,
}

/// A server that listens and doesn't accept connections yet.
pub struct Server {
    runtime: Runtime,
    public_url: Option<String>,
    access: Access,
    console_hosts: Vec<ConsoleHost>,
    drain: Duration,
    exit_after_idle: Option<Duration>,
    cached_fast_path: bool,
    compression: Compression,
    observers: Vec<Arc<dyn Observer>>,
    tracer: Option<Tracer>,
    readiness: Readiness,
    cors: Option<Cors>,
    openapi: bool,
    experiment: Option<PathBuf>,
    data: Vec<std::net::TcpListener>,
    control: std::net::TcpListener,
    metrics: Option<std::net::TcpListener>,
    metrics_functions_max: usize,
    rustc: &'static str,
    data_address: SocketAddr,
    control_address: SocketAddr,
    metrics_address: Option<SocketAddr>,
}

impl Server {
    /// Listens on both addresses.
    ///
    /// # Errors
    /// [`BindError`] for the first that fails.
    pub fn bind(config: ServeConfig, runtime: Runtime) -> Result<Self, BindError> {
        let (data, data_address) = config.listen.listeners(config.threads.max(1))?;
        let (control, control_address) = config.control.listener()?;
        let (metrics, metrics_address) = config.metrics.map(Listen::listener).transpose()?.unzip();
        Ok(Self {
            runtime,
            public_url: config.public_url,
            access: config.access,
            console_hosts: config.console_hosts,
            drain: config.drain,
            exit_after_idle: config.exit_after_idle,
            cached_fast_path: config.cached_fast_path,
            compression: if config.compress { Compression::On } else { Compression::Off },
            observers: Vec::new(),
            tracer: None,
            readiness: Readiness::default(),
            cors: config.cors,
            openapi: config.openapi,
            experiment: config.experiment,
            data,
            control,
            metrics,
            metrics_functions_max: config.metrics_functions_max,
            rustc: config.rustc,
            data_address,
            control_address,
            metrics_address,
        })
    }

    /// Tells `observer` of the requests to both planes.
    pub fn observe(&mut self, observer: Arc<dyn Observer>) {
        self.observers.push(observer);
    }

    /// Traces the requests to both planes.
    pub fn trace(&mut self, tracer: Tracer) {
        self.tracer = Some(tracer);
    }

    /// Returns the address of the data plane.
    pub fn data_address(&self) -> SocketAddr {
        self.data_address
    }

    /// Returns the address of the control plane.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Returns the address of the metrics, if they have one of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Returns the tokens that the control plane accepts.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Returns the switch of `/readyz`.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `stop` completes or the server has been idle for long enough, then drains.
    /// Blocks this thread.
    ///
    /// # Errors
    /// If a thread or its event loop can't be created.
    pub fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let (stopping, stopped) = watch::channel(());
        let (failing, mut failed) = mpsc::channel(1);
        let mut threads = Vec::new();
        let (bodies, traffic) = (BodyMemory::new(), Traffic::default());
        let connections_max =
            CONNECTIONS_MAX.div_ceil(u32::try_from(self.data.len()).unwrap_or(u32::MAX).max(1));
        let connections = |most| Connections::new(most, traffic.clone());
        let data_connections: Vec<_> = self.data.iter().map(|_| connections(connections_max)).collect();
        let control_connections = connections(CONTROL_CONNECTIONS_MAX);
        // Scrapes don't keep a server from being idle.
        let scrapers = |_| Connections::new(CONTROL_CONNECTIONS_MAX, Traffic::default());
        let metrics_connections = self.metrics.as_ref().map(scrapers);
        let plane = |name, threads: &[Connections]| metrics::Plane { name, threads: threads.to_vec() };
        let mut planes = vec![
            plane(PlaneName::Data, &data_connections),
            plane(PlaneName::Control, std::slice::from_ref(&control_connections)),
        ];
        planes.extend(
            metrics_connections.as_ref().map(|it| plane(PlaneName::Metrics, std::slice::from_ref(it))),
        );
        let metrics = Arc::new(Metrics::new(
            self.runtime.clone(),
            planes,
            bodies.clone(),
            self.metrics_functions_max,
            self.rustc,
        ));
        let observers: Arc<[_]> = self.observers.into();
        let document =
            self.openapi.then(|| CallsDocument::new(self.runtime.clone(), self.public_url.clone()));
        let (calls, relayed_calls) = relay(self.data.len());
        let data = self.data.into_iter().zip(data_connections).zip(relayed_calls);
        for (index, ((listener, connections), relayed)) in data.enumerate() {
            let (runtime, bodies) = (self.runtime.clone(), bodies.clone());
            let (readiness, cors) = (self.readiness.clone(), self.cors.clone());
            let (document, tracer) = (document.clone(), self.tracer.clone());
            let thread = ServingThread {
                name: format!("nebula-data-{index}"),
                listener,
                stopped: stopped.clone(),
                failing: failing.clone(),
                drain: self.drain,
                connections,
            };
            // Without an observer, hyper gets the future of `serve` itself: a wrapper would be moved
            // with every request.
            let compression = self.compression;
            let tracer_of_plane = tracer.clone();
            let data_plane = move |shard, contents| {
                let tracer = tracer_of_plane;
                Arc::new(DataPlane {
                    shard,
                    contents,
                    bodies,
                    readiness,
                    cors,
                    compression,
                    document,
                    tracer,
                })
            };
            let cached_fast_path = self.cached_fast_path;
            let work = DataThread { runtime, cached_fast_path, observers: None, tracer, relayed, data_plane };
            let spawned = match PlaneObservers::of(Plane::Data, &observers) {
                None => thread.spawn(move || {
                    data_work(work, move |plane| {
                        move |_: SocketAddr| {
                            let plane = Arc::clone(&plane);
                            move |request, in_flight| data::serve(Arc::clone(&plane), request, in_flight)
                        }
                    })
                }),
                Some(observers) => thread.spawn(move || {
                    let of_fast_path = Some(observers.clone());
                    data_work(DataThread { observers: of_fast_path, ..work }, move |plane| {
                        move |peer: SocketAddr| {
                            let (plane, observer) = (Arc::clone(&plane), observers.of_connection(peer));
                            move |request, in_flight| {
                                let plane = Arc::clone(&plane);
                                observed(observer.clone(), request, move |request| {
                                    data::serve(plane, request, in_flight)
                                })
                            }
                        }
                    })
                }),
            };
            threads.push(spawned?);
        }
        let ending = self.runtime.clone();
        let (runtime, access, console_hosts) = (self.runtime, self.access, self.console_hosts);
        let calls_url = CallsUrl::new(self.public_url, self.data_address);
        let thread = |name: &str, listener, connections| ServingThread {
            name: name.to_owned(),
            listener,
            stopped: stopped.clone(),
            failing: failing.clone(),
            drain: self.drain,
            connections,
        };
        if let Some((listener, connections)) = self.metrics.zip(metrics_connections) {
            let metrics = Arc::clone(&metrics);
            let thread = thread("nebula-metrics", listener, connections);
            threads.push(thread.spawn(move || Ok(control_work(ControlPlane::of_metrics(metrics), None)))?);
        }
        let thread = thread("nebula-control", self.control, control_connections);
        let observers = PlaneObservers::of(Plane::Control, &observers);
        threads.push(thread.spawn(move || {
            let plane = ControlPlane::new(ControlPlaneConfig {
                runtime,
                access,
                console_hosts,
                calls_url,
                metrics,
                calls,
                tracer: self.tracer,
                experiment: self.experiment,
            });
            Ok(control_work(plane, observers))
        })?);
        drop((stopped, failing));
        let exit_after_idle = self.exit_after_idle;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let idle = async {
                match exit_after_idle {
                    Some(idle) => traffic.wait_until_idle(idle).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop => {}
                () = idle => {}
                // A thread doesn't serve. Stop, because connections to its listener would wait
                // forever.
                _ = failed.recv() => {}
            }
        });
        drop(stopping);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a serving thread panicked"))??;
        }
        // Write the last results to disk, so that the next server finds them.
        ending.flush();
        Ok(())
    }
}

/// Configures HTTP/1.1 and HTTP/2 with this server's limits.
pub(crate) fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `connections` closes idle and slow connections, without a timer for each request.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX);
    builder
}

/// Serves one connection in a task of its own.
pub(crate) fn spawn_connection<S, F, B>(
    builder: &auto::Builder<TokioExecutor>,
    slot: ConnectionSlot,
    fast_path: &FastPath,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    serve: S,
) where
    S: Fn(Request<Incoming>, RequestInFlight) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let requests = slot.requests();
    let connection = fast_path.connection(requests.clone());
    let stream = TokioIo::new(RefusalStream::new(connection.stream(socket), requests));
    // Return the future of `serve` itself. A wrapper would be moved with every request.
    let service = service_fn(move |request| serve(request, connection.begin_request()));
    let connection = builder.serve_connection(stream, service).into_owned();
    // Errors of a connection are the client's: it disconnected, or it doesn't speak HTTP.
    slot.spawn(connection, |connection| connection.graceful_shutdown());
}

/// Answers a request to the control plane.
async fn answer_control(
    plane: ControlPlane,
    observer: Option<ConnectionObserver>,
    peer: SocketAddr,
    request: Request<Incoming>,
    in_flight: RequestInFlight,
) -> Result<axum::response::Response, Infallible> {
    let answer = |request| async { Ok(plane.handle(request, Some(peer)).await) };
    let Ok(reply) = match observer {
        None => answer(request).await,
        Some(observer) => observed(observer, request, answer).await,
    };
    // A call's status is the function's, and is counted as such.
    if !reply.headers().contains_key(NEBULA_FUNCTION) {
        in_flight.end_unrepeatable(reply.status());
    }
    Ok(reply)
}

/// The functions that a serving thread calls.
struct ThreadWork<C, T> {
    /// Returns the function that answers the requests of a client's connection.
    connect: C,
    /// Runs whenever the thread is about to sleep.
    tidy: T,
    fast_path: FastPath,
    /// The observers of the fast path.
    observers: Option<PlaneObservers>,
    /// The work beside connections. It ends when the server stops.
    beside: BoxFuture<'static, ()>,
}

/// The parts of a thread of the data plane.
struct DataThread<P> {
    runtime: Runtime,
    cached_fast_path: bool,
    /// The observers of the fast path.
    observers: Option<PlaneObservers>,
    tracer: Option<Tracer>,
    /// The calls that the control plane makes.
    relayed: RelayedCalls,
    /// Creates the plane.
    data_plane: P,
}

/// Returns the work of a thread of the data plane, which answers the requests of a connection with
/// what `connect` returns, and makes the calls that are relayed to it.
fn data_work<P, C>(
    DataThread { runtime, cached_fast_path, observers, tracer, relayed, data_plane }: DataThread<P>,
    connect: impl FnOnce(Arc<DataPlane>) -> C,
) -> io::Result<ThreadWork<C, impl Fn() + Clone + Send + Sync + 'static>>
where
    P: FnOnce(Shard, CompressedContents) -> Arc<DataPlane>,
{
    let shard = Shard::new(runtime).map_err(io::Error::other)?;
    let contents = CompressedContents::new(shard.clone());
    let fast_path = if cached_fast_path { FastPath::on(&shard, tracer) } else { FastPath::off() };
    let tidy = {
        let (shard, fast_path, contents) = (shard.clone(), fast_path.clone(), contents.clone());
        move || {
            shard.tidy();
            fast_path.tidy();
            contents.tidy();
        }
    };
    let plane = data_plane(shard, contents);
    let beside = Box::pin(relayed.serve(Arc::clone(&plane)));
    Ok(ThreadWork { connect: connect(plane), tidy, fast_path, observers, beside })
}

/// The answer of a plane whose requests aren't calls.
type ControlAnswer = BoxFuture<'static, Result<axum::response::Response, Infallible>>;

/// Answers the requests of a connection to such a plane.
type ControlService = Box<dyn Fn(Request<Incoming>, RequestInFlight) -> ControlAnswer + Send>;

/// Returns the work of a thread that answers requests with `plane`.
fn control_work(
    plane: ControlPlane,
    observers: Option<PlaneObservers>,
) -> ThreadWork<impl Fn(SocketAddr) -> ControlService, fn()> {
    let connect = move |peer: SocketAddr| {
        let plane = plane.clone();
        let observer = observers.as_ref().map(|observers| observers.of_connection(peer));
        let answer = move |request, in_flight| {
            Box::pin(answer_control(plane.clone(), observer.clone(), peer, request, in_flight))
                as ControlAnswer
        };
        Box::new(answer) as ControlService
    };
    let (fast_path, beside) = (FastPath::off(), Box::pin(ready(())));
    ThreadWork { connect, tidy: || (), fast_path, observers: None, beside }
}

/// A thread that serves one listener.
struct ServingThread {
    name: String,
    listener: std::net::TcpListener,
    stopped: watch::Receiver<()>,
    /// Reports that this thread doesn't serve. Joining it returns the reason.
    failing: mpsc::Sender<()>,
    drain: Duration,
    connections: Connections,
}

impl ServingThread {
    /// Starts the thread. It calls `make`, then serves until `stopped`.
    ///
    /// # Errors
    /// If the thread can't be created. Joining it returns the errors of `make` and of the event
    /// loop.
    fn spawn<C, S, F, B, T>(
        self,
        make: impl FnOnce() -> io::Result<ThreadWork<C, T>> + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<()>>>
    where
        C: Fn(SocketAddr) -> S,
        S: Fn(Request<Incoming>, RequestInFlight) -> F + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
        T: Fn() + Clone + Send + Sync + 'static,
    {
        thread::Builder::new().name(self.name.clone()).stack_size(STACK_BYTES).spawn(move || {
            let failing = self.failing.clone();
            let serve = || {
                let ThreadWork { connect, tidy, fast_path, observers, beside } = make()?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(BLOCKING_THREADS_MAX)
                    .on_thread_park(tidy.clone())
                    .build()?;
                runtime.spawn(fast_path.clone().busy_poll(tidy));
                let beside = runtime.spawn(beside);
                let served = runtime.block_on(self.accept(connect, fast_path, observers, beside));
                // The drain time is over: abort connections and deploys that are still running.
                runtime.shutdown_background();
                served
            };
            serve().inspect_err(|error| {
                let error = error.to_string();
                error!(target: SERVER, error, "a serving thread can't serve; the server stops");
                // If the channel is full, another thread has reported a failure.
                let _ = failing.try_send(());
            })
        })
    }

    /// Accepts connections until the server stops, then drains them and waits for the work `beside` them.
    async fn accept<C, S, F, B>(
        mut self,
        connect: C,
        fast_path: FastPath,
        observers: Option<PlaneObservers>,
        beside: JoinHandle<()>,
    ) -> io::Result<()>
    where
        C: Fn(SocketAddr) -> S,
        S: Fn(Request<Incoming>, RequestInFlight) -> F + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let listener = TcpListener::from_std(self.listener)?;
        let builder = protocol();
        loop {
            let accepted = tokio::select! {
                accepted = async {
                    let slot = self.connections.acquire_slot().await;
                    listener.accept().await.map(|(stream, peer)| (slot, stream, peer))
                } => accepted,
                // The dropped sender is the signal to stop.
                _ = self.stopped.changed() => break,
            };
            let (slot, stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // Usually the process is out of file descriptors. Wait for connections to close.
                Err(error) => {
                    self.connections.tally().not_accepted();
                    if let Some(skipped) = UNACCEPTED.admit() {
                        let skipped = (skipped > 0).then_some(skipped);
                        warn!(target: SERVER, error = error.to_string(), skipped, "can't accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.connections.tally().accepted();
            // Otherwise small answers wait for the client's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            let observer = observers.as_ref().map(|observers| observers.of_connection(peer));
            spawn_connection(&builder, slot, &fast_path.observed_by(observer), stream, connect(peer));
        }
        // `connect` has the plane, and the control plane's has the way to the threads of the data plane,
        // whose work ends when it is dropped.
        drop((listener, connect));
        let drained = Cell::new(false);
        let drain = async {
            self.connections.drain().await;
            drained.set(true);
        };
        let all = async { tokio::join!(drain, beside) };
        // Connections that are open after the drain time are aborted with the runtime, and so is the
        // work beside them, which may last as long as the control plane does.
        if tokio::time::timeout(self.drain, all).await.is_err() && !drained.get() {
            let (thread, drain_s) = (self.name, self.drain.as_secs());
            warn!(target: SERVER, thread, drain_s, "the drain time is over: the remaining requests are cancelled");
        }
        Ok(())
    }
}
