//! The report: what was asked, how it was measured, what came out and what it doesn't show.
//!
//! ```text
//! cells -> document -> results.md, report.html, charts/*.svg
//! ```

mod answer;
mod attribution;
mod clocks;
mod concurrent;
mod idle_hour;
mod measured;
mod replay;
mod threats;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nebula_telemetry::carbon::CarbonModel;
use nebula_telemetry::energy::EnergyModel;

use self::attribution::ArmCall;
use super::arms::ArmKind;
use super::batch::MeasuredEnergy;
use super::cell::{Cell, Conditions, Sample};
use super::clock::CheckedDelay;
use super::concurrent::ConcurrentCell;
use super::document::{Block, Document};
use super::dots::{Chart, Kind, Line, Unit};
use super::events::Events;
use super::hour::Resources;
use super::interval::Estimate;
use super::platforms::Measured;
use super::published;
use super::replay::Replay;
use super::rounds::{Group, SLOW_SAMPLES};
use super::tools::OnDisk;
use super::waiting::Waiting;
use super::workload::{Function, Size};

/// Everything that a report is made of.
pub(crate) struct Findings {
    pub(crate) conditions: Conditions,
    pub(crate) cells: Vec<Cell>,
    /// The cells of several callers at the same time.
    pub(crate) concurrent: Vec<ConcurrentCell>,
    /// The arms that ran, in their order.
    pub(crate) arms: Vec<ArmKind>,
    /// The arms that can't run here, with the reason.
    pub(crate) left_out: Vec<LeftOut>,
    /// The groups of cells that there was no time for.
    pub(crate) dropped: Vec<Group>,
    pub(crate) checks: Vec<CheckedDelay>,
    pub(crate) on_disk: Vec<ArmOnDisk>,
    /// Sentences about platforms whose names don't say which they are.
    pub(crate) platforms: Vec<String>,
    pub(crate) waiting: Waiting,
    pub(crate) events: Events,
    pub(crate) replays: Vec<Replay>,
    /// The energy that the machine measured, or the reason why it doesn't.
    pub(crate) energy: Result<MeasuredEnergy, String>,
    pub(crate) carbon: CarbonModel,
    pub(crate) is_quick: bool,
}

/// An arm that can't run here.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    pub(crate) arm: ArmKind,
    pub(crate) reason: String,
}

/// The size of a function of an arm on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArmOnDisk {
    pub(crate) arm: ArmKind,
    pub(crate) size: OnDisk,
}

/// The flags of `bench/native/Cargo.toml` and `functions/Cargo.toml`.
const FLAGS: &str = "The source is compiled with the same flags for all arms (Rust's profile `release`): optimisation \
                     level 3, link-time optimisation of all crates, one codegen unit, and a panic ends the program. \
                     Native code is for the baseline of its architecture, and Wasm for that of `wasm32-wasip2`, \
                     without vector instructions.";

/// A measure of a sample.
type Measure = fn(&Sample) -> Option<f64>;

const TOTAL: Measure = |sample| Some(sample.total_us);
const CPU: Measure = |sample| Some(sample.cpu_us);
const MEMORY: Measure = |sample| Some(sample.memory_bytes? as f64);

impl Findings {
    /// Writes the report and its charts.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        let document = self.document();
        let write = |file: &str, content: &str| {
            let path = out.join(file);
            std::fs::write(&path, content).with_context(|| format!("cannot write `{}`", path.display()))
        };
        for directory in ["charts", "raw"] {
            std::fs::create_dir_all(out.join(directory))?;
        }
        for block in &document.blocks {
            if let Block::Chart { file, svg, .. } = block {
                write(file, svg)?;
            }
        }
        let idle = serde_json::json!({
            "waiting": self.waiting, "events": self.events, "replays": self.replays, "energy": self.energy
        });
        write("raw/idle.json", &format!("{}\n", serde_json::to_string_pretty(&idle)?))?;
        write("results.md", &document.markdown())?;
        write("report.html", &document.html())
    }

    fn document(&self) -> Document {
        let measured = Measured { waiting: &self.waiting, events: &self.events };
        let mut blocks = answer::blocks(self, measured);
        blocks.extend(self.summary());
        blocks.extend(clocks::blocks(self));
        blocks.extend(concurrent::blocks(&self.arms, &self.concurrent));
        blocks.extend(idle_hour::blocks(measured));
        blocks.extend(attribution::blocks(&self.calls(), measured, self.carbon));
        blocks.extend(replay::blocks(&self.replays, measured));
        blocks.extend(measured::blocks(&self.energy));
        blocks.extend(self.method());
        blocks.extend(self.disk());
        for function in Function::ALL {
            blocks.extend(self.of_function(function));
        }
        blocks.extend(published::blocks());
        blocks.extend(threats::blocks());
        Document { title: "Functions under Nebula, in processes and in containers".to_owned(), blocks }
    }

    /// The arms beside each other for the function that computes least.
    fn summary(&self) -> Vec<Block> {
        let (function, size) = (Function::FibonacciRecursive, Size::Small);
        let described = format!("{}, {}", function.name(), function.describe(size));
        let chart = |measure, axis, unit, file: &str| {
            let title = format!("{described}: {axis}");
            let lines = self.lines(|arm| [self.estimate(arm, function, size, measure), None, None]);
            block(file, Chart { title, axis, unit, legend: Vec::new(), lines })
        };
        let charts = [
            chart(TOTAL, "time from request to complete answer", Unit::Time, "charts/start-time.svg"),
            chart(CPU, "processor time of everything that a call causes", Unit::Time, "charts/start-cpu.svg"),
            chart(MEMORY, "peak memory of an arm", Unit::Bytes, "charts/start-memory.svg"),
        ];
        let charts: Vec<Block> = charts.into_iter().flatten().collect();
        if charts.is_empty() {
            return charts;
        }
        let mut blocks = vec![
            Block::Heading("What a call costs when there is little to compute".to_owned()),
            Block::Text(
                "The function computes for a few microseconds, so that the figures are those of the platform. Dots \
                 are medians, lines are confidence intervals of 95 %."
                    .to_owned(),
            ),
        ];
        blocks.extend(charts);
        blocks.extend(self.ratios(function, size));
        blocks
    }

    /// Sentences with the ratios of medians between arms.
    fn ratios(&self, function: Function, size: Size) -> Option<Block> {
        let base = self.estimate(ArmKind::NebulaCold, function, size, TOTAL)?;
        let sentence = |arm: ArmKind| {
            let other = self.estimate(arm, function, size, TOTAL)?;
            Some(format!(
                "`{}` takes {} times as long as `{}` ({} and {}).",
                arm.name(),
                ratio(other.median / base.median),
                ArmKind::NebulaCold.name(),
                Unit::Time.precise(other.median),
                Unit::Time.precise(base.median)
            ))
        };
        let others = self.arms.iter().copied().filter(|arm| *arm != ArmKind::NebulaCold);
        Some(Block::Items(others.filter_map(sentence).collect()))
    }

    fn method(&self) -> Vec<Block> {
        let Conditions {
            machine,
            cores,
            accounting,
            commit,
            optimised: _,
            nebula,
            arms: _,
            samples,
            warm_up_calls,
        } = &self.conditions;
        let mut items = vec![
            machine.clone(),
            format!(
                "Commit {}; SHA-256 of Nebula's program: {nebula}.",
                commit.as_deref().unwrap_or("unknown")
            ),
            format!(
                "One caller, one call at a time, except where several are named; {cores}. A caller of an arm that starts a process for a call shares \
                 the cores of that process."
            ),
            format!(
                "{samples} samples of each cell, after {warm_up_calls} calls that don't count. In each round every \
                 arm has its turn, after different arms and beginning with each; one whose calls take more than a second has only {SLOW_SAMPLES}. \
                 Medians, with confidence intervals of 95 % by \
                 bootstrap. No sample is left out."
            ),
            "An arm that is warm at a call and whose last call was more than a second ago is called once more before, \
             without counting: platforms unload idle functions while slow arms run."
                .to_owned(),
            "The clock is the same for all arms: from the request handed over to the last byte of the answer. The \
             end of a process or a container comes after that: it counts as processor time, not as time."
                .to_owned(),
            "`time` is between these two points. `function` is the part inside the function, its conversion from and \
             to JSON included, by the monotonic clock of the program that calls it: the native or Wasm program, the \
             `wasi:http` component, Nebula. `platform` is the rest of each call: starting, handing over input and \
             answer, everything else. Nebula decodes the input before it starts the function, so that this belongs \
             to the platform. A remembered result has no time in a function. That of `nebula-pipeline` is the time \
             of the pipeline, which creates the instance of its step. The clock of an emulated virtual machine has \
             steps of 4 ms if other work disturbed its boot. The parts of medians may not add up, because each is a \
             median of its own."
                .to_owned(),
            FLAGS.to_owned(),
            accounting.clone(),
            "The caller's own processor time isn't counted, nor is that of starting a server that is warm before \
             the call."
                .to_owned(),
            "Files are in the page cache: no arm reads a disk.".to_owned(),
            format!(
                "Energy per call is modelled, not measured: processor time times {} W per core, plus peak memory times {} W \
                 per gigabyte for the time of the call. In parentheses: with {:.2} W per core and half of that for memory, and with \
                 {} W and twice of it. The power of a core is the design power of an AMD EPYC 7763 by its 64 cores; the \
                 others are the coefficients of Cloud Carbon Footprint.",
                EnergyModel::TYPICAL.core_watts,
                EnergyModel::TYPICAL.memory_watts_per_gb,
                EnergyModel::LOW.core_watts,
                EnergyModel::HIGH.core_watts
            ),
        ];
        items.extend(self.checked());
        items.extend(self.platforms.clone());
        let arms =
            self.arms.iter().map(|arm| vec![format!("`{}`", arm.name()), arm.description().to_owned()]);
        let mut blocks = vec![
            Block::Heading("Method".to_owned()),
            Block::Items(items),
            Block::Table {
                heads: vec!["arm".to_owned(), "platform and state".to_owned()],
                rows: arms.collect(),
            },
        ];
        if !self.left_out.is_empty() {
            blocks.push(Block::Text("Left out, because this machine can't run them:".to_owned()));
            let item = |left: &LeftOut| format!("`{}`: {}", left.arm.name(), left.reason.replace('\n', " "));
            blocks.push(Block::Items(self.left_out.iter().map(item).collect()));
        }
        if !self.dropped.is_empty() {
            blocks.push(Block::Text("Dropped, because the time of the run was over:".to_owned()));
            let item = |group: &Group| format!("{}, {}", group.function.name(), group.size.name());
            blocks.push(Block::Items(self.dropped.iter().map(item).collect()));
        }
        blocks
    }

    /// Describes the checks of the clock, of each delay in a sentence.
    fn checked(&self) -> Vec<String> {
        let mut delays: Vec<Duration> = self.checks.iter().map(|check| check.delay).collect();
        delays.sort_unstable();
        delays.dedup();
        let sentence = |delay: Duration| {
            let of_delay: Vec<_> = self.checks.iter().filter(|check| check.delay == delay).collect();
            let seen = || of_delay.iter().map(|check| check.seen.as_secs_f64() * 1e6);
            let (least, most) = (seen().min_by(f64::total_cmp)?, seen().max_by(f64::total_cmp)?);
            let arms: Vec<_> = of_delay.iter().map(|check| format!("`{}`", check.arm.name())).collect();
            Some(format!(
                "The clock was checked before the run: a delay of {} inside {} showed as {} to {}.",
                Unit::Time.precise(delay.as_secs_f64() * 1e6),
                arms.join(", "),
                Unit::Time.precise(least),
                Unit::Time.precise(most)
            ))
        };
        delays.into_iter().filter_map(sentence).collect()
    }

    fn disk(&self) -> Vec<Block> {
        let cell = |bytes: u64| if bytes == 0 { "–".to_owned() } else { Unit::Bytes.precise(bytes as f64) };
        let row = |found: &ArmOnDisk| {
            let OnDisk { function_bytes, platform_bytes } = found.size;
            vec![format!("`{}`", found.arm.name()), cell(function_bytes), cell(platform_bytes)]
        };
        vec![
            Block::Heading("On disk".to_owned()),
            Block::Text(
                "The bytes of `fibonacci-recursive`, and those of the platform, which all functions share. The native \
                 program contains all seven functions. A root belongs to its function, although images can share \
                 layers."
                    .to_owned(),
            ),
            Block::Table {
                heads: ["arm", "function", "platform"].map(str::to_owned).to_vec(),
                rows: self.on_disk.iter().map(row).collect(),
            },
        ]
    }

    fn of_function(&self, function: Function) -> Vec<Block> {
        let sizes: Vec<Size> = Size::ALL.into_iter().filter(|size| self.has(function, *size)).collect();
        if sizes.is_empty() {
            return Vec::new();
        }
        let mut blocks = vec![Block::Heading(function.name().to_owned())];
        let title = format!("{}: time of a call", function.name());
        let legend = Size::ALL.map(|size| format!("{}: {}", size.name(), function.describe(size)));
        let lines = self.lines(|arm| Size::ALL.map(|size| self.estimate(arm, function, size, TOTAL)));
        let axis = "time from request to complete answer";
        let chart = Chart { title, axis, unit: Unit::Time, legend: legend.to_vec(), lines };
        blocks.extend(block(&format!("charts/{}.svg", function.name()), chart));
        for size in sizes {
            blocks.extend(self.table(function, size));
        }
        blocks
    }

    fn table(&self, function: Function, size: Size) -> Vec<Block> {
        let cells: Vec<&Cell> = self.cells_of(function, size).collect();
        let Some(first) = cells.first() else { return Vec::new() };
        let heads = [
            "arm",
            "time",
            "confidence interval",
            "function",
            "platform",
            "processor time",
            "peak memory",
            "energy, modelled",
            "n",
        ];
        let intro = format!(
            "{}: {}; input of {}, output of {}.",
            size.name(),
            function.describe(size),
            Unit::Bytes.precise(first.input_bytes as f64),
            Unit::Bytes.precise(first.output_bytes as f64)
        );
        vec![
            Block::Text(intro),
            Block::Table {
                heads: heads.map(str::to_owned).to_vec(),
                rows: cells.into_iter().map(row).collect(),
            },
        ]
    }

    fn cells_of(&self, function: Function, size: Size) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.function == function && cell.size == size)
    }

    fn has(&self, function: Function, size: Size) -> bool {
        self.cells_of(function, size).next().is_some()
    }

    fn estimate(&self, arm: ArmKind, function: Function, size: Size, measure: Measure) -> Option<Estimate> {
        let cell = self.cells_of(function, size).find(|cell| cell.arm == arm)?;
        Estimate::of(cell.samples.iter().filter_map(measure))
    }

    /// Returns the calls that compute little, of the arms that ran.
    fn calls(&self) -> Vec<ArmCall> {
        let call = |arm: &ArmKind| {
            let of = |measure| {
                Some(self.estimate(*arm, Function::FibonacciRecursive, Size::Small, measure)?.median)
            };
            let byte_s = of(MEMORY).unwrap_or(0.0) * of(TOTAL)? / 1e6;
            Some(ArmCall { arm: *arm, resources: Resources { cpu_s: of(CPU)? / 1e6, byte_s } })
        };
        self.arms.iter().filter_map(call).collect()
    }

    fn lines(&self, dots: impl Fn(ArmKind) -> [Option<Estimate>; 3]) -> Vec<Line> {
        self.arms
            .iter()
            .map(|arm| Line { name: arm.name().to_owned(), kind: kind(*arm), dots: dots(*arm) })
            .collect()
    }
}

/// Formats the row of a cell.
fn row(cell: &Cell) -> Vec<String> {
    let estimate = |measure: Measure| Estimate::of(cell.samples.iter().filter_map(measure));
    let median = |unit: Unit, measure| {
        estimate(measure).map_or("–".to_owned(), |estimate| unit.precise(estimate.median))
    };
    let interval = estimate(TOTAL).map_or("–".to_owned(), |estimate| {
        format!("{} to {}", Unit::Time.precise(estimate.low), Unit::Time.precise(estimate.high))
    });
    let joules = |model: EnergyModel| {
        let of = move |sample: &Sample| {
            let time = |us: f64| Duration::from_secs_f64(us / 1e6);
            model.joules(time(sample.cpu_us), sample.memory_bytes.unwrap_or(0), time(sample.total_us))
        };
        let median = Estimate::of(cell.samples.iter().map(of)).map_or(0.0, |estimate| estimate.median);
        Unit::Energy.precise(median)
    };
    vec![
        format!("`{}`", cell.arm.name()),
        median(Unit::Time, TOTAL),
        interval,
        median(Unit::Time, |sample| Some(sample.run_us)),
        median(Unit::Time, |sample| Some(sample.platform_us())),
        median(Unit::Time, CPU),
        median(Unit::Bytes, MEMORY),
        format!(
            "{} ({} to {})",
            joules(EnergyModel::TYPICAL),
            joules(EnergyModel::LOW),
            joules(EnergyModel::HIGH)
        ),
        cell.samples.len().to_string(),
    ]
}

/// Formats a ratio with about three digits.
fn ratio(ratio: f64) -> String {
    let decimals = if ratio < 10.0 { 2 } else { usize::from(ratio < 100.0) };
    format!("{ratio:.decimals$}")
}

fn block(file: &str, chart: Chart) -> Option<Block> {
    Some(Block::Chart { file: file.to_owned(), svg: chart.svg()?, title: chart.title })
}

fn kind(arm: ArmKind) -> Kind {
    match arm {
        ArmKind::NebulaRemembered
        | ArmKind::NebulaFresh
        | ArmKind::NebulaPipeline
        | ArmKind::NebulaCold
        | ArmKind::NebulaScaledToZero => Kind::Nebula,
        ArmKind::NativeCall | ArmKind::NativeProcess => Kind::Native,
        ArmKind::WasmtimeServe | ArmKind::WasmtimeRun | ArmKind::Spin => Kind::Wasm,
        ArmKind::ContainerWarm
        | ArmKind::ContainerMinimal
        | ArmKind::ContainerDebian
        | ArmKind::ContainerEngine => Kind::Container,
        ArmKind::MicroVm => Kind::Machine,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::experiment::cell::tests::{cell, conditions};
    use crate::experiment::concurrent::tests::cell as concurrent_cell;
    use crate::experiment::hour::{EventCost, IdleCost, WarmCost};
    use crate::experiment::replay::{Observation, Stretch, Subject};
    use crate::experiment::waiting::{CallAfterRest, NebulaWaiting};
    use nebula_telemetry::carbon::Server;

    /// Ten functions, once per second each, in a container for each call.
    fn replayed() -> Replay {
        Replay {
            subject: Subject::ContainerPerCall,
            compression: 1e9,
            stretch: Stretch { functions: 10, calls_per_hour_max: 3.6e-6, length: Duration::from_secs(20) },
            cold_starts_due: 210,
            observed: Observation {
                calls: 210,
                cold_starts: 210,
                cpu_s: 10.0,
                memory_bytes: 0.0,
                slowest_s: 0.125,
            },
        }
    }

    fn nebula(memory_bytes: f64) -> NebulaWaiting {
        let cost = IdleCost { memory_bytes, cpu_share: 0.0 };
        let calls_after_rest = vec![CallAfterRest { time_s: 0.002, cpu_s: 0.001 }];
        NebulaWaiting { uncalled: cost, loaded_bytes: 1e4, ready_bytes: 1e5, rested: cost, calls_after_rest }
    }

    fn findings() -> Findings {
        let fibonacci = |arm, size, us| cell(arm, Function::FibonacciRecursive, size, us);
        Findings {
            conditions: conditions(),
            cells: vec![
                fibonacci(ArmKind::NebulaCold, Size::Small, 200.0),
                fibonacci(ArmKind::ContainerMinimal, Size::Small, 40_000.0),
                fibonacci(ArmKind::NebulaCold, Size::Large, 90_000.0),
            ],
            concurrent: vec![concurrent_cell(ArmKind::ContainerMinimal, 25.0)],
            arms: vec![ArmKind::NebulaCold, ArmKind::ContainerMinimal],
            left_out: vec![LeftOut { arm: ArmKind::WasmtimeRun, reason: "no wasmtime\nhere".to_owned() }],
            dropped: vec![Group { function: Function::Markdown, size: Size::Large }],
            checks: vec![CheckedDelay {
                arm: ArmKind::NebulaCold,
                delay: Duration::from_millis(50),
                seen: Duration::from_millis(51),
            }],
            on_disk: vec![ArmOnDisk {
                arm: ArmKind::NebulaCold,
                size: OnDisk { function_bytes: 3_200_000, platform_bytes: 0 },
            }],
            waiting: Waiting {
                functions: 100,
                nebula: nebula(2e7),
                nebula_single: nebula(1e7),
                container: Some(IdleCost { memory_bytes: 5e6, cpu_share: 0.0 }),
                container_single: None,
                wasmtime: None,
                wasmtime_single: None,
            },
            events: Events {
                starts: BTreeMap::from([
                    (ArmKind::NebulaCold, EventCost { cpu_s: 0.0004, byte_s: 0.0 }),
                    (ArmKind::ContainerMinimal, EventCost { cpu_s: 0.08, byte_s: 80_000.0 }),
                ]),
                warm: BTreeMap::from([(ArmKind::NebulaFresh, WarmCost { by_gap: Vec::new() })]),
                kept: BTreeMap::new(),
            },
            platforms: vec!["The container engine: podman.".to_owned()],
            replays: vec![replayed()],
            energy: Err("no counters here".to_owned()),
            carbon: CarbonModel {
                energy: EnergyModel::TYPICAL,
                grid_g_per_kwh: 400.0,
                server: Server::TYPICAL,
            },
            is_quick: true,
        }
    }

    #[test]
    fn a_report_states_figures_gaps_and_doubts() {
        let out = tempfile::tempdir().unwrap();
        findings().write(out.path()).unwrap();
        let read = |file: &str| std::fs::read_to_string(out.path().join(file)).unwrap();
        let (markdown, html) = (read("results.md"), read("report.html"));
        for part in [
            "a quick run: it only checks",
            "A server with 100 such functions holds 20.0 MB of memory",
            "Its next call is answered after 400 µs while other functions are called; after 2.00 ms by a server that \
             has rested; by a new container by runc alone after 80.0 ms (200 times the first).",
            "| fibonacci-recursive, n = 15 | 80.0 ms | – | – | 200 | – |",
            "`container-minimal` takes 200 times as long as `nebula-cold` (80.0 ms and 400 µs).",
            "`wasmtime-run`: no wasmtime here",
            "markdown, large",
            "a delay of 50.0 ms inside `nebula-cold` showed as 51.0 ms to 51.0 ms",
            "| `nebula-cold` | 3.20 MB | – |",
            "| arm | time | confidence interval | function | platform | processor time |",
            "| `container-minimal` | 80.0 ms | 40.0 ms to 120 ms | 20.0 ms | 60.0 ms | 80.0 ms |",
            "link-time optimisation",
            "Energy per call is modelled, not measured",
            "* The container engine: podman.",
            "| container (minimal) per call |",
            "| `container-minimal` | 25.0 /s | 25.0 /s to 25.0 /s | 1.00 ms | 2.00 ms | 500 µs | 2.00 MB | 100 |",
            "| container per call | cold starts | 200.0 | 210 | 210 | -4.8 % |",
            "| container per call | processor time | 16.0 s |  | 10.0 s | +60.0 % |",
            "| container per call | memory, average | 800 kB |  | 0 | – |",
            "doesn't measure energy: no counters here",
            "400 g per kWh",
            "## Published figures of cloud platforms",
            "## Threats to validity",
        ] {
            assert!(markdown.contains(part), "{part}: {markdown}");
        }
        assert_eq!(
            html.matches("<svg").count(),
            7,
            "three of the summary, several callers, two of the hour, a function"
        );
        assert!(!html.contains("src=") && !html.contains("href="), "the page is self-contained");
        assert!(read("charts/fibonacci-recursive.svg").contains("large: n = 37"));
    }
}
