//! `exponential`: e to the power of x, as the sum of its series.
//!
//! `{"x": 1.0, "terms": 20}` returns the sum and its accuracy.

/// The most terms: more than can change a 64-bit sum.
const TERMS_MAX: u32 = 10_000;

pub use self::exponential::{Estimate, handle};

#[nebula_sdk::function]
mod exponential {
    use super::TERMS_MAX;

    /// A sum of the first terms of the series.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Estimate {
        /// The sum.
        pub value: f64,
        /// The size of the last term added, which is about the error of the sum.
        pub last_term: f64,
        /// The number of terms added before further ones no longer changed the sum.
        pub terms_used: u32,
    }

    /// Returns the sum of at most `terms` terms of the series of e^x.
    pub fn handle(x: f64, terms: Option<u32>) -> Result<Estimate, String> {
        let terms = terms.unwrap_or(TERMS_MAX);
        if terms == 0 || terms > TERMS_MAX {
            return Err(format!("`terms` must be from 1 to {TERMS_MAX}, not {terms}"));
        }
        if !x.is_finite() {
            return Err(format!("`x` must be a finite number, not {x}"));
        }
        let (mut value, mut term) = (1.0, 1.0);
        for index in 1..terms {
            term *= x / f64::from(index);
            if value + term == value {
                return Ok(Estimate { value, last_term: term.abs(), terms_used: index });
            }
            value += term;
        }
        Ok(Estimate { value, last_term: f64::abs(term), terms_used: terms })
    }

    #[cfg(test)]
    mod tests {
        use super::handle;

        #[test]
        fn the_sum_converges() {
            let estimate = handle(1.0, None).unwrap();
            assert!((estimate.value - std::f64::consts::E).abs() < 1e-15);
            assert!(estimate.terms_used < 25);
        }

        #[test]
        fn two_terms_have_a_large_error() {
            let estimate = handle(1.0, Some(2)).unwrap();
            assert_eq!((estimate.value, estimate.last_term), (2.0, 1.0));
        }

        #[test]
        fn zero_terms_and_nan_are_errors() {
            assert!(handle(1.0, Some(0)).is_err());
            assert!(handle(f64::NAN, None).is_err());
        }
    }
}
