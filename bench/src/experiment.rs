//! The comparison: the same functions under Nebula, in native processes, under wasmtime and in
//! containers, in time, processor time, memory, bytes on disk and modelled energy.
//!
//! ```text
//! tools -> arms that are available -> check of the clock -> rounds -> raw/*.json -> report
//! ```
//!
//! Invariants:
//! * One clock stamps the same two points for every arm (`clock`), and is checked before each run.
//! * All arms run the same source on the same input, and a different answer ends the run.
//! * An arm that can't run here is in the report, with the reason; so are cells without time.
//! * A run that was interrupted continues: complete cells are read from their files.
//! * A run that ends, in whatever way, leaves nothing on the machine but its output (`supervisor`).

mod account;
mod answer;
mod arm;
mod arms;
mod batch;
mod cell;
mod clock;
mod concurrent;
mod document;
mod dots;
mod engine;
mod events;
mod held;
mod hour;
mod http;
mod interval;
mod kept;
mod micro_vm;
mod packages;
mod pipe;
mod platforms;
mod published;
mod random;
mod relay;
mod remains;
mod replay;
mod report;
mod rounds;
mod supervisor;
mod tools;
mod trace;
mod waiting;
mod workload;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use nebula_telemetry::carbon::{CarbonModel, Server};
use nebula_telemetry::energy::{EnergyModel, WORLD_GRID_G_PER_KWH};
use nebula_telemetry::rapl::POWERCAP;

use self::account::Accounts;
use self::arms::ArmKind;
use self::cell::Conditions;
use self::clock::Work;
use self::remains::RunId;
use self::report::{ArmOnDisk, Findings, LeftOut};
use self::tools::{OnDisk, Preparation, Root, Tools};
use self::workload::{Function, Size};
use crate::cores::Cores;
use crate::{machine, prepare, record};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Take a few minutes: three functions, two sizes, few samples
    #[arg(long)]
    quick: bool,
    /// Only check that every arm that is installed works, that answers agree, and that the clock
    /// sees a delay in each arm; takes unoptimised programs and installs nothing
    #[arg(long, conflicts_with = "quick")]
    check: bool,
    /// Check on a machine with other work, on which the clock may see more than the delay
    #[arg(long, requires = "check")]
    busy: bool,
    /// Run only arms whose name contains this, such as `nebula` or `container-minimal`
    #[arg(long, value_name = "ARM")]
    only: Option<String>,
    /// Directory of the raw files and of the report
    #[arg(long, default_value = "target/experiment")]
    out: PathBuf,
    /// Samples of each cell; by default 30, or few in a quick run
    #[arg(long)]
    samples: Option<NonZeroUsize>,
    /// Time after which no more cells are begun; they are listed in the report
    #[arg(long, default_value = "60")]
    minutes_max: u64,
    /// Carbon intensity of the electricity, grams of CO2 equivalents per kilowatt-hour; by default
    /// the world's average of 2024
    #[arg(long, default_value_t = WORLD_GRID_G_PER_KWH)]
    grid_g_per_kwh: f64,
    /// Emissions of making the server, kilograms of CO2 equivalents; 0 leaves them out
    #[arg(long, default_value_t = Server::TYPICAL.embodied_kg)]
    embodied_kg: f64,
    /// Directory of the machine's energy counters
    #[arg(long, default_value = POWERCAP)]
    powercap: PathBuf,
    /// The `nebula` binary to measure; by default it is built
    #[arg(long)]
    nebula: Option<PathBuf>,
    /// The `spin` binary to measure; by default that of the path, if there is one
    #[arg(long)]
    spin: Option<PathBuf>,
    /// The process that has started this one as its worker
    #[arg(long, hide = true)]
    supervisor: Option<u32>,
}

/// The extent of a run.
struct Extent {
    functions: Vec<Function>,
    sizes: Vec<Size>,
    samples: usize,
    warm_up_calls: usize,
    /// Several callers at the same time.
    concurrent: concurrent::Extent,
    /// The functions of the idle hour.
    population: usize,
    /// The time for which what waits is observed.
    idle_window: Duration,
    events: events::Extent,
    replay: replay::Extent,
    /// The time of a batch whose energy is measured.
    batch: Duration,
}

impl Args {
    fn extent(&self) -> Extent {
        let three = vec![Function::FibonacciRecursive, Function::Markdown, Function::CsvStats];
        let mut extent = if self.check {
            Extent {
                functions: three,
                sizes: vec![Size::Small],
                samples: 2,
                warm_up_calls: 0,
                concurrent: concurrent::Extent {
                    functions: vec![Function::FibonacciRecursive],
                    rounds: 1,
                    window: Duration::from_millis(50),
                },
                population: 3,
                idle_window: Duration::from_millis(100),
                events: events::Extent { starts: 2, window: Duration::from_millis(10), calls_min: 1 },
                // Half an hour in half a second: few calls, and enough to see that it works.
                replay: replay::Extent {
                    compression: 3600.0,
                    nebula: stretch(3, 600.0, 0.5),
                    containers: stretch(3, 10.0, 0.5),
                },
                batch: Duration::from_millis(100),
            }
        } else if self.quick {
            Extent {
                functions: three,
                sizes: vec![Size::Small, Size::Large],
                samples: 10,
                warm_up_calls: 2,
                concurrent: concurrent::Extent {
                    functions: vec![Function::FibonacciRecursive],
                    rounds: 3,
                    window: Duration::from_millis(500),
                },
                population: 1_000,
                idle_window: Duration::from_secs(5),
                events: events::Extent { starts: 10, window: Duration::from_secs(1), calls_min: 3 },
                replay: minutes_in_seconds(7.0, 4.0),
                batch: Duration::from_secs(2),
            }
        } else {
            let (functions, sizes) = (Function::ALL.to_vec(), Size::ALL.to_vec());
            Extent {
                functions,
                sizes,
                samples: 30,
                warm_up_calls: 3,
                concurrent: concurrent::Extent {
                    functions: vec![Function::FibonacciRecursive, Function::Markdown],
                    rounds: 5,
                    window: Duration::from_secs(2),
                },
                population: 1_000,
                idle_window: Duration::from_secs(15),
                events: events::Extent { starts: 40, window: Duration::from_secs(5), calls_min: 5 },
                replay: minutes_in_seconds(140.0, 45.0),
                batch: Duration::from_secs(5),
            }
        };
        extent.samples = self.samples.map_or(extent.samples, NonZeroUsize::get);
        extent
    }
}

/// Replays minutes of the hour in as many seconds. Calls are few enough for two cores.
fn minutes_in_seconds(nebula: f64, containers: f64) -> replay::Extent {
    replay::Extent {
        compression: 60.0,
        nebula: stretch(1_000, 600.0, nebula),
        containers: stretch(16, 60.0, containers),
    }
}

fn stretch(functions: usize, calls_per_hour_max: f64, length_s: f64) -> replay::Stretch {
    replay::Stretch { functions, calls_per_hour_max, length: Duration::from_secs_f64(length_s) }
}

/// Supervises a run, or is one.
///
/// # Errors
/// Returns an error if an arm that must run everywhere doesn't, or if answers or the clock are wrong.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.check {
        prepare::ensure_optimised()?;
    }
    match args.supervisor {
        None => supervisor::run_worker(),
        Some(supervisor) => {
            supervisor::follow(supervisor)?;
            run_arms(args, RunId::of(supervisor))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_arms(args: &Args, run: RunId) -> anyhow::Result<()> {
    let begun = Instant::now();
    let cores = Cores::available()?;
    let extent = args.extent();
    std::fs::create_dir_all(args.out.join("raw"))
        .with_context(|| format!("cannot create `{}`", args.out.display()))?;
    let preparation = Preparation {
        nebula: args.nebula.clone(),
        complete: !args.check,
        functions: extent.functions.clone(),
        spin: args.spin.clone(),
        memory: run.files_in_memory(),
    };
    let tools = Tools::prepare(&preparation, &cores)?;
    let accounts = Accounts::open(&run.to_string());
    let findings = compare(args, &extent, &tools, &cores, &accounts, begun)?;
    findings.write(&args.out)?;
    eprintln!("{}", args.out.join("report.html").display());
    Ok(())
}

fn compare(
    args: &Args,
    extent: &Extent,
    tools: &Tools,
    cores: &Cores,
    accounts: &Accounts,
    begun: Instant,
) -> anyhow::Result<Findings> {
    let smallest = clock::smallest()?;
    let work = Work { tools, cores, accounts, function: Function::FibonacciRecursive, input: &smallest };
    let (mut arms, mut left_out) = (Vec::new(), Vec::new());
    let is_selected =
        |arm: &ArmKind| args.only.as_ref().is_none_or(|only| arm.name().contains(only.as_str()));
    for arm in ArmKind::ALL.into_iter().filter(is_selected) {
        match clock::probe(arm, work) {
            Ok(()) => arms.push(arm),
            Err(error) if arm.is_required() => {
                return Err(error).with_context(|| format!("{} must run everywhere", arm.name()));
            }
            Err(error) => {
                eprintln!("left out: {}: {error:#}", arm.name());
                left_out.push(LeftOut { arm, reason: format!("{error:#}") });
            }
        }
    }
    ensure!(!arms.is_empty(), "no arm has `{}` in its name", args.only.as_deref().unwrap_or_default());
    let mut checks = Vec::new();
    for arm in &arms {
        let check = clock::check(*arm, work, args.busy)?;
        eprintln!("{}: a delay of {:?} shows as {:.1?}", check.arm.name(), check.delay, check.seen);
        checks.push(check);
    }
    let conditions = Conditions {
        machine: machine::description(),
        cores: cores.to_string(),
        accounting: accounts.description().to_owned(),
        commit: record::commit(),
        optimised: !cfg!(debug_assertions),
        nebula: tools.digest_of_nebula()?,
        arms: arms.clone(),
        samples: extent.samples,
        warm_up_calls: extent.warm_up_calls,
    };
    eprintln!("several callers at the same time");
    let concurrent = concurrent::measure(&arms, work, &extent.concurrent, &conditions, &args.out)?;
    let (mut cells, mut dropped) = (Vec::new(), Vec::new());
    for group in rounds::plan(&extent.functions, &extent.sizes) {
        if begun.elapsed() > Duration::from_secs(args.minutes_max * 60) {
            dropped.push(group);
            continue;
        }
        eprintln!("{}, {}", group.function.name(), group.size.name());
        let input = group.function.input(group.size)?;
        let work = Work { function: group.function, input: &input, ..work };
        cells.extend(rounds::run(&arms, work, group.size, &conditions, &args.out)?);
    }
    eprintln!("what waits for calls");
    let waiting = waiting::measure(extent.population, &arms, work, extent.idle_window)?;
    eprintln!("the events of the idle hour");
    let events = events::measure(extent.events, &arms, work)?;
    eprintln!("replay of the idle hour");
    let replays = replay::run(&extent.replay, &arms, work)?;
    let energy = batch::measure(&args.powercap, &arms, work, extent.batch)?;
    let on_disk = arms
        .iter()
        .map(|arm| Ok(ArmOnDisk { arm: *arm, size: on_disk(*arm, tools)? }))
        .collect::<anyhow::Result<_>>()?;
    Ok(Findings {
        conditions,
        cells,
        concurrent,
        arms,
        left_out,
        dropped,
        checks,
        on_disk,
        platforms: tools.descriptions(),
        waiting,
        events,
        replays,
        energy,
        carbon: CarbonModel {
            energy: EnergyModel::TYPICAL,
            grid_g_per_kwh: args.grid_g_per_kwh,
            server: Server { embodied_kg: args.embodied_kg, ..Server::TYPICAL },
        },
        is_quick: args.quick,
    })
}

/// Returns the bytes of an arm that runs `fibonacci-recursive`.
fn on_disk(arm: ArmKind, tools: &Tools) -> anyhow::Result<OnDisk> {
    let function = Function::FibonacciRecursive;
    let files = |function: PathBuf, platform: Option<PathBuf>| {
        let platform_bytes = platform.map_or(Ok(0), |platform| tools::bytes(&platform))?;
        anyhow::Ok(OnDisk { function_bytes: tools::bytes(&function)?, platform_bytes })
    };
    match arm {
        ArmKind::NebulaRemembered
        | ArmKind::NebulaFresh
        | ArmKind::NebulaPipeline
        | ArmKind::NebulaCold
        | ArmKind::NebulaScaledToZero => tools.under_nebula(function),
        ArmKind::NativeCall | ArmKind::NativeProcess => files(tools.native.call.clone(), None),
        ArmKind::WasmtimeServe => {
            let wasmtime = tools.wasmtime()?;
            files(wasmtime.http(function), Some(wasmtime.program))
        }
        ArmKind::WasmtimeRun => {
            let wasmtime = tools.wasmtime()?;
            files(wasmtime.call(function), Some(wasmtime.program))
        }
        ArmKind::Spin => files(tools.wasmtime()?.component(function), Some(tools.spin()?)),
        ArmKind::ContainerWarm | ArmKind::ContainerMinimal => {
            files(tools.root(Root::Minimal)?, Some(tools.runc()?))
        }
        ArmKind::ContainerDebian => files(tools.root(Root::Debian)?, Some(tools.runc()?)),
        ArmKind::ContainerEngine => files(tools.root(Root::Debian)?, Some(tools.engine()?.program.clone())),
        ArmKind::MicroVm => {
            let machine = tools.micro_vm()?;
            let function_bytes = tools::bytes(&machine.boot.kernel)? + machine.files_bytes();
            Ok(OnDisk { function_bytes, platform_bytes: tools::bytes(&machine.boot.qemu)? })
        }
    }
}
