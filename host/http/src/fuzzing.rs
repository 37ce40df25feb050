//! A serving thread of the data plane without sockets, for the fuzz targets. Not part of the public
//! interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nebula_runtime::Shard;
use tokio::io::DuplexStream;

use crate::bodies::BodyMemory;
use crate::connections::{Connections, Traffic};
use crate::data::{self, DataPlane};
use crate::fast_path::FastPath;
use crate::serve::{protocol, spawn_connection};

/// The bytes that a connection holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// The connections that may be open at once.
const CONNECTIONS_MAX: u32 = 64;

/// A serving thread. Its connections are in memory.
pub struct DataThread {
    plane: Arc<DataPlane>,
    connections: Connections,
    fast_path: FastPath,
    requests: Arc<Requests>,
}

/// Counts of the requests that hyper has parsed.
#[derive(Default)]
struct Requests {
    parsed: AtomicUsize,
    ended: AtomicUsize,
}

/// One of them. It ends when dropped.
struct Request(Arc<Requests>);

impl Request {
    fn begin(requests: &Arc<Requests>) -> Self {
        requests.parsed.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl DataThread {
    /// Serves the functions of `shard`.
    pub fn new(shard: Shard) -> Self {
        Self {
            fast_path: FastPath::on(&shard, None),
            connections: Connections::new(CONNECTIONS_MAX, Traffic::default()),
            requests: Arc::default(),
            plane: Arc::new(DataPlane::new(shard, BodyMemory::new())),
        }
    }

    /// Opens a connection and returns the client's end.
    pub async fn connect(&self, cached_fast_path: bool) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let fast_path = if cached_fast_path { self.fast_path.clone() } else { FastPath::off() };
        let (plane, requests) = (Arc::clone(&self.plane), Arc::clone(&self.requests));
        let serve = move |request, in_flight| {
            let counted = Request::begin(&requests);
            let reply = data::serve(Arc::clone(&plane), request, in_flight);
            async move {
                let reply = reply.await;
                drop(counted);
                reply
            }
        };
        spawn_connection(&protocol(), self.connections.acquire_slot().await, &fast_path, server, serve);
        client
    }

    /// Returns the number of requests that hyper has parsed. The others got a cached response.
    pub fn requests_parsed(&self) -> usize {
        self.requests.parsed.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that hyper has parsed and that have no reply yet.
    pub fn requests_in_flight(&self) -> usize {
        self.requests_parsed() - self.requests.ended.load(Ordering::Relaxed)
    }
}
