//! Side-by-side measurements of Nebula and its peers.
//!
//! ```text
//! prepare (build, install) -> server (pinned) <- load (pinned elsewhere) -> stats -> results -> tables, JSON, chart
//! ```
//!
//! Each subcommand is a file, and gives sections: `record` runs them in turn and writes down what they gave.
//!
//! Invariants:
//! * A figure and the peer it is held against come from one run, in turns.
//! * Servers and load never share a core where the machine has two.
//! * Every answer is checked; a wrong one ends the run.
//! * Every process that was started is gone when the run is.

mod call;
mod caller;
mod chart;
mod cold;
mod composed;
mod cores;
mod cpu;
mod deployed;
mod energy;
mod footprint;
mod http2;
mod hyper_alone;
mod idle;
mod in_process;
mod initialise;
mod instructions;
mod latency;
mod load;
mod machine;
mod measure;
mod mixed;
mod peers;
mod pipelines;
mod prepare;
mod record;
mod remembered;
mod results;
mod scaling;
mod sequential;
mod server;
mod start;
mod stats;
mod throughput;

use clap::Parser;

use crate::results::Section;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure Nebula beside its peers.
#[derive(Debug, Parser)]
#[command(name = "nebula-bench")]
enum Args {
    /// Echo over HTTP as fast as it goes: hyper alone, Nebula, `wasmtime serve`, Spin
    Throughput(throughput::Args),
    /// Echo over HTTP/2, run and remembered, as fast as it goes: hyper alone and Nebula
    Http2(http2::Args),
    /// Latency at a share of capacity, under load that doesn't wait for answers
    Latency(latency::Args),
    /// One client, one request after the other: cached, fresh, hyper alone; and the same servers at a low rate and idle
    Sequential(sequential::Args),
    /// Inputs of which some come often, or a given share again, with and without remembering results
    Remembered(remembered::Args),
    /// The first call of a function in a process: from compiled code on disk to the result
    Cold(cold::Args),
    /// From exec to the first answer, with few and with many functions deployed
    Start(start::Args),
    /// Memory and wake-ups with many functions deployed: not called, called, under load, and after
    Idle(idle::Args),
    /// Short calls beside long ones
    Mixed(mixed::Args),
    /// One core, two, four
    Scaling(scaling::Args),
    /// Chains of functions and a map: what composing costs, and how it scales
    Pipelines(pipelines::Args),
    /// One call in this process
    Call(call::Args),
    /// Work that a component does once: at deploy, against in every call
    Initialise(initialise::Args),
    /// Instructions of a request, by callgrind
    Instructions(instructions::Args),
    /// All of it in turn, written down as JSON, Markdown and SVG
    Record(record::Args),
    /// Call a function so often
    #[command(hide = true)]
    CallLoop(instructions::CallLoop),
    /// Serve the native peer
    #[command(hide = true)]
    HyperAlone(hyper_alone::Speaks),
    /// Serve a composed component with nothing around it
    #[command(hide = true)]
    ComposedAlone(composed::Serve),
    /// Become another program, pinned, for as long as the caller lives
    #[command(hide = true)]
    ExecPinned(server::Pinned),
}

impl Args {
    /// Measures.
    ///
    /// # Errors
    /// At the first wrong answer, and when something can't be built, started or read.
    fn run(&self) -> anyhow::Result<Vec<Section>> {
        match self {
            Self::Throughput(args) => throughput::run(args),
            Self::Http2(args) => http2::run(args),
            Self::Latency(args) => latency::run(args),
            Self::Sequential(args) => sequential::run(args),
            Self::Remembered(args) => remembered::run(args),
            Self::Cold(args) => cold::run(args),
            Self::Start(args) => start::run(args),
            Self::Idle(args) => idle::run(args),
            Self::Mixed(args) => mixed::run(args),
            Self::Scaling(args) => scaling::run(args),
            Self::Pipelines(args) => pipelines::run(args),
            Self::Call(args) => call::run(args),
            Self::Initialise(args) => initialise::run(args),
            Self::Instructions(args) => instructions::run(args),
            Self::Record(args) => record::run(args).map(|()| Vec::new()),
            Self::CallLoop(args) => instructions::call_loop(args).map(|()| Vec::new()),
            Self::HyperAlone(speaks) => hyper_alone::run(*speaks).map(|()| Vec::new()),
            Self::ComposedAlone(args) => composed::serve(args).map(|()| Vec::new()),
            Self::ExecPinned(pinned) => server::exec_pinned(pinned).map(|()| Vec::new()),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let ran = Args::parse().run();
    deployed::forget_shared();
    for section in ran? {
        println!("{}", section.markdown());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Args::command().debug_assert();
    }
}
