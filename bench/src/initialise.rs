//! A component's initial work: done once at deploy, or in every call.
//!
//! A call includes: decode, instance, guest, encode; a first call also includes resolving, mapping
//! and linking the code; a deploy includes: admission, compiling, publishing.
//! Guest: `functions/prime-count`, whose table takes milliseconds to compute. The same run
//! measures, call by call, the same component with its export `wizer-initialize` renamed: a deploy
//! then runs nothing, and the first use in each call computes the table. Reports p50 and p99, and
//! the ratio of the latter to the former at p50.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, ensure};
use clap::Args as ClapArgs;
use nebula_runtime::{Answer, CallOutcome};

use crate::cores::{self, Cores};
use crate::deployed;
use crate::in_process::InProcess;
use crate::machine;
use crate::prepare;
use crate::results::{Column, Row, Section};
use crate::stats::{Figure, Latency, ns};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Calls of each component to measure in each round
    #[arg(long, default_value = "500")]
    calls: NonZeroU32,
    /// Variants of each component to deploy, and to call for the first time, in each round
    #[arg(long, default_value = "50")]
    functions: NonZeroU32,
    /// Rounds
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

/// Calls of each component before measuring.
const WARM_UP_CALLS: u32 = 20;

/// The call: the number of primes up to a million.
const INPUT: &[u8] = b"1000000";
const OUTPUT: &[u8] = b"78498";

const COLUMNS: [Column; 3] =
    [Column::spread("p50", "µs", 1), Column::spread("p99", "µs", 1), Column::spread("times as long", "", 1)];

/// The export that runs at deploy, and a name of the same length without a meaning.
const EXPORT: &[u8] = b"wizer-initialize";
const OTHER_NAME: &[u8] = b"other-initialize";

/// The measurements of both components, one row each.
const ROWS: [&str; 3] = ["call", "first call, from compiled code on disk", "deploy"];

/// A value for the component that is initialised at deploy, and one for the component that isn't.
type Both<T> = [T; 2];

/// The prefixes of the variants' names.
const PREFIXES: Both<&str> = ["at-deploy", "in-call"];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    prepare::ensure_optimised()?;
    let [path] = prepare::functions(["prime-count"])?;
    let component = std::fs::read(&path)?;
    let other = not_initialised(&component)?;
    let components = [component, other];
    let cores = Cores::available()?;
    // The calls run on this thread; the thread that ticks for deadlines may use the other cores.
    cores::pin(&cores.server[..1])?;

    let mut rounds: [Both<Vec<Latency>>; ROWS.len()] = Default::default();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let data_dir = prepare::data_dir()?;
        let deploys = deploy(data_dir.path(), &components, args.functions.get())?;
        // The runtime that deployed may have loaded the compiled code. Open another one for first
        // calls.
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
                 many deploys of each component, in turns.",
                args.rounds, args.calls, args.functions
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: rows.collect(),
        notes: Vec::new(),
    }])
}

/// Returns the same component with the initialiser's export renamed, so that a deploy runs nothing.
fn not_initialised(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut other = component.to_vec();
    let mut at = 0;
    while let Some(found) = other[at..].windows(EXPORT.len()).position(|window| window == EXPORT) {
        at += found;
        other[at..at + EXPORT.len()].copy_from_slice(OTHER_NAME);
    }
    ensure!(other != component, "the function has no initialiser");
    Ok(other)
}

/// Deploys variants of each component, which differ in a custom section. Returns the nanoseconds of
/// each deploy.
fn deploy(data_dir: &Path, components: &Both<Vec<u8>>, functions: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let nebula = InProcess::open(data_dir)?;
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..functions {
        for ((prefix, component), samples) in PREFIXES.iter().zip(components).zip(&mut samples) {
            let variant = deployed::variant(component, index);
            let started = Instant::now();
            nebula.deploy(&name(prefix, index), variant)?;
            samples.push(ns(started.elapsed()));
        }
    }
    Ok(samples)
}

/// Measures the first call of each variant, from the name to the answer, in nanoseconds.
fn first_calls(nebula: &InProcess, functions: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..functions {
        for (prefix, samples) in PREFIXES.iter().zip(&mut samples) {
            let started = Instant::now();
            let function = nebula.resolve(&name(prefix, index))?;
            let outcome = nebula.call_with(&function, INPUT);
            samples.push(ns(started.elapsed()));
            check(&outcome)?;
            nebula.tidy();
        }
    }
    Ok(samples)
}

/// Measures calls of one variant of each component, in nanoseconds.
fn calls(nebula: &InProcess, calls: u32) -> anyhow::Result<Both<Vec<u64>>> {
    let functions = [nebula.resolve(&name(PREFIXES[0], 0))?, nebula.resolve(&name(PREFIXES[1], 0))?];
    let mut samples: Both<Vec<u64>> = Default::default();
    for index in 0..WARM_UP_CALLS + calls {
        for (function, samples) in functions.iter().zip(&mut samples) {
            let started = Instant::now();
            let outcome = nebula.call_with(function, INPUT);
            let took = started.elapsed();
            check(&outcome)?;
            nebula.tidy();
            if index >= WARM_UP_CALLS {
                samples.push(ns(took));
            }
        }
    }
    Ok(samples)
}

fn name(prefix: &str, index: u32) -> String {
    format!("{prefix}-{index}")
}

fn check(outcome: &CallOutcome) -> anyhow::Result<()> {
    match &outcome.result {
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
