//! Side-by-side measurements of Nebula and its peers.
//!
//! ```text
//! prepare (build, install) -> server (pinned) <- load (pinned elsewhere) -> stats -> results -> tables, JSON, chart
//! ```
//!
//! Each subcommand is a file and returns sections. `record` runs all of them and writes their
//! sections to files.
//!
//! Invariants:
//! * A figure and the peer's figure that it is compared with come from the same run, measured in
//!   turns.
//! * Servers and load never share a core if the machine has two.
//! * Every answer is checked; a wrong one ends the run.
//! * Every process that a run starts has ended when the run ends.

mod call;
mod caller;
mod chart;
mod cold;
mod composed;
mod cores;
mod cpu;
mod deployed;
mod experiment;
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

use std::process::ExitCode;

use clap::Parser;

use crate::results::Section;

#[global_allocator]
static ALLOCATOR: nebula_allocator::Allocator = nebula_allocator::Allocator;

/// Measure Nebula beside its peers
#[derive(Debug, Parser)]
#[command(name = "nebula-bench")]
enum Args {
    /// Measure the throughput of an echo over HTTP: hyper alone, Nebula, `wasmtime serve`, Spin
    Throughput(throughput::Args),
    /// Measure the throughput of an echo over HTTP/2, computed and cached: hyper alone and Nebula
    Http2(http2::Args),
    /// Measure latency at a share of each server's capacity, in an open loop
    Latency(latency::Args),
    /// Measure one client that sends one request after the other: cached, fresh, hyper alone
    Sequential(sequential::Args),
    /// Measure repeated inputs, by Zipf's law or at a given share, with and without a cache
    Remembered(remembered::Args),
    /// Measure the first call of a function in a process: from compiled code on disk to the result
    Cold(cold::Args),
    /// Measure the time from exec to the first answer, with few and with many functions deployed
    Start(start::Args),
    /// Measure memory and wake-ups with many functions deployed: not called, called, under load,
    /// and after
    Idle(idle::Args),
    /// Measure short calls beside long ones
    Mixed(mixed::Args),
    /// Measure throughput on one core, two and four
    Scaling(scaling::Args),
    /// Measure chains of functions and a map: the cost of composition and its scaling
    Pipelines(pipelines::Args),
    /// Measure one call in this process
    Call(call::Args),
    /// Measure a component's initial work: done at deploy, and done in every call
    Initialise(initialise::Args),
    /// Count the instructions of a request with callgrind
    Instructions(instructions::Args),
    /// Run all measurements and write them as JSON, Markdown and SVG
    Record(record::Args),
    /// Compare functions under Nebula with native processes, wasmtime and containers
    Experiment(experiment::Args),
    /// Call a function repeatedly
    #[command(hide = true)]
    CallLoop(instructions::CallLoop),
    /// Serve the native peer
    #[command(hide = true)]
    HyperAlone(hyper_alone::HttpProtocol),
    /// Serve a composed component with wasmtime and hyper only
    #[command(hide = true)]
    ComposedAlone(composed::Serve),
    /// Become another program, pinned, until the parent process ends
    #[command(hide = true)]
    ExecPinned(server::PinnedCommand),
}

impl Args {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Returns an error at the first wrong answer, and if something can't be built, started or
    /// read.
    fn run(&self) -> anyhow::Result<Outcome> {
        let sections = match self {
            Self::Experiment(args) => return experiment::run(args).map(Outcome::Exit),
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
            Self::HyperAlone(protocol) => hyper_alone::run(*protocol).map(|()| Vec::new()),
            Self::ComposedAlone(args) => composed::serve(args).map(|()| Vec::new()),
            Self::ExecPinned(pinned) => server::exec_pinned(pinned).map(|()| Vec::new()),
        };
        sections.map(Outcome::Sections)
    }
}

/// The outcome of a subcommand.
enum Outcome {
    /// Figures to print.
    Sections(Vec<Section>),
    /// Everything is printed, and the process ends with this code.
    Exit(ExitCode),
}

impl Outcome {
    /// Returns the figures, if there are any to print.
    fn sections(self) -> Vec<Section> {
        match self {
            Self::Sections(sections) => sections,
            Self::Exit(_) => Vec::new(),
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let outcome = Args::parse().run();
    deployed::remove_shared();
    match outcome? {
        Outcome::Exit(code) => Ok(code),
        Outcome::Sections(sections) => {
            for section in sections {
                println!("{}", section.markdown());
            }
            Ok(ExitCode::SUCCESS)
        }
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
