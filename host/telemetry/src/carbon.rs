//! The Software Carbon Intensity of the Green Software Foundation (ISO/IEC 21031:2024):
//! `SCI = (E * I + M) / R`.
//!
//! ```text
//! E  energy, modelled            I  intensity of the grid, a parameter
//! M  emissions of making the hardware, for the time and the part of it that is used
//! R  the unit that the score is for, such as a call: the caller divides
//! ```

use std::time::Duration;

use crate::energy::{EnergyModel, carbon_g};

/// A server, over whose life the emissions of making it are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Server {
    /// The emissions of making it, in kilograms of CO2 equivalents. 0 leaves `M` out.
    pub embodied_kg: f64,
    /// The time for which it is used.
    pub lifetime: Duration,
    /// The number of threads that it runs at once.
    pub hardware_threads: f64,
    /// Its memory in gigabytes.
    pub memory_gb: f64,
}

impl Server {
    /// A server with two Intel Xeon Platinum 8175M and 384 GB, used for four years: `m5.metal` in
    /// the [coefficients] of Cloud Carbon Footprint, which follow Davy, "Building an AWS EC2 Carbon
    /// Emissions Dataset" (Teads, 2021): 1,000 kg for a server with one processor, 100 kg for
    /// another one, and memory by the life cycle assessment of a Dell `PowerEdge` R740.
    ///
    /// [coefficients]: https://github.com/cloud-carbon-footprint/ccf-coefficients
    pub const TYPICAL: Self = Self {
        embodied_kg: 1_610.79,
        lifetime: Duration::from_secs(4 * 365 * 24 * 3600),
        hardware_threads: 96.0,
        memory_gb: 384.0,
    };

    /// Returns `M` in grams for CPU time in seconds, and for memory in gigabytes times the seconds
    /// for which it is held.
    ///
    /// The share of the server is that of its threads or that of its memory, whichever is larger:
    /// whoever holds all memory uses the whole server, and so does whoever uses all threads.
    pub fn embodied_g(&self, cpu_s: f64, memory_gb_s: f64) -> f64 {
        let shares_s = (cpu_s / self.hardware_threads).max(memory_gb_s / self.memory_gb);
        self.embodied_kg * 1e3 * shares_s / self.lifetime.as_secs_f64()
    }
}

/// Emissions in grams of CO2 equivalents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Carbon {
    /// `E * I`.
    pub operational_g: f64,
    /// `M`.
    pub embodied_g: f64,
}

impl Carbon {
    /// Returns the score if this is the carbon of `units`.
    pub fn per(self, units: f64) -> f64 {
        (self.operational_g + self.embodied_g) / units
    }
}

/// Everything that turns used resources into carbon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarbonModel {
    /// The model of `E`.
    pub energy: EnergyModel,
    /// The intensity of the grid in grams of CO2 equivalents per kilowatt-hour.
    pub grid_g_per_kwh: f64,
    /// The server of which a part is used.
    pub server: Server,
}

impl CarbonModel {
    /// Returns the carbon of CPU time in seconds, and of memory in gigabytes times the seconds for
    /// which it is held.
    pub fn carbon(&self, cpu_s: f64, memory_gb_s: f64) -> Carbon {
        Carbon {
            operational_g: carbon_g(self.energy.joules_of(cpu_s, memory_gb_s), self.grid_g_per_kwh),
            embodied_g: self.server.embodied_g(cpu_s, memory_gb_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Server = Server {
        embodied_kg: 1_000.0,
        lifetime: Duration::from_secs(4 * 365 * 24 * 3600),
        hardware_threads: 10.0,
        memory_gb: 100.0,
    };

    /// The specification's example: 1,000 kg over four years are about 28 g in an hour.
    #[test]
    fn a_whole_server_for_an_hour_has_the_share_of_its_life() {
        for (cpu_s, memory_gb_s) in [(36_000.0, 0.0), (0.0, 360_000.0), (36_000.0, 360_000.0)] {
            let embodied_g = SERVER.embodied_g(cpu_s, memory_gb_s);
            assert!((embodied_g - 28.5).abs() < 0.1, "{embodied_g}");
        }
    }

    #[test]
    fn the_larger_share_counts() {
        assert!((SERVER.embodied_g(10.0, 50.0) - SERVER.embodied_g(10.0, 0.0)).abs() < 1e-12);
        assert!(SERVER.embodied_g(10.0, 200.0) > 1.9 * SERVER.embodied_g(10.0, 0.0));
    }

    #[test]
    fn the_score_has_both_parts() {
        let energy = EnergyModel { core_watts: 1.0, memory_watts_per_gb: 0.0 };
        let model = CarbonModel { energy, grid_g_per_kwh: 500.0, server: SERVER };
        let carbon = model.carbon(3.6e6, 0.0);
        assert!((carbon.operational_g - 500.0).abs() < 1e-9, "{carbon:?}");
        assert!((carbon.per(2.0) - f64::midpoint(500.0, carbon.embodied_g)).abs() < 1e-9, "{carbon:?}");
        let without = CarbonModel { server: Server { embodied_kg: 0.0, ..SERVER }, ..model };
        assert_eq!(without.carbon(3.6e6, 1.0).embodied_g.to_bits(), 0.0_f64.to_bits());
    }
}
