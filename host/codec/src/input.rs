//! The decoded input of a call.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Val;

use crate::flat::Flat;

/// The input of a call, as the function receives it. Shared, because a call may be restarted.
#[derive(Clone, Debug)]
pub enum Input {
    /// One `string` or `list<u8>`.
    Flat(Flat, Bytes),
    /// One value for each parameter.
    Values(Arc<[Val]>),
    /// The payload of a raw function.
    Payload {
        /// The media type that the caller sent.
        media_type: String,
        /// The content.
        body: Bytes,
    },
    /// The request of a function of the http form.
    Http(Arc<http::Request<Bytes>>),
}
