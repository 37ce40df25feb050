//! Throughput of an echo over HTTP with keep-alive, in a fresh instance per request or from the
//! cache.
//!
//! Includes: parse, route, decode, instance, guest, encode, answer. Excludes: connect, compile,
//! load, and a warm-up before every measurement.
//! Guests: `functions/echo` and `functions/hello-http`; at 36 B in and out the host dominates.
//! Peers in the same run: hyper alone, `wasmtime serve` with its defaults and with its best flags,
//! Spin if a binary is given. Reports requests per second, their ratio to hyper alone round by
//! round, server CPU per request and latency, as median over the rounds and spread.

mod callers;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};

use self::callers::Callers;
use crate::cores::{self, Cores};
use crate::load::{Mix, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::peers::{BASE, Options, Peer, Peers, Programs};
use crate::prepare;
use crate::results::{Column, Row, Section, plural};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// Keep-alive connections, each with one request in flight; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "32")]
    connections: Vec<NonZeroUsize>,
    /// Size of the body in and out, bytes; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "36")]
    body_bytes: Vec<usize>,
    /// Kind of callers; a list is measured in order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "same")]
    callers: Vec<CallerKind>,
    /// Most repeats of a measurement that other work on the machine disturbed
    #[arg(long, default_value_t = 0)]
    repeats: u32,
    #[command(flatten)]
    peers: Options,
}

/// The callers of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CallerKind {
    /// One caller, whose requests are equal
    Same,
    /// Another caller for each request, with unique headers: credentials, a cookie, a trace
    Differ,
}

/// The size of the body, the connections and the callers of a load.
#[derive(Clone, Copy)]
struct Load {
    body_bytes: usize,
    connections: usize,
    callers: CallerKind,
}

const COLUMNS: [Column; 7] = [
    Column::spread("throughput", "requests/s", 0),
    Column::spread("of hyper alone", "", 3),
    Column::median("server CPU", "µs/request", 1),
    Column::median("server CPU, of hyper alone", "", 1),
    Column::median("p50", "µs", 0),
    Column::median("p99", "µs", 0),
    Column::median("load busy", "%", 0),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let cores = Cores::available()?;
    let peers = Peers::start(&Programs::prepare()?, &args.peers, &cores)?;
    cores::pin(&cores.load)?;
    let mut sections = Vec::new();
    for body_bytes in &args.body_bytes {
        for connections in &args.connections {
            for callers in &args.callers {
                let load =
                    Load { body_bytes: *body_bytes, connections: connections.get(), callers: *callers };
                sections.push(measure_one(args, &peers, load, &cores)?);
            }
        }
    }
    Ok(sections)
}

fn measure_one(args: &Args, peers: &Peers, load: Load, cores: &Cores) -> anyhow::Result<Section> {
    let Load { body_bytes, connections, callers: kind } = load;
    let body = prepare::body(body_bytes);
    let setting = Setting {
        connections,
        pace: Pace::Closed,
        time: Duration::from_secs(args.seconds.get()),
        repeats: args.repeats,
    };
    let load_average = machine::load_average()?;
    let count = peers.peers.len();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); count];
    for round in 0..args.rounds.get() as usize {
        eprintln!("{body_bytes} B, {connections} connections: round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            // Each round begins with another server.
            let index = (turn + round) % count;
            let peer = &peers.peers[index];
            let echo = peer.echo(&body);
            let callers = Callers::new(echo.clone());
            let (first, make) = ([callers.exchange(0)], |number| callers.exchange(number + 1));
            let mix = match kind {
                CallerKind::Same => Mix::from(&echo),
                CallerKind::Differ => Mix::Duplicates { share: 0.0, hot: &first, make: &make },
            };
            let measured = measure::measure(peers.server(peer), mix, setting, cores);
            rounds[index].push(measured.with_context(|| format!("measuring {}", peer.name))?);
        }
    }
    let mut notes = vec![format!("Load average before the first round: {load_average}.")];
    notes.extend(measure::disturbance(rounds.iter().flatten()));
    let mut conditions = vec![format!(
        "Keep-alive connections, each with one request in flight; {} rounds of {} s each, in turns; \
         {cores}. Median over the rounds, with the lowest and highest in parentheses; ratios to {BASE} are \
         computed round by round.",
        args.rounds, args.seconds
    )];
    if kind == CallerKind::Differ {
        conditions.push(callers::CONDITION.to_owned());
    }
    conditions.push(machine::description());
    Ok(Section {
        bench: "throughput",
        title: format!(
            "Throughput: echo of {body_bytes} B over {}{}",
            plural(connections, "connection"),
            match kind {
                CallerKind::Same => "",
                CallerKind::Differ => ", another caller each time",
            }
        ),
        conditions,
        columns: COLUMNS.to_vec(),
        rows: rows(peers, &rounds),
        notes,
    })
}

fn rows(peers: &Peers, rounds: &[Vec<Round>]) -> Vec<Row> {
    let figure = |rounds: &[Round], of: fn(&Round) -> f64| Figure::of(rounds.iter().map(of));
    let over_base = |own: &[Round], of: fn(&Round) -> f64| {
        figure(own, of).zip(figure(rounds.first()?, of)).and_then(|(own, base)| own.over(&base))
    };
    let row = |(peer, own): (&Peer, &Vec<Round>)| Row {
        name: peer.name.to_owned(),
        figures: vec![
            figure(own, |round| round.requests_per_s),
            over_base(own, |round| round.requests_per_s),
            figure(own, |round| round.server_cpu_us),
            over_base(own, |round| round.server_cpu_us),
            figure(own, |round| round.latency.p50_us),
            figure(own, |round| round.latency.p99_us),
            figure(own, |round| round.load_busy * 100.0),
        ],
    };
    peers.peers.iter().zip(rounds).map(row).collect()
}
