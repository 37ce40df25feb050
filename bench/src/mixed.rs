//! Short calls beside long ones: the latency of an echo while eight calls compute.
//!
//! Eight callers repeat a long call while an open loop of echoes at a fixed rate is measured. The
//! same round measures the same echoes without long calls. Latency counts from the moment a request
//! was due.
//! Guests: `functions/echo`, and `functions/fibonacci-recursive` with a longer deadline.
//! Peer in the same run: hyper alone, which computes the same natively on tokio's blocking threads;
//! it shows the effect of the system's scheduler alone. (`wasmtime serve` runs no typed functions.)
//! Reports p50, p99 and p99.9 of the echo as median over the rounds and spread.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::load::{Bodies, Exchange, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::peers::{BASE, Programs};
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section};
use crate::server::{Deploy, Nebula, Server, StandardStream};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "5")]
    seconds: NonZeroU64,
    /// Echoes per second
    #[arg(long, default_value = "1000")]
    per_second: NonZeroU32,
    /// Keep-alive connections of the echoes
    #[arg(long, default_value = "32")]
    connections: NonZeroUsize,
    /// Concurrent long calls
    #[arg(long, default_value = "8")]
    long: NonZeroU32,
    /// Fibonacci number that a long call computes recursively
    #[arg(long, default_value = "42", value_parser = clap::value_parser!(u32).range(1..=45))]
    fibonacci: u32,
    /// Most repeats of a measurement that other work on the machine disturbed
    #[arg(long, default_value_t = 0)]
    repeats: u32,
}

/// The time between starting the long calls and measuring the echo. By then all of them run on
/// their final lane.
const SETTLE: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 5] = [
    Column::spread("p50", "µs", 0),
    Column::spread("p99", "µs", 0),
    Column::spread("p99.9", "µs", 0),
    Column::spread("p99, of the same alone", "", 2),
    Column::median("long calls done", "", 0),
];

/// A server with calls of its two functions, and its rounds without and beside long calls.
struct Subject<'a> {
    name: &'static str,
    server: &'a Server,
    echo: Exchange,
    long: Exchange,
    alone: Vec<Round>,
    beside: Vec<Round>,
    long_done: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::prepare()?;
    let [fibonacci] = prepare::functions(["fibonacci-recursive"])?;
    let cores = Cores::available()?;
    let hyper = Server::start(&programs.hyper()?, StandardStream::Stdout, 1, &cores)?;
    let functions = [
        Deploy { name: "echo", component: &programs.echo, limits: &[] },
        Deploy { name: "fibonacci", component: &fibonacci, limits: &["--deadline-ms", "600000"] },
    ];
    let nebula = Nebula::start(&programs.nebula, &functions, &cores)?;
    let subject = |name, server, echo, long| {
        let (n, number) = (args.fibonacci.to_string(), fibonacci_number(args.fibonacci).to_string());
        let bodies = Bodies { request: n.as_bytes(), expected: number.as_bytes() };
        Subject {
            name,
            server,
            echo: Exchange::echo(echo, BODY),
            long: Exchange::post(long, "application/json", bodies),
            alone: Vec::new(),
            beside: Vec::new(),
            long_done: Vec::new(),
        }
    };
    let mut subjects = [
        subject(BASE, &hyper, "/echo", "/fibonacci"),
        subject("nebula", &nebula.server, "/f/echo", "/f/fibonacci"),
    ];
    cores::pin(&cores.load)?;
    let setting = Setting {
        connections: args.connections.get(),
        pace: Pace::Open { requests_per_s: f64::from(args.per_second.get()) },
        time: Duration::from_secs(args.seconds.get()),
        repeats: args.repeats,
    };
    let count = subjects.len();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            let subject = &mut subjects[(turn + round) % count];
            let measured = measure_one(args, subject, setting, &cores);
            measured.with_context(|| format!("measuring {}", subject.name))?;
        }
    }
    let rounds = subjects.iter().flat_map(|subject| subject.alone.iter().chain(&subject.beside));
    Ok(vec![Section {
        bench: "mixed",
        title: format!("Mixed: echo beside {} calls of fib({})", args.long, args.fibonacci),
        conditions: vec![
            format!(
                "Echo of {} B, {} due per second at random moments over {} connections; {} rounds of {} s each, in \
                 turns; {cores}. {BASE} computes fib({}) natively on blocking threads.",
                BODY.len(),
                args.per_second,
                args.connections,
                args.rounds,
                args.seconds,
                args.fibonacci
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: subjects.iter().flat_map(|subject| rows(args, subject)).collect(),
        notes: measure::disturbance(rounds),
    }])
}

fn measure_one(
    args: &Args,
    subject: &mut Subject<'_>,
    setting: Setting,
    cores: &Cores,
) -> anyhow::Result<()> {
    subject.alone.push(measure::measure(subject.server, &subject.echo, setting, cores)?);
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    let (address, long) = (subject.server.addresses[0], &subject.long);
    let beside = thread::scope(|scope| {
        let callers: Vec<_> = (0..args.long.get())
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let mut caller = Caller::connect(address)?;
                    while !stop.load(Ordering::Relaxed) {
                        caller.call(long)?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        thread::sleep(SETTLE);
        let measured = measure::measure(subject.server, &subject.echo, setting, cores);
        stop.store(true, Ordering::Relaxed);
        // Wait for the last long calls, so that they don't disturb the next measurement.
        for caller in callers {
            caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?.context("a long call")?;
        }
        measured
    })?;
    subject.beside.push(beside);
    subject.long_done.push(done.into_inner());
    Ok(())
}

fn rows(args: &Args, subject: &Subject<'_>) -> [Row; 2] {
    let figure = |rounds: &[Round], of: fn(&Round) -> f64| Figure::of(rounds.iter().map(of));
    let p99 = |rounds: &[Round]| figure(rounds, |round| round.latency.p99_us);
    let figures = |rounds: &[Round]| {
        vec![
            figure(rounds, |round| round.latency.p50_us),
            p99(rounds),
            figure(rounds, |round| round.latency.p999_us),
            p99(rounds).zip(p99(&subject.alone)).and_then(|(own, alone)| own.over(&alone)),
        ]
    };
    let mut beside = figures(&subject.beside);
    beside.push(Figure::of(subject.long_done.iter().map(|done| f64::from(*done))));
    let mut alone = figures(&subject.alone);
    alone.push(None);
    [
        Row { name: format!("{}: echo alone", subject.name), figures: alone },
        Row { name: format!("{}: beside {} long calls", subject.name, args.long), figures: beside },
    ]
}

/// Returns the nth Fibonacci number by iteration.
fn fibonacci_number(n: u32) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iteration_and_recursion_agree() {
        for n in [0, 1, 2, 10, 20] {
            assert_eq!(fibonacci_number(n), crate::hyper_alone::fibonacci(n));
        }
        assert_eq!(fibonacci_number(42), 267_914_296);
    }
}
