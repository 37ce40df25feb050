//! `pi-estimate`: pi, from the tallies of `pi-trials`.
//!
//! `[{"inside": 78540, "trials": 100000}]` gives about 3.14. Many tallies count as one long run, in whatever
//! order they come.

#[nebula_sdk::function]
mod pi_estimate {
    /// What became of some trials.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tally {
        /// How many points lay in the circle.
        pub inside: u64,
        /// How many points there were.
        pub trials: u64,
    }

    /// An estimate, and how good it is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Estimate {
        /// The mean of the trials.
        pub value: f64,
        /// Its standard error.
        pub standard_error: f64,
        /// How many trials there were.
        pub trials: u64,
    }

    /// The estimate of pi from all `tallies` together.
    pub fn handle(tallies: Vec<Tally>) -> Result<Estimate, String> {
        let (mut inside, mut trials) = (0_u64, 0_u64);
        for (index, tally) in tallies.iter().enumerate() {
            if tally.inside > tally.trials {
                let Tally { inside, trials } = tally;
                return Err(format!("tally {index} has {inside} points inside, of {trials}"));
            }
            trials = trials.checked_add(tally.trials).ok_or("there are more trials than 64 bits count")?;
            // No more than there are trials.
            inside += tally.inside;
        }
        if trials == 0 {
            return Err("there are no trials".to_owned());
        }
        let share = inside as f64 / trials as f64;
        let standard_error = 4.0 * (share * (1.0 - share) / trials as f64).sqrt();
        Ok(Estimate { value: 4.0 * share, standard_error, trials })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn tally(inside: u64, trials: u64) -> Tally {
            Tally { inside, trials }
        }

        #[test]
        fn tallies_count_together() {
            let together = handle(vec![tally(100, 100), tally(57, 100)]).unwrap();
            assert_eq!(together.value, 4.0 * 0.785);
            assert_eq!(together.trials, 200);
            assert_eq!(handle(vec![tally(157, 200)]), Ok(together));
            assert_eq!(handle(vec![tally(57, 100), tally(0, 0), tally(100, 100)]), Ok(together));
        }

        #[test]
        fn the_standard_error_shrinks_with_the_trials() {
            let (few, many) = (handle(vec![tally(1, 2)]).unwrap(), handle(vec![tally(1, 2); 100]).unwrap());
            assert!((few.standard_error - 10.0 * many.standard_error).abs() < 1e-12);
            assert_eq!(handle(vec![tally(5, 5)]).unwrap().standard_error, 0.0);
        }

        #[test]
        fn no_trials_is_an_error() {
            assert!(handle(Vec::new()).is_err());
            assert!(handle(vec![tally(0, 0)]).is_err());
        }

        #[test]
        fn what_no_trials_can_give_is_an_error() {
            assert!(handle(vec![tally(2, 1)]).is_err());
            assert!(handle(vec![tally(1, u64::MAX), tally(0, 1)]).is_err());
        }
    }
}
