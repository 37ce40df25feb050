//! Instructions of one request, counted by callgrind: they don't drift with what else the machine does.
//!
//! A process is run twice, for few requests and for many, and the difference in instructions is divided by the
//! difference in requests: what starting costs cancels out. User space only: system calls count for nothing.
//! Under valgrind threads take turns and a call takes some fifty times its time, so the clock of deadlines ticks
//! more often for each call, and the kernel's help in finding the pages that a guest dirtied may be missing, so
//! that used memories are reset by other means: compare a figure with its own past, not with a time.
//! Guest: `functions/echo`; the peers of `throughput` in the same run: hyper alone, `wasmtime serve` at its best
//! flags. Says so where valgrind isn't installed.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::Cores;
use crate::deployed::Deployed;
use crate::in_process::{self, InProcess};
use crate::load::Exchange;
use crate::machine;
use crate::peers::{BASE, NEBULA_REMEMBERED, NEBULA_TYPED, Programs, WASMTIME_BEST};
use crate::prepare::{self, BODY};
use crate::results::{Column, Row, Section};
use crate::server::{Process, Says, Server, nebula_remembering, nebula_serve};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many requests the difference is taken over
    #[arg(long, default_value = "2000")]
    requests: NonZeroU32,
    /// How often
    #[arg(long, default_value = "3")]
    rounds: NonZeroU32,
}

/// What `call-loop` is told.
#[derive(Debug, ClapArgs)]
pub(crate) struct CallLoop {
    /// Where the function is deployed
    #[arg(long)]
    data_dir: PathBuf,
    /// Its name
    #[arg(long)]
    function: String,
    /// How often to call it
    #[arg(long)]
    calls: u32,
}

/// Calls a function so often, one call after another.
pub(crate) fn call_loop(args: &CallLoop) -> anyhow::Result<()> {
    let nebula = InProcess::open(&args.data_dir)?;
    let function = nebula.resolve(&args.function)?;
    for _ in 0..args.calls {
        in_process::check(&nebula.call(&function))?;
        nebula.tidy();
    }
    Ok(())
}

/// Why a server with a pool of instances may not start.
const ADDRESS_SPACE: &str = "It gives a process some 64 GiB of address space in one piece; a pool that reserves \
                             more, 4 GiB for each memory, doesn't start under it.";

/// Requests of the shorter run: everything that happens once has happened.
const FEW: u32 = 300;

const COLUMNS: [Column; 2] =
    [Column::spread("a request", "instructions", 0), Column::spread("of hyper alone", "", 2)];

/// `wasmtime serve` with a pool that fits: one connection needs no more.
const SMALL_POOL: [&str; 4] = [
    "-Opooling-total-component-instances=4",
    "-Opooling-total-core-instances=32",
    "-Opooling-total-memories=8",
    "-Opooling-total-tables=32",
];

/// What is counted.
enum Subject {
    /// A server that is asked over one connection.
    Server { command: Command, says: Says, addresses: usize, path: String },
    /// This program, in a loop of its own.
    Loop { data_dir: PathBuf, function: String },
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let mut section = Section {
        bench: "instructions",
        title: "Instructions of a request".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B over one connection, user space, all threads; callgrind, {} rounds of {} requests \
                 and {FEW} more.",
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
    let deployed = Deployed::make(&programs.echo, 1, 1)?;
    let subjects = subjects(&programs, &deployed)?;
    let mut counts: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    let scratch = tempfile::tempdir()?;
    // Under valgrind the processor looks like another, so code is compiled anew: once, before what counts, and by
    // the loop, as a server compiles in a process of its own, which valgrind doesn't let it start.
    let (loops, servers): (Vec<_>, Vec<_>) =
        (0..subjects.len()).partition(|index| matches!(subjects[*index].1, Subject::Loop { .. }));
    // And not everything runs under it: what doesn't is left empty, with the reason.
    let mut runs = vec![true; subjects.len()];
    for index in loops.into_iter().chain(servers) {
        let (name, subject) = &subjects[index];
        if let Err(error) = count(subject, 1, scratch.path(), &cores) {
            eprintln!("{name} does not run under valgrind: {error:#}");
            runs[index] = false;
            section
                .notes
                .push(format!("{name}: not measured, it doesn't run under valgrind. {ADDRESS_SPACE}"));
        }
    }
    for round in 0..args.rounds.get() {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for (((name, subject), counts), runs) in subjects.iter().zip(&mut counts).zip(&runs) {
            if !runs {
                continue;
            }
            let counted = |requests| {
                count(subject, requests, scratch.path(), &cores).with_context(|| format!("counting {name}"))
            };
            let (few, many) = (counted(FEW)?, counted(FEW + args.requests.get())?);
            counts.push((many - few) / f64::from(args.requests.get()));
        }
    }
    let base = counts.first().and_then(|counts| Figure::of(counts.iter().copied()));
    for ((name, _), counts) in subjects.iter().zip(&counts) {
        let own = Figure::of(counts.iter().copied());
        let ratio = own.as_ref().zip(base.as_ref()).and_then(|(own, base)| own.over(base));
        section.rows.push(Row { name: (*name).to_owned(), figures: vec![own, ratio] });
    }
    Ok(vec![section])
}

fn subjects(programs: &Programs, deployed: &Deployed) -> anyhow::Result<Vec<(&'static str, Subject)>> {
    let [serve, remembering] = [nebula_serve, nebula_remembering].map(|serve| {
        let mut serve = serve(&programs.nebula, deployed.path());
        // Valgrind has less address space to give than a pool for many calls wants.
        serve.args(["--threads", "1", "--calls-max", "1", "--instances-max", "2"]);
        serve
    });
    let nebula = format!("/f/{}", deployed.last());
    let mut best = [&WASMTIME_BEST[..], &["--max-instance-reuse-count=1"]].concat();
    best.retain(|flag| !flag.contains("-total-"));
    best.extend(SMALL_POOL);
    let wasmtime = programs.wasmtime_serve(&best, &programs.hello_http);
    let server = |command, says, addresses, path: &str| Subject::Server {
        command,
        says,
        addresses,
        path: path.to_owned(),
    };
    Ok(vec![
        (BASE, server(programs.hyper()?, Says::Stdout, 1, "/echo")),
        (NEBULA_REMEMBERED, server(remembering, Says::Stdout, 2, &nebula)),
        (NEBULA_TYPED, server(serve, Says::Stdout, 2, &nebula)),
        (
            "of it, the call in process",
            Subject::Loop { data_dir: deployed.path().to_owned(), function: deployed.last() },
        ),
        ("wasmtime serve, best flags, fresh instance", server(wasmtime, Says::Stderr, 1, "/echo")),
    ])
}

/// Instructions of a process from its exec to its end, over so many requests.
fn count(subject: &Subject, requests: u32, scratch: &Path, cores: &Cores) -> anyhow::Result<f64> {
    let out = scratch.join("callgrind.out");
    let under = |command: &Command| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
        valgrind.arg(command.get_program()).args(command.get_args());
        valgrind
    };
    match subject {
        Subject::Server { command, says, addresses, path } => {
            let server = Server::start(&under(command), *says, *addresses, cores)?;
            let mut caller = Caller::connect(server.addresses[0])?;
            let exchange = Exchange::echo(path, BODY);
            for _ in 0..requests {
                caller.ask(&exchange)?;
            }
            drop(caller);
            server.stop()?;
        }
        Subject::Loop { data_dir, function } => {
            let mut call_loop = Command::new(std::env::current_exe()?);
            call_loop.args(["call-loop", "--function", function, "--calls", &requests.to_string()]);
            call_loop.arg("--data-dir").arg(data_dir);
            let mut process = Process::hold(&under(&call_loop), Says::Stdout, cores)?;
            process.release(b"")?;
            process.output()?;
        }
    }
    let counted = std::fs::read_to_string(&out).context("callgrind wrote nothing")?;
    let total = total(&counted).context("callgrind's output has no totals")?;
    ensure!(total > 0.0, "callgrind counted nothing");
    Ok(total)
}

/// The first number after `totals:`, or `summary:` where the process was ended by a signal.
fn total(counted: &str) -> Option<f64> {
    let line = |name| counted.lines().find_map(|line| line.strip_prefix(name));
    line("totals:").or_else(|| line("summary:"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        assert_eq!(total("version: 1\nsummary: 7\n\ntotals: 42\n"), Some(42.0));
        assert_eq!(total("summary: 7\n"), Some(7.0));
        assert_eq!(total("fn=(1) main\n"), None);
    }
}
