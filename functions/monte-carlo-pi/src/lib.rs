//! `monte-carlo-pi`: pi, from how many random points of a square lie in its circle.
//!
//! `1000000` gives about 3.14. Random, and yet the same each time: a call's random numbers follow from
//! the function and its input.

/// Trials that end well within the deadline.
const TRIALS_MAX: u32 = 10_000_000;

#[nebula_sdk::function]
mod monte_carlo_pi {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::TRIALS_MAX;

    /// An estimate, and how good it is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Estimate {
        /// The mean of the trials.
        pub value: f64,
        /// Its standard error.
        pub standard_error: f64,
        /// How many trials there were.
        pub trials: u32,
    }

    /// An estimate of pi from `trials` points.
    pub fn handle(trials: u32) -> Result<Estimate, String> {
        // On the platform, the stream that this is seeded from follows from the function and its input.
        estimate(trials, &mut SmallRng::from_os_rng())
    }

    fn estimate(trials: u32, rng: &mut impl Rng) -> Result<Estimate, String> {
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` is {trials}, and between 1 and {TRIALS_MAX}"));
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
        fn is_about_pi() {
            let estimate = estimate(100_000, &mut SmallRng::seed_from_u64(1)).unwrap();
            assert!((estimate.value - std::f64::consts::PI).abs() < 4.0 * estimate.standard_error);
        }

        #[test]
        fn no_trials_or_too_many_is_an_error() {
            assert!(handle(0).is_err());
            assert!(handle(TRIALS_MAX + 1).is_err());
        }
    }
}
