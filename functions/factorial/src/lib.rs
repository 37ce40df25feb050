//! `factorial`: the product of the integers up to n, with all digits.
//!
//! `5` returns `"120"`. The factorial of 35 exceeds 128 bits, and that of 1000 has 2,568 digits.

use num_bigint::BigUint;

/// The largest `n`, whose factorial has 35,660 digits.
const N_MAX: u32 = 10_000;

/// Returns `n!` in decimal digits.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<String, String> {
    if n > N_MAX {
        return Err(format!("`n` must be at most {N_MAX}, not {n}"));
    }
    Ok(product(1, n.max(1)).to_string())
}

/// Returns the product of `first..=last`. Multiplying two factors of similar size is faster than
/// multiplying a large one by a small one.
fn product(first: u32, last: u32) -> BigUint {
    if last - first < 16 {
        return (first..=last).fold(BigUint::from(1_u32), |product, factor| product * factor);
    }
    let middle = first + (last - first) / 2;
    product(first, middle) * product(middle + 1, last)
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn small_factorials() {
        assert_eq!([0, 1, 5].map(|n| handle(n).unwrap()), ["1", "1", "120"]);
    }

    #[test]
    fn factorials_beyond_128_bits() {
        assert_eq!(handle(35).unwrap(), "10333147966386144929666651337523200000000");
        assert_eq!(handle(1000).unwrap().len(), 2568);
    }

    #[test]
    fn a_number_above_the_maximum_is_an_error() {
        assert!(handle(10_001).is_err());
    }
}
