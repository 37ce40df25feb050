//! Chains of `functions/echo`, 36 B in and out, so that the platform dominates: 1, 3, 5, 20 steps, step by step, linked to one
//! component, and composed to one by hand.
//!
//! In process, where a hop is what each step more adds to the whole; and over HTTP on one kept connection, on the same server,
//! in the same rounds. Nothing is remembered: every step runs. In process what a serving thread does between calls (resetting
//! the instance that was used, making the next one) is done between them too, and isn't in the time.
//! Peers: the client, calling one after the other; the same functions composed with wac (`composed`), in wasmtime alone,
//! and as a function where the platform takes it.

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
use crate::composed::{self, Alone};
use crate::cores::{self, Cores};
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section, plural};
use crate::server::{Deploy, Nebula, Says, Server};
use crate::stats::{Figure, Latency, ns};

const COLUMNS: [Column; 5] = [
    Column::spread("p50", "µs", 1),
    Column::spread("p99", "µs", 1),
    Column::spread("a hop", "µs", 2),
    Column::spread("of the client's", "", 2),
    Column::spread("of composed by hand", "", 2),
];

/// Of a pipeline: how it runs, and what that is called.
const WAYS: [(&str, &str); 2] = [("never", STEP_BY_STEP), ("always", AS_ONE)];

const STEP_BY_STEP: &str = "step by step";
const AS_ONE: &str = "as one component";
const BY_HAND: &str = "composed by hand";
const BY_HAND_DEPLOYED: &str = "composed by hand and deployed";
const BY_CLIENT: &str = "by the client";

/// From where a chain is called, and how it runs.
type Kind = (Place, &'static str);

/// The order of rows.
const KINDS: [Kind; 9] = [
    (Place::InProcess, STEP_BY_STEP),
    (Place::InProcess, AS_ONE),
    (Place::InProcess, BY_HAND),
    (Place::InProcess, BY_HAND_DEPLOYED),
    (Place::OverHttp, STEP_BY_STEP),
    (Place::OverHttp, AS_ONE),
    (Place::OverHttp, BY_HAND),
    (Place::OverHttp, BY_HAND_DEPLOYED),
    (Place::OverHttp, BY_CLIENT),
];

/// How long linking and compiling a chain may take.
const FUSED_WITHIN: Duration = Duration::from_secs(60);

/// From where a chain is called.
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

/// What each kind of chain took, by its steps, in each round.
#[derive(Default)]
struct Took(BTreeMap<Kind, BTreeMap<usize, Vec<Latency>>>);

impl Took {
    fn add(&mut self, kind: Kind, steps: usize, took: Latency) {
        self.0.entry(kind).or_default().entry(steps).or_default().push(took);
    }

    fn p50(&self, kind: Kind, steps: usize) -> Option<Figure> {
        Figure::of(self.0.get(&kind)?.get(&steps)?.iter().map(|latency| latency.p50_us))
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for kind in KINDS {
            let Some(by_steps) = self.0.get(&kind) else { continue };
            let (place, name) = kind;
            for (steps, took) in by_steps {
                // Not every kind begins with one step.
                let hop = by_steps.first_key_value().filter(|(first, _)| *first < steps).and_then(
                    |(first, one)| {
                        let more = took.iter().zip(one).map(|(whole, one)| whole.p50_us - one.p50_us);
                        Figure::of(more.map(|more| more / (steps - first) as f64))
                    },
                );
                let over = |base: &'static str| {
                    let base = self.p50((place, base), *steps).filter(|_| base != name)?;
                    self.p50(kind, *steps)?.over(&base)
                };
                rows.push(Row {
                    name: format!("{}, {name}, {}", place.name(), plural(*steps, "step")),
                    figures: vec![
                        self.p50(kind, *steps),
                        Figure::of(took.iter().map(|latency| latency.p99_us)),
                        hop,
                        over(BY_CLIENT),
                        over(BY_HAND),
                    ],
                });
            }
        }
        rows
    }
}

/// A chain composed by hand, where it runs with nothing around it.
struct ByHand {
    steps: usize,
    alone: Alone,
    caller: Caller,
    /// Gone when dropped.
    _server: Server,
    /// Whether it is a function of the runtime and the server that are measured, too.
    is_deployed: bool,
}

/// Composes chains by hand, starts what serves them, and deploys those that may be functions.
fn by_hand(
    counts: &[usize],
    echo: &Path,
    (own, server): (&InProcess, &Nebula),
    cores: &Cores,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<ByHand>> {
    let wac = match prepare::wac() {
        Ok(wac) => wac,
        Err(error) => {
            notes.push(format!("Nothing is composed by hand: wac can't be installed ({error:#})."));
            return Ok(Vec::new());
        }
    };
    let directory = tempfile::tempdir()?;
    let mut all = Vec::new();
    for steps in counts {
        let component = composed::compose(&wac, echo, *steps, directory.path())?;
        let mut serve = Command::new(std::env::current_exe()?);
        serve.arg("composed-alone").arg(&component);
        let alone_server = Server::start(&serve, Says::Stdout, 1, cores)?;
        let name = composed_name(*steps);
        let deployed = own
            .deploy(&name, Bytes::from(std::fs::read(&component)?))
            .and_then(|()| server.deploy(&name, &component));
        if let Err(error) = &deployed {
            notes.push(format!("Composed of {} it can't be deployed: {error:#}.", plural(*steps, "step")));
        }
        all.push(ByHand {
            steps: *steps,
            alone: Alone::open(&component)?,
            caller: Caller::connect(alone_server.addresses[0])?,
            _server: alone_server,
            is_deployed: deployed.is_ok(),
        });
    }
    Ok(all)
}

fn composed_name(steps: usize) -> String {
    format!("composed-{steps}")
}

/// Calls, and what they took.
struct Measuring<'a> {
    args: &'a Args,
    own: &'a InProcess,
    /// Of the server.
    caller: Caller,
    took: Took,
    /// Whether this round counts.
    counts: bool,
}

impl Measuring<'_> {
    /// A function that both the runtime here and the server have.
    fn deployed(&mut self, name: &str, way: &'static str, steps: usize) -> anyhow::Result<()> {
        let function = self.own.resolve(name)?;
        let here = || in_process::check(&self.own.call(&function));
        let here = timed(self.args, here, || {
            self.own.tidy();
            Ok(())
        })?;
        let exchange = Exchange::echo(&format!("/f/{name}"), BODY);
        let there = timed(self.args, || self.caller.ask(&exchange), || Ok(()))?;
        self.add((Place::InProcess, way), steps, here);
        self.add((Place::OverHttp, way), steps, there);
        Ok(())
    }

    fn by_hand(&mut self, chain: &mut ByHand) -> anyhow::Result<()> {
        let alone = RefCell::new(&mut chain.alone);
        let here = || {
            let answer = alone.borrow_mut().call(BODY.to_vec())?;
            ensure!(answer == BODY, "wrong answer: {answer:?}");
            Ok(())
        };
        let here = timed(self.args, here, || alone.borrow_mut().prepare())?;
        let exchange = Exchange::echo("/", BODY);
        let there = timed(self.args, || chain.caller.ask(&exchange), || Ok(()))?;
        self.add((Place::InProcess, BY_HAND), chain.steps, here);
        self.add((Place::OverHttp, BY_HAND), chain.steps, there);
        Ok(())
    }

    fn by_client(&mut self, steps: usize) -> anyhow::Result<()> {
        let call = Exchange::echo("/f/echo", BODY);
        let looped = || (0..steps).try_for_each(|_| self.caller.ask(&call));
        let looped = timed(self.args, looped, || Ok(()))?;
        self.add((Place::OverHttp, BY_CLIENT), steps, looped);
        Ok(())
    }

    fn add(&mut self, kind: Kind, steps: usize, latency: Latency) {
        if self.counts {
            self.took.add(kind, steps, latency);
        }
    }
}

pub(super) fn measure(args: &Args, program: &Path, echo: &Path) -> anyhow::Result<Section> {
    let cores = Cores::available()?;
    let counts: Vec<usize> = args.steps.iter().map(|steps| steps.get()).collect();
    let data_dir = tempfile::tempdir()?;
    let own = InProcess::open(data_dir.path())?;
    own.deploy("echo", Bytes::from(std::fs::read(echo)?))?;
    let server = Nebula::start(program, &[Deploy { name: "echo", component: echo, limits: &[] }], &cores)?;
    for count in &counts {
        for (fuse, _) in WAYS {
            let steps = serde_json::json!({"steps": vec!["echo"; *count], "fuse": fuse}).to_string();
            own.deploy_pipeline(&chain_name(fuse, *count), &steps)?;
            server.deploy_pipeline(&chain_name(fuse, *count), &steps)?;
        }
    }
    let mut notes = Vec::new();
    let mut all_by_hand = by_hand(&counts, echo, (&own, &server), &cores, &mut notes)?;
    cores::pin(&cores.load)?;
    for count in counts.iter().filter(|count| **count > 1) {
        wait_until_fused(&own, &chain_name("always", *count))?;
    }
    let caller = Caller::connect(server.server.addresses[0])?;
    let mut measuring = Measuring { args, own: &own, caller, took: Took::default(), counts: false };
    for round in 0..=args.rounds.get() {
        eprintln!("round {round} of {}", args.rounds);
        // The first counts for nothing.
        measuring.counts = round > 0;
        for count in &counts {
            // One step isn't linked.
            for (fuse, way) in WAYS.into_iter().filter(|(_, way)| *count > 1 || *way != AS_ONE) {
                measuring.deployed(&chain_name(fuse, *count), way, *count)?;
            }
            for chain in all_by_hand.iter_mut().filter(|chain| chain.steps == *count) {
                measuring.by_hand(chain)?;
                if chain.is_deployed {
                    measuring.deployed(&composed_name(*count), BY_HAND_DEPLOYED, *count)?;
                }
            }
            measuring.by_client(*count)?;
        }
    }
    Ok(Section {
        bench: "pipelines",
        title: "Pipelines: chains".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B, a fresh instance for each step, nothing remembered; {cores}; {} rounds of {} calls \
                 each, in turns. A hop is what a step more adds to the p50 of the shortest chain of its kind. Composed by \
                 hand: with wac, in wasmtime alone or with hyper before it; deployed: as a function.",
                BODY.len(),
                args.rounds,
                args.calls,
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: measuring.took.rows(),
        notes,
    })
}

fn chain_name(fuse: &str, steps: usize) -> String {
    format!("chain-{fuse}-{steps}")
}

fn wait_until_fused(own: &InProcess, name: &str) -> anyhow::Result<()> {
    let function = own.resolve(name)?;
    let begun = Instant::now();
    while begun.elapsed() < FUSED_WITHIN {
        // Of one component there are no steps to tell of.
        if own.call(&function).trace.is_none() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("`{name}` isn't linked to one component")
}

fn timed(
    args: &Args,
    mut call: impl FnMut() -> anyhow::Result<()>,
    mut between: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Latency> {
    let mut took = Vec::new();
    for _ in 0..args.calls.get() {
        let begun = Instant::now();
        call()?;
        took.push(ns(begun.elapsed()));
        between()?;
    }
    Ok(Latency::of(took))
}
