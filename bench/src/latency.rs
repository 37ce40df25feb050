//! Latency in an open loop, at a share of each server's capacity.
//!
//! Requests are due at random moments, whether or not earlier ones were answered. Latency counts
//! from the moment a request was due: a late answer makes the requests behind it late, instead of
//! preventing them (coordinated omission). Includes and excludes the same as `throughput`, with the
//! same peers in the same run. Each round measures a server's capacity first, in a closed loop, so
//! that the shares refer to the state of the machine at that time. Reports p50, p99 and p99.9 as
//! median over the rounds and spread; ratios of p99 are computed round by round.

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
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "5")]
    seconds: NonZeroU64,
    /// Keep-alive connections; a request that waits for a free one is late, and the wait counts
    #[arg(long, default_value = "256")]
    connections: NonZeroUsize,
    /// Load in percent of the server's own capacity; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "50,90", value_parser = clap::value_parser!(u32).range(1..))]
    percent: Vec<u32>,
    /// Most repeats of a measurement that other work on the machine disturbed
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

/// The measurements of one server in one round.
struct ServerRound {
    /// Requests per second in a closed loop.
    capacity: f64,
    /// One measurement for each share of the capacity.
    shares: Vec<Round>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let cores = Cores::available()?;
    let peers = Peers::start(&Programs::prepare()?, &args.peers, &cores)?;
    cores::pin(&cores.load)?;
    let count = peers.peers.len();
    let mut rounds: Vec<Vec<ServerRound>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            let index = (turn + round) % count;
            let peer = &peers.peers[index];
            let measured = measure_one(args, &peers, peer, &cores);
            rounds[index].push(measured.with_context(|| format!("measuring {}", peer.name))?);
        }
    }
    let sections = args.percent.iter().enumerate().map(|(index, percent)| Section {
        bench: "latency",
        title: format!("Latency at {percent} % of capacity, open loop"),
        conditions: vec![
            format!(
                "Echo of {} B; requests are due at random moments (Poisson) over {} keep-alive connections, and their \
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
        rows: rows(&peers, &rounds, index),
        notes: measure::disturbance(rounds.iter().flatten().filter_map(|own| own.shares.get(index))),
    });
    Ok(sections.collect())
}

fn measure_one(args: &Args, peers: &Peers, peer: &Peer, cores: &Cores) -> anyhow::Result<ServerRound> {
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
    Ok(ServerRound { capacity, shares: shares.collect::<anyhow::Result<_>>()? })
}

/// Makes the rows of the share with the index `share`.
fn rows(peers: &Peers, rounds: &[Vec<ServerRound>], share: usize) -> Vec<Row> {
    let figure = |own: &[ServerRound], of: fn(&Round) -> f64| {
        Figure::of(own.iter().filter_map(|round| round.shares.get(share)).map(of))
    };
    let p99 = |own: &[ServerRound]| figure(own, |round| round.latency.p99_us);
    let base = rounds.first().and_then(|base| p99(base));
    let row = |(peer, own): (&Peer, &Vec<ServerRound>)| Row {
        name: peer.name.to_owned(),
        figures: vec![
            Figure::of(own.iter().map(|round| round.capacity)),
            figure(own, |round| round.requests_per_s),
            figure(own, |round| round.latency.p50_us),
            p99(own),
            p99(own).zip(base.as_ref()).and_then(|(own, base)| own.over(base)),
            figure(own, |round| round.latency.p999_us),
            figure(own, |round| round.unanswered),
        ],
    };
    peers.peers.iter().zip(rounds).map(row).collect()
}
