//! Inputs that come again, with and without remembering.
//!
//! Includes: everything a request takes, misses and their keeping too. Excludes: connect, compile, load, and a
//! warm-up before every measurement.
//! Guest: `functions/sha256`, of bodies that differ in their last bytes; every answer is checked. What comes again is
//! told in two ways:
//! * by Zipf's law: the nth most popular input is asked for in proportion to `1/n^s`;
//! * by the share of duplicates: so many of a hundred requests ask for one of a few inputs that were asked for before,
//!   all others for one that never was. With no duplicates at all there is nothing to save, and what is left is what
//!   remembering costs.
//!
//! Peer in the same run: the same server and requests with nothing remembered. Reports requests per second, server CPU
//! per request, what share of that is saved, how many were answered without running the function, and the energy that
//! [`energy`] computes of the CPU.

mod inputs;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;

use self::inputs::Inputs;
use crate::cores::{self, Cores};
use crate::energy;
use crate::load::{Exchange, Mix, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::prepare;
use crate::results::{Column, Row, Section};
use crate::server::{Deploy, Nebula};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Exponents of Zipf's law; none, to leave that out
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "0.9,1.1,1.3")]
    exponents: Vec<f64>,
    /// How many inputs there are where Zipf's law holds
    #[arg(long, default_value = "10000")]
    inputs: NonZeroUsize,
    /// Of a hundred requests those that are duplicates; none, to leave that out
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "0,20,80")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: Vec<u8>,
    /// Of how many inputs duplicates are
    #[arg(long, default_value = "100")]
    hot: NonZeroUsize,
    /// How long each is, bytes
    #[arg(long, default_value = "4096")]
    body_bytes: NonZeroUsize,
    /// Memory for what is remembered, bytes
    #[arg(long, default_value = "67108864")]
    cache_bytes_max: NonZeroU64,
    /// Memory for what is remembered where it is to be full of what never comes again, bytes
    #[arg(long, default_value = "8388608")]
    full_cache_bytes_max: NonZeroU64,
    /// What a core draws while it works, watts: energy is computed of it
    #[arg(long, default_value_t = energy::CORE_WATTS)]
    core_watts: f64,
    /// How often each is measured
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long each time, seconds
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

/// What is asked for, and of whom.
struct Load<'a> {
    title: String,
    /// What to know of it.
    condition: String,
    mix: Mix<'a>,
    /// Memory for what is remembered, bytes, by the name of its row. The first has none.
    servers: Vec<(&'static str, u64)>,
}

/// The server, and what it serves.
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
        let up_to = cumulated(*exponent, popular.len());
        sections.push(compare(args, &zipf(args, *exponent, &popular, &up_to), programs, &cores)?);
    }
    for percent in &args.duplicates {
        let mix = Mix::Duplicates { share: f64::from(*percent) / 100.0, hot: &hot, make: &make };
        sections.push(compare(args, &duplicates(args, *percent, mix), programs, &cores)?);
    }
    Ok(sections)
}

fn zipf<'a>(args: &Args, exponent: f64, exchanges: &'a [Exchange], up_to: &'a [f64]) -> Load<'a> {
    let megabytes = args.cache_bytes_max.get() / 1_000_000;
    Load {
        title: format!("Remembering: {} inputs, Zipf's law with s = {exponent}", exchanges.len()),
        condition: format!("What is remembered has {megabytes} MB, empty at the beginning of each round."),
        mix: Mix::Weighted { exchanges, up_to },
        servers: vec![("nothing remembered", 0), ("remembered", args.cache_bytes_max.get())],
    }
}

fn duplicates<'a>(args: &Args, percent: u8, mix: Mix<'a>) -> Load<'a> {
    let (bytes_max, full_bytes_max) = (args.cache_bytes_max.get(), args.full_cache_bytes_max.get());
    Load {
        title: format!("Remembering: {percent} % duplicates"),
        condition: format!(
            "Of 100 requests {percent}, at random, ask for one of {} inputs, each as often as the others; all of these are \
             asked for once at the beginning of the warm-up. Every other request is of an input that wasn't asked for \
             before in its round, warm-up included. What is remembered has {} MB, empty at the beginning of each round; \
             in the last row {} MB, little enough to be full of inputs that don't come again, as it is after a while \
             whatever its size: then only what was asked for before is kept.",
            args.hot,
            bytes_max / 1_000_000,
            full_bytes_max / 1_000_000,
        ),
        mix,
        servers: vec![
            ("nothing remembered", 0),
            ("remembered", bytes_max),
            ("remembered, no room left", full_bytes_max),
        ],
    }
}

/// What one server came to.
#[derive(Default)]
struct Measured {
    rounds: Vec<Round>,
    /// How many of its requests were answered without running the function for them, in each round, percent.
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
    let mut measured: Vec<_> = load.servers.iter().map(|_| Measured::default()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("{}: round {} of {}", load.title, round + 1, args.rounds);
        for turn in 0..load.servers.len() {
            let index = (round + turn) % load.servers.len();
            let (name, bytes_max) = load.servers[index];
            // A new one each time: how a cache does while it fills is a part of what it does, and inputs that never
            // came before are such again.
            let nebula = Nebula::start_remembering(programs.nebula, &functions, Some(bytes_max), cores)?;
            let done = measure::measure(&nebula.server, load.mix, setting, cores).context(name)?;
            measured[index].rounds.push(done);
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
                "Energy is computed, not measured: server CPU times {} W for a core at work (an AMD EPYC 7763 has {} W: 280 W \
                 over 64 cores). So the share of it that is saved is that of the CPU.",
                args.core_watts,
                energy::CORE_WATTS
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: rows.map(|((name, _), own)| row(name, own, &measured[0].rounds, args.core_watts)).collect(),
        notes: notes(&measured),
    })
}

fn notes(measured: &[Measured]) -> Vec<String> {
    let rounds = || measured.iter().flat_map(|one| &one.rounds);
    let busiest = rounds().map(|round| round.load_busy).fold(0.0, f64::max);
    let mut notes = measure::disturbance(rounds());
    notes.push(format!("The load was busy at most {:.0} % of the time.", busiest * 100.0));
    notes
}

/// The probabilities of Zipf's law, summed up.
fn cumulated(exponent: f64, count: usize) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let whole: f64 = weights.iter().sum();
    let sums = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight / whole;
        Some(*sum)
    });
    sums.collect()
}

fn row(name: &str, own: &Measured, base: &[Round], core_watts: f64) -> Row {
    let energy_j = |round: &Round| energy::of_1000_requests_j(round.server_cpu_us, core_watts);
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
        let up_to = cumulated(1.0, 3);
        let expected = [6.0 / 11.0, 9.0 / 11.0, 1.0];
        assert!(up_to.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9));
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
    fn a_row_is_held_against_the_one_without_remembering() {
        let base = [round(1000.0, 40.0)];
        let own = Measured { rounds: vec![round(2000.0, 10.0)], spared_percent: vec![80.0] };
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
    fn either_kind_of_load_can_be_left_out() {
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
