//! The energy of this process, modelled, and that of the machine, where it is measured.
//!
//! Invariants:
//! * Both only grow.
//! * Nothing is read between two readings, of a scrape or of the stats. Memory counts as the mean of
//!   both for the time between them, and a counter of the machine may wrap once.

use std::path::Path;
use std::time::Instant;

use nebula_telemetry::energy::EnergyModel;
use nebula_telemetry::rapl::{Rapl, Reading};

use super::process::ProcessUsage;

/// The model of all modelled energy.
pub(super) const MODEL: EnergyModel = EnergyModel::TYPICAL;

/// Adds energy up.
#[derive(Debug)]
pub(super) struct EnergyMeter {
    /// The last reading, or the start of the server.
    last: Instant,
    /// Memory at that time.
    resident_bytes: Option<u64>,
    /// Memory over time so far, gigabytes times seconds.
    memory_gb_s: f64,
    /// `None` if the machine measures no energy, or only for root.
    measured: Option<MeasuredEnergy>,
}

/// Energy since the start, joules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EnergyUsage {
    /// Of the whole machine, if it measures it.
    pub(super) measured: Option<f64>,
    /// Of this process, if the machine shows its usage.
    pub(super) modelled: Option<f64>,
}

#[derive(Debug)]
struct MeasuredEnergy {
    rapl: Rapl,
    last: Reading,
    joules: f64,
}

impl EnergyMeter {
    /// Starts the meter. `powercap` is the directory of the machine's counters.
    pub(super) fn start(powercap: &Path) -> Self {
        let measured = Rapl::open(powercap).and_then(|rapl| {
            let last = rapl.read()?;
            Ok(MeasuredEnergy { rapl, last, joules: 0.0 })
        });
        Self { last: Instant::now(), resident_bytes: None, memory_gb_s: 0.0, measured: measured.ok() }
    }

    /// Returns both kinds of energy.
    pub(super) fn read(&mut self, usage: Option<&ProcessUsage>) -> EnergyUsage {
        EnergyUsage { measured: self.measured(), modelled: usage.map(|usage| self.modelled(usage)) }
    }

    /// Returns the energy that this process has used since its start, joules.
    fn modelled(&mut self, usage: &ProcessUsage) -> f64 {
        let now = Instant::now();
        let held = now.duration_since(std::mem::replace(&mut self.last, now));
        let resident = usage.resident_bytes;
        let before = self.resident_bytes.replace(resident).unwrap_or(resident);
        self.memory_gb_s += u64::midpoint(before, resident) as f64 / 1e9 * held.as_secs_f64();
        let cpu = usage.cpu + usage.children_cpu;
        MODEL.joules_of(cpu.as_secs_f64(), self.memory_gb_s)
    }

    /// Returns the energy that the machine has used since the meter was started, joules.
    fn measured(&mut self) -> Option<f64> {
        let MeasuredEnergy { rapl, last, joules } = self.measured.as_mut()?;
        // Without a new reading, the next one covers the time.
        if let Ok(reading) = rapl.read() {
            *joules += rapl.joules(last, &reading).total();
            *last = reading;
        }
        Some(*joules)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn measured_energy_adds_up_over_a_wrap() {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("intel-rapl:0");
        fs::create_dir(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "10000000\n").unwrap();
        let set = |energy_uj: u64| fs::write(zone.join("energy_uj"), format!("{energy_uj}\n")).unwrap();
        set(9_000_000);
        let mut meter = EnergyMeter::start(root.path());
        for (energy_uj, joules) in [(9_500_000, 0.5), (500_000, 1.5), (500_000, 1.5), (2_500_000, 3.5)] {
            set(energy_uj);
            assert!((meter.measured().unwrap() - joules).abs() < 1e-9, "{energy_uj}");
        }
        fs::remove_file(zone.join("energy_uj")).unwrap();
        assert!((meter.measured().unwrap() - 3.5).abs() < 1e-9);
    }

    #[test]
    fn modelled_energy_grows_with_processor_time_and_memory() {
        let mut meter = EnergyMeter::start(Path::new("/absent"));
        assert_eq!(meter.measured(), None);
        let usage = ProcessUsage::read().unwrap();
        let first = meter.modelled(&usage);
        std::thread::sleep(std::time::Duration::from_millis(2));
        let second = meter.modelled(&usage);
        assert!(second > first, "{first} {second}");
        let busier = ProcessUsage { cpu: usage.cpu + std::time::Duration::from_secs(1), ..usage };
        assert!(meter.modelled(&busier) > second + MODEL.core_watts);
    }
}
