//! Latency under open-loop load, at a share of what each server can do.
//!
//! Requests fall due at random moments whether or not earlier ones were answered, and latency counts from
//! the moment a request was due: an answer that is late makes those behind it late, instead of keeping them
//! from being asked (coordinated omission).
//! Includes and excludes what `throughput` does; the same peers in the same run. A server's capacity is
//! measured first, in a closed loop in the same round, so that 90 % is 90 % of what the machine gave just then.
//! Reports p50, p99 and p99.9: median over the rounds, and spread; ratios of p99 are taken round by round.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::cores::{self, Cores};
use crate::load::Pace;
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::peers::{Options, Peer, Peers, Programs};
use crate::prepare::BODY;
use crate::results::{Column, Row, Section};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How often every server is measured
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long each time, seconds
    #[arg(long, default_value = "5")]
    seconds: NonZeroU64,
    /// Keep-alive connections that the requests share; one that finds none free waits, and the wait counts
    #[arg(long, default_value = "256")]
    connections: NonZeroUsize,
    /// Load, percent of the server's own capacity
    #[arg(long, value_delimiter = ',', default_value = "50,90", value_parser = clap::value_parser!(u32).range(1..))]
    percent: Vec<u32>,
    /// Measure again, up to so often, what was disturbed by other work on the machine
    #[arg(long, default_value_t = 0)]
    repeats: u32,
    #[command(flatten)]
    peers: Options,
}

const COLUMNS: [Column; 7] = [
    Column::median("capacity", "requests/s", 0),
    Column::median("asked", "requests/s", 0),
    Column::spread("p50", "µs", 0),
    Column::spread("p99", "µs", 0),
    Column::median("p99, of hyper alone", "", 1),
    Column::spread("p99.9", "µs", 0),
    Column::median("unanswered", "requests", 0),
];

/// One server's capacity and what it did at each share of it, in one round.
struct Measured {
    capacity: f64,
    shares: Vec<Round>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let cores = Cores::available()?;
    let peers = Peers::start(&Programs::prepare()?, &args.peers, &cores)?;
    cores::pin(&cores.load)?;
    let count = peers.peers.len();
    let mut measured: Vec<Vec<Measured>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            let index = (turn + round) % count;
            let peer = &peers.peers[index];
            let one = one(args, &peers, peer, &cores);
            measured[index].push(one.with_context(|| format!("measuring {}", peer.name))?);
        }
    }
    let sections = args.percent.iter().enumerate().map(|(index, percent)| Section {
        bench: "latency",
        title: format!("Latency at {percent} % of capacity, open loop"),
        conditions: vec![
            format!(
                "Echo of {} B; requests fall due at random (Poisson) over {} keep-alive connections, and their \
                 latency counts from then; capacity is each server's own throughput with every connection \
                 busy, measured just before; {} rounds of {} s each, in turns; {cores}.",
                BODY.len(),
                args.connections,
                args.rounds,
                args.seconds
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: rows(&peers, &measured, index),
        notes: measure::disturbance(measured.iter().flatten().filter_map(|own| own.shares.get(index))),
    });
    Ok(sections.collect())
}

fn one(args: &Args, peers: &Peers, peer: &Peer, cores: &Cores) -> anyhow::Result<Measured> {
    let exchange = peer.echo(BODY);
    let closed = Setting {
        connections: args.connections.get(),
        pace: Pace::Closed,
        time: Duration::from_secs(args.seconds.get()),
        repeats: args.repeats,
    };
    let capacity = measure::measure(peers.server(peer), &exchange, closed, cores)?.requests_per_s;
    let shares = args.percent.iter().map(|percent| {
        let pace = Pace::Open { requests_per_s: capacity * f64::from(*percent) / 100.0 };
        measure::measure(peers.server(peer), &exchange, Setting { pace, ..closed }, cores)
    });
    Ok(Measured { capacity, shares: shares.collect::<anyhow::Result<_>>()? })
}

/// At the share of that index.
fn rows(peers: &Peers, measured: &[Vec<Measured>], share: usize) -> Vec<Row> {
    let figure = |own: &[Measured], of: fn(&Round) -> f64| {
        Figure::of(own.iter().filter_map(|measured| measured.shares.get(share)).map(of))
    };
    let p99 = |own: &[Measured]| figure(own, |round| round.latency.p99_us);
    let base = measured.first().and_then(|base| p99(base));
    let row = |(peer, own): (&Peer, &Vec<Measured>)| Row {
        name: peer.name.to_owned(),
        figures: vec![
            Figure::of(own.iter().map(|measured| measured.capacity)),
            figure(own, |round| round.requests_per_s),
            figure(own, |round| round.latency.p50_us),
            p99(own),
            p99(own).zip(base.as_ref()).and_then(|(own, base)| own.over(base)),
            figure(own, |round| round.latency.p999_us),
            figure(own, |round| round.unanswered),
        ],
    };
    peers.peers.iter().zip(measured).map(row).collect()
}
