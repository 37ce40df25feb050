//! The compressed replay: the calls of a stretch of the idle hour, made in less time against the
//! real platforms, to check the model of `hour`.
//!
//! ```text
//! rates x compression, keep-alive / compression -> trace -> calls -> cold starts, CPU time, memory
//!                                               -> model          -> the same, computed
//! ```
//!
//! A call takes as long as it takes: only the time between calls is compressed. Rates above a limit
//! are lowered, in the replay and in the model, so that calls don't queue on this machine.

mod containers;
mod nebula;

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::account::Group;
use super::arms::ArmKind;
use super::clock::{OpenArm, Work};
use super::held;
use super::hour::{Beginning, KeepAlive, Platform, Population, SEED, Usage};
use super::trace::{self, DueCall};
use super::waiting::NEBULA_UNLOADS_AFTER;

/// The keep-alive of the containers that are kept, uncompressed.
pub(crate) const KEPT: Duration = Duration::from_secs(60);

/// The extent of a replay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The seconds of the hour in a second of the replay.
    pub(crate) compression: f64,
    pub(crate) nebula: Stretch,
    /// Once without and once with a keep-alive.
    pub(crate) containers: Stretch,
}

/// A population and the time for which its calls are made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) functions: usize,
    /// The limit of the rates, in calls per hour of the population.
    pub(crate) calls_per_hour_max: f64,
    /// The length of the replay.
    pub(crate) length: Duration,
}

/// A platform whose hour is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// A server of Nebula that has the whole population.
    Nebula,
    ContainerPerCall,
    /// Containers that wait for [`KEPT`] after each call.
    ContainerKept,
}

/// The replay of one platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) subject: Subject,
    pub(crate) compression: f64,
    pub(crate) stretch: Stretch,
    /// The cold starts in the trace, if calls took no time.
    pub(crate) cold_starts_due: usize,
    pub(crate) observed: Observation,
}

/// The measures of a replay.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) calls: usize,
    pub(crate) cold_starts: usize,
    pub(crate) cpu_s: f64,
    /// The memory of all processes, averaged over the time. What its calls leave behind at the end
    /// counts, because nothing was there at the beginning.
    pub(crate) memory_bytes: f64,
    /// The longest time from the moment a call was due to its answer.
    pub(crate) slowest_s: f64,
}

impl Subject {
    /// Returns the keep-alive in compressed time.
    fn keep_alive(self, compression: f64) -> Duration {
        match self {
            // Its own times aren't compressed.
            Self::Nebula => NEBULA_UNLOADS_AFTER,
            Self::ContainerPerCall => Duration::ZERO,
            Self::ContainerKept => KEPT.div_f64(compression),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nebula => "replay-nebula",
            Self::ContainerPerCall => "replay-container-per-call",
            Self::ContainerKept => "replay-container-kept",
        }
    }
}

impl Stretch {
    fn population(&self, compression: f64) -> Population {
        Population::published(self.functions, SEED)
            .at_most_called(self.calls_per_hour_max)
            .compressed(compression)
    }

    /// Returns the number of functions whose rates are lowered.
    pub(crate) fn lowered(&self) -> usize {
        self.functions - Population::published(self.functions, SEED).at_most(self.calls_per_hour_max)
    }
}

impl Replay {
    /// Computes the same stretch with the model of the hour.
    pub(crate) fn modelled(&self, platform: &Platform) -> Usage {
        let keep_alive = KeepAlive::For(self.subject.keep_alive(self.compression));
        let platform = Platform { keep_alive, ..platform.clone() };
        platform.usage(&self.stretch.population(self.compression), self.stretch.length, Beginning::Empty)
    }
}

/// Replays the platforms whose arms run here.
///
/// # Errors
/// Returns an error if a platform fails or gives another answer.
pub(crate) fn run(extent: &Extent, arms: &[ArmKind], work: Work<'_>) -> anyhow::Result<Vec<Replay>> {
    let mut native = OpenArm::open(ArmKind::NativeCall, work, None)?;
    let expected = native.call()?.answer.body;
    native.dispose()?;
    let subjects = [
        (Subject::Nebula, extent.nebula, &[ArmKind::NebulaFresh, ArmKind::NebulaCold][..]),
        (Subject::ContainerPerCall, extent.containers, &[ArmKind::ContainerMinimal]),
        (Subject::ContainerKept, extent.containers, &[ArmKind::ContainerMinimal, ArmKind::ContainerWarm]),
    ];
    let mut replays = Vec::new();
    for (subject, stretch, needed) in subjects {
        if !needed.iter().all(|arm| arms.contains(arm)) {
            continue;
        }
        let keep_alive = subject.keep_alive(extent.compression);
        let calls = trace::draw(&stretch.population(extent.compression), stretch.length);
        eprintln!("{}: {} calls in {:?}", subject.name(), calls.len(), stretch.length);
        let group = work.accounts.group(subject.name())?;
        let task = Task { work, group: &group, stretch, calls: &calls, expected: &expected };
        let observed = match subject {
            Subject::Nebula => nebula::run(&task)?,
            Subject::ContainerPerCall | Subject::ContainerKept => containers::run(&task, keep_alive)?,
        };
        let cold_starts_due = trace::cold_starts(&calls, KeepAlive::For(keep_alive));
        let compression = extent.compression;
        replays.push(Replay { subject, compression, stretch, cold_starts_due, observed });
    }
    Ok(replays)
}

/// The calls to make, and where.
struct Task<'a> {
    work: Work<'a>,
    group: &'a Group,
    stretch: Stretch,
    calls: &'a [DueCall],
    /// The answer to each call.
    expected: &'a [u8],
}

impl Task<'_> {
    /// Makes calls in this process's control group, and measures until all have ended; the memory
    /// every `memory_step`.
    fn observe(
        &self,
        memory_step: Duration,
        make_calls: impl FnOnce(Instant) -> anyhow::Result<Made>,
    ) -> anyhow::Result<Observation> {
        let before = self.group.read()?;
        let begun = Instant::now();
        let held = held::during(memory_step, || make_calls(begun))?;
        let cpu_s = before.until(&self.group.read()?).as_secs_f64();
        let Made { cold_starts, slowest } = held.value;
        Ok(Observation {
            calls: self.calls.len(),
            cold_starts,
            cpu_s,
            memory_bytes: held.byte_s / self.stretch.length.as_secs_f64(),
            slowest_s: slowest.as_secs_f64(),
        })
    }
}

/// The calls that were made.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    cold_starts: usize,
    /// The longest time from the moment a call was due to its answer.
    slowest: Duration,
}

impl Made {
    fn add(&mut self, other: Self) {
        self.cold_starts += other.cold_starts;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Waits for a moment, which may have passed.
fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
