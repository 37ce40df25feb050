//! Nebula over HTTP.
//!
//! Two planes, each on its own address: `data` for callers, `control` for whoever deploys.
//! This crate knows hyper and the runtime's facade; it never names a wasmtime type.
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
mod openapi;
mod pipelines;
mod preference;
mod problem;
mod serve;
mod status;
mod token;
pub mod wire;

pub use serve::{BindError, Listen, ServeConfig, Server};
pub use token::{Token, TokenError};
