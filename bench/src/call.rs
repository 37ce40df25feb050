//! One call in this process: on a fresh instance, and from the cache.
//!
//! Includes: decode, instance, guest, encode. Excludes: HTTP, routing, compile, load.
//! Guest: `functions/echo`, 36 B in and out, so the host dominates.
//! Peer: none; every row of `throughput` includes these costs. Reports p50, p99 and p99.9 of n
//! calls, the share of creating the instance, and the work after an answer that prepares the next
//! call: no caller waits for it, but it occupies the core. For cached calls of 36 B and 1 KiB it
//! reports the lookup by the bytes of the request, which includes reading the clock.

use std::num::NonZeroU32;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args as ClapArgs;
use nebula_runtime::Source;

use crate::cores::{self, Cores};
use crate::in_process::{self, InProcess};
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section};
use crate::stats::{Figure, Latency, ns};

/// Calls before the first that counts.
const WARM_UP_CALLS: u32 = 1_000;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Calls to measure in each round
    #[arg(long, default_value = "50000")]
    calls: NonZeroU32,
    /// Rounds
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

const COLUMNS: [Column; 3] =
    [Column::spread("p50", "µs", 2), Column::spread("p99", "µs", 2), Column::spread("p99.9", "µs", 2)];

/// The longer of the two bodies of cached calls.
static KIB: [u8; 1024] = [b'x'; 1024];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    prepare::ensure_optimised()?;
    let [echo] = prepare::functions(["echo"])?;
    let cores = Cores::available()?;
    let data_dir = prepare::data_dir()?;
    let nebula = InProcess::open(data_dir.path())?;
    nebula.deploy("echo", Bytes::from(std::fs::read(&echo)?))?;
    let function = nebula.resolve("echo")?;
    // The calls run on this thread; the thread that ticks for deadlines may use the other cores.
    cores::pin(&cores.server[..1])?;

    let (mut whole, mut starts, mut tidying) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WARM_UP_CALLS {
        in_process::check(&nebula.call(&function))?;
        nebula.tidy();
    }
    for _ in 0..args.rounds.get() {
        let (mut whole_ns, mut starts_ns, mut tidying_ns) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.calls.get() {
            let started = Instant::now();
            let outcome = nebula.call(&function);
            whole_ns.push(ns(started.elapsed()));
            in_process::check(&outcome)?;
            starts_ns.push(ns(outcome.cost.start));
            let started = Instant::now();
            nebula.tidy();
            tidying_ns.push(ns(started.elapsed()));
        }
        whole.push(Latency::of(whole_ns));
        starts.push(Latency::of(starts_ns));
        tidying.push(Latency::of(tidying_ns));
    }
    let caching_dir = prepare::data_dir()?;
    let caching = InProcess::open_with_cache(caching_dir.path())?;
    caching.deploy("echo", Bytes::from(std::fs::read(&echo)?))?;
    let cached = [("36 B", BODY), ("1 KiB", &KIB)].map(|(name, body)| {
        let rounds = cached_calls(&caching, body, args)?;
        Ok::<_, anyhow::Error>(row(&format!("remembered, {name}"), &rounds))
    });
    let mut rows = vec![
        row("whole call", &whole),
        row("of it, making the instance", &starts),
        row("after it, resetting the slot and making the next instance", &tidying),
    ];
    for row in cached {
        rows.push(row?);
    }
    Ok(vec![Section {
        bench: "call",
        title: "One call in process".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B, fresh instance, one core; {} rounds of {} calls.",
                BODY.len(),
                args.rounds,
                args.calls
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows,
        notes: Vec::new(),
    }])
}

/// Measures repeated calls, which the cache answers.
fn cached_calls(nebula: &InProcess, body: &'static [u8], args: &Args) -> anyhow::Result<Vec<Latency>> {
    let function = nebula.resolve("echo")?;
    let first = nebula.call_with(&function, body);
    ensure!(first.result.is_ok(), "the echo failed: {:?}", first.result);
    let round = |_| {
        let mut took = Vec::new();
        for _ in 0..args.calls.get() {
            let started = Instant::now();
            let outcome = nebula.call_with(&function, body);
            took.push(ns(started.elapsed()));
            let is_cached = matches!(outcome.source, Source::Cached { .. });
            ensure!(is_cached, "a repeated call was not answered from the cache: {:?}", outcome.source);
        }
        Ok(Latency::of(took))
    };
    (0..args.rounds.get()).map(round).collect()
}

/// Makes a row of the percentiles of several rounds.
pub(crate) fn row(name: &str, rounds: &[Latency]) -> Row {
    let figure = |of: fn(&Latency) -> f64| Figure::of(rounds.iter().map(of));
    let figures = vec![
        figure(|latency| latency.p50_us),
        figure(|latency| latency.p99_us),
        figure(|latency| latency.p999_us),
    ];
    Row { name: name.to_owned(), figures }
}
