//! The time from exec to the first answer.
//!
//! Includes: exec, the dynamic linker, opening the data directory, listening, connecting, and the
//! first call of the function that was deployed last, whose compiled code isn't loaded yet.
//! Excludes: starting a shell; the disk, because everything is in the page cache. Peers in the same
//! run, in turns: hyper alone; `wasmtime serve` of one component, compiled at the start and before;
//! Spin if a binary is given; and processes that answer one call, `cat`, `wasmtime run` and `nebula
//! invoke` of a file, from exec to exit. Reports median and spread over the rounds.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::caller::Caller;
use crate::cores::{self, Cores};
use crate::deployed::{DeployedFunctions, Size};
use crate::load::Exchange;
use crate::machine;
use crate::peers::{self, Options, Programs, WASMTIME_BEST};
use crate::prepare::BODY;
use crate::results::{Column, Row, Section};
use crate::server::{Process, Server, StandardStream, StartedServer, nebula_serve};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Functions deployed to Nebula; a list starts a server for each number
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    functions: Vec<u32>,
    /// Most different components of these functions
    #[arg(long, default_value_t = u32::MAX, hide_default_value = true)]
    variants: u32,
    /// Rounds; each starts every process once
    #[arg(long, default_value = "20")]
    rounds: NonZeroU32,
    #[command(flatten)]
    peers: Options,
}

/// A process whose start is measured.
struct Starter {
    name: String,
    kind: Kind,
    times_ms: Vec<f64>,
}

enum Kind {
    /// A server, measured from exec to the first answer to `path`.
    Server { command: Command, stream: StandardStream, addresses: usize, path: String },
    /// A process that answers one call, measured from exec to exit.
    Once { command: Command, input: &'static [u8], expected: String },
}

const COLUMNS: [Column; 2] =
    [Column::spread("exec to first answer", "ms", 2), Column::spread("of hyper alone", "", 2)];

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let programs = Programs::prepare()?;
    let cores = Cores::available()?;
    let scratch = tempfile::tempdir()?;
    let deployed = args.functions.iter().map(|functions| {
        DeployedFunctions::shared(&programs.echo, Size { functions: *functions, variants: args.variants })
    });
    let deployed = deployed.collect::<anyhow::Result<Vec<_>>>()?;
    let spin = args.peers.spin.as_ref().map(|spin| peers::spin_up(spin, &programs.hello_http)).transpose()?;
    let mut starters = servers(&programs, &deployed, scratch.path())?;
    if let Some((command, _)) = spin {
        let stream = StandardStream::Stdout;
        let kind = Kind::Server { command, stream, addresses: 1, path: "/echo".to_owned() };
        starters.push(Starter { name: "spin up, 1 function".to_owned(), kind, times_ms: Vec::new() });
    }
    starters.extend(processes(&programs, scratch.path())?);
    if let Some(only) = &args.peers.only {
        starters.retain(|starter| starter.name == peers::BASE || starter.name.contains(only.as_str()));
    }
    cores::pin(&cores.load)?;
    let count = starters.len();
    for round in 0..args.rounds.get() as usize {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for turn in 0..count {
            let starter = &mut starters[(turn + round) % count];
            let time = start(&starter.kind, &cores).with_context(|| format!("starting {}", starter.name))?;
            starter.times_ms.push(time.as_secs_f64() * 1e3);
        }
    }
    let base = starters.first().and_then(|starter| Figure::of(starter.times_ms.iter().copied()));
    let row = |starter: &Starter| {
        let time = Figure::of(starter.times_ms.iter().copied());
        let ratio = time.as_ref().zip(base.as_ref()).and_then(|(time, base)| time.over(base));
        Row { name: starter.name.clone(), figures: vec![time, ratio] }
    };
    let deployed: Vec<_> = deployed.iter().map(DeployedFunctions::description).collect();
    Ok(vec![Section {
        bench: "start",
        title: "Start: exec to first answer".to_owned(),
        conditions: vec![
            format!(
                "Echo of {} B by a new process each time; {} rounds, in turns; {cores}. Nebula has {}; the call \
                 is the first in its process.",
                BODY.len(),
                args.rounds,
                deployed.join("; ")
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: starters.iter().map(row).collect(),
        notes: vec!["Processes that answer one call are timed until their exit.".to_owned()],
    }])
}

fn servers(
    programs: &Programs,
    deployed: &[DeployedFunctions],
    scratch: &Path,
) -> anyhow::Result<Vec<Starter>> {
    let starter = |name: String, command, stream, addresses, path: String| Starter {
        name,
        kind: Kind::Server { command, stream, addresses, path },
        times_ms: Vec::new(),
    };
    let (echo, stdout) = ("/echo".to_owned(), StandardStream::Stdout);
    let mut starters = vec![starter(peers::BASE.to_owned(), programs.hyper()?, stdout, 1, echo.clone())];
    for deployed in deployed {
        let name = format!("nebula serve, {}", deployed.count());
        let serve = nebula_serve(&programs.nebula, deployed.path());
        starters.push(starter(name, serve, stdout, 2, format!("/f/{}", deployed.last())));
    }
    let compiled = compile(programs, &programs.hello_http, scratch)?;
    let precompiled_flags = [&WASMTIME_BEST[..], &["--allow-precompiled"]].concat();
    for (name, flags, component) in [
        ("wasmtime serve, 1 function, default: compiles it", &[][..], &programs.hello_http),
        ("wasmtime serve, 1 function, best flags, compiled before", &precompiled_flags, &compiled),
    ] {
        let serve = programs.wasmtime_serve(flags, component);
        starters.push(starter(name.to_owned(), serve, StandardStream::Stderr, 1, echo.clone()));
    }
    Ok(starters)
}

fn processes(programs: &Programs, scratch: &Path) -> anyhow::Result<Vec<Starter>> {
    let text = std::str::from_utf8(BODY)?;
    // `wasmtime run --invoke` reads and prints the bytes as a list of numbers.
    let numbers = format!("[{}]", BODY.iter().map(u8::to_string).collect::<Vec<_>>().join(", "));
    let wasmtime_run = |flags: &[&str], component: &Path| {
        let mut run = Command::new(&programs.wasmtime);
        run.args(["run", "--invoke", &format!("handle({numbers})")]).args(flags).arg(component);
        run
    };
    let mut invoke = Command::new(&programs.nebula);
    invoke.arg("invoke").arg(&programs.echo).arg(text);
    let compiled = compile(programs, &programs.echo, scratch)?;
    let compiled = wasmtime_run(&["--allow-precompiled"], &compiled);
    let once = |name: &str, command, input, expected: &str| Starter {
        name: format!("a process a call: {name}"),
        kind: Kind::Once { command, input, expected: expected.to_owned() },
        times_ms: Vec::new(),
    };
    Ok(vec![
        once("cat", Command::new("cat"), BODY, text),
        once("wasmtime run, compiled before", compiled, b"", &numbers),
        once("wasmtime run: compiles it", wasmtime_run(&[], &programs.echo), b"", &numbers),
        once("nebula invoke of a file: compiles it", invoke, b"", text),
    ])
}

/// Compiles a component with the flags that its code is run with.
fn compile(programs: &Programs, component: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
    let name = component.file_name().context("the component has no file name")?;
    let compiled = scratch.join(name).with_extension("cwasm");
    let mut compile = Command::new(&programs.wasmtime);
    compile.args(["compile", "-Oopt-level=2", "-o"]).arg(&compiled).arg(component);
    let output = compile.output().with_context(|| format!("cannot run {compile:?}"))?;
    ensure!(output.status.success(), "{compile:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(compiled)
}

/// Starts a process and measures the time until its first answer or its exit.
fn start(kind: &Kind, cores: &Cores) -> anyhow::Result<Duration> {
    match kind {
        Kind::Server { command, stream, addresses, path } => {
            let StartedServer { server, exec_at } = Server::start_timed(command, *stream, *addresses, cores)?;
            Caller::connect(server.addresses[0])?.call(&Exchange::echo(path, BODY))?;
            let time = exec_at.elapsed();
            // Stop the server properly: after a kill, the next start would repair the database.
            server.stop()?;
            Ok(time)
        }
        Kind::Once { command, input, expected } => {
            let mut process = Process::hold(command, StandardStream::Stdout, cores)?;
            let exec_at = process.release(input)?;
            let lines = process.output()?;
            let time = exec_at.elapsed();
            ensure!(lines.join("\n") == *expected, "wrong answer: {lines:?}");
            Ok(time)
        }
    }
}
