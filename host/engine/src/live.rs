//! A live instance, by the form of its function.

use wasmtime::component::Func;
use wasmtime_wasi_http::p2::bindings::sync::Proxy;

use super::component::RawFunction;

/// The instance, and the export to call.
pub(super) enum Live {
    Typed(Func),
    Raw(RawFunction),
    Http(Proxy),
}
