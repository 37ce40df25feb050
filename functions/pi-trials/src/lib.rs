//! `pi-trials`: how many random points of a square lie in its circle.
//!
//! `{"seed": 2, "trials": 100000}` gives 78,523 inside. The points follow from the seed alone: calls
//! with different seeds share out a long run, and `pi-estimate` makes one estimate of their tallies.

/// Trials that end well within the deadline.
const TRIALS_MAX: u32 = 10_000_000;

#[nebula_sdk::function]
mod pi_trials {
    use super::TRIALS_MAX;

    /// Which points to draw.
    pub struct Points {
        /// Where the random numbers begin.
        pub seed: u64,
        /// How many points.
        pub trials: u32,
    }

    /// What became of some trials.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tally {
        /// How many points lay in the circle.
        pub inside: u64,
        /// How many points there were.
        pub trials: u64,
    }

    /// How many of the `points` lie in the circle.
    pub fn handle(points: Points) -> Result<Tally, String> {
        let Points { seed, trials } = points;
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` is {trials}, and between 1 and {TRIALS_MAX}"));
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

    /// A generator of random numbers (Steele, Lea and Flood, 2014), with its state. It is written out because
    /// rand's small one isn't the same on Wasm as it is natively.
    struct SplitMix64(u64);

    impl SplitMix64 {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// From 0 up to 1, which it never is.
        fn unit(&mut self) -> f64 {
            // As many bits as a float's mantissa holds, so that nothing is rounded.
            (self.next() >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn about_pi_in_four_are_inside() {
            let tally = handle(Points { seed: 2, trials: 100_000 }).unwrap();
            assert_eq!(tally.trials, 100_000);
            let estimate = 4.0 * tally.inside as f64 / 100_000.0;
            assert!((estimate - std::f64::consts::PI).abs() < 0.02);
        }

        #[test]
        fn points_follow_from_the_seed() {
            let tally = |seed| handle(Points { seed, trials: 100_000 });
            assert_eq!(tally(7), tally(7));
            assert_ne!(tally(7), tally(8));
            assert!(tally(u64::MAX).is_ok());
        }

        #[test]
        fn the_generator_is_the_known_one() {
            let mut rng = SplitMix64(1_234_567);
            assert_eq!(rng.next(), 6_457_827_717_110_365_317);
            assert_eq!(rng.next(), 3_203_168_211_198_807_973);
            assert_eq!(rng.next(), 9_817_491_932_198_370_423);
        }

        #[test]
        fn no_trials_or_too_many_is_an_error() {
            for trials in [0, TRIALS_MAX + 1] {
                assert!(handle(Points { seed: 1, trials }).is_err());
            }
        }
    }
}
