//! The vocabulary of Nebula: names, digests, limits, records, requests, answers, costs.
//!
//! Plain data without behaviour of its own: every other crate speaks in these types. This crate knows
//! neither wasmtime nor a store nor a server; of HTTP it has the vocabulary types of the `http` crate, for
//! functions of the http form.

pub mod answer;
pub mod cost;
pub mod description;
pub mod disagreement;
pub mod form;
pub mod id;
pub mod limits;
pub mod record;
pub mod remember;
pub mod request;
