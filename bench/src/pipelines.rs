//! What composing costs: chains of functions against the same calls made by the client, and a map over cores.
//!
//! Chains: `functions/echo`, 36 B in and out, so that the platform dominates; 1, 5, 20 steps, step by step and linked to
//! one component. In process, where a hop is what each step more adds to the whole; and over HTTP on one kept
//! connection, against as many requests one after the other by the client, in the same rounds on the same server.
//! Nothing is remembered: every step runs. In process what a serving thread does between calls (resetting the instance that was
//! used, making the next one) is done between them too, and isn't in the time.
//! Map: `functions/fibonacci-recursive` over a list, by servers on one core and on more. A remembered map is
//! looked up, not run: it isn't here.
//! Peers: the client's own loop; the same server on one core.

use std::num::{NonZeroU32, NonZeroUsize};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section, plural};
use crate::server::{Deploy, Nebula};
use crate::stats::{Figure, Latency, ns};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Steps of a chain; a hop is what those after the first add
    #[arg(long, value_delimiter = ',', default_value = "1,5,20")]
    steps: Vec<NonZeroUsize>,
    /// How often each chain is called, each time
    #[arg(long, default_value = "2000")]
    calls: NonZeroU32,
    /// Items of the map
    #[arg(long, default_value = "10000")]
    items: NonZeroUsize,
    /// What each item computes: fib of this, the slow way
    #[arg(long, default_value_t = 20)]
    fibonacci: u32,
    /// How often all of it is measured
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

const CHAIN_COLUMNS: [Column; 4] = [
    Column::spread("p50", "µs", 1),
    Column::spread("p99", "µs", 1),
    Column::spread("a hop", "µs", 2),
    Column::spread("of the client's", "", 2),
];

const MAP_COLUMNS: [Column; 3] = [
    Column::spread("the map", "ms", 1),
    Column::spread("an item", "µs", 2),
    Column::spread("times one core", "", 2),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    prepare::ensure_optimised()?;
    let program = prepare::nebula()?;
    let [echo, fibonacci] = prepare::functions(["echo", "fibonacci-recursive"])?;
    let all = cores::allowed()?;
    let chains = chains(args, &program, &echo)?;
    let map = map(args, &program, &fibonacci, &all)?;
    Ok(vec![chains, map])
}

fn chain(steps: usize, fuse: &str) -> String {
    serde_json::json!({"steps": vec!["echo"; steps], "fuse": fuse}).to_string()
}

/// How a chain runs; what it is called.
const WAYS: [(&str, &str); 2] = [("never", "step by step"), ("always", "as one component")];

/// How long linking and compiling a chain may take.
const FUSED_WITHIN: Duration = Duration::from_secs(60);

fn chains(args: &Args, program: &std::path::Path, echo: &std::path::Path) -> anyhow::Result<Section> {
    let cores = Cores::available()?;
    let counts: Vec<usize> = args.steps.iter().map(|steps| steps.get()).collect();
    let data_dir = tempfile::tempdir()?;
    let own = InProcess::open(data_dir.path(), 1)?;
    own.deploy("echo", Bytes::from(std::fs::read(echo)?))?;
    let server = Nebula::start(program, &[Deploy { name: "echo", component: echo, limits: &[] }], &cores)?;
    for count in &counts {
        for (fuse, _) in WAYS {
            own.deploy_pipeline(&format!("chain-{fuse}-{count}"), &chain(*count, fuse))?;
            server.deploy_pipeline(&format!("chain-{fuse}-{count}"), &chain(*count, fuse))?;
        }
    }
    cores::pin(&cores.load)?;
    for count in counts.iter().filter(|count| **count > 1) {
        wait_until_fused(&own, &format!("chain-always-{count}"))?;
    }
    let mut caller = Caller::connect(server.server.addresses[0])?;
    let call = Exchange::echo("/f/echo", BODY);
    let none: Vec<Vec<Latency>> = vec![Vec::new(); counts.len()];
    let (mut in_process, mut over_http) = ([none.clone(), none.clone()], [none.clone(), none.clone()]);
    let mut by_client = none;
    // The first counts for nothing.
    for round in 0..=args.rounds.get() {
        eprintln!("round {round} of {}", args.rounds);
        for (at, count) in counts.iter().enumerate() {
            for (way, (fuse, _)) in WAYS.iter().enumerate() {
                let function = own.resolve(&format!("chain-{fuse}-{count}"))?;
                let pipeline = Exchange::echo(&format!("/f/chain-{fuse}-{count}"), BODY);
                let here = timed(args, || in_process::check(&own.call(&function)), || own.tidy())?;
                let there = timed(args, || caller.ask(&pipeline), || ())?;
                if round > 0 {
                    in_process[way][at].push(here);
                    over_http[way][at].push(there);
                }
            }
            let looped = timed(args, || (0..*count).try_for_each(|_| caller.ask(&call)), || ())?;
            if round > 0 {
                by_client[at].push(looped);
            }
        }
    }
    let mut rows = Vec::new();
    let kinds = (WAYS.iter().zip(&in_process).map(|((_, way), all)| (format!("in process, {way}"), all)))
        .chain(WAYS.iter().zip(&over_http).map(|((_, way), all)| (format!("over HTTP, {way}"), all)))
        .chain([("over HTTP, by the client".to_owned(), &by_client)]);
    for (kind, latencies) in kinds {
        for (at, count) in counts.iter().enumerate() {
            if *count == 1 && kind.ends_with("one component") {
                // One step isn't linked.
                continue;
            }
            let p50 = |latencies: &[Latency]| Figure::of(latencies.iter().map(|latency| latency.p50_us));
            // A chain of one isn't linked: a hop of those that are is over the shortest that is.
            let is_linked = kind.ends_with("one component");
            let first = counts.iter().position(|count| !is_linked || *count > 1).unwrap_or(at);
            let hop = latencies[at].iter().zip(&latencies[first]).map(|(whole, one)| {
                (whole.p50_us - one.p50_us) / (count.saturating_sub(counts[first]).max(1)) as f64
            });
            let is_pipeline = kind.starts_with("over HTTP") && !kind.ends_with("client");
            let ratio = if is_pipeline {
                p50(&latencies[at]).and_then(|own| own.over(&p50(&by_client[at])?))
            } else {
                None
            };
            rows.push(Row {
                name: format!("{kind}, {}", plural(*count, "step")),
                figures: vec![
                    p50(&latencies[at]),
                    Figure::of(latencies[at].iter().map(|latency| latency.p99_us)),
                    if at > first { Figure::of(hop) } else { None },
                    ratio,
                ],
            });
        }
    }
    Ok(Section {
        bench: "pipelines",
        title: "Pipelines: chains".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B, a fresh instance for each step, nothing remembered; {cores}; {} rounds of {} calls \
                 each, in turns. A hop is what a step more adds to the p50 of the shortest chain of its kind.",
                BODY.len(),
                args.rounds,
                args.calls,
            ),
            machine::description(),
        ],
        columns: CHAIN_COLUMNS.to_vec(),
        rows,
        notes: Vec::new(),
    })
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
    mut between: impl FnMut(),
) -> anyhow::Result<Latency> {
    let mut took = Vec::new();
    for _ in 0..args.calls.get() {
        let begun = Instant::now();
        call()?;
        took.push(ns(begun.elapsed()));
        between();
    }
    Ok(Latency::of(took))
}

fn map(
    args: &Args,
    program: &std::path::Path,
    fibonacci: &std::path::Path,
    all: &[usize],
) -> anyhow::Result<Section> {
    let items = args.items.get();
    let result = (0..args.fibonacci).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
    let list = |item: u64| serde_json::to_vec(&vec![item; items]);
    let exchange =
        Exchange::post("/f/map", "application/json", &list(u64::from(args.fibonacci))?, &list(result)?);
    let description = serde_json::json!({"steps": {"each": "fibonacci-recursive"}}).to_string();
    let counts: Vec<usize> = [1, 2, 4, 8, 16].into_iter().filter(|count| *count <= all.len()).collect();
    ensure!(!counts.is_empty(), "there is no core");
    let mut servers = Vec::new();
    for count in &counts {
        let cores = Cores { server: all[..*count].to_vec(), load: all.to_vec() };
        let function = Deploy { name: "fibonacci-recursive", component: fibonacci, limits: &[] };
        let server = Nebula::start(program, &[function], &cores)?;
        server.deploy_pipeline_with("map", &description, &["--deadline-ms", "120000"])?;
        servers.push(server);
    }
    cores::pin(all)?;
    let mut took_ms = vec![Vec::new(); counts.len()];
    for round in 0..=args.rounds.get() {
        eprintln!("map: round {round} of {}", args.rounds);
        for (server, took_ms) in servers.iter().zip(&mut took_ms) {
            let mut caller = Caller::connect(server.server.addresses[0])?;
            let begun = Instant::now();
            caller.ask(&exchange)?;
            // The first counts for nothing.
            if round > 0 {
                took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let base = Figure::of(took_ms[0].iter().copied());
    let rows = counts.iter().zip(&took_ms).map(|(count, took_ms)| {
        let times = took_ms.iter().zip(base.iter().flat_map(|base| &base.rounds));
        Row {
            name: plural(*count, "core"),
            figures: vec![
                Figure::of(took_ms.iter().copied()),
                Figure::of(took_ms.iter().map(|ms| ms * 1e3 / items as f64)),
                Figure::of(times.map(|(own, base)| base / own)),
            ],
        }
    });
    Ok(Section {
        bench: "pipelines",
        title: "Pipelines: a map over cores".to_owned(),
        conditions: vec![
            format!(
                "fib({}) of each of {items} items, a fresh instance for each, nothing remembered; servers on the first \
                 of cores {all:?}, whose caller waits meanwhile; {} rounds, in turns.",
                args.fibonacci, args.rounds
            ),
            machine::description(),
        ],
        columns: MAP_COLUMNS.to_vec(),
        rows: rows.collect(),
        notes: Vec::new(),
    })
}
