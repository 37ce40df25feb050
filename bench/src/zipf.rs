//! Inputs of which some come often and most hardly ever, with and without remembering.
//!
//! Includes: everything a request takes, misses and their keeping too. Excludes: connect, compile, load, and a
//! warm-up before every measurement.
//! Guest: `functions/sha256`, of bodies that differ in their first bytes; every answer is checked. How often each is
//! asked for follows Zipf's law: the nth most popular is asked for in proportion to `1/n^s`.
//! Peer in the same run: the same server and requests with nothing remembered. Reports requests per second, server CPU
//! per request, what share of that is saved, and how many were answered without running the function.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use sha2::{Digest, Sha256};

use crate::cores::{self, Cores};
use crate::load::{Exchange, Mix, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::prepare;
use crate::results::{Column, Row, Section};
use crate::server::{Deploy, Nebula};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Exponents of Zipf's law
    #[arg(long, value_delimiter = ',', default_value = "0.9,1.1,1.3")]
    exponents: Vec<f64>,
    /// How many inputs there are
    #[arg(long, default_value = "10000")]
    inputs: NonZeroUsize,
    /// How long each is, bytes
    #[arg(long, default_value = "4096")]
    body_bytes: NonZeroUsize,
    /// Memory for what is remembered, bytes
    #[arg(long, default_value = "67108864")]
    cache_bytes_max: NonZeroU64,
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

const COLUMNS: [Column; 5] = [
    Column::spread("throughput", "requests/s", 0),
    Column::spread("of nothing remembered", "", 2),
    Column::median("server CPU", "µs/request", 1),
    Column::median("CPU saved", "%", 0),
    Column::median("p99", "µs", 0),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let nebula = prepare::nebula()?;
    let [sha256] = prepare::functions(["sha256"])?;
    let cores = Cores::available()?;
    cores::pin(&cores.load)?;
    let exchanges: Vec<_> =
        (0..args.inputs.get()).map(|index| exchange(index, args.body_bytes.get())).collect();
    args.exponents
        .iter()
        .map(|exponent| measure_one(args, *exponent, &exchanges, (&nebula, &sha256), &cores))
        .collect()
}

fn exchange(index: usize, bytes: usize) -> Exchange {
    let mut body = prepare::body(bytes.max(8));
    body[..8].copy_from_slice(&(index as u64).to_le_bytes());
    let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    Exchange::post("/f/sha256", "application/octet-stream", &body, digest.as_bytes())
}

fn measure_one(
    args: &Args,
    exponent: f64,
    exchanges: &[Exchange],
    (nebula, sha256): (&Path, &Path),
    cores: &Cores,
) -> anyhow::Result<Section> {
    let functions = [Deploy { name: "sha256", component: sha256, limits: &[] }];
    let computing = Nebula::start(nebula, &functions, cores)?;
    let setting = Setting {
        connections: args.connections.get(),
        pace: Pace::Closed,
        time: Duration::from_secs(args.seconds.get()),
        repeats: 0,
    };
    let up_to = cumulated(exponent, exchanges.len());
    let mix = Mix::new(exchanges, &up_to);
    let (mut computed, mut remembered) = (Vec::new(), Vec::new());
    for round in 0..args.rounds.get() {
        eprintln!("s = {exponent}: round {} of {}", round + 1, args.rounds);
        computed.push(measure::measure(&computing.server, mix, setting, cores).context("computing")?);
        // A new one each time: how a cache does while it fills is a part of what it does.
        let remembering =
            Nebula::start_remembering(nebula, &functions, Some(args.cache_bytes_max.get()), cores)?;
        let measured = measure::measure(&remembering.server, mix, setting, cores);
        remembered.push(measured.context("remembering")?);
    }
    Ok(Section {
        bench: "zipf",
        title: format!("Remembering: {} inputs, Zipf's law with s = {exponent}", exchanges.len()),
        conditions: vec![
            format!(
                "SHA-256 of {} B over {} connections; {} MB for what is remembered, empty at the beginning of each round; \
                 {} rounds of {} s each, in turns; {cores}.",
                args.body_bytes,
                args.connections,
                args.cache_bytes_max.get() / 1_000_000,
                args.rounds,
                args.seconds
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: vec![
            row("nothing remembered", &computed, &computed),
            row("remembered", &remembered, &computed),
        ],
        notes: measure::disturbance(computed.iter().chain(&remembered)),
    })
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

fn row(name: &str, own: &[Round], base: &[Round]) -> Row {
    let figure = |of: fn(&Round) -> f64| Figure::of(own.iter().map(of));
    let over_base = Figure::of(base.iter().map(|round| round.requests_per_s))
        .zip(figure(|round| round.requests_per_s))
        .and_then(|(base, own)| own.over(&base));
    let saved =
        own.iter().zip(base).map(|(own, base)| (1.0 - own.server_cpu_us / base.server_cpu_us) * 100.0);
    Row {
        name: name.to_owned(),
        figures: vec![
            figure(|round| round.requests_per_s),
            over_base,
            figure(|round| round.server_cpu_us),
            Figure::of(saved),
            figure(|round| round.latency.p99_us),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_follows_zipfs_law() {
        let up_to = cumulated(1.0, 3);
        let expected = [6.0 / 11.0, 9.0 / 11.0, 1.0];
        assert!(up_to.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9));
    }
}
