//! `factorial`: the product of the integers up to n, in full.
//!
//! `5` gives `"120"`; `35` is beyond 128 bits, and `1000` has 2,568 digits.

use num_bigint::BigUint;

/// Its factorial has 35,660 digits.
const N_MAX: u32 = 10_000;

/// `n!`, in decimal digits.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<String, String> {
    if n > N_MAX {
        return Err(format!("`n` is {n}, and at most {N_MAX}"));
    }
    Ok(product(1, n.max(1)).to_string())
}

/// The product of `first..=last`. Halves of like size multiply faster than one large by one small.
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
    fn small_ones() {
        assert_eq!([0, 1, 5].map(|n| handle(n).unwrap()), ["1", "1", "120"]);
    }

    #[test]
    fn beyond_128_bits() {
        assert_eq!(handle(35).unwrap(), "10333147966386144929666651337523200000000");
        assert_eq!(handle(1000).unwrap().len(), 2568);
    }

    #[test]
    fn too_large_is_an_error() {
        assert!(handle(10_001).is_err());
    }
}
