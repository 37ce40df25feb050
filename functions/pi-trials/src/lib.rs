//! `pi-trials`: counts the random points of a square that lie in its circle.
//!
//! `{"seed": 2, "trials": 100000}` counts 78,523 inside. The points depend only on the seed: calls
//! with different seeds split a long run, and `pi-estimate` computes one estimate from their
//! tallies.

/// The most trials, which end well within the default deadline.
const TRIALS_MAX: u32 = 10_000_000;

#[nebula_sdk::function]
mod pi_trials {
    use super::TRIALS_MAX;

    /// The points to draw.
    pub struct Points {
        /// The seed of the random numbers.
        pub seed: u64,
        /// The number of points.
        pub trials: u32,
    }

    /// The result of some trials.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tally {
        /// The number of points in the circle.
        pub inside: u64,
        /// The number of points.
        pub trials: u64,
    }

    /// Counts the points in the circle.
    pub fn handle(points: Points) -> Result<Tally, String> {
        let Points { seed, trials } = points;
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` must be from 1 to {TRIALS_MAX}, not {trials}"));
        }
        let mut rng = SplitMix64(seed);
        let inside = (0..trials)
            .filter(|_| {
                let (x, y) = (rng.unit(), rng.unit());
                x * x + y * y < 1.0
            })
            .count();
        Ok(Tally { inside: inside as u64, trials: trials.into() })
    }

    /// A generator of random numbers (Steele, Lea and Flood, 2014) and its state. The function
    /// doesn't use `SmallRng` of the crate rand because that differs between Wasm and native
    /// targets.
    struct SplitMix64(u64);

    impl SplitMix64 {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// Returns a number of at least 0 and below 1.
        fn unit(&mut self) -> f64 {
            // The mantissa of an `f64` holds 53 bits, so the conversion rounds nothing.
            (self.next() >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn about_a_quarter_of_pi_is_inside() {
            let tally = handle(Points { seed: 2, trials: 100_000 }).unwrap();
            assert_eq!(tally.trials, 100_000);
            let estimate = 4.0 * tally.inside as f64 / 100_000.0;
            assert!((estimate - std::f64::consts::PI).abs() < 0.02);
        }

        #[test]
        fn points_depend_on_the_seed_only() {
            let tally = |seed| handle(Points { seed, trials: 100_000 });
            assert_eq!(tally(7), tally(7));
            assert_ne!(tally(7), tally(8));
            assert!(tally(u64::MAX).is_ok());
        }

        #[test]
        fn the_generator_matches_published_values() {
            let mut rng = SplitMix64(1_234_567);
            assert_eq!(rng.next(), 6_457_827_717_110_365_317);
            assert_eq!(rng.next(), 3_203_168_211_198_807_973);
            assert_eq!(rng.next(), 9_817_491_932_198_370_423);
        }

        #[test]
        fn a_number_of_trials_out_of_range_is_an_error() {
            for trials in [0, TRIALS_MAX + 1] {
                assert!(handle(Points { seed: 1, trials }).is_err());
            }
        }
    }
}
