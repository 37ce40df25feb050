//! `nth-prime`: the nth prime number, by the sieve of Eratosthenes.
//!
//! `1` returns `2`, `1000` returns `7919`.

/// The largest `n`: its prime is 15,485,863, and the sieve takes one megabyte.
const N_MAX: u32 = 1_000_000;

/// Returns the `n`th prime; the 1st is 2.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<u32, String> {
    match n {
        0 => Err(format!("`n` must be from 1 to {N_MAX}, not 0")),
        1 => Ok(2),
        2..=N_MAX => nth_odd_prime(n - 1).ok_or_else(|| "the bound was too low".to_owned()),
        _ => Err(format!("`n` must be from 1 to {N_MAX}, not {n}")),
    }
}

/// Returns the `n`th odd prime, counting from 1.
fn nth_odd_prime(n: u32) -> Option<u32> {
    // Rosser's bound: the nth prime is below n (ln n + ln ln n) for n >= 6.
    let count = f64::from(n + 1).max(6.0);
    let bound = (count * (count.ln() + count.ln().ln())) as usize + 1;
    // One bit per odd number: bit `i` represents `2 i + 1`.
    let mut composite = vec![0_u64; bound / 128 + 1];
    let mut found = 0;
    for index in 1..=bound / 2 {
        if composite[index / 64] >> (index % 64) & 1 == 1 {
            continue;
        }
        let prime = 2 * index + 1;
        found += 1;
        if found == n {
            return u32::try_from(prime).ok();
        }
        let mut multiple = prime.saturating_mul(prime) / 2;
        while multiple <= bound / 2 {
            composite[multiple / 64] |= 1 << (multiple % 64);
            multiple += prime;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn the_first_ten_primes() {
        let primes: Vec<_> = (1..=10).map(|n| handle(n).unwrap()).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }

    #[test]
    fn large_primes() {
        assert_eq!(handle(1000), Ok(7919));
        assert_eq!(handle(1_000_000), Ok(15_485_863));
    }

    #[test]
    fn a_number_out_of_range_is_an_error() {
        assert!(handle(0).is_err());
        assert!(handle(1_000_001).is_err());
    }
}
