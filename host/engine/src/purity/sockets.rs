//! `wasi:sockets` for functions that may not use sockets: creating one always fails.
//!
//! `wasmtime-wasi` alone would create a socket of the host and refuse to connect it. That may also
//! fail for the host's own reasons, and blocks on a reactor that doesn't exist here.

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::{TcpSocket, UdpSocket};

use super::Sandbox;

/// The names in `wasmtime-wasi`; older 0.2 versions resolve to these.
const TCP: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";

/// Shadows the functions that create sockets. `wasmtime-wasi` itself refuses to resolve names.
pub(super) fn deny_sockets(linker: &mut Linker<Sandbox>) -> Result<()> {
    type Denied<T> = Result<(Result<Resource<T>, ErrorCode>,)>;
    linker
        .instance(TCP)?
        .func_wrap("create-tcp-socket", |_, _: (IpAddressFamily,)| -> Denied<TcpSocket> {
            Ok((Err(ErrorCode::AccessDenied),))
        })?;
    linker.instance(UDP)?.func_wrap("create-udp-socket", |_, _: (IpAddressFamily,)| -> Denied<UdpSocket> {
        Ok((Err(ErrorCode::AccessDenied),))
    })
}
