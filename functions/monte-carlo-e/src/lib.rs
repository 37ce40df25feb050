//! `monte-carlo-e`: estimates Euler's number, the mean count of random numbers from 0 to 1 whose
//! sum exceeds 1.
//!
//! `1000000` returns about 2.72, and the same number each time: the random numbers of a call are
//! derived from the function and its input.

/// The most trials, which end well within the default deadline.
const TRIALS_MAX: u32 = 10_000_000;

#[nebula_sdk::function]
mod monte_carlo_e {
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

    /// Estimates e from `trials` sums.
    pub fn handle(trials: u32) -> Result<Estimate, String> {
        // On the platform, this seed is derived from the function and its input.
        estimate(trials, &mut SmallRng::from_os_rng())
    }

    fn estimate(trials: u32, rng: &mut impl Rng) -> Result<Estimate, String> {
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` must be from 1 to {TRIALS_MAX}, not {trials}"));
        }
        let (mut total, mut total_of_squares) = (0_u64, 0_u64);
        for _ in 0..trials {
            let (mut sum, mut drawn) = (0.0, 0_u64);
            while sum <= 1.0 {
                sum += rng.random::<f64>();
                drawn += 1;
            }
            total += drawn;
            total_of_squares += drawn * drawn;
        }
        let count = f64::from(trials);
        let mean = total as f64 / count;
        let variance = (total_of_squares as f64 / count - mean * mean).max(0.0);
        Ok(Estimate { value: mean, standard_error: (variance / count).sqrt(), trials })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_estimate_is_near_e() {
            let estimate = estimate(100_000, &mut SmallRng::seed_from_u64(1)).unwrap();
            assert!((estimate.value - std::f64::consts::E).abs() < 4.0 * estimate.standard_error);
        }

        #[test]
        fn a_number_of_trials_out_of_range_is_an_error() {
            assert!(handle(0).is_err());
            assert!(handle(TRIALS_MAX + 1).is_err());
        }
    }
}
