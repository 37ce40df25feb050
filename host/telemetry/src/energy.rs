//! Modelled energy: CPU time times the power of a busy core, plus memory times its power.
//!
//! This is a model, not a measurement. It assumes that a busy core draws a constant power, and
//! ignores the idle power of the machine, disks, networks and power supplies. Energy is therefore
//! mostly proportional to CPU time: the model adds the order of magnitude.
//!
//! The power of a core differs by a factor of four between published sources, so that results have
//! a range: [`EnergyModel::LOW`] to [`EnergyModel::HIGH`].
//!
//! `rapl` measures energy where the machine counts it.

use std::time::Duration;

/// The power of a busy core in watts: the design power of an [AMD EPYC 7763], 280 W, divided by its
/// 64 cores.
///
/// [AMD EPYC 7763]: https://www.amd.com/en/products/processors/server/epyc/7003-series/amd-epyc-7763.html
pub const CORE_WATTS: f64 = 280.0 / 64.0;

/// The power of memory in watts per gigabyte, from the coefficients of [Cloud Carbon Footprint]. It is
/// the only source here, so that the range of the model has half and twice as much.
///
/// [Cloud Carbon Footprint]: https://www.cloudcarbonfootprint.org/docs/methodology/
pub const MEMORY_WATTS_PER_GB: f64 = 0.392;

/// The coefficients of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnergyModel {
    /// The power of a busy core in watts. [`LOW`](Self::LOW) leaves out what an idle one draws, the others
    /// don't.
    pub core_watts: f64,
    /// The power of memory in watts per gigabyte.
    pub memory_watts_per_gb: f64,
}

impl EnergyModel {
    /// The difference between a busy and an idle hardware thread of an AMD EPYC of the third
    /// generation (1.96 W and 0.46 W), from the [coefficients] of Cloud Carbon Footprint of April
    /// 2026: the power of whole servers in the results of `SPECpower_ssj2008`, divided by their
    /// hardware threads.
    ///
    /// [coefficients]: https://github.com/cloud-carbon-footprint/ccf-coefficients
    pub const LOW: Self = Self { core_watts: 1.96 - 0.46, memory_watts_per_gb: MEMORY_WATTS_PER_GB / 2.0 };

    /// The design power of a core, [`CORE_WATTS`].
    pub const TYPICAL: Self = Self { core_watts: CORE_WATTS, memory_watts_per_gb: MEMORY_WATTS_PER_GB };

    /// A busy hardware thread of a server with an Intel Haswell, 5.60 W, from the same coefficients.
    pub const HIGH: Self = Self { core_watts: 5.60, memory_watts_per_gb: MEMORY_WATTS_PER_GB * 2.0 };

    /// Returns the energy in joules of `cpu` time, and of `memory_bytes` that are held for a time.
    pub fn joules(&self, cpu: Duration, memory_bytes: u64, held: Duration) -> f64 {
        self.joules_of(cpu.as_secs_f64(), memory_bytes as f64 / 1e9 * held.as_secs_f64())
    }

    /// Returns the energy in joules of CPU time in seconds, and of memory in gigabytes times the
    /// seconds for which it is held.
    pub fn joules_of(&self, cpu_s: f64, memory_gb_s: f64) -> f64 {
        cpu_s * self.core_watts + memory_gb_s * self.memory_watts_per_gb
    }
}

/// The world's average intensity of electricity in 2024, in grams of CO2 equivalents per
/// kilowatt-hour ([Ember, Global Electricity Review 2025], which has the emissions of the whole life
/// of power stations and fuels).
///
/// [Ember, Global Electricity Review 2025]: https://ember-energy.org/latest-insights/global-electricity-review-2025/
pub const WORLD_GRID_G_PER_KWH: f64 = 473.0;

/// Returns the emissions of energy in grams of CO2 equivalents: the operational part of the Software
/// Carbon Intensity. `carbon` has the part embodied in hardware.
pub fn carbon_g(joules: f64, grid_g_per_kwh: f64) -> f64 {
    joules / 3.6e6 * grid_g_per_kwh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_time_times_power() {
        let model = EnergyModel { core_watts: 4.0, memory_watts_per_gb: 0.5 };
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert!((model.joules(second, 0, minute) - 4.0).abs() < 1e-9);
        assert!((model.joules(Duration::ZERO, 2_000_000_000, minute) - 60.0).abs() < 1e-9);
        assert!((CORE_WATTS - 4.375).abs() < 1e-9);
    }

    #[test]
    fn carbon_is_energy_times_the_intensity_of_the_grid() {
        assert!((carbon_g(3.6e6, 500.0) - 500.0).abs() < 1e-9);
    }

    #[test]
    fn the_range_contains_the_typical_value() {
        let joules =
            |model: EnergyModel| model.joules(Duration::from_millis(1), 1 << 20, Duration::from_millis(2));
        assert!(joules(EnergyModel::LOW) < joules(EnergyModel::TYPICAL));
        assert!(joules(EnergyModel::TYPICAL) < joules(EnergyModel::HIGH));
    }
}
