//! Sizes as people write them: `65536`, `64K`, `64M`, `1GiB`.
//!
//! Units are powers of 1,024, because limits of memory are. `64MB` is refused: readers disagree
//! about it.

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A text isn't a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a size: write a number of bytes, or one with a unit: `64K`, `64M`, `1G` (also `64KiB`)"
)]
pub struct InvalidSize(String);

/// Parses a size and returns it in bytes.
///
/// # Errors
/// [`InvalidSize`], also if the size doesn't fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidSize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => Some(0),
        "k" | "ki" | "kib" => Some(10),
        "m" | "mi" | "mib" => Some(20),
        "g" | "gi" | "gib" => Some(30),
        _ => None,
    };
    let bytes = shift
        .zip(number.parse::<u64>().ok())
        .and_then(|(shift, number): (u32, u64)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| InvalidSize(text.to_owned()))
}

/// Deserializes a number of bytes, or a text with a unit.
///
/// # Errors
/// The deserializer's, and for a text that isn't a size.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(SizeVisitor)
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Option<u64>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a number of bytes, or a size such as \"64M\"")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Option<u64>, E> {
        Ok(Some(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Option<u64>, E> {
        u64::try_from(bytes).map(Some).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
        parse_bytes(text).map(Some).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("64K", 65536),
            ("64k", 65536),
            ("64KiB", 65536),
            ("64Ki", 65536),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("1G", 1 << 30),
            ("1gib", 1 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "M",
            "64MB",
            "64kb",
            "-1",
            "+1",
            " 1",
            "1 M",
            "1.5M",
            "1e3",
            "0x10",
            "1T",
            "17179869184G",
            "1KK",
        ] {
            assert_eq!(parse_bytes(text), Err(InvalidSize(text.to_owned())), "{text}");
        }
    }
}
