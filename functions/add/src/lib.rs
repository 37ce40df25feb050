//! `add`: adds two integers. A sum that doesn't fit 64 bits is an error.
//!
//! `{"a": 2, "b": 3}` gives `5`.

/// Returns the sum of `a` and `b`.
#[nebula_sdk::function]
pub fn handle(a: i64, b: i64) -> Result<i64, String> {
    a.checked_add(b).ok_or_else(|| format!("{a} + {b} doesn't fit 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn adds() {
        assert_eq!(handle(2, 3), Ok(5));
        assert_eq!(handle(-2, 2), Ok(0));
    }

    #[test]
    fn an_overflow_is_an_error() {
        assert_eq!(handle(i64::MAX, 1), Err("9223372036854775807 + 1 doesn't fit 64 bits".to_owned()));
    }
}
