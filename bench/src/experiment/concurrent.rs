//! Several callers at the same time: throughput, latency, CPU time per call and peak memory.
//!
//! ```text
//! callers, a thread each --together--> [call -> settle]* until the window ends -> accounted as one
//!                                       ^^^^ stamped by the thread, as by the clock of one caller
//! ```
//!
//! A caller begins its next call when the platform has finished with its last one: at most as many
//! calls as callers run at once. Each caller makes at least one call in a window, so that windows of
//! slow arms are longer.
//!
//! Unlike in the rounds of one caller, cores aren't divided: callers and platform share all of them,
//! for every arm alike, because processes share the cores of the callers that start them.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::account::Accounted;
use super::arm::Caller;
use super::arms::ArmKind;
use super::cell::{self, Conditions};
use super::clock::{self, OpenArm, StampedAnswer, Work};
use super::rounds;
use super::workload::{Function, Size};
use crate::cores::Cores;

/// The callers for each core.
const CALLERS_PER_CORE: usize = 4;

/// The calls of which one window is enough.
const SLOW_CALL_US: f64 = 1e6;

/// The size of all inputs: with a larger one, the cores compute, whatever the platform.
pub(crate) const SIZE: Size = Size::Small;

/// The extent of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) functions: Vec<Function>,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
}

/// The measures of an arm and a function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConcurrentCell {
    pub(crate) conditions: Conditions,
    pub(crate) arm: ArmKind,
    pub(crate) function: Function,
    pub(crate) size: Size,
    pub(crate) callers: usize,
    pub(crate) window_s: f64,
    pub(crate) rounds: usize,
    /// In the order of the rounds; none is left out. An arm whose calls take more than a second has only one.
    pub(crate) windows: Vec<Window>,
}

/// The measures of one window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) answers: usize,
    /// The sum of the callers' own rates, so that it doesn't matter how many calls the end of the
    /// window finds unfinished.
    pub(crate) answers_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// The CPU time of everything that the calls caused, divided by their number.
    pub(crate) cpu_us_per_call: f64,
    /// The peak of memory that the arm held, if the machine accounts for it.
    pub(crate) memory_bytes: Option<u64>,
}

/// Measures the arms that several callers can find in their state, in interleaved rounds.
///
/// # Errors
/// Returns an error if an arm fails or gives another answer.
pub(crate) fn measure(
    arms: &[ArmKind],
    work: Work<'_>,
    extent: &Extent,
    conditions: &Conditions,
    out: &Path,
) -> anyhow::Result<Vec<ConcurrentCell>> {
    let cores = work.cores.undivided();
    let work = Work { cores: &cores, ..work };
    let arms: Vec<ArmKind> = arms.iter().copied().filter(|arm| arm.has_concurrent_calls()).collect();
    let mut cells = Vec::new();
    for function in &extent.functions {
        let input = function.input(SIZE)?;
        let work = Work { function: *function, input: &input, ..work };
        let plan = Plan { extent, conditions, callers: callers(&cores), out };
        let missing: Vec<ArmKind> =
            arms.iter().copied().filter(|arm| plan.find(*arm, *function).is_none()).collect();
        for cell in plan.measure(&missing, work)? {
            cell::write(&path(out, cell.arm, *function), &cell)?;
        }
        for arm in &arms {
            cells.push(plan.find(*arm, *function).context("a cell that was written is missing")?);
        }
    }
    Ok(cells)
}

/// Returns the number of callers on cores that aren't divided.
fn callers(cores: &Cores) -> usize {
    cores.load.len() * CALLERS_PER_CORE
}

/// Returns the path of a cell's file.
fn path(out: &Path, arm: ArmKind, function: Function) -> PathBuf {
    out.join("raw").join(format!("concurrent-{}-{}-{}.json", function.name(), SIZE.name(), arm.name()))
}

/// The longest call that is told from longer ones, nanoseconds.
const LONGEST_NS: u64 = 300_000_000_000;

/// The digits of a time that are kept.
const DIGITS: u8 = 3;

/// The conditions of the cells of a run.
#[derive(Clone, Copy, Debug)]
struct Plan<'a> {
    extent: &'a Extent,
    conditions: &'a Conditions,
    callers: usize,
    out: &'a Path,
}

impl Plan<'_> {
    /// Reads the file of a cell if there is one with these conditions.
    fn find(&self, arm: ArmKind, function: Function) -> Option<ConcurrentCell> {
        let json = std::fs::read(path(self.out, arm, function)).ok()?;
        let cell: ConcurrentCell = serde_json::from_slice(&json).ok()?;
        let is_same = cell.conditions == *self.conditions
            && cell.callers == self.callers
            && cell.rounds == self.extent.rounds
            && cell.window_s == self.extent.window.as_secs_f64();
        is_same.then_some(cell)
    }

    fn measure(&self, arms: &[ArmKind], work: Work<'_>) -> anyhow::Result<Vec<ConcurrentCell>> {
        if arms.is_empty() {
            return Ok(Vec::new());
        }
        let Self { extent, conditions, callers, .. } = *self;
        let expected = rounds::native_answer(work)?;
        let is_same = |answer: &[u8]| work.function.ensure_same(&expected, answer);
        let mut open = Vec::new();
        for arm in arms {
            let opened =
                OpenArm::open(*arm, work, None).with_context(|| format!("opening {}", arm.name()))?;
            let mut crowd = opened.callers(callers)?;
            let warm_up = Until { elapsed: Duration::ZERO, calls: conditions.warm_up_calls };
            opened.within(|| call_together(&mut crowd, warm_up, &is_same))?;
            open.push(ArmWithCallers { arm: opened, callers: crowd, windows: Vec::new() });
        }
        for round in 0..extent.rounds {
            for index in rounds::order(open.len(), round) {
                let ArmWithCallers { arm, callers, windows } = &mut open[index];
                if windows.first().is_some_and(|window: &Window| window.p50_us > SLOW_CALL_US) {
                    continue;
                }
                let until = Until { elapsed: extent.window, calls: 1 };
                windows.push(Window::of(arm.account(|| call_together(callers, until, &is_same))?)?);
            }
        }
        let mut cells = Vec::new();
        for (kind, ArmWithCallers { arm, callers: crowd, windows }) in arms.iter().zip(open) {
            // The connections first: a server waits for them.
            drop(crowd);
            arm.dispose()?;
            cells.push(ConcurrentCell {
                conditions: conditions.clone(),
                arm: *kind,
                function: work.function,
                size: SIZE,
                callers,
                window_s: extent.window.as_secs_f64(),
                rounds: extent.rounds,
                windows,
            });
        }
        Ok(cells)
    }
}

/// An arm and those who call it.
struct ArmWithCallers {
    arm: OpenArm,
    callers: Vec<Box<dyn Caller>>,
    windows: Vec<Window>,
}

/// The end of a caller's calls: the time and the number of calls are both reached.
#[derive(Clone, Copy, Debug)]
struct Until {
    elapsed: Duration,
    calls: usize,
}

/// The calls of one caller in a window.
struct CallerTimes {
    /// Nanoseconds. Its size doesn't depend on the number of calls, because it is in the memory of the
    /// arm's group.
    totals: Histogram<u64>,
    /// From the first call until the platform has finished with the last one.
    elapsed: Duration,
}

/// Lets all callers call at the same time, and checks each answer.
fn call_together(
    callers: &mut [Box<dyn Caller>],
    until: Until,
    is_same: &(impl Fn(&[u8]) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<Vec<CallerTimes>> {
    let together = Barrier::new(callers.len());
    thread::scope(|scope| {
        let threads: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    call_until(caller.as_mut(), until, is_same)
                })
            })
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| anyhow!("a caller panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

fn call_until(
    caller: &mut dyn Caller,
    until: Until,
    is_same: impl Fn(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<CallerTimes> {
    let mut totals = Histogram::new_with_max(LONGEST_NS, DIGITS)?;
    // Most platforms answer with the same bytes each time, which then aren't parsed again.
    let mut accepted = None;
    let started = Instant::now();
    while totals.len() < until.calls as u64 || started.elapsed() < until.elapsed {
        let StampedAnswer { answer, total } = clock::stamp(|| caller.call())?;
        caller.settle()?;
        if accepted.as_ref() != Some(&answer.body) {
            is_same(&answer.body)?;
            accepted = Some(answer.body);
        }
        totals.saturating_record(u64::try_from(total.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(CallerTimes { totals, elapsed: started.elapsed() })
}

impl Window {
    fn of(accounted: Accounted<Vec<CallerTimes>>) -> anyhow::Result<Self> {
        let Accounted { value: callers, cpu, memory_bytes } = accounted;
        let rate = |caller: &CallerTimes| caller.totals.len() as f64 / caller.elapsed.as_secs_f64();
        let answers_per_s = callers.iter().map(rate).sum();
        let mut totals = Histogram::new_with_max(LONGEST_NS, DIGITS)?;
        for caller in &callers {
            totals.add(&caller.totals)?;
        }
        ensure!(!totals.is_empty(), "a window without a call");
        let at = |percent: f64| totals.value_at_quantile(percent / 100.0) as f64 / 1e3;
        Ok(Self {
            answers: usize::try_from(totals.len())?,
            answers_per_s,
            p50_us: at(50.0),
            p95_us: at(95.0),
            p99_us: at(99.0),
            max_us: at(100.0),
            cpu_us_per_call: cpu.as_secs_f64() * 1e6 / totals.len() as f64,
            memory_bytes,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
