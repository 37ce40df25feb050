//! Numbers by their digits, where a double isn't enough.
//!
//! serde_json gives an integer of up to 64 bits, or the nearest double. A double can't tell
//! `255.00000000000000000001` from 255, and rounding it again to `f32` can give another number than
//! rounding the digits. Such numbers are rare, so documents are read without their digits first.

/// The largest double that rounds to a finite `f32`. The schema has the same bound.
pub(crate) const FLOAT32_MAX: f64 = 3.402_823_567_797_336_2e38;

/// Most digits of an integer that is evaluated. Every integer type has fewer.
const DIGITS_MAX: usize = 38;

/// Most characters of a number in an error.
const SHOWN_CHARS_MAX: usize = 40;

/// Bits of a double's mantissa that a normal `f32` doesn't have.
const LOST_BITS: u64 = (1 << 29) - 1;

/// The highest of the [`LOST_BITS`]: alone, it is half of the last digit of an `f32`.
const HALF: u64 = 1 << 28;

/// Returns whether the digits that were rounded to `value` may round to another `f32` than `value`
/// does. That takes a `value` half-way between two of them.
pub(super) fn may_round_twice(value: f64) -> bool {
    let is_subnormal = value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
    value.to_bits() & LOST_BITS == HALF || is_subnormal
}

/// A JSON number, for a type of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// An integer, in whatever notation.
    Integer(i128),
    /// A number with a fraction.
    Fraction,
    /// An integer beyond all integer types.
    TooLarge,
}

impl Whole {
    /// Evaluates a JSON number exactly.
    pub(super) fn of(number: &str) -> Self {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        // Zeros at the end belong to the exponent, zeros at the beginning to nothing.
        let significant = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        let zeros = whole.len() - significant.len();
        let whole = significant.trim_start_matches('0');
        let fraction_digits = if whole.is_empty() { fraction.trim_start_matches('0') } else { fraction };
        if whole.is_empty() && fraction_digits.is_empty() {
            return Self::Integer(0);
        }
        // A text has fewer than 2^63 characters, and `exponent_of` leaves room for them.
        let scale = exponent + zeros as i64 - fraction.len() as i64;
        let Ok(scale) = usize::try_from(scale) else { return Self::Fraction };
        let digits = whole.len() + fraction_digits.len();
        if digits.saturating_add(scale) > DIGITS_MAX {
            return Self::TooLarge;
        }
        let digits = whole.bytes().chain(fraction_digits.bytes()).chain(std::iter::repeat_n(b'0', scale));
        let value = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
        Self::Integer(if is_negative { -value } else { value })
    }
}

/// Parses an exponent. One beyond all documents' lengths has the same effect as any greater one.
fn exponent_of(text: &str) -> i64 {
    const FAR: i64 = i64::MAX / 4;
    let digits = text.trim_start_matches(['+', '-']);
    let value = digits.parse().unwrap_or(FAR).min(FAR);
    if text.starts_with('-') { -value } else { value }
}

/// Returns a number for an error, cut if it is long.
pub(super) fn shown(number: &str) -> String {
    match number.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &number[..end]),
        None => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_integers_by_their_digits() {
        for (number, expected) in [
            ("0", Whole::Integer(0)),
            ("-0", Whole::Integer(0)),
            ("0.000e99999999999999999999", Whole::Integer(0)),
            ("0e-99999999999999999999", Whole::Integer(0)),
            ("1.0", Whole::Integer(1)),
            ("-2e3", Whole::Integer(-2000)),
            ("0.001E3", Whole::Integer(1)),
            ("120e-1", Whole::Integer(12)),
            ("1200.00e-2", Whole::Integer(12)),
            ("9e17", Whole::Integer(900_000_000_000_000_000)),
            ("9007199254740993.0", Whole::Integer(9_007_199_254_740_993)),
            ("1e37", Whole::Integer(10_i128.pow(37))),
            ("1e38", Whole::TooLarge),
            ("1e99999999999999999999", Whole::TooLarge),
            ("-1e400", Whole::TooLarge),
            ("1.5", Whole::Fraction),
            ("12e-1", Whole::Fraction),
            ("1e-400", Whole::Fraction),
            ("1e-99999999999999999999", Whole::Fraction),
            ("255.00000000000000000001", Whole::Fraction),
            ("0.00000000000000000000000000000000000000000000000001", Whole::Fraction),
        ] {
            assert_eq!(Whole::of(number), expected, "{number}");
        }
    }

    proptest! {
        /// Moves the point of an integer and corrects that by the exponent.
        #[test]
        fn notation_makes_no_difference(value: i64, places in 0_usize..40, zeros in 0_usize..5) {
            let sign = if value < 0 { "-" } else { "" };
            let digits = format!("{:0>41}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let zeros = "0".repeat(zeros);
            let point = if places + zeros.len() > 0 { "." } else { "" };
            let number = format!("{sign}{whole}{point}{fraction}{zeros}e{places}");
            prop_assert_eq!(Whole::of(&number), Whole::Integer(value.into()), "{}", number);
            // One more place makes a fraction, except after a zero.
            let number = format!("{sign}{whole}{point}{fraction}{zeros}e{}", places as i64 - 1);
            let expected =
                if value % 10 == 0 { Whole::Integer((value / 10).into()) } else { Whole::Fraction };
            prop_assert_eq!(Whole::of(&number), expected, "{}", number);
        }
    }
}
