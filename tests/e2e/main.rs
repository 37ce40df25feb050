//! End-to-end tests: the real binary, real guests, real sockets.
//!
//! One module per part of the contract. Every test starts its own server. The harness is
//! `tests/src`, the guests are in `tests/guests`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

/// Fails to compile unless the module that expands it has a test with the name of the guest. (These
/// tests are named after their guests for this check; their comments state the behaviour.)
macro_rules! is_tested {
    ($guest:ident) => {
        const _: fn() = self::$guest;
    };
}

mod bad_input;
mod bench;
mod bodies;
mod browser;
mod caching;
mod cases;
mod cli;
mod codings;
mod concurrency;
mod config;
mod console;
mod control;
mod cors;
mod documented;
mod experiment;
mod exports;
mod faults;
mod generated;
mod http_form;
mod imports;
mod initialise;
mod loading;
mod logging;
mod logs;
mod methods;
mod metrics;
mod mistakes;
mod monitoring;
mod new_projects;
mod openapi;
mod pipelines;
mod project_deploys;
mod projects;
mod proxy;
mod purity;
mod raw;
mod receipts;
mod routes;
mod samples;
mod scripts;
mod sdk;
mod serve;
mod servers;
mod stats;
mod stopping;
mod tokens;
mod top;
mod tracing;
mod typed;
mod up;
mod versions;
mod wire;
mod zero_500;
