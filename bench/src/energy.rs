//! Energy, computed: processor time, times what a core draws.
//!
//! A model, not a measurement. It takes a core for as thirsty as its share of the processor's design power while it
//! works, and nothing for idling, memory or the rest of the machine. So it is in proportion to processor time: what it
//! adds is the order of magnitude, and a share of energy is the share of that time.

/// What a core draws unless told otherwise, watts: the default design power of an [AMD EPYC 7763], 280 W, over
/// its 64 cores.
///
/// [AMD EPYC 7763]: https://www.amd.com/en/products/processors/server/epyc/7003-series/amd-epyc-7763.html
pub(crate) const CORE_WATTS: f64 = 280.0 / 64.0;

/// Of a thousand requests that take `cpu_us` microseconds of processor time each, joules.
pub(crate) fn of_1000_requests_j(cpu_us: f64, core_watts: f64) -> f64 {
    cpu_us * 1e-6 * 1000.0 * core_watts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_draws_its_watts_for_as_long_as_it_works() {
        // A thousand requests of a millisecond each: one second.
        assert!((of_1000_requests_j(1000.0, 4.0) - 4.0).abs() < 1e-9);
        assert!((CORE_WATTS - 4.375).abs() < 1e-9);
    }
}
