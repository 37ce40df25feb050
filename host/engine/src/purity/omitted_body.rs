//! Responses of the http form whose body is omitted: those to `HEAD`, 204 and 304.
//!
//! `wasmtime-wasi-http` checks that a body has the length of the response's `Content-Length`. A
//! response that omits its body announces the length all the same (RFC 9110 §8.6), as web frameworks
//! do.

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::HostOutgoingResponse as _;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::p2::types::HostOutgoingResponse;
use wasmtime_wasi_http::{WasiHttpHooks, WasiHttpView};

use super::Sandbox;
use super::http::CHUNK_BYTES_MAX;

/// The name in `wasmtime-wasi-http`; older 0.2 versions resolve to it.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Shadows `outgoing-response.body`: without the check, if the body is omitted.
pub(super) fn allow_omitted_bodies(linker: &mut Linker<Sandbox>) -> Result<()> {
    type Opened = Result<Resource<HostOutgoingBody>, ()>;
    linker.instance(TYPES)?.func_wrap(
        "[method]outgoing-response.body",
        |mut store, (response,): (Resource<HostOutgoingResponse>,)| -> Result<(Opened,)> {
            let sandbox: &mut Sandbox = store.data_mut();
            let response_parts = sandbox.table.get_mut(&response)?;
            if !sandbox.response.omits_body(response_parts.status) || response_parts.body.is_some() {
                return Ok((sandbox.http().body(response)?,));
            }
            let chunks = sandbox.hooks.p2_outgoing_body_buffer_chunks();
            let (guest, host) = HostOutgoingBody::new(StreamContext::Response, None, chunks, CHUNK_BYTES_MAX);
            response_parts.body = Some(host);
            Ok((Ok(sandbox.table.push(guest)?),))
        },
    )
}
