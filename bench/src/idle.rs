//! What servers keep of the machine while nothing is asked of them: memory, wake-ups, CPU time.
//!
//! ```text
//! started -> idle window -> every function called once -> rest -> idle window
//!         -> loaded (closed loop) -> rest -> idle window
//! ```
//!
//! All servers go through it at the same time, and are idle in the same windows, so that each window is side
//! by side; calls and load come to one after another. Memory is taken at the end of a window, and in the
//! middle of the load. A wake-up is a context switch of any thread, voluntary or not, from
//! `/proc/<pid>/task/*/status`; reading it wakes nobody.
//! Guest: `functions/echo`, for Nebula in many variants. Peers: hyper alone, `wasmtime serve` of one function
//! at its defaults and best flags, Spin where there is one.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::deployed::Deployed;
use crate::footprint::{self, Activity};
use crate::load::{self, Exchange, Pace, Plan, Window};
use crate::machine;
use crate::peers::{self, Options, Programs, WASMTIME_BEST};
use crate::prepare::BODY;
use crate::results::{Column, Row, Section};
use crate::server::{Says, Server, nebula_serve};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many functions Nebula has, in a server each
    #[arg(long, value_delimiter = ',', default_value = "1,10000")]
    functions: Vec<u32>,
    /// How many different components they have at most
    #[arg(long, default_value_t = u32::MAX, hide_default_value = true)]
    variants: u32,
    /// How long nothing is asked before and during each idle window, seconds
    #[arg(long, default_value = "60")]
    seconds: NonZeroU64,
    /// How long the load lasts, seconds
    #[arg(long, default_value = "5")]
    load_seconds: NonZeroU64,
    /// Connections of the load
    #[arg(long, default_value = "32")]
    connections: NonZeroUsize,
    /// How often all of it is done, with new processes
    #[arg(long, default_value = "1")]
    rounds: NonZeroU32,
    #[command(flatten)]
    peers: Options,
}

const COLUMNS: [Column; 5] = [
    Column::median("resident", "MB", 1),
    Column::median("proportional", "MB", 1),
    Column::median("anonymous", "MB", 1),
    Column::spread("wake-ups", "in the window", 0),
    Column::spread("CPU", "ms in the window", 0),
];

const PHASES: [&str; 5] = [
    "started, none called",
    "each called once, just now",
    "after that and a rest",
    "under load",
    "after that and a rest, again",
];

/// A server, the calls that are to be made once each, and what was seen of it.
struct Subject {
    name: String,
    server: Server,
    calls: Vec<Exchange>,
}

/// In one phase: resident, proportional and anonymous MB; wake-ups and CPU time where there was a window.
type Seen = [Option<f64>; COLUMNS.len()];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::prepare()?;
    let cores = Cores::available()?;
    let deployed = args.functions.iter().map(|count| Deployed::shared(&programs.echo, *count, args.variants));
    let deployed = deployed.collect::<anyhow::Result<Vec<_>>>()?;
    let spin = args.peers.spin.as_ref().map(|spin| peers::spin_up(spin, &programs.hello_http)).transpose()?;
    let mut names = Vec::new();
    // By subject, phase, round.
    let mut seen: Vec<[Vec<Seen>; PHASES.len()]> = Vec::new();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let mut subjects = subjects(&programs, &deployed, &cores)?;
        if let Some((up, _)) = &spin {
            subjects.push(Subject::start(
                "spin up, 1 function".to_owned(),
                up,
                Says::Stdout,
                &["/echo"],
                &cores,
            )?);
        }
        if let Some(only) = &args.peers.only {
            subjects.retain(|subject| subject.name == peers::BASE || subject.name.contains(only.as_str()));
        }
        names = subjects.iter().map(|subject| subject.name.clone()).collect();
        seen.resize_with(subjects.len(), Default::default);
        cores::pin(&cores.load)?;
        let phases = go_through(args, &subjects, &cores)?;
        for (phase, of_phase) in phases.into_iter().enumerate() {
            for (subject, one) in of_phase.into_iter().enumerate() {
                seen[subject][phase].push(one);
            }
        }
        for subject in subjects {
            subject.server.stop()?;
        }
    }
    let mut rows = Vec::new();
    for (name, seen) in names.iter().zip(&seen) {
        for (phase, rounds) in PHASES.iter().zip(seen) {
            let figure = |column: usize| Figure::of(rounds.iter().filter_map(|seen| seen[column]));
            let figures = (0..COLUMNS.len()).map(figure).collect();
            rows.push(Row { name: format!("{name}: {phase}"), figures });
        }
    }
    let deployed: Vec<_> = deployed.iter().map(Deployed::description).collect();
    Ok(vec![Section {
        bench: "idle",
        title: "Idle: memory and wake-ups".to_owned(),
        conditions: vec![
            format!(
                "Rests and windows of {} s each, load of {} s over {} connections; {} rounds; {cores}. Nebula \
                 has {}. 1 MB is 10⁶ bytes; proportional shares what several processes map.",
                args.seconds,
                args.load_seconds,
                args.connections,
                args.rounds,
                deployed.join("; ")
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows,
        notes: Vec::new(),
    }])
}

fn subjects(programs: &Programs, deployed: &[Deployed], cores: &Cores) -> anyhow::Result<Vec<Subject>> {
    let base = peers::BASE.to_owned();
    let mut subjects = vec![Subject::start(base, &programs.hyper()?, Says::Stdout, &["/echo"], cores)?];
    for deployed in deployed {
        let name = format!("nebula, {}", deployed.count());
        let serve = nebula_serve(&programs.nebula, deployed.path());
        let paths: Vec<_> = deployed.names().map(|name| format!("/f/{name}")).collect();
        subjects.push(Subject::start(name, &serve, Says::Stdout, &paths, cores)?);
    }
    for (name, flags) in [("default", &[][..]), ("best flags", &WASMTIME_BEST[..])] {
        let serve = programs.wasmtime_serve(flags, &programs.hello_http);
        let name = format!("wasmtime serve, 1 function, {name}");
        subjects.push(Subject::start(name, &serve, Says::Stderr, &["/echo"], cores)?);
    }
    Ok(subjects)
}

impl Subject {
    fn start(
        name: String,
        server: &std::process::Command,
        says: Says,
        paths: &[impl AsRef<str>],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let server = Server::start(server, says, 1, cores).with_context(|| format!("starting {name}"))?;
        let calls = paths.iter().map(|path| Exchange::echo(path.as_ref(), BODY)).collect();
        Ok(Self { name, server, calls })
    }

    fn memory(&self) -> anyhow::Result<Seen> {
        let memory = footprint::memory(self.server.pid())?;
        let mb = |bytes: u64| Some(bytes as f64 / 1e6);
        Ok([mb(memory.resident), mb(memory.proportional), mb(memory.anonymous), None, None])
    }
}

/// What was seen of every subject in each phase.
fn go_through(args: &Args, subjects: &[Subject], cores: &Cores) -> anyhow::Result<[Vec<Seen>; PHASES.len()]> {
    let time = Duration::from_secs(args.seconds.get());
    // Starting has its own wake-ups.
    thread::sleep(time.min(Duration::from_secs(2)));
    let started = idle_window(subjects, time)?;
    let mut called = Vec::new();
    for subject in subjects {
        let mut caller = Caller::connect(subject.server.addresses[0])?;
        for call in &subject.calls {
            caller.ask(call).with_context(|| format!("calling {}", subject.name))?;
        }
        called.push(subject.memory()?);
    }
    thread::sleep(time);
    let rested = idle_window(subjects, time)?;
    let mut loaded = Vec::new();
    for subject in subjects {
        loaded.push(under_load(args, subject, cores).with_context(|| format!("loading {}", subject.name))?);
    }
    thread::sleep(time);
    let after = idle_window(subjects, time)?;
    Ok([started, called, rested, loaded, after])
}

/// Asks nothing for a while; the memory at its end.
fn idle_window(subjects: &[Subject], time: Duration) -> anyhow::Result<Vec<Seen>> {
    let activities = || -> anyhow::Result<Vec<Activity>> {
        subjects.iter().map(|subject| Activity::of(subject.server.pid())).collect()
    };
    let before = activities()?;
    thread::sleep(time);
    let after = activities()?;
    let seen = subjects.iter().zip(before.iter().zip(&after)).map(|(subject, (before, after))| {
        let [resident, proportional, anonymous, ..] = subject.memory()?;
        let wakeups = after.wakeups_since(before) as f64;
        let cpu_ms = after.cpu_since(before).as_secs_f64() * 1e3;
        Ok([resident, proportional, anonymous, Some(wakeups), Some(cpu_ms)])
    });
    seen.collect()
}

/// The memory in the middle of a closed loop on the subject's first function.
fn under_load(args: &Args, subject: &Subject, cores: &Cores) -> anyhow::Result<Seen> {
    let exchange = subject.calls.first().context("it has no function")?;
    let start = Instant::now();
    let window = Window { start, end: start + Duration::from_secs(args.load_seconds.get()) };
    let plan = Plan { connections: args.connections.get(), pace: Pace::Closed, window };
    let address = subject.server.addresses[0];
    thread::scope(|scope| {
        let load = scope.spawn(|| load::run(address, exchange.into(), plan, &cores.load));
        thread::sleep((window.end - window.start) / 2);
        let seen = subject.memory();
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        seen
    })
}
