//! One client that sends its next request as soon as it has the response, over one connection.
//!
//! ```text
//! closed loop -> requests fall due at a low rate -> connections closed, rest, idle window
//! ```
//!
//! A client like this pays for every time the server's thread sleeps and has to be woken. The first table shows how
//! fast it is served: by hyper alone, from the cache with and without the cached fast path, and by a fresh instance for
//! each call. The second shows the price where polling for the next request can't help: processor time and wake-ups
//! at a low rate, and idle.
//! Guest: `functions/echo`. All servers are idle in the same window.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::cores::{self, Cores};
use crate::footprint::Activity;
use crate::load::{Exchange, Pace};
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::peers::BASE;
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section};
use crate::server::{Deploy, Nebula, Server, StandardStream};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How often every server is measured
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long each measurement takes, seconds
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// The low rate, requests per second
    #[arg(long, default_value = "100")]
    rate: NonZeroU32,
    /// How long the low rate lasts, seconds
    #[arg(long, default_value = "10")]
    rate_seconds: NonZeroU64,
    /// How long nothing is sent before and during the idle window, seconds
    #[arg(long, default_value = "30")]
    idle_seconds: NonZeroU64,
    /// Measure this `nebula` binary instead of building one
    #[arg(long, value_name = "FILE")]
    nebula: Option<PathBuf>,
}

const CLOSED_COLUMNS: [Column; 5] = [
    Column::spread("throughput", "requests/s", 0),
    Column::spread("of hyper alone", "", 2),
    Column::spread("p50", "µs", 1),
    Column::spread("p99", "µs", 1),
    Column::spread("server CPU", "µs/request", 1),
];

const QUIET_COLUMNS: [Column; 5] = [
    Column::spread("CPU at the low rate", "ms/s", 2),
    Column::spread("wake-ups at the low rate", "1/s", 0),
    Column::spread("p50 at the low rate", "µs", 0),
    Column::median("CPU idle", "ms in the window", 2),
    Column::median("wake-ups idle", "in the window", 0),
];

/// A server, and the request that it gets.
struct Subject {
    name: &'static str,
    server: Running,
    echo: Exchange,
}

enum Running {
    Alone(Server),
    Nebula(Nebula),
}

impl Subject {
    fn server(&self) -> &Server {
        match &self.server {
            Running::Alone(server) => server,
            Running::Nebula(nebula) => &nebula.server,
        }
    }
}

/// The measurements of one server.
#[derive(Default)]
struct Measured {
    closed: Vec<Round>,
    /// At the low rate.
    quiet: Vec<Quiet>,
    idle: Option<Quiet>,
}

/// The activity of a server during some time.
struct Quiet {
    time: Duration,
    cpu: Duration,
    wakeups: f64,
    p50_us: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let cores = Cores::available()?;
    let subjects = subjects(args, &cores)?;
    cores::pin(&cores.load)?;
    let mut measured: Vec<Measured> = subjects.iter().map(|_| Measured::default()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let (subject, measured) = (&subjects[index], &mut measured[index]);
            let (closed, quiet) =
                loaded(args, subject, &cores).with_context(|| format!("measuring {}", subject.name))?;
            measured.closed.push(closed);
            measured.quiet.push(quiet);
        }
    }
    eprintln!("idle");
    for (measured, idle) in measured.iter_mut().zip(idle(args, &subjects)?) {
        measured.idle = Some(idle);
    }
    Ok(sections(args, &cores, &subjects, &measured))
}

fn subjects(args: &Args, cores: &Cores) -> anyhow::Result<Vec<Subject>> {
    let nebula = match &args.nebula {
        Some(nebula) => {
            prepare::ensure_optimised()?;
            nebula.clone()
        }
        None => prepare::nebula()?,
    };
    let [echo] = prepare::functions(["echo"])?;
    let functions = [Deploy { name: "echo", component: &echo, limits: &[] }];
    let mut hyper = std::process::Command::new(std::env::current_exe()?);
    hyper.arg("hyper-alone");
    let hyper = Running::Alone(Server::start(&hyper, StandardStream::Stdout, 1, cores)?);
    let start = |arguments: &[&str]| {
        anyhow::Ok(Running::Nebula(Nebula::start_with(&nebula, arguments, &functions, cores)?))
    };
    let subjects = [
        (BASE, hyper, "/echo"),
        ("nebula, cached", start(&[])?, "/f/echo"),
        ("nebula, cached, fast path off", start(&["--cached-fast-path", "off"])?, "/f/echo"),
        ("nebula, fresh instance", start(&["--cache-bytes-max", "0"])?, "/f/echo"),
    ];
    Ok(subjects
        .into_iter()
        .map(|(name, server, path)| Subject { name, server, echo: Exchange::echo(path, BODY) })
        .collect())
}

/// Measures a server in a closed loop, and then at the low rate.
fn loaded(args: &Args, subject: &Subject, cores: &Cores) -> anyhow::Result<(Round, Quiet)> {
    let server = subject.server();
    let closed = Setting {
        connections: 1,
        pace: Pace::Closed,
        time: Duration::from_secs(args.seconds.get()),
        repeats: 0,
    };
    let round = measure::measure(server, &subject.echo, closed, cores)?;
    let slow = Setting {
        pace: Pace::Open { requests_per_s: args.rate.get().into() },
        time: Duration::from_secs(args.rate_seconds.get()),
        ..closed
    };
    let (begun, before) = (std::time::Instant::now(), Activity::of(server.pid())?);
    let slow = measure::measure(server, &subject.echo, slow, cores)?;
    let quiet = Quiet::since(&before, server, begun.elapsed(), slow.latency.p50_us)?;
    Ok((round, quiet))
}

/// Measures all servers while they have no connection.
fn idle(args: &Args, subjects: &[Subject]) -> anyhow::Result<Vec<Quiet>> {
    let time = Duration::from_secs(args.idle_seconds.get());
    thread::sleep(time);
    let before = subjects.iter().map(|subject| Activity::of(subject.server().pid()));
    let before = before.collect::<anyhow::Result<Vec<_>>>()?;
    thread::sleep(time);
    let quiet = subjects
        .iter()
        .zip(&before)
        .map(|(subject, before)| Quiet::since(before, subject.server(), time, 0.0));
    quiet.collect()
}

impl Quiet {
    fn since(before: &Activity, server: &Server, time: Duration, p50_us: f64) -> anyhow::Result<Self> {
        let after = Activity::of(server.pid())?;
        let wakeups = after.wakeups_since(before) as f64;
        Ok(Self { time, cpu: after.run_time_since(before), wakeups, p50_us })
    }

    fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3
    }

    fn per_s(&self, amount: f64) -> f64 {
        amount / self.time.as_secs_f64()
    }
}

fn sections(args: &Args, cores: &Cores, subjects: &[Subject], measured: &[Measured]) -> Vec<Section> {
    let conditions = |condition: String| {
        let condition = format!("Echo of {} B over one connection; {condition} {cores}.", BODY.len());
        vec![condition, machine::description()]
    };
    let throughput = |own: &Measured| Figure::of(own.closed.iter().map(|round| round.requests_per_s));
    let base = measured.first().and_then(throughput);
    let closed = |(subject, own): (&Subject, &Measured)| {
        let figure = |of: fn(&Round) -> f64| Figure::of(own.closed.iter().map(of));
        let ratio = throughput(own).zip(base.as_ref()).and_then(|(own, base)| own.over(base));
        let figures = vec![
            throughput(own),
            ratio,
            figure(|round| round.latency.p50_us),
            figure(|round| round.latency.p99_us),
            figure(|round| round.server_cpu_us),
        ];
        Row { name: subject.name.to_owned(), figures }
    };
    let quiet = |(subject, own): (&Subject, &Measured)| {
        let figure = |of: fn(&Quiet) -> f64| Figure::of(own.quiet.iter().map(of));
        let idle = |of: fn(&Quiet) -> f64| Figure::of(own.idle.iter().map(of));
        let figures = vec![
            figure(|quiet| quiet.per_s(quiet.cpu_ms())),
            figure(|quiet| quiet.per_s(quiet.wakeups)),
            figure(|quiet| quiet.p50_us),
            idle(Quiet::cpu_ms),
            idle(|quiet| quiet.wakeups),
        ];
        Row { name: subject.name.to_owned(), figures }
    };
    let rows = || subjects.iter().zip(measured);
    vec![
        Section {
            bench: "sequential",
            title: "Sequential client".to_owned(),
            conditions: conditions(format!(
                "the next request follows each response at once; {} rounds of {} s each, in turns;",
                args.rounds, args.seconds
            )),
            columns: CLOSED_COLUMNS.to_vec(),
            rows: rows().map(closed).collect(),
            notes: measure::disturbance(measured.iter().flat_map(|own| &own.closed)),
        },
        Section {
            bench: "sequential",
            title: "The same servers at a low rate, and idle".to_owned(),
            conditions: conditions(format!(
                "{} requests/s fall due at random (Poisson) for {} s, {} rounds; then, after {} s without a \
                 connection, an idle window of {} s;",
                args.rate, args.rate_seconds, args.rounds, args.idle_seconds, args.idle_seconds
            )),
            columns: QUIET_COLUMNS.to_vec(),
            rows: rows().map(quiet).collect(),
            notes: Vec::new(),
        },
    ]
}
