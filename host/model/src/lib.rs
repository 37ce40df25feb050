//! The vocabulary of Nebula: names, digests, limits, records, requests, answers, costs.
//!
//! Plain data shared by all other crates. This crate knows no wasmtime, store or server. It uses
//! the types of the `http` crate for functions of the http form.

pub mod answer;
pub mod caching;
pub mod configuration;
pub mod cors;
pub mod cost;
pub mod description;
pub mod disagreement;
pub mod docs;
pub mod form;
pub mod id;
pub mod limits;
pub mod record;
pub mod request;
pub mod route;
pub mod settings;
pub mod similar;
pub mod size;
pub mod token;
pub mod trace_context;
pub mod trailers;
