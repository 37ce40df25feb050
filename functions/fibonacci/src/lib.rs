//! `fibonacci`: the nth Fibonacci number, by iteration.
//!
//! `10` returns `55`.

/// The largest `n` whose number fits 64 bits.
const N_MAX: u32 = 93;

/// Returns the `n`th Fibonacci number; the 0th is 0, the 1st is 1.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<u64, String> {
    if n > N_MAX {
        return Err(format!("`n` must be at most {N_MAX}, not {n}: the number would not fit 64 bits"));
    }
    let (mut this, mut next) = (0_u64, 1_u64);
    for _ in 0..n {
        // The last `next` may overflow; it isn't used.
        (this, next) = (next, this.wrapping_add(next));
    }
    Ok(this)
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn the_first_and_the_last() {
        assert_eq!([0, 1, 2, 10].map(handle), [Ok(0), Ok(1), Ok(1), Ok(55)]);
        assert_eq!(handle(93), Ok(12_200_160_415_121_876_738));
    }

    #[test]
    fn a_number_above_the_maximum_is_an_error() {
        assert!(handle(94).is_err());
    }
}
