//! Computed energy: CPU time times the power of a core.
//!
//! This is a model, not a measurement. It assumes that a busy core draws its share of the
//! processor's design power, and ignores idle power, memory and the rest of the machine. Energy is
//! therefore proportional to CPU time: the model adds the order of magnitude, and a share of energy
//! equals the share of CPU time.

/// The default power of a busy core in watts: the design power of an [AMD EPYC 7763], 280 W,
/// divided by its 64 cores.
///
/// [AMD EPYC 7763]: https://www.amd.com/en/products/processors/server/epyc/7003-series/amd-epyc-7763.html
pub(crate) const CORE_WATTS: f64 = 280.0 / 64.0;

/// Returns the energy in joules of a thousand requests that take `cpu_us` microseconds of CPU time
/// each.
pub(crate) fn per_1000_requests_j(cpu_us: f64, core_watts: f64) -> f64 {
    cpu_us * 1e-6 * 1000.0 * core_watts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_cpu_time_times_power() {
        // A thousand requests of a millisecond take one second of CPU time.
        assert!((per_1000_requests_j(1000.0, 4.0) - 4.0).abs() < 1e-9);
        assert!((CORE_WATTS - 4.375).abs() < 1e-9);
    }
}
