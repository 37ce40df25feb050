//! `birthday-paradox`: estimates the probability that two people of a group share a birthday.
//!
//! `{"trials": 100000, "people": 23}` returns about 0.507, and the same number each time: the
//! random numbers of a call are derived from the function and its input.

/// The most trials. A trial draws at most about 25 birthdays, so a million of them take some 50 ms
/// on an idle core, well within the default deadline of a second.
const TRIALS_MAX: u32 = 1_000_000;

#[nebula_sdk::function]
mod birthday_paradox {
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

    /// Estimates the share of `trials` groups of `people` in which two people have the same
    /// birthday.
    pub fn handle(trials: u32, people: u16) -> Result<Estimate, String> {
        // On the platform, this seed is derived from the function and its input.
        estimate(trials, people, &mut SmallRng::from_os_rng())
    }

    fn estimate(trials: u32, people: u16, rng: &mut impl Rng) -> Result<Estimate, String> {
        if trials == 0 || trials > TRIALS_MAX {
            return Err(format!("`trials` must be from 1 to {TRIALS_MAX}, not {trials}"));
        }
        // A trial ends at the first shared birthday, at the latest when there are more people than
        // days.
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
        fn twenty_three_people_share_a_birthday_in_half_of_the_trials() {
            let estimate = estimate(20_000, 23, &mut SmallRng::seed_from_u64(1)).unwrap();
            assert!((estimate.value - 0.5073).abs() < 4.0 * estimate.standard_error);
        }

        #[test]
        fn one_person_never_shares_and_366_always_do() {
            let mut rng = SmallRng::seed_from_u64(1);
            assert_eq!(estimate(100, 1, &mut rng).unwrap().value, 0.0);
            assert_eq!(estimate(100, 366, &mut rng).unwrap().value, 1.0);
        }

        #[test]
        fn a_number_of_trials_out_of_range_is_an_error() {
            assert!(handle(0, 23).is_err());
            assert!(handle(TRIALS_MAX + 1, 23).is_err());
        }
    }
}
