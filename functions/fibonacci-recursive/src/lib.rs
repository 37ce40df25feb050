//! `fibonacci-recursive`: the nth Fibonacci number, by its recursive definition.
//!
//! The function is exponentially slow on purpose: it consists of function calls, the worst case for
//! metering them. Use `fibonacci` for the number itself.

/// The largest `n`, which takes about ten seconds.
const N_MAX: u32 = 45;

/// Returns the `n`th Fibonacci number; the 0th is 0, the 1st is 1.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<u64, String> {
    if n > N_MAX {
        return Err(format!("`n` must be at most {N_MAX}, not {n}: recursion would take too long"));
    }
    Ok(fibonacci(n))
}

fn fibonacci(n: u32) -> u64 {
    if n < 2 { n.into() } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn follows_the_definition() {
        assert_eq!([0, 1, 2, 10, 20].map(handle), [Ok(0), Ok(1), Ok(1), Ok(55), Ok(6765)]);
    }

    #[test]
    fn a_number_above_the_maximum_is_an_error() {
        assert!(handle(46).is_err());
    }
}
