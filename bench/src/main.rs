//! Side-by-side measurements of Nebula and its peers.
//!
//! ```text
//! prepare (build, install) -> server (pinned) <- load (pinned elsewhere) -> stats -> a table of ratios
//! ```
//!
//! Invariants:
//! * A figure and the peer it is held against come from one run, in turns.
//! * Servers and load never share a core where the machine has two.
//! * Every answer is checked; a wrong one ends the run.

mod call;
mod cores;
mod cpu;
mod hyper_alone;
mod load;
mod prepare;
mod server;
mod stats;
mod throughput;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure Nebula beside its peers.
#[derive(Debug, Parser)]
#[command(name = "nebula-bench")]
enum Args {
    /// Echo over HTTP: hyper alone, Nebula, `wasmtime serve`
    Throughput(throughput::Args),
    /// One call in this process
    Call(call::Args),
    /// Serve the native peer, for `throughput`
    #[command(hide = true)]
    HyperAlone,
    /// Become another program, pinned, for as long as the caller lives
    #[command(hide = true)]
    ExecPinned(server::Pinned),
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Throughput(args) => throughput::run(&args),
        Args::Call(args) => call::run(&args),
        Args::HyperAlone => hyper_alone::run(),
        Args::ExecPinned(pinned) => server::exec_pinned(&pinned),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Args::command().debug_assert();
    }
}
