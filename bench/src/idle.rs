//! Memory, wake-ups and CPU time of idle servers.
//!
//! ```text
//! started -> idle window -> every function called once -> rest -> idle window
//!         -> loaded (closed loop) -> rest -> idle window
//! ```
//!
//! All servers pass through the phases together and are idle in the same windows; calls and load go
//! to one server after another. Memory is read at the end of a window and in the middle of the
//! load. A wake-up is a context switch of any thread, voluntary or not, from
//! `/proc/<pid>/task/*/status`; reading that wakes no thread.
//! Guest: `functions/echo`, for Nebula in many variants. Peers: hyper alone, `wasmtime serve` of
//! one function with its defaults and with its best flags, Spin if a binary is given.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::deployed::{DeployedFunctions, Size};
use crate::footprint::{self, Activity, Memory};
use crate::load::{self, Exchange, Pace, Plan, Window};
use crate::machine;
use crate::peers::{self, Options, Programs, WASMTIME_BEST};
use crate::prepare::BODY;
use crate::results::{Column, Row, Section};
use crate::server::{Server, StandardStream, nebula_serve, trace};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Functions deployed to Nebula; a list starts a server for each number
    #[arg(long, value_delimiter = ',', default_value = "1,10000")]
    functions: Vec<u32>,
    /// Most different components of these functions
    #[arg(long, default_value_t = u32::MAX, hide_default_value = true)]
    variants: u32,
    /// Duration of each idle window, and of the rest before it, seconds
    #[arg(long, default_value = "60")]
    seconds: NonZeroU64,
    /// Duration of the load, seconds
    #[arg(long, default_value = "5")]
    load_seconds: NonZeroU64,
    /// Connections of the load
    #[arg(long, default_value = "32")]
    connections: NonZeroUsize,
    /// Rounds, each with new processes
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

/// A server and a call of each of its functions.
struct Subject {
    name: String,
    server: Server,
    calls: Vec<Exchange>,
}

/// The observation of a server in one phase.
#[derive(Clone, Copy)]
struct Observation {
    memory: Memory,
    /// The activity, or `None` outside idle windows.
    activity: Option<WindowActivity>,
}

/// The activity of a server in an idle window.
#[derive(Clone, Copy)]
struct WindowActivity {
    wakeups: u64,
    cpu: Duration,
}

impl Observation {
    /// Returns the figures in the order of [`COLUMNS`].
    fn figures(&self) -> [Option<f64>; COLUMNS.len()] {
        let mb = |bytes: u64| Some(bytes as f64 / 1e6);
        let Memory { resident, proportional, anonymous } = self.memory;
        let wakeups = self.activity.map(|activity| activity.wakeups as f64);
        let cpu_ms = self.activity.map(|activity| activity.cpu.as_secs_f64() * 1e3);
        [mb(resident), mb(proportional), mb(anonymous), wakeups, cpu_ms]
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::prepare()?;
    let cores = Cores::available()?;
    let deployed = args.functions.iter().map(|functions| {
        DeployedFunctions::shared(&programs.echo, Size { functions: *functions, variants: args.variants })
    });
    let deployed = deployed.collect::<anyhow::Result<Vec<_>>>()?;
    // A data directory has one server.
    let traced = DeployedFunctions::create(&programs.echo, Size { functions: 1, variants: 1 })?;
    let spin = args.peers.spin.as_ref().map(|spin| peers::spin_up(spin, &programs.hello_http)).transpose()?;
    let mut names = Vec::new();
    // Indexed by subject, phase and round.
    let mut observations: Vec<[Vec<Observation>; PHASES.len()]> = Vec::new();
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let mut subjects = subjects(&programs, &deployed, &traced, &cores)?;
        if let Some((up, _)) = &spin {
            let name = "spin up, 1 function".to_owned();
            subjects.push(Subject::start(name, up, StandardStream::Stdout, &["/echo"], &cores)?);
        }
        if let Some(only) = &args.peers.only {
            subjects.retain(|subject| subject.name == peers::BASE || subject.name.contains(only.as_str()));
        }
        names = subjects.iter().map(|subject| subject.name.clone()).collect();
        observations.resize_with(subjects.len(), Default::default);
        cores::pin(&cores.load)?;
        let phases = run_phases(args, &subjects, &cores)?;
        for (phase, of_phase) in phases.into_iter().enumerate() {
            for (subject, observation) in of_phase.into_iter().enumerate() {
                observations[subject][phase].push(observation);
            }
        }
        for subject in subjects {
            subject.server.stop()?;
        }
    }
    let mut rows = Vec::new();
    for (name, phases) in names.iter().zip(&observations) {
        for (phase, rounds) in PHASES.iter().zip(phases) {
            let figure = |column: usize| {
                Figure::of(rounds.iter().filter_map(|observation| observation.figures()[column]))
            };
            let figures = (0..COLUMNS.len()).map(figure).collect();
            rows.push(Row { name: format!("{name}: {phase}"), figures });
        }
    }
    let deployed: Vec<_> = deployed.iter().map(DeployedFunctions::description).collect();
    Ok(vec![Section {
        bench: "idle",
        title: "Idle: memory and wake-ups".to_owned(),
        conditions: vec![
            format!(
                "Rests and windows of {} s each, load of {} s over {} connections; {} rounds; {cores}. Nebula \
                 has {}. 1 MB is 10⁶ bytes; the proportional column divides shared pages among the processes that \
                 map them.",
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

fn subjects(
    programs: &Programs,
    deployed: &[DeployedFunctions],
    traced: &DeployedFunctions,
    cores: &Cores,
) -> anyhow::Result<Vec<Subject>> {
    let (base, hyper) = (peers::BASE.to_owned(), programs.hyper()?);
    let mut subjects = vec![Subject::start(base, &hyper, StandardStream::Stdout, &["/echo"], cores)?];
    for deployed in deployed {
        let name = format!("nebula, {}", deployed.count());
        let serve = nebula_serve(&programs.nebula, deployed.path());
        let paths: Vec<_> = deployed.names().map(|name| format!("/f/{name}")).collect();
        subjects.push(Subject::start(name, &serve, StandardStream::Stdout, &paths, cores)?);
    }
    let mut serve = nebula_serve(&programs.nebula, traced.path());
    trace(&mut serve, "1");
    let name = format!("nebula, {}, all calls traced", traced.count());
    let path = format!("/f/{}", traced.last());
    subjects.push(Subject::start(name, &serve, StandardStream::Stdout, &[path], cores)?);
    for (name, flags) in [("default", &[][..]), ("best flags", &WASMTIME_BEST[..])] {
        let serve = programs.wasmtime_serve(flags, &programs.hello_http);
        let name = format!("wasmtime serve, 1 function, {name}");
        subjects.push(Subject::start(name, &serve, StandardStream::Stderr, &["/echo"], cores)?);
    }
    Ok(subjects)
}

impl Subject {
    fn start(
        name: String,
        server: &std::process::Command,
        stream: StandardStream,
        paths: &[impl AsRef<str>],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let server = Server::start(server, stream, 1, cores).with_context(|| format!("starting {name}"))?;
        let calls = paths.iter().map(|path| Exchange::echo(path.as_ref(), BODY)).collect();
        Ok(Self { name, server, calls })
    }

    fn observe_memory(&self) -> anyhow::Result<Observation> {
        Ok(Observation { memory: footprint::memory(self.server.pid())?, activity: None })
    }
}

/// Takes all subjects through the phases and returns an observation of each subject per phase.
fn run_phases(
    args: &Args,
    subjects: &[Subject],
    cores: &Cores,
) -> anyhow::Result<[Vec<Observation>; PHASES.len()]> {
    let time = Duration::from_secs(args.seconds.get());
    // Wait, because a server that is starting has other wake-ups.
    thread::sleep(time.min(Duration::from_secs(2)));
    let started = idle_window(subjects, time)?;
    let mut called = Vec::new();
    for subject in subjects {
        let mut caller = Caller::connect(subject.server.addresses[0])?;
        for call in &subject.calls {
            caller.call(call).with_context(|| format!("calling {}", subject.name))?;
        }
        called.push(subject.observe_memory()?);
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

/// Sends no requests for `time`, and observes the activity meanwhile and the memory at the end.
fn idle_window(subjects: &[Subject], time: Duration) -> anyhow::Result<Vec<Observation>> {
    let activities = || -> anyhow::Result<Vec<Activity>> {
        subjects.iter().map(|subject| Activity::of(subject.server.pid())).collect()
    };
    let before = activities()?;
    thread::sleep(time);
    let after = activities()?;
    let observations = subjects.iter().zip(before.iter().zip(&after)).map(|(subject, (before, after))| {
        let activity = WindowActivity { wakeups: after.wakeups_since(before), cpu: after.cpu_since(before) };
        Ok(Observation { activity: Some(activity), ..subject.observe_memory()? })
    });
    observations.collect()
}

/// Observes the memory in the middle of a closed loop on the subject's first function.
fn under_load(args: &Args, subject: &Subject, cores: &Cores) -> anyhow::Result<Observation> {
    let exchange = subject.calls.first().context("the server has no functions")?;
    let start = Instant::now();
    let window = Window { start, end: start + Duration::from_secs(args.load_seconds.get()) };
    let plan = Plan { connections: args.connections.get(), pace: Pace::Closed, window };
    let address = subject.server.addresses[0];
    thread::scope(|scope| {
        let load = scope.spawn(|| load::run(address, exchange.into(), plan, &cores.load));
        thread::sleep((window.end - window.start) / 2);
        let observation = subject.observe_memory();
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        observation
    })
}
