//! One clock for all arms: it starts when the request is handed over and stops when the complete
//! answer is received. No arm reads a clock for the total.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::account::{Accounted, Accounts, Group};
use super::answer::{Answer, Delay};
use super::arm::{Arm, Caller, Setup};
use super::arms::ArmKind;
use super::cell::Sample;
use super::tools::Tools;
use super::workload::{Function, Size};
use crate::cores::{self, Cores};

/// The delay that the check adds to calls.
const CHECK_DELAY: Delay = Delay::from_millis(50);

/// The delay for an arm whose calls take longer than [`SLOW_CALL`]. They differ by more than the
/// shorter delay.
const SLOW_CHECK_DELAY: Delay = Delay::from_secs(4);
const SLOW_CALL: Duration = Duration::from_millis(500);

/// The calls with and without the delay in a check.
const CHECK_CALLS: usize = 5;

/// The most that the difference may exceed the delay by, on a busy machine, as a share of the delay.
const CHECK_EXCESS_MAX: f64 = 0.8;

/// The same where other work takes the cores, such as a build.
const BUSY_EXCESS_MAX: f64 = 20.0;

/// The time for which an arm that is warm stays so. Nebula rests after two seconds without a call.
const WARM_FOR: Duration = Duration::from_secs(1);

/// The most attempts of a check: on a busy machine, few calls are undisturbed.
const CHECK_ATTEMPTS: usize = 20;

/// An arm that is ready, in its group.
pub(crate) struct OpenArm {
    kind: ArmKind,
    arm: Box<dyn Arm>,
    group: Group,
    cores: Cores,
    /// The end of the last call, or of the opening.
    last_used: Instant,
}

/// The workload of one arm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) cores: &'a Cores,
    pub(crate) accounts: &'a Accounts,
    pub(crate) function: Function,
    pub(crate) input: &'a [u8],
}

/// A sample and the answer that it has to be checked by.
pub(crate) struct TimedAnswer {
    pub(crate) sample: Sample,
    pub(crate) answer: Answer,
}

impl OpenArm {
    /// Opens an arm. Everything that it starts is in its group.
    ///
    /// # Errors
    /// Returns an error if the arm isn't available here.
    pub(crate) fn open(kind: ArmKind, work: Work<'_>, delay: Option<Delay>) -> anyhow::Result<Self> {
        let Work { tools, cores, accounts, function, input } = work;
        let name = if delay.is_some() { format!("{}-delayed", kind.name()) } else { kind.name().to_owned() };
        let group = accounts.group(&name)?;
        let path = group.container_path();
        cores::pin(&cores.load)?;
        let arm = group.within(|| {
            kind.open(Setup { tools, cores, function, input, delay, container_path: path.as_deref() })
        })?;
        Ok(Self { kind, arm, group, cores: cores.clone(), last_used: Instant::now() })
    }

    /// Makes one call on the clock.
    ///
    /// # Errors
    /// Returns an error if the arm fails.
    pub(crate) fn call(&mut self) -> anyhow::Result<TimedAnswer> {
        let Self { kind, arm, group, cores, last_used } = self;
        // A process inherits the cores of the thread that starts it.
        cores::pin(if kind.starts_processes() { &cores.server } else { &cores.load })?;
        let timed = group.within(|| {
            wake(arm.as_mut(), *last_used)?;
            arm.prepare()?;
            let Accounted { value, cpu, memory_bytes } = group.account(|| {
                let stamped = stamp(|| arm.call())?;
                arm.settle()?;
                Ok(stamped)
            })?;
            let StampedAnswer { answer, total } = value;
            ensure!(
                answer.run <= total,
                "the function took {:?}, longer than its call, {total:?}: their clocks differ",
                answer.run
            );
            let us = |duration: Duration| duration.as_secs_f64() * 1e6;
            let sample = Sample {
                total_us: us(total),
                start_us: answer.start.map(us),
                run_us: us(answer.run),
                cpu_us: us(cpu),
                memory_bytes,
            };
            Ok(TimedAnswer { sample, answer })
        });
        *last_used = Instant::now();
        timed.with_context(|| format!("calling {}", kind.name()))
    }

    /// Prepares callers that call at the same time.
    ///
    /// # Errors
    /// Returns an error if the arm answers one call at a time, or fails.
    pub(crate) fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        self.within(|| self.arm.callers(count))
    }

    /// Calls `action` in the group of the arm.
    ///
    /// # Errors
    /// Returns the error of `action`, or an error if this process may not move.
    pub(crate) fn within<T>(&self, action: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        cores::pin(&self.cores.load)?;
        self.group.within(action).with_context(|| format!("calling {}", self.kind.name()))
    }

    /// Accounts for everything that `action` causes, also after it.
    ///
    /// # Errors
    /// Returns the error of `action`, or an error if the arm fails.
    pub(crate) fn account<T>(
        &mut self,
        action: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<Accounted<T>> {
        let Self { kind, arm, group, cores, last_used } = self;
        cores::pin(&cores.load)?;
        let accounted = group.within(|| {
            wake(arm.as_mut(), *last_used)?;
            group.account(|| {
                let value = action()?;
                arm.rest()?;
                Ok(value)
            })
        });
        *last_used = Instant::now();
        accounted.with_context(|| format!("calling {}", kind.name()))
    }

    /// Ends the arm.
    ///
    /// # Errors
    /// Returns an error if something doesn't end.
    pub(crate) fn dispose(self) -> anyhow::Result<()> {
        self.arm.dispose().with_context(|| format!("ending {}", self.kind.name()))
    }
}

/// Wakes an arm that wasn't called for a while, because others had their turns.
fn wake(arm: &mut dyn Arm, last_used: Instant) -> anyhow::Result<()> {
    if last_used.elapsed() < WARM_FOR {
        return Ok(());
    }
    arm.wake()?;
    arm.rest()
}

/// An answer and its time.
pub(crate) struct StampedAnswer {
    pub(crate) answer: Answer,
    /// From the request handed over to the complete answer received.
    pub(crate) total: Duration,
}

/// Stamps the two points of a call. Nothing else reads a clock for the total.
///
/// # Errors
/// Returns the error of the call.
pub(crate) fn stamp(call: impl FnOnce() -> anyhow::Result<Answer>) -> anyhow::Result<StampedAnswer> {
    let handed_over = Instant::now();
    let answer = call();
    let total = handed_over.elapsed();
    Ok(StampedAnswer { answer: answer?, total })
}

/// Calls an arm once, to see whether it is available.
///
/// # Errors
/// Returns the reason why it isn't.
pub(crate) fn probe(kind: ArmKind, work: Work<'_>) -> anyhow::Result<()> {
    let mut arm = OpenArm::open(kind, work, None)?;
    arm.call()?;
    arm.dispose()
}

/// The difference that a delay in an arm makes on the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedDelay {
    pub(crate) arm: ArmKind,
    pub(crate) delay: Delay,
    pub(crate) seen: Duration,
}

/// Adds a delay inside an arm and checks that the clock sees it: that it starts before the arm does
/// anything and stops after.
///
/// # Errors
/// Returns an error if the clock sees less or, unless the machine `is_busy`, much more.
pub(crate) fn check(kind: ArmKind, work: Work<'_>, is_busy: bool) -> anyhow::Result<CheckedDelay> {
    let excess_max = if is_busy { BUSY_EXCESS_MAX } else { CHECK_EXCESS_MAX };
    let mut plain = OpenArm::open(kind, work, None)?;
    let first = plain.call()?.sample.total_us;
    let delay = if first > SLOW_CALL.as_secs_f64() * 1e6 { SLOW_CHECK_DELAY } else { CHECK_DELAY };
    let mut delayed = OpenArm::open(kind, work, Some(delay))?;
    let mut seen = Duration::ZERO;
    // The fastest of all calls so far, in turns: other processes only add time.
    let (mut without, mut with) = (f64::MAX, f64::MAX);
    for _ in 0..CHECK_ATTEMPTS {
        for _ in 0..if delay == CHECK_DELAY { CHECK_CALLS } else { 1 } {
            without = without.min(plain.call()?.sample.total_us);
            with = with.min(delayed.call()?.sample.total_us);
        }
        seen = Duration::from_secs_f64((with - without).max(0.0) / 1e6);
        if is_seen(delay, seen, excess_max) {
            break;
        }
    }
    plain.dispose()?;
    delayed.dispose()?;
    ensure!(is_seen(delay, seen, excess_max), "a delay of {delay:?} in {} shows as {seen:?}", kind.name());
    Ok(CheckedDelay { arm: kind, delay, seen })
}

/// Returns whether a difference is that of the delay. The fastest call without it may have been
/// slower by chance than the fastest with it, by a tenth at most.
fn is_seen(delay: Delay, difference: Duration, excess_max: f64) -> bool {
    (delay.mul_f64(0.9)..=delay.mul_f64(1.0 + excess_max)).contains(&difference)
}

/// Returns the input of the smallest call.
///
/// # Errors
/// Returns an error if it can't be generated.
pub(crate) fn smallest() -> anyhow::Result<Vec<u8>> {
    Function::FibonacciRecursive.input(Size::Small)
}
