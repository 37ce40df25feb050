//! Repeated inputs, with and without a cache.
//!
//! Includes: the whole request, with misses and with storing results. Excludes: connect, compile,
//! load, and a warm-up before every measurement.
//! Guest: `functions/sha256`, with bodies that differ in their last bytes; every answer is checked.
//! Repetition has two models:
//! * Zipf's law: the frequency of the nth most popular input is proportional to `1/n^s`;
//! * a share of duplicates: that percentage of requests repeats one of a few inputs, and every
//!   other request has a new input. 0 % shows the cost of the cache, because it saves nothing then.
//!
//! Peer in the same run: the same server and requests without a cache. Reports requests per second,
//! server CPU per request, the share of CPU saved, the share of requests answered without running
//! the function, and the energy that [`energy`] computes from the CPU time.

mod inputs;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use nebula_telemetry::energy::{self, EnergyModel};

use self::inputs::Inputs;
use crate::cores::{self, Cores};
use crate::load::{Mix, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::prepare;
use crate::results::{Column, Row, Section};
use crate::server::{Deploy, Nebula};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Exponents of Zipf's law; an empty list skips this model
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "0.9,1.1,1.3")]
    exponents: Vec<f64>,
    /// Number of inputs for Zipf's law
    #[arg(long, default_value = "10000")]
    inputs: NonZeroUsize,
    /// Shares of duplicates in percent of the requests; an empty list skips this model
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "0,20,80")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: Vec<u8>,
    /// Number of inputs that duplicates repeat
    #[arg(long, default_value = "100")]
    hot: NonZeroUsize,
    /// Size of an input, bytes
    #[arg(long, default_value = "4096")]
    body_bytes: NonZeroUsize,
    /// Memory of the cache, bytes
    #[arg(long, default_value = "67108864")]
    cache_bytes_max: NonZeroU64,
    /// Memory of the cache that unique inputs fill, bytes
    #[arg(long, default_value = "8388608")]
    full_cache_bytes_max: NonZeroU64,
    /// Power of a busy core, watts, from which energy is computed
    #[arg(long, default_value_t = energy::CORE_WATTS)]
    core_watts: f64,
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// Keep-alive connections
    #[arg(long, default_value = "32")]
    connections: NonZeroUsize,
}

const COLUMNS: [Column; 8] = [
    Column::spread("throughput", "requests/s", 0),
    Column::spread("of nothing remembered", "", 2),
    Column::median("answered without a run", "%", 1),
    Column::median("server CPU", "µs/request", 1),
    Column::spread("CPU saved", "%", 1),
    Column::median("computed energy", "J/1,000 requests", 3),
    Column::median("computed energy saved", "J/1,000 requests", 3),
    Column::median("p99", "µs", 0),
];

/// A mix of requests and the servers to send it to.
struct Load<'a> {
    title: String,
    /// A description of the mix.
    condition: String,
    mix: Mix<'a>,
    /// The first server has no cache.
    servers: Vec<CachingServer>,
}

/// A server to start, with its cache size.
struct CachingServer {
    /// The name of the row.
    name: &'static str,
    cache_bytes_max: u64,
}

/// The paths of the server and of its function.
#[derive(Clone, Copy)]
struct Programs<'a> {
    nebula: &'a Path,
    sha256: &'a Path,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let nebula = prepare::nebula()?;
    let [sha256] = prepare::functions(["sha256"])?;
    let programs = Programs { nebula: &nebula, sha256: &sha256 };
    let cores = Cores::available()?;
    cores::pin(&cores.load)?;
    let inputs = Inputs::new(args.body_bytes.get());
    let first = |count: NonZeroUsize| -> Vec<_> {
        (0..count.get()).map(|number| inputs.exchange(number as u64)).collect()
    };
    let (popular, hot) = (first(args.inputs), first(args.hot));
    let make = |number: u64| inputs.exchange(hot.len() as u64 + number);
    let mut sections = Vec::new();
    for exponent in &args.exponents {
        let cumulative_weights = cumulative_weights(*exponent, popular.len());
        let mix = Mix::Weighted { exchanges: &popular, cumulative_weights: &cumulative_weights };
        sections.push(compare(args, &zipf(args, *exponent, mix), programs, &cores)?);
    }
    for percent in &args.duplicates {
        let mix = Mix::Duplicates { share: f64::from(*percent) / 100.0, hot: &hot, make: &make };
        sections.push(compare(args, &duplicates(args, *percent, mix), programs, &cores)?);
    }
    Ok(sections)
}

fn zipf<'a>(args: &Args, exponent: f64, mix: Mix<'a>) -> Load<'a> {
    let cache_bytes_max = args.cache_bytes_max.get();
    Load {
        title: format!("Remembering: {} inputs, Zipf's law with s = {exponent}", args.inputs),
        condition: format!(
            "The cache has {} MB and is empty at the beginning of each round.",
            cache_bytes_max / 1_000_000
        ),
        mix,
        servers: vec![
            CachingServer { name: "nothing remembered", cache_bytes_max: 0 },
            CachingServer { name: "remembered", cache_bytes_max },
        ],
    }
}

fn duplicates<'a>(args: &Args, percent: u8, mix: Mix<'a>) -> Load<'a> {
    let (cache_bytes_max, full_cache_bytes_max) =
        (args.cache_bytes_max.get(), args.full_cache_bytes_max.get());
    Load {
        title: format!("Remembering: {percent} % duplicates"),
        condition: format!(
            "{percent} % of the requests, at random, repeat one of {} inputs, all equally often; the warm-up begins with \
             each of these once. Every other request has an input that is new in its round, warm-up included. The cache \
             has {} MB and is empty at the beginning of each round; in the last row it has {} MB, so that inputs which \
             never repeat fill it, as they eventually fill a cache of any size: a full cache stores only repeated inputs.",
            args.hot,
            cache_bytes_max / 1_000_000,
            full_cache_bytes_max / 1_000_000,
        ),
        mix,
        servers: vec![
            CachingServer { name: "nothing remembered", cache_bytes_max: 0 },
            CachingServer { name: "remembered", cache_bytes_max },
            CachingServer { name: "remembered, no room left", cache_bytes_max: full_cache_bytes_max },
        ],
    }
}

/// The measurements of one server.
#[derive(Default)]
struct ServerRounds {
    rounds: Vec<Round>,
    /// The percentage of requests in each round that were answered without running the function.
    spared_percent: Vec<f64>,
}

fn compare(args: &Args, load: &Load<'_>, programs: Programs<'_>, cores: &Cores) -> anyhow::Result<Section> {
    let functions = [Deploy { name: "sha256", component: programs.sha256, limits: &[] }];
    let setting = Setting {
        connections: args.connections.get(),
        pace: Pace::Closed,
        time: Duration::from_secs(args.seconds.get()),
        repeats: 0,
    };
    let mut measured: Vec<_> = load.servers.iter().map(|_| ServerRounds::default()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("{}: round {} of {}", load.title, round + 1, args.rounds);
        for turn in 0..load.servers.len() {
            let index = (round + turn) % load.servers.len();
            let CachingServer { name, cache_bytes_max } = load.servers[index];
            // Each round starts a new server: filling the cache is part of its behaviour, and
            // unique inputs must be new to it.
            let nebula = Nebula::start_with_cache(programs.nebula, &functions, Some(cache_bytes_max), cores)?;
            let round = measure::measure(&nebula.server, load.mix, setting, cores).context(name)?;
            measured[index].rounds.push(round);
            measured[index].spared_percent.push(nebula.counts()?.hit_ratio() * 100.0);
        }
    }
    let rows = load.servers.iter().zip(&measured);
    Ok(Section {
        bench: "remembered",
        title: load.title.clone(),
        conditions: vec![
            format!(
                "SHA-256 of {} B over {} connections; {} rounds of {} s each, in turns; {cores}.",
                args.body_bytes, args.connections, args.rounds, args.seconds
            ),
            load.condition.clone(),
            format!(
                "Energy is computed, not measured: server CPU times {} W for a busy core (an AMD EPYC 7763 has {} W: 280 W \
                 over 64 cores). The share of energy saved therefore equals the share of CPU saved.",
                args.core_watts,
                energy::CORE_WATTS
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: rows.map(|(server, own)| row(server.name, own, &measured[0].rounds, args.core_watts)).collect(),
        notes: notes(&measured),
    })
}

fn notes(measured: &[ServerRounds]) -> Vec<String> {
    let rounds = || measured.iter().flat_map(|server| &server.rounds);
    let busiest = rounds().map(|round| round.load_busy).fold(0.0, f64::max);
    let mut notes = measure::disturbance(rounds());
    notes.push(format!("The load was busy at most {:.0} % of the time.", busiest * 100.0));
    notes
}

/// Returns the cumulative probabilities of Zipf's law.
fn cumulative_weights(exponent: f64, count: usize) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let whole: f64 = weights.iter().sum();
    let sums = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight / whole;
        Some(*sum)
    });
    sums.collect()
}

fn row(name: &str, own: &ServerRounds, base: &[Round], core_watts: f64) -> Row {
    // Of a thousand requests. Memory isn't counted.
    let model = EnergyModel { core_watts, memory_watts_per_gb: 0.0 };
    let energy_j =
        |round: &Round| model.joules(Duration::from_secs_f64(round.server_cpu_us / 1e3), 0, Duration::ZERO);
    let figure = |of: &dyn Fn(&Round) -> f64| Figure::of(own.rounds.iter().map(of));
    let to_base = |of: &dyn Fn(&Round, &Round) -> f64| {
        Figure::of(own.rounds.iter().zip(base).map(|(own, base)| of(own, base)))
    };
    Row {
        name: name.to_owned(),
        figures: vec![
            figure(&|round| round.requests_per_s),
            to_base(&|own, base| own.requests_per_s / base.requests_per_s),
            Figure::of(own.spared_percent.iter().copied()),
            figure(&|round| round.server_cpu_us),
            to_base(&|own, base| (1.0 - own.server_cpu_us / base.server_cpu_us) * 100.0),
            figure(&energy_j),
            to_base(&|own, base| energy_j(base) - energy_j(own)),
            figure(&|round| round.latency.p99_us),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latency;

    #[test]
    fn popularity_follows_zipfs_law() {
        let weights = cumulative_weights(1.0, 3);
        let expected = [6.0 / 11.0, 9.0 / 11.0, 1.0];
        assert!(weights.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9));
    }

    fn round(requests_per_s: f64, server_cpu_us: f64) -> Round {
        Round {
            requests_per_s,
            server_cpu_us,
            load_busy: 0.5,
            others_cores: 0.0,
            unanswered: 0.0,
            latency: Latency { p50_us: 1.0, p99_us: 2.0, p999_us: 3.0 },
        }
    }

    #[test]
    fn a_row_is_compared_with_the_one_without_a_cache() {
        let base = [round(1000.0, 40.0)];
        let own = ServerRounds { rounds: vec![round(2000.0, 10.0)], spared_percent: vec![80.0] };
        let medians: Vec<_> = row("remembered", &own, &base, 5.0)
            .figures
            .iter()
            .map(|figure| figure.as_ref().unwrap().median)
            .collect();
        let expected = [2000.0, 2.0, 80.0, 10.0, 75.0, 0.05, 0.15, 2.0];
        assert_eq!(medians.len(), COLUMNS.len());
        let near = |(found, expected): (&f64, f64)| (found - expected).abs() < 1e-9;
        assert!(medians.iter().zip(expected).all(near), "{medians:?}");
    }

    #[test]
    fn each_model_can_be_skipped() {
        use clap::Parser;

        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let parse = |words: &[&str]| Line::try_parse_from([&["remembered"], words].concat());
        assert!(parse(&["--exponents"]).unwrap().args.exponents.is_empty());
        assert!(parse(&["--duplicates", "--rounds", "1"]).unwrap().args.duplicates.is_empty());
        assert_eq!(parse(&[]).unwrap().args.duplicates, [0, 20, 80]);
        assert!(parse(&["--duplicates", "101"]).is_err());
    }
}
