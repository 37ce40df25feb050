//! Scaling over one, two and four cores.
//!
//! Over HTTP: the echo of `throughput`, by servers on each number of cores, with the same load. A
//! server gets at most half of the machine's cores, so that the load isn't the limit. A note names
//! the numbers that the machine is too small for.
//! In process: one thread per core, all calling one runtime, up to all of the machine's cores. This
//! shows what the runtime itself shares between cores, without sockets. Peers in the same run, over
//! HTTP: hyper alone and `wasmtime serve` with its best flags. Reports throughput and its ratio to
//! that on one core, round by round.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args as ClapArgs;

use crate::cores::{self, Cores};
use crate::in_process::{self, InProcess};
use crate::load::Pace;
use crate::machine;
use crate::measure::{self, Round, Setting};
use crate::peers::{Options, Peers, Programs};
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section, plural};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Numbers of cores; ratios refer to the first
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    cores: Vec<NonZeroUsize>,
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "3")]
    seconds: NonZeroU64,
    /// Keep-alive connections per core of the server
    #[arg(long, default_value = "32")]
    connections: NonZeroUsize,
    /// Most repeats of a measurement that other work on the machine disturbed
    #[arg(long, default_value_t = 0)]
    repeats: u32,
}

/// Parts of the names of the servers to measure beside hyper alone.
const ONLY: [&str; 2] = ["nebula, typed, fresh", "best flags, fresh"];

const COLUMNS: [Column; 4] = [
    Column::spread("throughput", "a second", 0),
    Column::spread("of one core", "", 2),
    Column::median("server CPU", "µs/request", 1),
    Column::median("load busy", "%", 0),
];

/// A number of cores, the servers on them, and the rounds of each server.
struct Step {
    count: usize,
    cores: Cores,
    peers: Vec<Peers>,
    rounds: Vec<Vec<Round>>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::prepare()?;
    let all = cores::allowed()?;
    let counts: Vec<usize> = args.cores.iter().map(|count| count.get()).collect();
    // On a single core, servers and load share it, and the conditions say so.
    let of_server = counts.iter().copied().filter(|count| *count * 2 <= all.len().max(2));
    let server_max = of_server.clone().max().unwrap_or(1);
    let load = if all.len() > server_max { all[server_max..].to_vec() } else { all.clone() };
    let mut steps = of_server
        .map(|count| {
            let cores = Cores { server: all[..count].to_vec(), load: load.clone() };
            let only = |only: &str| Options { only: Some(only.to_owned()), spin: None };
            let peers = ONLY.iter().map(|name| Peers::start(&programs, &only(name), &cores));
            let peers = peers.collect::<anyhow::Result<_>>()?;
            Ok(Step { count, cores, peers, rounds: Vec::new() })
        })
        .collect::<anyhow::Result<Vec<Step>>>()?;
    let data_dir = prepare::data_dir()?;
    let nebula = InProcess::open(data_dir.path())?;
    nebula.deploy("echo", Bytes::from(std::fs::read(&programs.echo)?))?;
    let mut calls_per_s: Vec<Vec<f64>> = vec![Vec::new(); counts.len()];
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for step in &mut steps {
            cores::pin(&load)?;
            step.measure(args)?;
        }
        for (count, calls_per_s) in counts.iter().zip(&mut calls_per_s) {
            if *count <= all.len() {
                let time = Duration::from_secs(args.seconds.get());
                calls_per_s.push(in_process_calls_per_s(&nebula, &all[..*count], time)?);
            }
        }
    }
    let mut rows = http_rows(&steps);
    let base = calls_per_s.first().and_then(|rounds| Figure::of(rounds.iter().copied()));
    for (count, rounds) in counts.iter().zip(&calls_per_s) {
        let own = Figure::of(rounds.iter().copied());
        let ratio = own.as_ref().zip(base.as_ref()).and_then(|(own, base)| own.over(base));
        let name = format!("nebula in process, {}", plural(*count, "thread"));
        rows.push(Row { name, figures: vec![own, ratio, None, None] });
    }
    let mut notes = measure::disturbance(steps.iter().flat_map(|step| step.rounds.iter().flatten()));
    for count in &counts {
        if *count > all.len() {
            notes.push(format!("{count} cores: not measured, this machine has {}.", all.len()));
        } else if !steps.iter().any(|step| step.count == *count) {
            notes.push(format!(
                "{count} cores over HTTP: not measured, that needs {} cores and this machine has {}.",
                count * 2,
                all.len()
            ));
        }
    }
    Ok(vec![Section {
        bench: "scaling",
        title: "Scaling: one core, two, four".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B; over HTTP with {} connections per server core, servers on the first of cores \
                 {all:?}, load on {load:?}; {} rounds of {} s each, in turns.",
                BODY.len(),
                args.connections,
                args.rounds,
                args.seconds
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows,
        notes,
    }])
}

impl Step {
    /// Measures one round of every server of this step.
    fn measure(&mut self, args: &Args) -> anyhow::Result<()> {
        let setting = Setting {
            connections: args.connections.get() * self.count,
            pace: Pace::Closed,
            time: Duration::from_secs(args.seconds.get()),
            repeats: args.repeats,
        };
        // Every set of peers contains hyper alone; measure only that of the first set.
        let all = self.peers.iter().enumerate().flat_map(|(index, peers)| {
            peers.peers.iter().skip(usize::from(index > 0)).map(move |peer| (peers, peer))
        });
        for (row, (peers, peer)) in all.enumerate() {
            let measured = measure::measure(peers.server(peer), &peer.echo(BODY), setting, &self.cores)
                .with_context(|| format!("measuring {} on {} cores", peer.name, self.count))?;
            if self.rounds.len() == row {
                self.rounds.push(Vec::new());
            }
            self.rounds[row].push(measured);
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = self.peers.iter().enumerate();
        all.flat_map(|(index, peers)| peers.peers.iter().skip(usize::from(index > 0)).map(|peer| peer.name))
    }
}

/// Returns the rows by server and then by cores.
fn http_rows(steps: &[Step]) -> Vec<Row> {
    let figure = |rounds: &[Round], of: fn(&Round) -> f64| Figure::of(rounds.iter().map(of));
    let Some(first) = steps.first() else { return Vec::new() };
    let rows = first.names().enumerate().flat_map(|(row, name)| {
        let base = figure(&first.rounds[row], |round| round.requests_per_s);
        steps.iter().map(move |step| {
            let rounds = &step.rounds[row];
            let own = figure(rounds, |round| round.requests_per_s);
            let ratio = own.as_ref().zip(base.as_ref()).and_then(|(own, base)| own.over(base));
            let cpu = figure(rounds, |round| round.server_cpu_us);
            let busy = figure(rounds, |round| round.load_busy * 100.0);
            Row {
                name: format!("{name}, {}", plural(step.count, "core")),
                figures: vec![own, ratio, cpu, busy],
            }
        })
    });
    rows.collect()
}

/// Measures the calls per second of threads on `cores` that call at the same time.
fn in_process_calls_per_s(nebula: &InProcess, cores: &[usize], time: Duration) -> anyhow::Result<f64> {
    let callers = cores.iter().map(|_| nebula.for_another_thread()).collect::<anyhow::Result<Vec<_>>>()?;
    let begin = Barrier::new(cores.len());
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = callers
            .into_iter()
            .zip(cores)
            .map(|(caller, core)| scope.spawn(|| count_calls(caller, *core, &begin, time)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<u32>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a calling thread panicked"))?
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<u32>>>()
    })?;
    let sum: u32 = counts.iter().sum();
    ensure!(sum > 0, "no call ended within {} s", time.as_secs());
    Ok(f64::from(sum) / time.as_secs_f64())
}

fn count_calls(caller: InProcess, core: usize, begin: &Barrier, time: Duration) -> anyhow::Result<u32> {
    let pinned = cores::pin(&[core]);
    let function = caller.resolve("echo");
    // Every thread must reach the barrier, even after an error.
    begin.wait();
    pinned?;
    let function = function?;
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < time {
        in_process::check(&caller.call(&function))?;
        caller.tidy();
        count += 1;
    }
    Ok(count)
}
