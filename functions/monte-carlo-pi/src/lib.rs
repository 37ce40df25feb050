//! `monte-carlo-pi`: estimates pi from the share of random points of a square that lie in its
//! circle.
//!
//! `1000000` returns about 3.14, and the same number each time: the random numbers of a call are
//! derived from the function and its input.

/// The most trials, which end well within the default deadline.
const TRIALS_MAX: u32 = 10_000_000;

#[nebula_sdk::function]
mod monte_carlo_pi {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::TRIALS_MAX;

    /// An estimate and its accuracy.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Estimate {
        /// The mean of the trials.
        pub value: f64,
        /// The standard error of the mean.
        pub standard_error: f64,
        /// The number of trials.
        pub trials: u32,
    }

    /// Estimates pi from `trials` points.
    pub fn handle(trials: u32) -> Result<Estimate, String> {
        // On the platform, this seed is derived from the function and its input.
        estimate(trials, &mut SmallRng::from_os_rng())
    }

    fn estimate(trials: u32, rng: &mut impl Rng) -> Result<Estimate, String> {
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` must be from 1 to {TRIALS_MAX}, not {trials}"));
        }
        let inside = (0..trials)
            .filter(|_| {
                let (x, y): (f64, f64) = (rng.random(), rng.random());
                x * x + y * y < 1.0
            })
            .count();
        let share = inside as f64 / f64::from(trials);
        let standard_error = 4.0 * (share * (1.0 - share) / f64::from(trials)).sqrt();
        Ok(Estimate { value: 4.0 * share, standard_error, trials })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_estimate_is_near_pi() {
            let estimate = estimate(100_000, &mut SmallRng::seed_from_u64(1)).unwrap();
            assert!((estimate.value - std::f64::consts::PI).abs() < 4.0 * estimate.standard_error);
        }

        #[test]
        fn a_number_of_trials_out_of_range_is_an_error() {
            assert!(handle(0).is_err());
            assert!(handle(TRIALS_MAX + 1).is_err());
        }
    }
}
