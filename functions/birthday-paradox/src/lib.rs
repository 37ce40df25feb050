//! `birthday-paradox`: how likely it is that two of some people share a birthday.
//!
//! `{"trials": 100000, "people": 23}` gives about 0.507, and the same each time: a call's random numbers
//! follow from the function and its input.

/// Trials that end well within the default deadline of a second: with people enough for the most draws, about
/// 25 a trial, they take some 50 ms on a core of its own.
const TRIALS_MAX: u32 = 1_000_000;

#[nebula_sdk::function]
mod birthday_paradox {
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

    /// How often, in `trials` groups of `people`, two have the same birthday.
    pub fn handle(trials: u32, people: u16) -> Result<Estimate, String> {
        // On the platform, the stream that this is seeded from follows from the function and its input.
        estimate(trials, people, &mut SmallRng::from_os_rng())
    }

    fn estimate(trials: u32, people: u16, rng: &mut impl Rng) -> Result<Estimate, String> {
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` is {trials}, and between 1 and {TRIALS_MAX}"));
        }
        // With more people than days two of them share one: no need to draw more.
        let shared = (0..trials).filter(|_| {
            let mut taken = [false; 365];
            (0..people).any(|_| std::mem::replace(&mut taken[rng.random_range(0..365)], true))
        });
        let share = shared.count() as f64 / f64::from(trials);
        let standard_error = (share * (1.0 - share) / f64::from(trials)).sqrt();
        Ok(Estimate { value: share, standard_error, trials })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn twenty_three_are_about_even() {
            let estimate = estimate(20_000, 23, &mut SmallRng::seed_from_u64(1)).unwrap();
            assert!((estimate.value - 0.5073).abs() < 4.0 * estimate.standard_error);
        }

        #[test]
        fn nobody_shares_alone_and_everybody_in_a_crowd() {
            let mut rng = SmallRng::seed_from_u64(1);
            assert_eq!(estimate(100, 1, &mut rng).unwrap().value, 0.0);
            assert_eq!(estimate(100, 366, &mut rng).unwrap().value, 1.0);
        }

        #[test]
        fn no_trials_or_too_many_is_an_error() {
            assert!(handle(0, 23).is_err());
            assert!(handle(TRIALS_MAX + 1, 23).is_err());
        }
    }
}
