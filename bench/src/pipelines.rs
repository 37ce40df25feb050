//! The cost of composition: chains of functions compared with the same calls made by the client,
//! and a map over cores.
//!
//! `chains` measures the chains.
//! Map: `functions/fibonacci-recursive` over a list, by servers on one core and on more. Caching is
//! off, because a lookup in the cache would replace the map.
//! Peer: the same server on one core.

mod chains;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Instant;

use anyhow::ensure;
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::load::{Bodies, Exchange};
use crate::machine;
use crate::prepare;
use crate::results::{Column, Row, Section, plural};
use crate::server::{Deploy, Nebula};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Steps of a chain; a hop is the time that each step after the first adds
    #[arg(long, value_delimiter = ',', default_value = "1,3,5,20")]
    steps: Vec<NonZeroUsize>,
    /// Calls of each chain in each round
    #[arg(long, default_value = "2000")]
    calls: NonZeroU32,
    /// Items of the map
    #[arg(long, default_value = "10000")]
    items: NonZeroUsize,
    /// Fibonacci number that each item computes recursively
    #[arg(long, default_value_t = 20)]
    fibonacci: u32,
    /// Rounds
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
}

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
    let chains = chains::measure(args, &program, &echo)?;
    let map = map(args, &program, &fibonacci, &all)?;
    Ok(vec![chains, map])
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
    let bodies = Bodies { request: &list(u64::from(args.fibonacci))?, expected: &list(result)? };
    let exchange = Exchange::post("/f/map", "application/json", bodies);
    let description = serde_json::json!({"steps": {"each": "fibonacci-recursive"}}).to_string();
    let counts: Vec<usize> = [1, 2, 4, 8, 16].into_iter().filter(|count| *count <= all.len()).collect();
    ensure!(!counts.is_empty(), "this process may use no core");
    let mut servers = Vec::new();
    for count in &counts {
        let cores = Cores { server: all[..*count].to_vec(), load: all.to_vec() };
        let function = Deploy { name: "fibonacci-recursive", component: fibonacci, limits: &[] };
        let server = Nebula::start(program, &[function], &cores)?;
        server.deploy_pipeline_with("map", &description, &["--deadline-ms", "120000"])?;
        servers.push(server);
    }
    cores::pin(all)?;
    let mut times_ms = vec![Vec::new(); counts.len()];
    for round in 0..=args.rounds.get() {
        eprintln!("map: round {round} of {}", args.rounds);
        for (server, times_ms) in servers.iter().zip(&mut times_ms) {
            let mut caller = Caller::connect(server.server.addresses[0])?;
            let started = Instant::now();
            caller.call(&exchange)?;
            // Round 0 is a warm-up.
            if round > 0 {
                times_ms.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let base = Figure::of(times_ms[0].iter().copied());
    let rows = counts.iter().zip(&times_ms).map(|(count, times_ms)| {
        let pairs = times_ms.iter().zip(base.iter().flat_map(|base| &base.rounds));
        Row {
            name: plural(*count, "core"),
            figures: vec![
                Figure::of(times_ms.iter().copied()),
                Figure::of(times_ms.iter().map(|ms| ms * 1e3 / items as f64)),
                Figure::of(pairs.map(|(own, base)| base / own)),
            ],
        }
    });
    Ok(Section {
        bench: "pipelines",
        title: "Pipelines: a map over cores".to_owned(),
        conditions: vec![
            format!(
                "fib({}) for each of {items} items, in a fresh instance each, without a cache; servers on the first \
                 of cores {all:?}, with a caller that waits meanwhile; {} rounds, in turns.",
                args.fibonacci, args.rounds
            ),
            machine::description(),
        ],
        columns: MAP_COLUMNS.to_vec(),
        rows: rows.collect(),
        notes: Vec::new(),
    })
}
