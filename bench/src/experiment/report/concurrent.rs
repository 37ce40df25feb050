//! The part of the report on several callers at the same time: a chart and a table per function.

use super::{Block, block, kind};
use crate::experiment::arms::ArmKind;
use crate::experiment::concurrent::{self, ConcurrentCell, Window};
use crate::experiment::dots::{Chart, Line, Unit};
use crate::experiment::interval::Estimate;
use crate::experiment::workload::Function;

/// Describes the cells, or returns nothing without any.
pub(super) fn blocks(arms: &[ArmKind], cells: &[ConcurrentCell]) -> Vec<Block> {
    let Some(first) = cells.first() else { return Vec::new() };
    let mut functions: Vec<Function> = Vec::new();
    for cell in cells {
        if !functions.contains(&cell.function) {
            functions.push(cell.function);
        }
    }
    let described =
        |function: &Function| format!("{}, {}", function.name(), function.describe(concurrent::SIZE));
    let find = |arm, function| cells.iter().find(|cell| cell.arm == arm && cell.function == function);
    let line = |arm: &ArmKind| {
        let mut dots = [None; 3];
        for (dot, function) in dots.iter_mut().zip(&functions) {
            *dot = find(*arm, *function).and_then(|cell| estimate(cell, |window| Some(window.answers_per_s)));
        }
        Line { name: arm.name().to_owned(), kind: kind(*arm), dots }
    };
    let measured = |arm: &&ArmKind| cells.iter().any(|cell| cell.arm == **arm);
    let chart = Chart {
        title: format!("{} callers at the same time: throughput", first.callers),
        axis: "answers per second",
        unit: Unit::Rate,
        legend: functions.iter().map(described).collect(),
        lines: arms.iter().filter(measured).map(line).collect(),
    };
    let mut blocks = vec![
        Block::Heading("Several callers at the same time".to_owned()),
        Block::Text(format!(
            "{} callers, four for each core, in {} windows of {} s per arm, in an order that rotates. A caller makes \
             its next call when the platform has finished with the last one; a slow arm's window lasts until each \
             caller has called, and an arm whose calls take more than a second has only one. The same two points are stamped as with one caller, by the caller's thread. But \
             callers and platform share all cores here, for every arm alike, because processes run on the cores of \
             the callers that start them: callers take time from the platform, most from the fastest ones. Native \
             calls have a process per caller. `{}` and `{}` are left out: after the first of several calls, the function is \
             loaded for the others. Medians over the windows, with their range.",
            first.callers,
            first.rounds,
            first.window_s,
            ArmKind::NebulaCold.name(),
            ArmKind::NebulaScaledToZero.name()
        )),
    ];
    blocks.extend(block("charts/concurrent.svg", chart));
    for function in &functions {
        blocks.push(Block::Text(format!("{}:", described(function))));
        blocks.push(Block::Table {
            heads: HEADS.map(str::to_owned).to_vec(),
            rows: arms.iter().filter_map(|arm| find(*arm, *function)).map(row).collect(),
        });
    }
    blocks
}

const HEADS: [&str; 8] = [
    "arm",
    "throughput",
    "range",
    "time, median",
    "time, 95 % of calls",
    "processor time per call",
    "peak memory",
    "n",
];

fn estimate(cell: &ConcurrentCell, measure: impl Fn(&Window) -> Option<f64>) -> Option<Estimate> {
    Estimate::of(cell.windows.iter().filter_map(measure))
}

fn row(cell: &ConcurrentCell) -> Vec<String> {
    let rate = estimate(cell, |window| Some(window.answers_per_s));
    let interval = rate.map_or("–".to_owned(), |rate| {
        format!("{} to {}", Unit::Rate.precise(rate.low), Unit::Rate.precise(rate.high))
    });
    let median = |unit: Unit, measure: fn(&Window) -> Option<f64>| {
        estimate(cell, measure).map_or("–".to_owned(), |estimate| unit.precise(estimate.median))
    };
    vec![
        format!("`{}`", cell.arm.name()),
        median(Unit::Rate, |window| Some(window.answers_per_s)),
        interval,
        median(Unit::Time, |window| Some(window.p50_us)),
        median(Unit::Time, |window| Some(window.p95_us)),
        median(Unit::Time, |window| Some(window.cpu_us_per_call)),
        median(Unit::Bytes, |window| Some(window.memory_bytes? as f64)),
        cell.windows.iter().map(|window| window.answers).sum::<usize>().to_string(),
    ]
}
