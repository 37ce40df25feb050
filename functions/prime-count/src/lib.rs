//! `prime-count`: counts the primes up to a number with a table.
//!
//! `100` returns `25`. The table is computed when the function is deployed, and every call begins
//! with it.

use std::sync::LazyLock;

/// The largest `n`: there are 348,513 primes up to it, and the table takes half a megabyte.
const N_MAX: u32 = 5_000_000;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::up_to(N_MAX));

/// Computes the table once instead of in every call.
#[nebula_sdk::initialize]
fn table() {
    LazyLock::force(&TABLE);
}

/// Returns the number of primes up to and including `n`.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<u32, String> {
    if n > N_MAX {
        return Err(format!("`n` must be at most {N_MAX}, not {n}"));
    }
    Ok(TABLE.count(n))
}

/// The odd primes, with a running count.
struct Table {
    /// One bit per odd number: bit `i` represents `2 i + 1`.
    primes: Vec<u64>,
    /// For each word of `primes`, the number of primes in the words before it.
    before: Vec<u32>,
}

impl Table {
    /// Computes the table by the sieve of Eratosthenes.
    fn up_to(max: u32) -> Self {
        let count = max as usize / 2 + 1;
        let mut primes = vec![u64::MAX; count / 64 + 1];
        primes[0] &= !1;
        for index in (1..count).take_while(|index| 2 * index * (index + 1) < count) {
            if primes[index / 64] >> (index % 64) & 1 == 1 {
                // Strike out multiples from the square of the prime on, in steps of twice the
                // prime.
                for multiple in (2 * index * (index + 1)..count).step_by(2 * index + 1) {
                    primes[multiple / 64] &= !(1 << (multiple % 64));
                }
            }
        }
        let before = primes.iter().scan(0, |sum, word| {
            let before = *sum;
            *sum += word.count_ones();
            Some(before)
        });
        Self { before: before.collect(), primes }
    }

    fn count(&self, n: u32) -> u32 {
        if n < 2 {
            return 0;
        }
        // The last odd number up to `n`.
        let index = (n as usize - 1) / 2;
        let word = self.primes[index / 64] & u64::MAX >> (63 - index % 64);
        // 2 is even and has no bit, so it is counted here.
        1 + self.before[index / 64] + word.count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn counts_up_to_small_numbers() {
        let counts: Vec<_> = (0..=12).map(|n| handle(n).unwrap()).collect();
        assert_eq!(counts, [0, 0, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5]);
    }

    #[test]
    fn counts_up_to_powers_of_ten() {
        for (n, count) in [(100, 25), (1_000, 168), (10_000, 1_229), (100_000, 9_592), (1_000_000, 78_498)] {
            assert_eq!(handle(n), Ok(count), "{n}");
        }
    }

    #[test]
    fn the_table_ends_at_the_maximum() {
        assert_eq!(handle(5_000_000), Ok(348_513));
        assert!(handle(5_000_001).is_err());
    }
}
