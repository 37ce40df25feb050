//! Nebula end to end: the real binary, real guests, real sockets.
//!
//! A module for each part of the contract. Each test has a server of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

/// Insists on a test named after a guest, in the module that this is used in.
macro_rules! is_tested {
    ($guest:ident) => {
        const _: fn() = self::$guest;
    };
}

mod bad_input;
mod cli;
mod concurrency;
mod control;
mod faults;
mod generated;
mod http_form;
mod imports;
mod initialise;
mod loading;
mod methods;
mod pipelines;
mod projects;
mod proxy;
mod purity;
mod raw;
mod receipts;
mod remember;
mod samples;
mod serve;
mod typed;
mod versions;
mod wire;
mod zero_500;
