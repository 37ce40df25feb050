//! Lists of pairs, as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES` have them.

use percent_encoding::percent_decode_str;

/// Splits `key=value,key=value`. Values are percent-encoded.
///
/// # Errors
/// The number of the first pair that is wrong, from 1.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    for (index, pair) in text.split(',').enumerate() {
        if pair.trim().is_empty() {
            continue;
        }
        let parsed = pair.split_once('=').and_then(|(key, value)| {
            let key = key.trim();
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
        });
        pairs.push(parsed.ok_or(index + 1)?);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_and_decoded() {
        let owned = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Ok(owned.collect::<Vec<_>>())
        };
        assert_eq!(pairs("a=1"), owned(&[("a", "1")]));
        assert_eq!(pairs(" a = 1 , b=x%20y%2C,c=d=e,"), owned(&[("a", "1"), ("b", "x y,"), ("c", "d=e")]));
        assert_eq!(pairs("a="), owned(&[("a", "")]));
        for (wrong, pair) in [("a", 1), ("a=1,b", 2), ("=1", 1), ("a=%ff", 1)] {
            assert_eq!(pairs(wrong), Err(pair), "{wrong}");
        }
    }
}
