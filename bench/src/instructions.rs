//! Instructions of one request, counted by callgrind. Unlike times, they don't depend on other work
//! on the machine.
//!
//! A process runs twice, for few requests and for many. The difference in instructions is divided
//! by the difference in requests, so that the cost of starting cancels out. Callgrind counts user
//! space only, not system calls. Under valgrind one thread runs at a time and a call takes about
//! fifty times as long, so the deadline clock ticks more often per call. The kernel's scan for
//! dirty pages may be unavailable, so that memories are reset in another way. Compare a figure with
//! its own earlier values, not with a time.
//! Guest: `functions/echo`. Peers in the same run, as in `throughput`: hyper alone, `wasmtime
//! serve` with its best flags. If valgrind isn't installed, the section contains a note instead of
//! figures.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::Cores;
use crate::deployed::{DeployedFunctions, Size};
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::peers::{BASE, NEBULA_REMEMBERED, NEBULA_TYPED, Programs, WASMTIME_BEST};
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section};
use crate::server::{
    Process, Server, StandardStream, nebula_serve, nebula_serve_with_cache, pass_variables, trace,
};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Difference in requests between the two runs
    #[arg(long, default_value = "2000")]
    requests: NonZeroU32,
    /// Rounds
    #[arg(long, default_value = "3")]
    rounds: NonZeroU32,
}

/// The arguments of `call-loop`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CallLoop {
    /// Data directory in which the function is deployed
    #[arg(long)]
    data_dir: PathBuf,
    /// Name of the function
    #[arg(long)]
    function: String,
    /// Number of calls
    #[arg(long)]
    calls: u32,
}

/// Calls a function repeatedly, one call after another.
pub(crate) fn call_loop(args: &CallLoop) -> anyhow::Result<()> {
    let nebula = InProcess::open(&args.data_dir)?;
    let function = nebula.resolve(&args.function)?;
    for _ in 0..args.calls {
        in_process::check(&nebula.call(&function))?;
        nebula.tidy();
    }
    Ok(())
}

/// The reason why a server with a pool of instances may not start.
const ADDRESS_SPACE: &str = "Valgrind gives a process about 64 GiB of contiguous address space; a pool that reserves \
                             more, 4 GiB per memory, doesn't start under it.";

/// The requests of the shorter run, enough to include all one-time work.
const FEW_REQUESTS: u32 = 300;

const COLUMNS: [Column; 2] =
    [Column::spread("a request", "instructions", 0), Column::spread("of hyper alone", "", 2)];

/// Flags that give `wasmtime serve` a pool that fits the address space; one connection needs no
/// more.
const SMALL_POOL: [&str; 4] = [
    "-Opooling-total-component-instances=4",
    "-Opooling-total-core-instances=32",
    "-Opooling-total-memories=8",
    "-Opooling-total-tables=32",
];

/// A process whose instructions are counted.
struct Subject {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A server that gets requests over one connection.
    Server { command: Command, stream: StandardStream, addresses: usize, path: String },
    /// This program, which calls the function in a loop.
    Loop { data_dir: PathBuf, function: String },
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let mut section = Section {
        bench: "instructions",
        title: "Instructions of a request".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B over one connection, user space, all threads; callgrind, {} rounds with a difference of {} \
                 requests, after {FEW_REQUESTS}.",
                BODY.len(),
                args.rounds,
                args.requests
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: Vec::new(),
        notes: Vec::new(),
    };
    if !prepare::is_installed("valgrind") {
        section.notes.push("Not measured: valgrind isn't installed.".to_owned());
        return Ok(vec![section]);
    }
    let programs = Programs::prepare()?;
    let cores = Cores::available()?;
    let deployed = DeployedFunctions::create(&programs.echo, Size { functions: 1, variants: 1 })?;
    let subjects = subjects(&programs, &deployed)?;
    let mut counts: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    let scratch = tempfile::tempdir()?;
    // The processor that valgrind simulates has other features, so the code must be compiled again.
    // The loop does that once before measuring. A server can't: it compiles in a child process,
    // which valgrind doesn't let it start.
    let (loops, servers): (Vec<_>, Vec<_>) =
        (0..subjects.len()).partition(|index| matches!(subjects[*index].kind, Kind::Loop { .. }));
    // The row of a subject that doesn't run under valgrind stays empty, with the reason in a note.
    let mut runs = vec![true; subjects.len()];
    for index in loops.into_iter().chain(servers) {
        let Subject { name, kind } = &subjects[index];
        if let Err(error) = count(kind, 1, scratch.path(), &cores) {
            eprintln!("{name} does not run under valgrind: {error:#}");
            runs[index] = false;
            section
                .notes
                .push(format!("{name}: not measured, it doesn't run under valgrind. {ADDRESS_SPACE}"));
        }
    }
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for ((Subject { name, kind }, counts), runs) in subjects.iter().zip(&mut counts).zip(&runs) {
            if !runs {
                continue;
            }
            let counted = |requests| {
                count(kind, requests, scratch.path(), &cores).with_context(|| format!("counting {name}"))
            };
            let (few, many) = (counted(FEW_REQUESTS)?, counted(FEW_REQUESTS + args.requests.get())?);
            counts.push((many - few) / f64::from(args.requests.get()));
        }
    }
    let base = counts.first().and_then(|counts| Figure::of(counts.iter().copied()));
    for (subject, counts) in subjects.iter().zip(&counts) {
        let own = Figure::of(counts.iter().copied());
        let ratio = own.as_ref().zip(base.as_ref()).and_then(|(own, base)| own.over(base));
        section.rows.push(Row { name: subject.name.to_owned(), figures: vec![own, ratio] });
    }
    Ok(vec![section])
}

fn subjects(programs: &Programs, deployed: &DeployedFunctions) -> anyhow::Result<Vec<Subject>> {
    let [serve, caching] = [nebula_serve, nebula_serve_with_cache].map(|serve| {
        let mut serve = serve(&programs.nebula, deployed.path());
        // A pool for many calls exceeds the address space under valgrind.
        serve.args(["--threads", "1", "--calls-max", "1", "--instances-max", "2"]);
        serve
    });
    let [traced, traced_caching] = [&serve, &caching].map(|serve| {
        let mut traced = Command::new(serve.get_program());
        traced.args(serve.get_args());
        pass_variables(serve, &mut traced);
        trace(&mut traced, "0.01");
        traced
    });
    let nebula = format!("/f/{}", deployed.last());
    let mut best = [&WASMTIME_BEST[..], &["--max-instance-reuse-count=1"]].concat();
    best.retain(|flag| !flag.contains("-total-"));
    best.extend(SMALL_POOL);
    let wasmtime = programs.wasmtime_serve(&best, &programs.hello_http);
    let server = |name, command, stream, addresses, path: &str| Subject {
        name,
        kind: Kind::Server { command, stream, addresses, path: path.to_owned() },
    };
    let stdout = StandardStream::Stdout;
    Ok(vec![
        server(BASE, programs.hyper()?, stdout, 1, "/echo"),
        server(NEBULA_REMEMBERED, caching, stdout, 2, &nebula),
        server("a remembered call, with 1 % traced", traced_caching, stdout, 2, &nebula),
        server(NEBULA_TYPED, serve, stdout, 2, &nebula),
        server("a fresh call, with 1 % traced", traced, stdout, 2, &nebula),
        Subject {
            name: "of it, the call in process",
            kind: Kind::Loop { data_dir: deployed.path().to_owned(), function: deployed.last() },
        },
        server("wasmtime serve, best flags, fresh instance", wasmtime, StandardStream::Stderr, 1, "/echo"),
    ])
}

/// Counts the instructions of a process from exec to exit, with this number of requests.
fn count(kind: &Kind, requests: u32, scratch: &Path, cores: &Cores) -> anyhow::Result<f64> {
    let out = scratch.join("callgrind.out");
    let under = |command: &Command| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
        valgrind.arg(command.get_program()).args(command.get_args());
        valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        valgrind
    };
    match kind {
        Kind::Server { command, stream, addresses, path } => {
            let server = Server::start(&under(command), *stream, *addresses, cores)?;
            let mut caller = Caller::connect(server.addresses[0])?;
            let exchange = Exchange::echo(path, BODY);
            for _ in 0..requests {
                caller.call(&exchange)?;
            }
            drop(caller);
            server.stop()?;
        }
        Kind::Loop { data_dir, function } => {
            let mut call_loop = Command::new(std::env::current_exe()?);
            call_loop.args(["call-loop", "--function", function, "--calls", &requests.to_string()]);
            call_loop.arg("--data-dir").arg(data_dir);
            let mut process = Process::hold(&under(&call_loop), StandardStream::Stdout, cores)?;
            process.release(b"")?;
            process.output()?;
        }
    }
    let profile = std::fs::read_to_string(&out).context("callgrind wrote no output")?;
    let total = total(&profile).context("callgrind's output has no totals")?;
    ensure!(total > 0.0, "callgrind counted no instructions");
    Ok(total)
}

/// Returns the first number after `totals:`, or after `summary:` if a signal ended the process.
fn total(profile: &str) -> Option<f64> {
    let line = |name| profile.lines().find_map(|line| line.strip_prefix(name));
    line("totals:").or_else(|| line("summary:"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_summaries_are_parsed() {
        assert_eq!(total("version: 1\nsummary: 7\n\ntotals: 42\n"), Some(42.0));
        assert_eq!(total("summary: 7\n"), Some(7.0));
        assert_eq!(total("fn=(1) main\n"), None);
    }
}
