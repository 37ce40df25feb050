//! The rounds of one function and one size: every arm once in each round, in an [order] that rotates.
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
        for index in order(open.len(), round) {
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

/// Returns the order of the arms in a round.
///
/// Rounds begin with each arm in turn, and step through the arms by different numbers, so that an arm
/// follows others, too: the kernel may still clean up after the one before.
pub(crate) fn order(arms: usize, round: usize) -> impl Iterator<Item = usize> {
    // A step without a common divisor reaches every arm.
    let steps: Vec<usize> = (1..=arms).filter(|step| greatest_common_divisor(*step, arms) == 1).collect();
    let step = steps.get(round % steps.len().max(1)).copied().unwrap_or(1);
    (0..arms).map(move |turn| (round + turn * step) % arms)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_round_has_every_arm_once() {
        for arms in 0..16 {
            for round in 0..32 {
                let mut sorted: Vec<_> = order(arms, round).collect();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..arms).collect::<Vec<_>>(), "{arms} arms, round {round}");
            }
        }
    }

    #[test]
    fn arms_follow_different_arms() {
        let follows = |arm, round| {
            let order: Vec<_> = order(14, round).collect();
            order.windows(2).find(|pair| pair[1] == arm).map(|pair| pair[0])
        };
        for arm in 0..14 {
            let before: BTreeSet<_> = (0..30).filter_map(|round| follows(arm, round)).collect();
            assert_eq!(before.len(), 6, "{arm}: {before:?}");
        }
        let first: BTreeSet<_> = (0..14).filter_map(|round| order(14, round).next()).collect();
        assert_eq!(first.len(), 14);
    }

    #[test]
    fn only_slow_arms_have_enough_samples_early() {
        let samples = |total_us, count| {
            vec![Sample { total_us, start_us: None, run_us: 0.0, cpu_us: 1.0, memory_bytes: None }; count]
        };
        assert!(!is_enough(&samples(1_000.0, 30)));
        assert!(!is_enough(&samples(1e7, SLOW_SAMPLES - 1)));
        assert!(is_enough(&samples(1e7, SLOW_SAMPLES)));
    }
}
