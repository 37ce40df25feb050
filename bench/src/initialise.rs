//! Work that a component does once: at deploy, against in every call.
//!
//! Includes, of a call: decode, instance, guest, encode; of a first one also finding, mapping and linking the
//! code; of a deploy: admission, compiling, publishing.
//! Guest: `functions/prime-count`, whose table takes milliseconds to make. Beside it in the same run, call by
//! call, the same component with its export `wizer-initialize` under another name: nothing is run when it
//! is deployed, and the table is made by the first use in each call. Reports p50 and p99, and how many
//! times as long the latter takes at p50.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, ensure};
use clap::Args as ClapArgs;
use nebula_runtime::{Answer, Called};

use crate::cores::{self, Cores};
use crate::deployed;
use crate::in_process::InProcess;
use crate::machine;
use crate::prepare;
use crate::results::{Column, Row, Section};
use crate::stats::{Figure, Latency, ns};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many calls of either are measured in each round
    #[arg(long, default_value = "500")]
    calls: NonZeroU32,
    /// How many variants of either are deployed, and called for the first time, in each round
    #[arg(long, default_value = "50")]
    functions: NonZeroU32,
    /// How often
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

/// Calls of either before the first that counts.
const WARM_UP_CALLS: u32 = 20;

/// What is called: the number of primes up to a million.
const INPUT: &[u8] = b"1000000";
const OUTPUT: &[u8] = b"78498";

const COLUMNS: [Column; 3] =
    [Column::spread("p50", "µs", 1), Column::spread("p99", "µs", 1), Column::spread("times as long", "", 1)];

/// The export that is run at deploy, and a name of the same length for which nothing is.
const EXPORT: &[u8] = b"wizer-initialize";
const OTHER_NAME: &[u8] = b"other-initialize";

/// What is measured of both, one row each.
const ROWS: [&str; 3] = ["call", "first call, from compiled code on disk", "deploy"];

/// Of the component that is initialised at deploy, and of the one that isn't.
type Both<T> = [T; 2];

/// How their variants are named.
const NAMES: Both<&str> = ["at-deploy", "in-call"];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    prepare::ensure_optimised()?;
    let [path] = prepare::functions(["prime-count"])?;
    let component = std::fs::read(&path)?;
    let other = not_initialised(&component)?;
    let components = [component, other];
    let cores = Cores::available()?;
    // The calls run on this thread; the clock of their deadlines keeps the other cores.
    cores::pin(&cores.server[..1])?;

    let mut rounds: [Both<Vec<Latency>>; ROWS.len()] = Default::default();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let data_dir = tempfile::tempdir()?;
        let deploys = deploy(data_dir.path(), &components, args.functions.get())?;
        // What has deployed may have loaded what it compiled: this hasn't.
        let nebula = InProcess::open(data_dir.path())?;
        let first_calls = first_calls(&nebula, args.functions.get())?;
        let calls = calls(&nebula, args.calls.get())?;
        for (row, samples) in rounds.iter_mut().zip([calls, first_calls, deploys]) {
            row.iter_mut().zip(samples).for_each(|(row, samples)| row.push(Latency::of(samples)));
        }
    }
    let rows = ROWS.iter().zip(&rounds).flat_map(|(name, [at_deploy, in_call])| {
        [
            row(&format!("{name}; initialised at deploy"), at_deploy, at_deploy),
            row(&format!("{name}; initialised in each call"), in_call, at_deploy),
        ]
    });
    Ok(vec![Section {
        bench: "initialise",
        title: "Work done once: at deploy, or in each call".to_owned(),
        conditions: vec![
            format!(
                "`functions/prime-count`, fresh instance, one core; {} rounds of {} calls, {} first calls and as \
                 many deploys, of either component in turns.",
                args.rounds, args.calls, args.functions
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: rows.collect(),
        notes: Vec::new(),
    }])
}

/// A component that is the same in all but this: nothing is run when it is deployed.
fn not_initialised(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut other = component.to_vec();
    let mut at = 0;
    while let Some(found) = other[at..].windows(EXPORT.len()).position(|window| window == EXPORT) {
        at += found;
        other[at..at + EXPORT.len()].copy_from_slice(OTHER_NAME);
    }
    ensure!(other != component, "the function has nothing to initialise");
    Ok(other)
}

/// Variants of each, told apart by a custom section; nanoseconds of each deploy.
fn deploy(data_dir: &Path, components: &Both<Vec<u8>>, functions: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let nebula = InProcess::open(data_dir)?;
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..functions {
        for ((which, component), samples) in NAMES.iter().zip(components).zip(&mut samples) {
            let variant = deployed::variant(component, index);
            let begun = Instant::now();
            nebula.deploy(&name(which, index), variant)?;
            samples.push(ns(begun.elapsed()));
        }
    }
    Ok(samples)
}

/// From the name to the answer; nanoseconds.
fn first_calls(nebula: &InProcess, functions: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..functions {
        for (which, samples) in NAMES.iter().zip(&mut samples) {
            let begun = Instant::now();
            let function = nebula.resolve(&name(which, index))?;
            let called = nebula.call_with(&function, INPUT);
            samples.push(ns(begun.elapsed()));
            check(&called)?;
            nebula.tidy();
        }
    }
    Ok(samples)
}

/// Of one variant; nanoseconds.
fn calls(nebula: &InProcess, calls: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let functions = [nebula.resolve(&name(NAMES[0], 0))?, nebula.resolve(&name(NAMES[1], 0))?];
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..WARM_UP_CALLS + calls {
        for (function, samples) in functions.iter().zip(&mut samples) {
            let begun = Instant::now();
            let called = nebula.call_with(function, INPUT);
            let took = begun.elapsed();
            check(&called)?;
            nebula.tidy();
            if index >= WARM_UP_CALLS {
                samples.push(ns(took));
            }
        }
    }
    Ok(samples)
}

fn name(which: &str, index: u32) -> String {
    format!("{which}-{index}")
}

fn check(called: &Called) -> anyhow::Result<()> {
    match &called.result {
        Ok(Answer::Value(content)) if content.body == OUTPUT => Ok(()),
        result => bail!("wrong answer: {result:?}"),
    }
}

fn row(name: &str, rounds: &[Latency], base: &[Latency]) -> Row {
    let p50 = |rounds: &[Latency]| Figure::of(rounds.iter().map(|latency| latency.p50_us));
    let times = p50(rounds).zip(p50(base)).and_then(|(row, base)| row.over(&base));
    let p99 = Figure::of(rounds.iter().map(|latency| latency.p99_us));
    Row { name: name.to_owned(), figures: vec![p50(rounds), p99, times] }
}
