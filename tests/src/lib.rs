//! The harness of the end-to-end tests: it drives the real `nebula` binary, and a test reads like a
//! transcript.
//!
//! ```text
//! Nebula::start() -> deploy(name, component) -> post(path, json) -> Answer::is(status).…
//! nebula(&["list", "--json"])                                    -> CommandRun (exit code, stdout, stderr)
//! ```
//!
//! * `server`: one server per test, on free ports, with a temporary data directory.
//! * `answer`: a response and the assertions on it.
//! * `cli`: other commands, run until they exit.
//! * `coding`: content in the codings of HTTP.
//! * `collector`: an OpenTelemetry collector.
//! * `nginx`: a caching proxy in front of a server.
//! * `prometheus`: the metrics of a server, their linter, and a scraper; `promql`: the names in its
//!   queries.
//! * `chromium`: a page of another origin, in a browser.
//! * `terminal`: a command in a terminal, with its keys and its screen.
//! * `tls`: a TLS server in front of a server, with a certificate of its own.
//! * `generator`: random values that a seed reproduces.
//!
//! Invariants:
//! * A test leaves nothing behind: dropping a [`Nebula`] or an [`Nginx`] kills its process, then
//!   removes its directory.
//! * No test relies on a sleep: [`eventually`] polls a condition until a deadline.
//! * A server runs with the defaults of the product unless a test says otherwise.
//!
//! The tests are in `e2e/`, the guests that they deploy in `guests/`; `build.rs` compiles the
//! guests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness fails by panicking, with the line of the test that called it"
)]

mod answer;
mod chromium;
mod cli;
pub mod coding;
mod collector;
mod generator;
mod nginx;
mod prometheus;
mod promql;
mod server;
mod terminal;
mod tls;

pub use answer::{Answer, Problem};
pub use chromium::Page;
pub use cli::{CommandRun, binary, cargo_in, command, nebula, nebula_in};
pub use collector::{Collector, CollectorReply, ReceivedSpan};
pub use generator::Generator;
pub use nginx::Nginx;
pub use prometheus::{Prometheus, Scrape, lint, promtool, series_value};
pub use promql::NamedMetrics;
pub use server::{Nebula, RequestBuilder, data_dir_in, spawn_with_socket};
pub use terminal::{Ended, Terminal, TerminalSize};
pub use tls::{TestCa, TlsServer};

include!(concat!(env!("OUT_DIR"), "/components.rs"));

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A function of this repository: a crate in `functions/`.
#[derive(Clone, Copy, Debug)]
pub struct FunctionCrate {
    /// The directory of the crate.
    pub directory: &'static str,
    /// The path of the component.
    pub component: &'static str,
}

impl FunctionCrate {
    /// Finds the function called `name`.
    #[track_caller]
    pub fn named(name: &str) -> Self {
        let found = FUNCTIONS.iter().find(|function| function.name() == name);
        *found.unwrap_or_else(|| panic!("no function `{name}` in this repository"))
    }

    /// Returns the name of the function, which is that of its directory.
    pub fn name(&self) -> &'static str {
        self.directory.rsplit('/').next().unwrap_or(self.directory)
    }

    /// Returns the path of the sample's `input` or `output` file, whatever its extension, if there
    /// is one.
    pub fn sample(&self, stem: &str) -> Option<PathBuf> {
        let entries = std::fs::read_dir(Path::new(self.directory).join("sample")).ok()?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths.find(|path| path.file_stem().is_some_and(|found| found == stem))
    }
}

/// The longest time that a test waits for anything. Only something that hangs takes this long.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// Polls `check` until it returns a value, and fails the test after [`WAIT_MAX`]. `what` completes
/// "gave up waiting until …".
#[track_caller]
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Assembles a component from the WebAssembly text format.
#[track_caller]
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid WAT")
}

/// Encodes bytes in base64 with the standard alphabet and padding, as the codec does in JSON.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;

    base64::engine::general_purpose::STANDARD.encode(bytes)
}
