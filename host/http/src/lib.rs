//! Nebula over HTTP.
//!
//! There are two planes, each on its own address: `data` for callers and `control` for operators.
//! The data plane uses hyper, the control plane axum. This crate uses the runtime's facade and
//! never names a wasmtime type.
//!
//! ```text
//! serve -> fast_path -> data | control -> body -> payload -> runtime -> status | answer -> problem
//!              \-> a cached response
//! ```
//!
//! `serve` accepts connections and drains them; `metrics` counts what it does.

mod accept;
mod accept_encoding;
mod answer;
mod bodies;
mod body;
mod cache_control;
mod coding;
mod compressed_contents;
mod compression;
mod connections;
mod control;
mod cors;
mod data;
mod etag;
mod fast_path;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest_request;
mod hyper_refusal;
mod input;
mod listen;
mod media_type;
mod metrics;
mod multipart;
mod observe;
mod openapi;
mod payload;
mod preference;
mod problem;
mod readiness;
mod request_id;
mod request_tally;
mod serve;
mod session_cookie;
mod spans;
mod status;
mod trace_context;
mod trailers;
pub mod wire;

pub use control::exports::names_query;
pub use control::logs::logs_query;
pub use control::token::{Token, TokenError};
pub use control::{Access, AccessError, BadConsoleHost, ConsoleHost, endpoints, settings};
pub use listen::{BindError, Listen};
pub use observe::{
    ObservedAnswer, ObservedCall, ObservedFunction, ObservedPhases, ObservedProblem, ObservedRequest,
    ObservedSource, Observer, Plane,
};
pub use readiness::Readiness;
pub use serve::{ServeConfig, Server};
