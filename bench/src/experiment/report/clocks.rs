//! The section of the report on clocks that differ between the arms, as in an earlier study.

use super::{Findings, Measure, TOTAL, ratio};
use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::workload::{Function, Size};

/// The functions of the earlier study.
const STUDIED: [Function; 4] =
    [Function::FibonacciRecursive, Function::Exponential, Function::Factorial, Function::NthPrime];

/// The arms of the containers, the nearest to Docker first.
const CONTAINERS: [ArmKind; 3] =
    [ArmKind::ContainerEngine, ArmKind::ContainerDebian, ArmKind::ContainerMinimal];

const RUN: Measure = |sample| Some(sample.run_us);

/// The same samples with clocks that differ, and with the same clock.
pub(super) fn blocks(findings: &Findings) -> Vec<Block> {
    let median = |arm, function, size, measure| {
        Some(findings.estimate(arm, function, size, measure)?.median.max(f64::MIN_POSITIVE))
    };
    let smallest = Function::FibonacciRecursive;
    let Some(container) =
        CONTAINERS.into_iter().find(|arm| median(*arm, smallest, Size::Small, TOTAL).is_some())
    else {
        return Vec::new();
    };
    let row = |(function, size): (Function, Size)| {
        let whole = median(container, function, size, TOTAL)?;
        let times = |part: Option<f64>| part.map_or("–".to_owned(), |part| ratio(whole / part));
        Some(vec![
            format!("{}, {}", function.name(), function.describe(size)),
            Unit::Time.precise(whole),
            times(median(ArmKind::NebulaFresh, function, size, RUN)),
            times(median(ArmKind::NebulaFresh, function, size, TOTAL)),
            times(median(ArmKind::NebulaCold, function, size, TOTAL)),
            times(median(ArmKind::WasmtimeRun, function, size, TOTAL)),
        ])
    };
    let cells = STUDIED.into_iter().flat_map(|function| Size::ALL.map(|size| (function, size)));
    let rows: Vec<_> = cells.filter_map(row).collect();
    vec![
        Block::Heading("What clocks that differ do to such a comparison".to_owned()),
        Block::Text(format!(
            "An earlier, unpublished study of four of these functions, with one sequential client and six runs of Docker beside Wasm, \
             found a factor of 324 in total time. Its clocks started and stopped at different points for the two: the \
             start of a container's runtime was inside the one, and what a Wasm platform does before and after the \
             function was partly outside the other. The table shows what that does to the samples of this run. Each \
             factor divides the time of `{}` by, from left to right: the time inside the function alone, with the whole \
             platform outside the clock, which is a bound on such a mistake; the same call from request to answer; a call \
             that finds nothing loaded; one that starts a process, as the container does. Only the last two compare a \
             start with a start.",
            container.name()
        )),
        Block::Table {
            heads: [
                "function",
                "new container",
                "factor to the function alone",
                "to a loaded function",
                "to one that isn't loaded",
                "to `wasmtime run`",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        },
    ]
}
