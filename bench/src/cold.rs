//! The first call of a function in a process: from compiled code on disk to the result.
//!
//! Includes: resolving the name, authenticating and mapping the code, linking, instance, guest.
//! Excludes: compiling, which the deploy has done, and the disk: the files are in the page cache.
//! Guest: `functions/echo` in as many variants as there are calls, each with its own compiled code.
//! Also measured in the same run, call by call: the second call of the same function, and both over
//! HTTP on one connection. (`start` measures the cold start of a process.) Reports p50, p99 and
//! p99.9.

use std::num::NonZeroU32;
use std::time::Instant;

use clap::Args as ClapArgs;

use crate::call;
use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::deployed::{DeployedFunctions, Size};
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Section};
use crate::server::{Server, StandardStream, nebula_serve};
use crate::stats::{Latency, ns};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Functions to call for the first time in each round
    #[arg(long, default_value = "1000")]
    functions: NonZeroU32,
    /// Rounds, each in a new process
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

/// Functions to call before measuring, because the first call in a process has other costs.
const WARM_UP_FUNCTIONS: usize = 5;

const COLUMNS: [Column; 3] =
    [Column::spread("p50", "µs", 0), Column::spread("p99", "µs", 0), Column::spread("p99.9", "µs", 0)];

/// The names of the rows, in the order of the samples.
const ROWS: [&str; 6] = [
    "first call, in process",
    "of it, finding the version",
    "of it, loading and making the instance",
    "second call, in process",
    "first call, over HTTP",
    "second call, over HTTP",
];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let nebula = prepare::nebula()?;
    let [echo] = prepare::functions(["echo"])?;
    let cores = Cores::available()?;
    let functions = args.functions.get() + WARM_UP_FUNCTIONS as u32;
    let deployed = DeployedFunctions::create(&echo, Size { functions, variants: functions })?;
    let mut rounds: [Vec<Latency>; ROWS.len()] = Default::default();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let serve = nebula_serve(&nebula, deployed.path());
        let server = Server::start(&serve, StandardStream::Stdout, 2, &cores)?;
        cores::pin(&cores.load)?;
        let over_http = over_http(&server, &deployed)?;
        // This process opens the data directory next, which only one process may do.
        server.stop()?;
        cores::pin(&cores.server)?;
        let samples = in_this_process(&deployed)?.into_iter().chain(over_http);
        for (row, samples) in rounds.iter_mut().zip(samples) {
            row.push(Latency::of(samples));
        }
    }
    Ok(vec![Section {
        bench: "cold",
        title: "Cold: compiled code on disk to result".to_owned(),
        conditions: vec![
            format!(
                "{}, echo of {} B, one call after another; {} rounds, each in a new process; compiled code in \
                 the page cache; {cores}.",
                deployed.description(),
                BODY.len(),
                args.rounds
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: ROWS.iter().zip(&rounds).map(|(name, rounds)| call::row(name, rounds)).collect(),
        notes: Vec::new(),
    }])
}

/// Measures the first call, the lookup and the instance in it, and the second call, in nanoseconds.
fn in_this_process(deployed: &DeployedFunctions) -> anyhow::Result<[Vec<u64>; 4]> {
    let nebula = InProcess::open(deployed.path())?;
    let mut samples: [Vec<u64>; 4] = Default::default();
    for (index, name) in deployed.names().enumerate() {
        let started = Instant::now();
        let function = nebula.resolve(&name)?;
        let lookup = started.elapsed();
        let outcome = nebula.call(&function);
        let first = started.elapsed();
        in_process::check(&outcome)?;
        nebula.tidy();
        let started = Instant::now();
        let again = nebula.call(&function);
        let second = started.elapsed();
        in_process::check(&again)?;
        nebula.tidy();
        if index >= WARM_UP_FUNCTIONS {
            let times = [first, lookup, outcome.cost.load + outcome.cost.start, second];
            samples.iter_mut().zip(times).for_each(|(samples, time)| samples.push(ns(time)));
        }
    }
    Ok(samples)
}

/// Measures the first and the second call, in nanoseconds.
fn over_http(server: &Server, deployed: &DeployedFunctions) -> anyhow::Result<[Vec<u64>; 2]> {
    let mut caller = Caller::connect(server.addresses[0])?;
    let mut samples: [Vec<u64>; 2] = Default::default();
    for (index, name) in deployed.names().enumerate() {
        let exchange = Exchange::echo(&format!("/f/{name}"), BODY);
        for samples in &mut samples {
            let started = Instant::now();
            caller.call(&exchange)?;
            if index >= WARM_UP_FUNCTIONS {
                samples.push(ns(started.elapsed()));
            }
        }
    }
    Ok(samples)
}
