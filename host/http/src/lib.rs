//! Nebula over HTTP.
//!
//! Two planes, each on its own address: `data` for callers, `control` for operators. The data plane is written on
//! hyper, the control plane on axum. This crate knows the runtime's facade; it never names a wasmtime type.
//!
//! ```text
//! serve (accept, drain) -> fast_path -> data | control -> body -> runtime -> status | answer -> problem
//!                              \-> a cached response
//! ```

mod accept;
mod answer;
mod bodies;
mod body;
mod cache_control;
mod connections;
mod control;
mod data;
mod etag;
mod fast_path;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod preference;
mod problem;
mod serve;
mod status;
pub mod wire;

pub use control::token::{Token, TokenError};
pub use control::{endpoints, settings};
pub use serve::{BindError, Listen, ServeConfig, Server};
