//! Chains of `functions/echo`, 36 B in and out, so that the platform dominates: 1, 3, 5 and 20
//! steps, run step by step, linked into one component, and composed into one by hand.
//!
//! The same rounds measure in process, where a hop is the time that each further step adds, and
//! over HTTP on one keep-alive connection to one server. The cache is off: every step runs. The
//! work that a serving thread does between calls (resetting the used instance, creating the next
//! one) is done in process, too, and isn't part of the time.
//! Peers: a client that calls the functions in order; the same functions composed with wac
//! (`composed`), in bare wasmtime, and as a deployed function if the platform accepts it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;

use super::Args;
use crate::caller::Caller;
use crate::composed::{self, BareComponent};
use crate::cores::{self, Cores};
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section, plural};
use crate::server::{Deploy, Nebula, Server, StandardStream};
use crate::stats::{Figure, Latency, ns};

const COLUMNS: [Column; 5] = [
    Column::spread("p50", "µs", 1),
    Column::spread("p99", "µs", 1),
    Column::spread("a hop", "µs", 2),
    Column::spread("of the client's", "", 2),
    Column::spread("of composed by hand", "", 2),
];

/// The way in which a chain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Execution {
    StepByStep,
    AsOneComponent,
    ComposedByHand,
    ComposedAndDeployed,
    ByClient,
}

impl Execution {
    /// The two executions of a pipeline.
    const PIPELINES: [Self; 2] = [Self::StepByStep, Self::AsOneComponent];

    fn name(self) -> &'static str {
        match self {
            Self::StepByStep => "step by step",
            Self::AsOneComponent => "as one component",
            Self::ComposedByHand => "composed by hand",
            Self::ComposedAndDeployed => "composed by hand and deployed",
            Self::ByClient => "by the client",
        }
    }

    /// Returns the value of `fuse` in the description of a pipeline.
    fn fuse(self) -> &'static str {
        if self == Self::AsOneComponent { "always" } else { "never" }
    }
}

/// The place of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    InProcess,
    OverHttp,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in process",
            Self::OverHttp => "over HTTP",
        }
    }
}

/// A kind of chain. Kinds are in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    place: Place,
    execution: Execution,
}

/// The longest time that linking and compiling a chain may take.
const FUSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The latencies of each round, by kind and number of steps.
#[derive(Default)]
struct Latencies(BTreeMap<Kind, BTreeMap<usize, Vec<Latency>>>);

impl Latencies {
    fn add(&mut self, kind: Kind, steps: usize, latency: Latency) {
        self.0.entry(kind).or_default().entry(steps).or_default().push(latency);
    }

    fn p50(&self, kind: Kind, steps: usize) -> Option<Figure> {
        Figure::of(self.0.get(&kind)?.get(&steps)?.iter().map(|latency| latency.p50_us))
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (&kind, by_steps) in &self.0 {
            for (steps, latencies) in by_steps {
                // A hop is the difference to the shortest chain of this kind, divided by the
                // difference in steps.
                let hop = by_steps.first_key_value().filter(|(first, _)| *first < steps).and_then(
                    |(first, shortest)| {
                        let added = latencies.iter().zip(shortest);
                        let added = added.map(|(own, shortest)| own.p50_us - shortest.p50_us);
                        Figure::of(added.map(|added| added / (steps - first) as f64))
                    },
                );
                let over = |execution: Execution| {
                    let base = Kind { execution, ..kind };
                    let base = self.p50(base, *steps).filter(|_| base != kind)?;
                    self.p50(kind, *steps)?.over(&base)
                };
                let Kind { place, execution } = kind;
                rows.push(Row {
                    name: format!("{}, {}, {}", place.name(), execution.name(), plural(*steps, "step")),
                    figures: vec![
                        self.p50(kind, *steps),
                        Figure::of(latencies.iter().map(|latency| latency.p99_us)),
                        hop,
                        over(Execution::ByClient),
                        over(Execution::ComposedByHand),
                    ],
                });
            }
        }
        rows
    }
}

/// A chain composed by hand, in bare wasmtime.
struct ComposedChain {
    steps: usize,
    component: BareComponent,
    /// The connection to the server of this chain.
    caller: Caller,
    /// Held so that the server runs; dropping it kills the server.
    _server: Server,
    /// True if the chain is also deployed to the runtime and the server that are measured.
    is_deployed: bool,
}

/// The runtime in this process and the server, both with the same functions.
#[derive(Clone, Copy)]
struct Targets<'a> {
    in_process: &'a InProcess,
    server: &'a Nebula,
}

/// Composes chains by hand, starts their servers, and deploys the chains that the platform accepts.
fn compose_chains(
    counts: &[usize],
    echo: &Path,
    targets: Targets<'_>,
    cores: &Cores,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<ComposedChain>> {
    let wac = match prepare::wac() {
        Ok(wac) => wac,
        Err(error) => {
            notes.push(format!("No chain is composed by hand: wac can't be installed ({error:#})."));
            return Ok(Vec::new());
        }
    };
    let directory = tempfile::tempdir()?;
    let mut all = Vec::new();
    for steps in counts {
        let component = composed::compose(&wac, echo, *steps, directory.path())?;
        let mut serve = Command::new(std::env::current_exe()?);
        serve.arg("composed-alone").arg(&component);
        let server = Server::start(&serve, StandardStream::Stdout, 1, cores)?;
        let name = composed_name(*steps);
        let deployed = targets
            .in_process
            .deploy(&name, Bytes::from(std::fs::read(&component)?))
            .and_then(|()| targets.server.deploy(&name, &component));
        if let Err(error) = &deployed {
            let steps = plural(*steps, "step");
            notes.push(format!("The composed chain of {steps} can't be deployed: {error:#}."));
        }
        all.push(ComposedChain {
            steps: *steps,
            component: BareComponent::open(&component)?,
            caller: Caller::connect(server.addresses[0])?,
            _server: server,
            is_deployed: deployed.is_ok(),
        });
    }
    Ok(all)
}

fn composed_name(steps: usize) -> String {
    format!("composed-{steps}")
}

/// The callers of the chains, and the latencies measured so far.
struct ChainBench<'a> {
    args: &'a Args,
    in_process: &'a InProcess,
    /// The connection to the server.
    caller: Caller,
    latencies: Latencies,
    /// False in the warm-up round, whose latencies are dropped.
    is_recording: bool,
}

impl ChainBench<'_> {
    /// Measures a function that is deployed to the runtime in this process and to the server.
    fn measure_deployed(&mut self, name: &str, execution: Execution, steps: usize) -> anyhow::Result<()> {
        let function = self.in_process.resolve(name)?;
        let call = || in_process::check(&self.in_process.call(&function));
        let in_process = timed(self.args, call, || {
            self.in_process.tidy();
            Ok(())
        })?;
        let exchange = Exchange::echo(&format!("/f/{name}"), BODY);
        let over_http = timed(self.args, || self.caller.call(&exchange), || Ok(()))?;
        self.add(Kind { place: Place::InProcess, execution }, steps, in_process);
        self.add(Kind { place: Place::OverHttp, execution }, steps, over_http);
        Ok(())
    }

    fn measure_composed(&mut self, chain: &mut ComposedChain) -> anyhow::Result<()> {
        let component = RefCell::new(&mut chain.component);
        let call = || {
            let answer = component.borrow_mut().call(BODY.to_vec())?;
            ensure!(answer == BODY, "wrong answer: {answer:?}");
            Ok(())
        };
        let in_process = timed(self.args, call, || component.borrow_mut().prepare())?;
        let exchange = Exchange::echo("/", BODY);
        let over_http = timed(self.args, || chain.caller.call(&exchange), || Ok(()))?;
        let execution = Execution::ComposedByHand;
        self.add(Kind { place: Place::InProcess, execution }, chain.steps, in_process);
        self.add(Kind { place: Place::OverHttp, execution }, chain.steps, over_http);
        Ok(())
    }

    fn measure_client(&mut self, steps: usize) -> anyhow::Result<()> {
        let exchange = Exchange::echo("/f/echo", BODY);
        let calls = || (0..steps).try_for_each(|_| self.caller.call(&exchange));
        let latency = timed(self.args, calls, || Ok(()))?;
        self.add(Kind { place: Place::OverHttp, execution: Execution::ByClient }, steps, latency);
        Ok(())
    }

    fn add(&mut self, kind: Kind, steps: usize, latency: Latency) {
        if self.is_recording {
            self.latencies.add(kind, steps, latency);
        }
    }
}

pub(super) fn measure(args: &Args, program: &Path, echo: &Path) -> anyhow::Result<Section> {
    let cores = Cores::available()?;
    let counts: Vec<usize> = args.steps.iter().map(|steps| steps.get()).collect();
    let data_dir = prepare::data_dir()?;
    let in_process = InProcess::open(data_dir.path())?;
    in_process.deploy("echo", Bytes::from(std::fs::read(echo)?))?;
    let server = Nebula::start(program, &[Deploy { name: "echo", component: echo, limits: &[] }], &cores)?;
    for count in &counts {
        for execution in Execution::PIPELINES {
            let fuse = execution.fuse();
            let steps = serde_json::json!({"steps": vec!["echo"; *count], "fuse": fuse}).to_string();
            in_process.deploy_pipeline(&chain_name(execution, *count), &steps)?;
            server.deploy_pipeline(&chain_name(execution, *count), &steps)?;
        }
    }
    let mut notes = Vec::new();
    let targets = Targets { in_process: &in_process, server: &server };
    let mut composed_chains = compose_chains(&counts, echo, targets, &cores, &mut notes)?;
    cores::pin(&cores.load)?;
    for count in counts.iter().filter(|count| **count > 1) {
        wait_until_fused(&in_process, &chain_name(Execution::AsOneComponent, *count))?;
    }
    let caller = Caller::connect(server.server.addresses[0])?;
    let mut bench = ChainBench {
        args,
        in_process: &in_process,
        caller,
        latencies: Latencies::default(),
        is_recording: false,
    };
    for round in 0..=args.rounds.get() {
        eprintln!("round {round} of {}", args.rounds);
        // Round 0 is a warm-up.
        bench.is_recording = round > 0;
        for count in &counts {
            // A chain of one step isn't linked.
            let executions = Execution::PIPELINES.into_iter();
            for execution in
                executions.filter(|execution| *count > 1 || *execution != Execution::AsOneComponent)
            {
                bench.measure_deployed(&chain_name(execution, *count), execution, *count)?;
            }
            for chain in composed_chains.iter_mut().filter(|chain| chain.steps == *count) {
                bench.measure_composed(chain)?;
                if chain.is_deployed {
                    bench.measure_deployed(&composed_name(*count), Execution::ComposedAndDeployed, *count)?;
                }
            }
            bench.measure_client(*count)?;
        }
    }
    Ok(Section {
        bench: "pipelines",
        title: "Pipelines: chains".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B, a fresh instance for each step, without a cache; {cores}; {} rounds of {} calls \
                 each, in turns. A hop is the time that each further step adds to the p50 of the shortest chain of its \
                 kind. Composed by hand: with wac, in bare wasmtime or behind hyper; deployed: as a function.",
                BODY.len(),
                args.rounds,
                args.calls,
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: bench.latencies.rows(),
        notes,
    })
}

fn chain_name(execution: Execution, steps: usize) -> String {
    format!("chain-{}-{steps}", execution.fuse())
}

fn wait_until_fused(nebula: &InProcess, name: &str) -> anyhow::Result<()> {
    let function = nebula.resolve(name)?;
    let started = Instant::now();
    while started.elapsed() < FUSE_TIMEOUT {
        // A call of one component has no trace of steps.
        if nebula.call(&function).trace.is_none() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("`{name}` was not linked into one component within {} s", FUSE_TIMEOUT.as_secs())
}

/// Measures calls, and runs `between` after each without measuring it.
fn timed(
    args: &Args,
    mut call: impl FnMut() -> anyhow::Result<()>,
    mut between: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Latency> {
    let mut samples_ns = Vec::new();
    for _ in 0..args.calls.get() {
        let started = Instant::now();
        call()?;
        samples_ns.push(ns(started.elapsed()));
        between()?;
    }
    Ok(Latency::of(samples_ns))
}
