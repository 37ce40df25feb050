//! Echo over HTTP, keep-alive, a fresh instance per request, nothing remembered.
//!
//! Includes: parse, route, decode, instance, guest, encode, answer. Excludes: connect, compile, load,
//! and a warm-up before every measurement.
//! Guests: `functions/echo` and `functions/hello-http`, 36 B in and out, so the host dominates.
//! Peers in the same run: hyper alone, `wasmtime serve` at its defaults and at its best flags.
//! Reports requests per second, their ratio to hyper alone round by round, server CPU per request and
//! latency: median over the rounds, and spread.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args as ClapArgs;

use crate::cores::{self, Cores};
use crate::cpu;
use crate::load::{self, Exchange, Window};
use crate::prepare::{self, BODY};
use crate::server::{Nebula, Says, Server};
use crate::stats::{Latency, Spread};

/// From connecting until answers count.
const WARM_UP: Duration = Duration::from_millis(500);

/// How many cores others may use before a measurement counts as disturbed.
const QUIET_CORES_MAX: f64 = 0.2;

/// What `wasmtime serve` is told to be at its best for a fresh instance per request: memories and tables
/// stay resident, only dirtied pages are reset, and slots are enough for every connection. (It answers
/// 500 without `concurrency-support`, so that stays on.)
const WASMTIME_BEST: [&str; 11] = [
    "-Opooling-allocator=y",
    "-Opooling-memory-keep-resident=1048576",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-max-unused-warm-slots=1000",
    "-Opooling-pagemap-scan=auto",
    "-Opooling-total-component-instances=1000",
    "-Opooling-total-core-instances=8000",
    "-Opooling-total-memories=2000",
    "-Opooling-total-tables=8000",
    "-Oopt-level=2",
];

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How often every server is measured
    #[arg(long, default_value = "5")]
    rounds: std::num::NonZeroU32,
    /// How long each time, seconds
    #[arg(long, default_value = "3")]
    seconds: std::num::NonZeroU64,
    /// Keep-alive connections, each with one request in flight
    #[arg(long, default_value = "32")]
    connections: std::num::NonZeroUsize,
    /// Measure again, up to so often, what was disturbed by other work on the machine
    #[arg(long, default_value_t = 0)]
    repeats: u32,
    /// Only the rows whose name has this in it, beside hyper alone
    #[arg(long)]
    only: Option<String>,
}

/// One server, one request, and what was measured.
struct Row {
    name: &'static str,
    server: usize,
    exchange: Exchange,
    rounds: Vec<Round>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Round {
    requests_per_s: f64,
    server_cpu_us: f64,
    /// Of the load's cores.
    load_busy: f64,
    /// Cores that were used by neither server nor load.
    others_cores: f64,
    latency: Latency,
}

/// The first row: what the others are held against.
const BASE: &str = "hyper alone";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let cores = Cores::available()?;
    let nebula = prepare::nebula()?;
    let wasmtime = prepare::wasmtime()?;
    let [echo, hello_http] = prepare::functions(["echo", "hello-http"])?;

    let bench = std::env::current_exe()?;
    let hyper = Server::start(Command::new(bench).arg("hyper-alone"), Says::Stdout, 1, &cores)?;
    let nebula = Nebula::start(&nebula, &[("echo", &echo), ("hello-http", &hello_http)], &cores)?;
    let serve = |flags: &[&str]| {
        let mut serve = Command::new(&wasmtime);
        serve.args(["serve", "--addr", "127.0.0.1:0", "-Scli"]).args(flags).arg(&hello_http);
        Server::start(&serve, Says::Stderr, 1, &cores)
    };
    let default = serve(&[])?;
    let fresh = serve(&[&WASMTIME_BEST[..], &["--max-instance-reuse-count=1"]].concat())?;
    let reused = serve(&[&WASMTIME_BEST[..], &["--max-instance-reuse-count=1000"]].concat())?;
    let servers = [&hyper, &nebula.server, &default, &fresh, &reused];

    let row = |name, server, path| Row { name, server, exchange: Exchange::echo(path, BODY), rounds: vec![] };
    let mut rows = vec![
        row(BASE, 0, "/echo"),
        row("nebula, typed, fresh instance", 1, "/f/echo"),
        row("nebula, wasi:http, fresh instance", 1, "/f/hello-http/echo"),
        row("wasmtime serve, default (fresh)", 2, "/echo"),
        row("wasmtime serve, best flags, fresh instance", 3, "/echo"),
        row("wasmtime serve, best flags, instances reused", 4, "/echo"),
    ];
    if let Some(only) = &args.only {
        rows.retain(|row| row.name == BASE || row.name.contains(only.as_str()));
    }

    cores::pin(&cores.load)?;
    let load_average = load_average()?;
    let count = rows.len();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            // Another order every round, so that nobody always comes after the same neighbour.
            let row = &mut rows[(turn + round) % count];
            let measured = measure_undisturbed(servers[row.server], &row.exchange, args, &cores);
            row.rounds.push(measured.with_context(|| format!("measuring {}", row.name))?);
        }
    }
    report(args, &cores, &load_average, &rows);
    Ok(())
}

/// Whether to measure again is decided by what others used, never by the result.
fn measure_undisturbed(
    server: &Server,
    exchange: &Exchange,
    args: &Args,
    cores: &Cores,
) -> anyhow::Result<Round> {
    let mut round = measure(server, exchange, args, cores)?;
    for _ in 0..args.repeats {
        if round.others_cores <= QUIET_CORES_MAX {
            break;
        }
        round = measure(server, exchange, args, cores)?;
    }
    Ok(round)
}

fn measure(server: &Server, exchange: &Exchange, args: &Args, cores: &Cores) -> anyhow::Result<Round> {
    let start = Instant::now() + WARM_UP;
    let window = Window { start, end: start + Duration::from_secs(args.seconds.get()) };
    let used = || -> anyhow::Result<[Duration; 3]> {
        Ok([cpu::of_process(server.pid())?, cpu::of_process(std::process::id())?, cpu::of_machine()?])
    };
    let (before, after, asked) = thread::scope(|scope| {
        let load = scope
            .spawn(|| load::run(server.addresses[0], exchange, args.connections.get(), &cores.load, window));
        thread::sleep(window.start.saturating_duration_since(Instant::now()));
        let before = used();
        thread::sleep(window.end.saturating_duration_since(Instant::now()));
        let after = used();
        let asked = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        anyhow::Ok((before?, after?, asked))
    })?;
    let elapsed_s = (window.end - window.start).as_secs_f64();
    let [server_s, load_s, machine_s] = [0, 1, 2].map(|index| (after[index] - before[index]).as_secs_f64());
    let requests = asked.latencies_ns.len() as f64;
    anyhow::ensure!(requests > 0.0, "not one answer in {elapsed_s} s");
    Ok(Round {
        requests_per_s: requests / elapsed_s,
        server_cpu_us: server_s * 1e6 / requests,
        load_busy: 1.0 - asked.idle.as_secs_f64() / elapsed_s / cores.load.len() as f64,
        others_cores: (machine_s - server_s - load_s).max(0.0) / elapsed_s,
        latency: Latency::of(asked.latencies_ns),
    })
}

fn report(args: &Args, cores: &Cores, load_average: &str, rows: &[Row]) {
    let Some(base) = rows.first() else { return };
    println!(
        "Echo, {} B, {} keep-alive connections; {} rounds of {} s each, in turns; {cores}.\n",
        BODY.len(),
        args.connections,
        args.rounds,
        args.seconds
    );
    println!("{}\n", machine());
    println!(
        "| server | requests/s | spread | of {BASE} | server CPU, µs/request | p50, µs | p99, µs | load busy |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for row in rows {
        let spread = |of: fn(&Round) -> f64| Spread::of(row.rounds.iter().map(of));
        let requests = spread(|round| round.requests_per_s);
        let ratios =
            row.rounds.iter().zip(&base.rounds).map(|(row, base)| row.requests_per_s / base.requests_per_s);
        let ratio = Spread::of(ratios);
        let cpu = |row: &Row| Spread::of(row.rounds.iter().map(|round| round.server_cpu_us)).median;
        println!(
            "| {} | {:.0} | {:.1} % | {:.3} ({:.3}–{:.3}) | {:.1} (× {:.1}) | {:.0} | {:.0} | {:.0} % |",
            row.name,
            requests.median,
            requests.percent(),
            ratio.median,
            ratio.min,
            ratio.max,
            cpu(row),
            cpu(row) / cpu(base),
            spread(|round| round.latency.p50_us).median,
            spread(|round| round.latency.p99_us).median,
            spread(|round| round.load_busy).median * 100.0,
        );
    }
    let others = Spread::of(rows.iter().flat_map(|row| &row.rounds).map(|round| round.others_cores));
    println!(
        "\nLoad average before the first round: {load_average}. Other work during the rounds: {:.2} cores \
         (median; at most {:.2}).",
        others.median, others.max
    );
    if others.max > QUIET_CORES_MAX {
        println!("The machine was not quiet: take the ratios, and those with care.");
    }
}

/// Cores, processor and kernel, as far as `/proc` says.
fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim()))
        .collect();
    let model = models.first().copied().unwrap_or("a processor without a name");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {model}; Linux {}.", models.len(), kernel.trim())
}

/// Of the last minute, five and fifteen.
fn load_average() -> anyhow::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg").context("cannot read `/proc/loadavg`")?;
    Ok(line.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
