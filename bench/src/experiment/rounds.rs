//! The rounds of one function and one size: every arm once in each round, in an order that rotates.
//! An arm whose calls take more than a second is skipped when it has a few samples.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use super::arms::ArmKind;
use super::cell::{Cell, Conditions, Sample};
use super::clock::{OpenArm, Work};
use super::interval::Estimate;
use super::pipe::PipedProcess;
use super::workload::{Function, Size};

/// Measures the cells of `arms` that have no file yet, writes their files, and returns all cells in
/// the order of `arms`.
///
/// # Errors
/// Returns an error if an arm fails or gives another answer.
pub(crate) fn run(
    arms: &[ArmKind],
    work: Work<'_>,
    size: Size,
    conditions: &Conditions,
    out: &Path,
) -> anyhow::Result<Vec<Cell>> {
    let found = |arm| Cell::find(out, conditions, arm, work.function, size);
    let missing: Vec<ArmKind> = arms.iter().copied().filter(|arm| found(*arm).is_none()).collect();
    if !missing.is_empty() {
        for cell in measure(&missing, work, size, conditions)? {
            cell.write(out)?;
        }
    }
    arms.iter().map(|arm| found(*arm).context("a cell that was written is missing")).collect()
}

fn measure(
    arms: &[ArmKind],
    work: Work<'_>,
    size: Size,
    conditions: &Conditions,
) -> anyhow::Result<Vec<Cell>> {
    let Work { function, input, .. } = work;
    let expected = native_answer(work)?;
    let mut open = Vec::new();
    for arm in arms {
        let mut arm = OpenArm::open(*arm, work, None).with_context(|| format!("opening {}", arm.name()))?;
        for _ in 0..conditions.warm_up_calls {
            arm.call()?;
        }
        open.push(arm);
    }
    let mut samples = vec![Vec::new(); open.len()];
    for round in 0..conditions.samples {
        for turn in 0..open.len() {
            let index = (turn + round) % open.len();
            if is_enough(&samples[index]) {
                continue;
            }
            let timed = open[index].call()?;
            function
                .ensure_same(&expected, &timed.answer.body)
                .with_context(|| format!("{} {} {}", arms[index].name(), function.name(), size.name()))?;
            samples[index].push(timed.sample);
        }
    }
    for arm in open {
        arm.dispose()?;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let cell = |(arm, samples): (&ArmKind, _)| Cell {
        conditions: conditions.clone(),
        arm: *arm,
        function,
        size,
        input_bytes: input.len(),
        output_bytes: expected.len(),
        finished_at_unix_s: now.as_ref().map_or(0, |since| since.as_secs()),
        samples,
    };
    Ok(arms.iter().zip(samples).map(cell).collect())
}

/// Computes the answer that all arms must give.
///
/// # Errors
/// Returns an error if the native program fails.
pub(crate) fn native_answer(work: Work<'_>) -> anyhow::Result<Vec<u8>> {
    let mut command = std::process::Command::new(&work.tools.native.call);
    let mut process = PipedProcess::start(command.arg(work.function.name()))?;
    process.send(work.input)?;
    let answer = process.receive()?;
    process.wait()?;
    Ok(answer.body)
}

/// The calls of which a cell needs only [`SLOW_SAMPLES`].
const SLOW_CALL_US: f64 = 1e6;

/// The samples of a cell whose calls are slow.
pub(crate) const SLOW_SAMPLES: usize = 5;

/// Returns whether a cell has as many samples as it needs before the last round.
fn is_enough(samples: &[Sample]) -> bool {
    let times = samples.iter().map(|sample| sample.total_us);
    samples.len() >= SLOW_SAMPLES && Estimate::of(times).is_some_and(|time| time.median > SLOW_CALL_US)
}

/// The functions and sizes of a run, in their order: the small ones first, because the last ones are
/// dropped when time runs out.
pub(crate) fn plan(functions: &[Function], sizes: &[Size]) -> Vec<Group> {
    sizes
        .iter()
        .flat_map(|size| functions.iter().map(|function| Group { function: *function, size: *size }))
        .collect()
}

/// Cells that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) function: Function,
    pub(crate) size: Size,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_arms_have_enough_samples_early() {
        let samples = |total_us, count| {
            vec![Sample { total_us, start_us: None, run_us: None, cpu_us: 1.0, memory_bytes: None }; count]
        };
        assert!(!is_enough(&samples(1_000.0, 30)));
        assert!(!is_enough(&samples(1e7, SLOW_SAMPLES - 1)));
        assert!(is_enough(&samples(1e7, SLOW_SAMPLES)));
    }
}
