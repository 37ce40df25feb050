//! The first call of a function in a process: from its compiled code on disk to the result.
//!
//! Includes: finding the name's version, authenticating and mapping the code, linking, instance, guest.
//! Excludes: compiling, which the deploy did, and the disk itself: the files are in the page cache.
//! Guest: `functions/echo` in as many variants as are called, each with compiled code of its own.
//! Beside it in the same run, call by call: the second call of the same function, and both over HTTP on one
//! connection. (The cold starts of processes are measured by `start`.) Reports p50, p99 and p99.9.

use std::num::NonZeroU32;
use std::time::Instant;

use clap::Args as ClapArgs;

use crate::call;
use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::deployed::Deployed;
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Section};
use crate::server::{Says, Server, nebula_serve};
use crate::stats::{Latency, ns};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many functions are called for the first time in each round
    #[arg(long, default_value = "1000")]
    functions: NonZeroU32,
    /// How many processes do so
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

/// Functions called before the first that counts: the process has its own first time.
const WARM_UP_FUNCTIONS: usize = 5;

const COLUMNS: [Column; 3] =
    [Column::spread("p50", "µs", 0), Column::spread("p99", "µs", 0), Column::spread("p99.9", "µs", 0)];

/// Rows, in the order of the samples.
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
    let deployed = Deployed::make(&echo, functions, functions)?;
    let mut rounds: [Vec<Latency>; ROWS.len()] = Default::default();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let server = Server::start(&nebula_serve(&nebula, deployed.path()), Says::Stdout, 2, &cores)?;
        cores::pin(&cores.load)?;
        let over_http = over_http(&server, &deployed)?;
        // Before this process opens the directory.
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

/// First call, finding, instance, second call; nanoseconds.
fn in_this_process(deployed: &Deployed) -> anyhow::Result<[Vec<u64>; 4]> {
    let nebula = InProcess::open(deployed.path())?;
    let mut samples: [Vec<u64>; 4] = Default::default();
    for (index, name) in deployed.names().enumerate() {
        let begun = Instant::now();
        let function = nebula.resolve(&name)?;
        let found = begun.elapsed();
        let called = nebula.call(&function);
        let first = begun.elapsed();
        in_process::check(&called)?;
        nebula.tidy();
        let begun = Instant::now();
        let again = nebula.call(&function);
        let second = begun.elapsed();
        in_process::check(&again)?;
        nebula.tidy();
        if index >= WARM_UP_FUNCTIONS {
            let took = [first, found, called.cost.load + called.cost.start, second];
            samples.iter_mut().zip(took).for_each(|(samples, took)| samples.push(ns(took)));
        }
    }
    Ok(samples)
}

/// First and second call, nanoseconds.
fn over_http(server: &Server, deployed: &Deployed) -> anyhow::Result<[Vec<u64>; 2]> {
    let mut caller = Caller::connect(server.addresses[0])?;
    let mut samples: [Vec<u64>; 2] = Default::default();
    for (index, name) in deployed.names().enumerate() {
        let exchange = Exchange::echo(&format!("/f/{name}"), BODY);
        for samples in &mut samples {
            let begun = Instant::now();
            caller.ask(&exchange)?;
            if index >= WARM_UP_FUNCTIONS {
                samples.push(ns(begun.elapsed()));
            }
        }
    }
    Ok(samples)
}
