//! One client on one connection that sends its next request as soon as it has the response.
//!
//! ```text
//! closed loop -> requests fall due at a low rate -> connections closed, rest, idle window
//! ```
//!
//! Such a client waits for the server's thread to wake up before each response, unless the thread
//! polls. The first table shows throughput and latency of hyper alone, of the cache with and
//! without the cached fast path, and of a fresh instance for each call. The second table shows the
//! cost of polling where it can't help: CPU time and wake-ups at a low rate, and while idle.
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
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// Requests per second at the low rate
    #[arg(long, default_value = "100")]
    rate: NonZeroU32,
    /// Duration of the low rate, seconds
    #[arg(long, default_value = "10")]
    rate_seconds: NonZeroU64,
    /// Duration of the idle window, and of the rest before it, seconds
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

const LOW_RATE_COLUMNS: [Column; 5] = [
    Column::spread("CPU at the low rate", "ms/s", 2),
    Column::spread("wake-ups at the low rate", "1/s", 0),
    Column::spread("p50 at the low rate", "µs", 0),
    Column::median("CPU idle", "ms in the window", 2),
    Column::median("wake-ups idle", "in the window", 0),
];

/// A server and the request that is sent to it.
struct Subject {
    name: &'static str,
    server: RunningServer,
    echo: Exchange,
}

enum RunningServer {
    Alone(Server),
    Nebula(Nebula),
}

impl Subject {
    fn server(&self) -> &Server {
        match &self.server {
            RunningServer::Alone(server) => server,
            RunningServer::Nebula(nebula) => &nebula.server,
        }
    }
}

/// The measurements of one server.
#[derive(Default)]
struct SubjectRounds {
    closed: Vec<Round>,
    /// The activity at the low rate.
    low_rate: Vec<ActivitySample>,
    idle: Option<ActivitySample>,
}

/// The CPU time and wake-ups of a server during some time.
struct ActivitySample {
    time: Duration,
    cpu: Duration,
    wakeups: f64,
    p50_us: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let cores = Cores::available()?;
    let subjects = subjects(args, &cores)?;
    cores::pin(&cores.load)?;
    let mut measured: Vec<SubjectRounds> = subjects.iter().map(|_| SubjectRounds::default()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let (subject, measured) = (&subjects[index], &mut measured[index]);
            let (closed, low_rate) = measure_under_load(args, subject, &cores)
                .with_context(|| format!("measuring {}", subject.name))?;
            measured.closed.push(closed);
            measured.low_rate.push(low_rate);
        }
    }
    eprintln!("idle");
    for (measured, idle) in measured.iter_mut().zip(measure_idle(args, &subjects)?) {
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
    let hyper = RunningServer::Alone(Server::start(&hyper, StandardStream::Stdout, 1, cores)?);
    let start = |arguments: &[&str]| {
        anyhow::Ok(RunningServer::Nebula(Nebula::start_with(&nebula, arguments, &functions, cores)?))
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
fn measure_under_load(
    args: &Args,
    subject: &Subject,
    cores: &Cores,
) -> anyhow::Result<(Round, ActivitySample)> {
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
    let (started, before) = (std::time::Instant::now(), Activity::of(server.pid())?);
    let slow = measure::measure(server, &subject.echo, slow, cores)?;
    let low_rate = ActivitySample::since(&before, server, started.elapsed(), slow.latency.p50_us)?;
    Ok((round, low_rate))
}

/// Measures all servers while they have no connection.
fn measure_idle(args: &Args, subjects: &[Subject]) -> anyhow::Result<Vec<ActivitySample>> {
    let time = Duration::from_secs(args.idle_seconds.get());
    thread::sleep(time);
    let before = subjects.iter().map(|subject| Activity::of(subject.server().pid()));
    let before = before.collect::<anyhow::Result<Vec<_>>>()?;
    thread::sleep(time);
    let low_rate = subjects
        .iter()
        .zip(&before)
        .map(|(subject, before)| ActivitySample::since(before, subject.server(), time, 0.0));
    low_rate.collect()
}

impl ActivitySample {
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

fn sections(args: &Args, cores: &Cores, subjects: &[Subject], measured: &[SubjectRounds]) -> Vec<Section> {
    let conditions = |condition: String| {
        let condition = format!("Echo of {} B over one connection; {condition} {cores}.", BODY.len());
        vec![condition, machine::description()]
    };
    let throughput = |own: &SubjectRounds| Figure::of(own.closed.iter().map(|round| round.requests_per_s));
    let base = measured.first().and_then(throughput);
    let closed = |(subject, own): (&Subject, &SubjectRounds)| {
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
    let low_rate = |(subject, own): (&Subject, &SubjectRounds)| {
        let figure = |of: fn(&ActivitySample) -> f64| Figure::of(own.low_rate.iter().map(of));
        let idle = |of: fn(&ActivitySample) -> f64| Figure::of(own.idle.iter().map(of));
        let figures = vec![
            figure(|low_rate| low_rate.per_s(low_rate.cpu_ms())),
            figure(|low_rate| low_rate.per_s(low_rate.wakeups)),
            figure(|low_rate| low_rate.p50_us),
            idle(ActivitySample::cpu_ms),
            idle(|low_rate| low_rate.wakeups),
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
            columns: LOW_RATE_COLUMNS.to_vec(),
            rows: rows().map(low_rate).collect(),
            notes: Vec::new(),
        },
    ]
}
