//! `pi-estimate`: estimates pi from the tallies of `pi-trials`.
//!
//! `[{"inside": 78540, "trials": 100000}]` returns about 3.14. Many tallies count as one long run;
//! their order doesn't matter.

#[nebula_sdk::function]
mod pi_estimate {
    /// The result of some trials.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tally {
        /// The number of points in the circle.
        pub inside: u64,
        /// The number of points.
        pub trials: u64,
    }

    /// An estimate and its accuracy.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Estimate {
        /// The mean of the trials.
        pub value: f64,
        /// The standard error of the mean.
        pub standard_error: f64,
        /// The number of trials.
        pub trials: u64,
    }

    /// Estimates pi from all `tallies` together.
    pub fn handle(tallies: Vec<Tally>) -> Result<Estimate, String> {
        let (mut inside, mut trials) = (0_u64, 0_u64);
        for (index, tally) in tallies.iter().enumerate() {
            if tally.inside > tally.trials {
                let Tally { inside, trials } = tally;
                return Err(format!("tally {index} has {inside} points inside but only {trials} trials"));
            }
            trials = trials.checked_add(tally.trials).ok_or("the number of trials exceeds 64 bits")?;
            // This sum can't overflow: it is at most `trials`.
            inside += tally.inside;
        }
        if trials == 0 {
            return Err("the tallies must have at least one trial".to_owned());
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
        fn tallies_are_added_up() {
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
        fn zero_trials_is_an_error() {
            assert!(handle(Vec::new()).is_err());
            assert!(handle(vec![tally(0, 0)]).is_err());
        }

        #[test]
        fn impossible_tallies_are_errors() {
            assert!(handle(vec![tally(2, 1)]).is_err());
            assert!(handle(vec![tally(1, u64::MAX), tally(0, 1)]).is_err());
        }
    }
}
