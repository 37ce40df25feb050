//! Energy by the counters of the machine, where it has them: of a batch of calls for each arm, with
//! the idle share apart.
//!
//! ```text
//! idle window -> idle power      batch of an arm: calls for seconds -> joules - idle power * time
//! ```
//!
//! A counter is of the whole machine. So the batches contain this process, which calls, and what
//! else runs; and a figure is of a batch, never of a call.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nebula_telemetry::energy::EnergyModel;
use nebula_telemetry::rapl::{Measured, Rapl};
use serde::Serialize;

use super::arms::ArmKind;
use super::cell::Sample;
use super::clock::{OpenArm, Work};

/// The shortest time in which the counters move often enough.
const SHORTEST: Duration = Duration::from_millis(100);

/// The measured energy of all arms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MeasuredEnergy {
    /// The power of the machine when nothing of the experiment runs.
    pub(crate) idle_w: f64,
    /// True if the figures include memory.
    pub(crate) has_memory: bool,
    pub(crate) batches: Vec<ArmBatch>,
}

/// The batch of one arm.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ArmBatch {
    pub(crate) arm: ArmKind,
    pub(crate) batch: Batch,
}

/// Calls one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Batch {
    pub(crate) calls: u32,
    pub(crate) time_s: f64,
    /// The energy of the machine in the time, the idle share included.
    pub(crate) joules: f64,
    /// The idle power for the time.
    pub(crate) idle_joules: f64,
    /// The model's energy of the same calls.
    pub(crate) modelled_joules: f64,
}

impl Batch {
    /// Returns the energy that the calls caused. It may be below 0, by the noise of the idle power.
    pub(crate) fn active_joules(&self) -> f64 {
        self.joules - self.idle_joules
    }
}

/// Measures a batch of each arm, each for `length`.
///
/// # Errors
/// Returns the reason if the machine has no counters that this process may read; the inner error if
/// an arm fails.
pub(crate) fn measure(
    counters: &Path,
    arms: &[ArmKind],
    work: Work<'_>,
    length: Duration,
) -> anyhow::Result<Result<MeasuredEnergy, String>> {
    let rapl = match Rapl::open(counters) {
        Ok(rapl) => rapl,
        Err(reason) => return Ok(Err(reason.to_string())),
    };
    let length = length.max(SHORTEST);
    let idle = idle_power(&rapl, length)?;
    let mut batches = Vec::new();
    for arm in arms {
        // A cold call needs a new server, which the counters would include.
        if *arm == ArmKind::NebulaCold {
            continue;
        }
        let mut open = OpenArm::open(*arm, work, None)?;
        // The first call may load what the others don't.
        open.call()?;
        let batch = run(&rapl, idle, length, || Ok(open.call()?.sample))?;
        open.dispose()?;
        batches.push(ArmBatch { arm: *arm, batch });
    }
    Ok(Ok(MeasuredEnergy { idle_w: idle.total(), has_memory: rapl.has_memory(), batches }))
}

/// Measures the power while this process sleeps.
fn idle_power(rapl: &Rapl, window: Duration) -> io::Result<Measured> {
    let begun = Instant::now();
    let before = rapl.read()?;
    thread::sleep(window);
    let after = rapl.read()?;
    Ok(rapl.joules(&before, &after).over(begun.elapsed()))
}

/// Calls for `length`.
fn run(
    rapl: &Rapl,
    idle: Measured,
    length: Duration,
    mut call: impl FnMut() -> anyhow::Result<Sample>,
) -> anyhow::Result<Batch> {
    let (mut calls, mut modelled_joules) = (0, 0.0);
    let begun = Instant::now();
    let before = rapl.read()?;
    while begun.elapsed() < length {
        let Sample { total_us, cpu_us, memory_bytes, .. } = call()?;
        let memory_gb_s = memory_bytes.unwrap_or(0) as f64 / 1e9 * total_us / 1e6;
        modelled_joules += EnergyModel::TYPICAL.joules_of(cpu_us / 1e6, memory_gb_s);
        calls += 1;
    }
    let after = rapl.read()?;
    let time = begun.elapsed();
    Ok(Batch {
        calls,
        time_s: time.as_secs_f64(),
        joules: rapl.joules(&before, &after).total(),
        idle_joules: idle.during(time).total(),
        modelled_joules,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn zone(root: &Path, zone: &str, name: &str, energy_uj: u64) {
        let zone = root.join(zone);
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), name).unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850").unwrap();
        fs::write(zone.join("energy_uj"), energy_uj.to_string()).unwrap();
    }

    /// Calls that make the counters of a machine move.
    #[test]
    fn a_batch_has_the_energy_of_its_calls_and_the_idle_share_apart() {
        let root = tempfile::tempdir().unwrap();
        // The counter of the processor wraps in the batch.
        let mut package_uj = 262_143_000_000;
        zone(root.path(), "intel-rapl:0", "package-0", package_uj);
        zone(root.path(), "intel-rapl:0:0", "dram", 0);
        let rapl = Rapl::open(root.path()).unwrap();
        assert_eq!(idle_power(&rapl, Duration::from_millis(1)).unwrap().total().to_bits(), 0.0_f64.to_bits());
        let idle = Measured { package: 10.0, memory: Some(2.0) };
        let mut called = 0;
        let batch = run(&rapl, idle, Duration::from_millis(20), || {
            called += 1;
            package_uj = (package_uj + 1_000_000) % 262_143_328_850;
            fs::write(root.path().join("intel-rapl:0/energy_uj"), package_uj.to_string())?;
            fs::write(root.path().join("intel-rapl:0:0/energy_uj"), (called * 500_000).to_string())?;
            Ok(Sample {
                total_us: 1e6,
                start_us: None,
                run_us: 1e3,
                cpu_us: 1e6,
                memory_bytes: Some(1_000_000_000),
            })
        })
        .unwrap();
        assert!(batch.calls > 0 && u64::from(batch.calls) == called && batch.time_s >= 0.02, "{batch:?}");
        let calls = f64::from(batch.calls);
        assert!((batch.joules - 1.5 * calls).abs() < 1e-6, "{batch:?}");
        assert!((batch.idle_joules - 12.0 * batch.time_s).abs() < 1e-9, "{batch:?}");
        assert!((batch.active_joules() - (batch.joules - batch.idle_joules)).abs() < 1e-9);
        let modelled = EnergyModel::TYPICAL.core_watts + EnergyModel::TYPICAL.memory_watts_per_gb;
        assert!((batch.modelled_joules - modelled * calls).abs() < 1e-6, "{batch:?}");
    }
}
