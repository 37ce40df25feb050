//! `fibonacci-recursive`: the nth Fibonacci number, by its definition.
//!
//! Exponentially slow on purpose: it measures calls, which is the worst case for metering them.
//! `fibonacci` is the one to use.

/// About ten seconds of calls.
const N_MAX: u32 = 45;

/// The `n`th Fibonacci number; the 0th is 0, the 1st is 1.
#[nebula_sdk::function]
pub fn handle(n: u32) -> Result<u64, String> {
    if n > N_MAX {
        return Err(format!("the {n}th Fibonacci number takes too long this way: `n` is at most {N_MAX}"));
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
    fn what_takes_too_long_is_an_error() {
        assert!(handle(46).is_err());
    }
}
