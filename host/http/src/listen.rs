//! The sockets on which a server listens.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, for each listener.
const BACKLOG: i32 = 1024;

/// The socket on which a plane listens.
#[derive(Debug)]
pub enum Listen {
    /// A new socket on this address. Port 0 takes a free one.
    Address(SocketAddr),
    /// A socket that another process has bound and keeps open. While no server runs, connections
    /// wait in its queue.
    Inherited(std::net::TcpListener),
}

/// Why a server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use or can't be bound.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The inherited socket can't be used.
    #[error("cannot listen on the socket that was handed over")]
    Inherited(#[source] io::Error),
}

impl Listen {
    /// Creates one listener.
    pub(crate) fn listener(self) -> Result<(std::net::TcpListener, SocketAddr), BindError> {
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

    /// Creates a listener for each thread: sockets that share a port, or duplicates of the
    /// inherited one.
    pub(crate) fn listeners(
        self,
        count: usize,
    ) -> Result<(Vec<std::net::TcpListener>, SocketAddr), BindError> {
        let inherited = matches!(self, Self::Inherited(_));
        // Bind without sharing first. Otherwise a second server could share the port unnoticed.
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

/// Binds a socket and listens. `shared` sockets may share their port with others.
fn listen(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
