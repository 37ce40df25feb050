//! A harness that drives the real `nebula` binary: what a test says reads like a transcript.
//!
//! ```text
//! Nebula::start() -> deploy(name, component) -> post(path, json) -> Answer::is(status).…
//! nebula(&["list", "--json"])                                    -> Ran (exit code, stdout, stderr)
//! ```
//!
//! * `server`: one server of its own for each test, on free ports, over a temporary directory.
//! * `answer`: what came back, and what a test expects of it.
//! * `cli`: other commands, run to their end.
//! * `nginx`: a caching proxy in front of a server.
//! * `seeded`: what is made up, and can be had again.
//!
//! Invariants:
//! * Nothing is left behind: dropping a [`Nebula`] or an [`Nginx`] kills its process, then removes its
//!   directory.
//! * Nothing sleeps for luck: what takes time is polled until a deadline ([`eventually`]).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness fails by panicking, with the line of the test that called it"
)]

mod answer;
mod cli;
mod nginx;
mod seeded;
mod server;

pub use answer::{Answer, Problem};
pub use cli::{Ran, binary, cargo_in, nebula, nebula_in};
pub use nginx::Nginx;
pub use seeded::Seeded;
pub use server::{Call, Nebula, activated, data_dir_in};

include!(concat!(env!("OUT_DIR"), "/components.rs"));

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Only what hangs comes near it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `check` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A component from its text format.
#[track_caller]
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid WAT")
}

/// Base64, as JSON payloads have it.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;

    base64::engine::general_purpose::STANDARD.encode(bytes)
}
