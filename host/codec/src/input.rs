//! The decoded input of a call.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Val;

use super::flat::Flat;

/// What a function is called with. Shared, because a call may be begun again.
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
