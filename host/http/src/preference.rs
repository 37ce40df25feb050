//! The `Prefer` header (RFC 7240): a client's wish for a receipt.
//!
//! ```text
//! Prefer: receipt                send a receipt with the answer
//! Prefer: receipt=with-input     also keep the input, so that the receipt can be replayed
//! ```
//!
//! Other preferences, and other values of this one, have no effect (RFC 7240 §2).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The header of a request that lists preferences.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The header of an answer that lists the preferences it follows.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preference for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptPreference {
    /// Set to keep the input too.
    pub(crate) with_input: bool,
}

/// Returns the preference for a receipt, if the request has one.
pub(crate) fn receipt(headers: &HeaderMap) -> Option<ReceiptPreference> {
    lines(headers).flat_map(preferences).find_map(parse_receipt)
}

/// Returns a line of `Prefer` or `Preference-Applied` without the receipt; `None` if nothing else
/// is in it.
pub(crate) fn without_receipt(line: &HeaderValue) -> Option<HeaderValue> {
    // A line that isn't ASCII isn't Nebula's. Pass it on unchanged.
    let Ok(text) = line.to_str() else { return Some(line.clone()) };
    if preferences(text).all(|item| parse_receipt(item).is_none()) {
        return Some(line.clone());
    }
    let others = preferences(text).filter(|item| parse_receipt(item).is_none()).map(str::trim);
    let rest = others.collect::<Vec<_>>().join(", ");
    // Parts of a valid header value form a valid one.
    if rest.is_empty() { None } else { HeaderValue::try_from(rest).ok() }
}

/// Returns the lines of `Prefer`, without those that aren't ASCII.
fn lines(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok())
}

/// Splits a line into its preferences, at commas outside quotes.
fn preferences(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |character| {
        let ends = character == ',' && !quoted;
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && character == '\\' && !escaped;
        ends
    })
}

/// Parses one preference. Returns `None` if it isn't for a receipt.
fn parse_receipt(preference: &str) -> Option<ReceiptPreference> {
    // Parameters of a preference follow semicolons. This preference has none, so ignore them.
    let preference = preference.split(';').next().unwrap_or(preference);
    let (name, value) = match preference.split_once('=') {
        Some((name, value)) => (name, value.trim().trim_matches('"')),
        None => (preference, ""),
    };
    let with_input = match value {
        "" => false,
        "with-input" => true,
        _ => return None,
    };
    name.trim().eq_ignore_ascii_case("receipt").then_some(ReceiptPreference { with_input })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        headers
    }

    fn left(line: &'static str) -> Option<String> {
        let left = without_receipt(&HeaderValue::from_static(line))?;
        Some(left.to_str().unwrap().to_owned())
    }

    #[test]
    fn receipt_is_found_in_any_line_and_case() {
        let with_input =
            |lines: &[&'static str]| receipt(&headers(lines)).map(|preference| preference.with_input);
        assert_eq!(with_input(&[]), None);
        assert_eq!(with_input(&["receipt"]), Some(false));
        assert_eq!(with_input(&["return=minimal", "wait=1, Receipt = \"with-input\""]), Some(true));
        assert_eq!(with_input(&["receipt; x=y"]), Some(false));
        assert_eq!(
            with_input(&["receipts", "receipt=other", "a=\"x, receipt, y\"", "a=\"\\\", receipt\""]),
            None
        );
    }

    #[test]
    fn other_preferences_stay_unchanged() {
        for nothing in ["receipt", " receipt=with-input; x=y "] {
            assert_eq!(left(nothing), None);
        }
        assert_eq!(left("receipt, wait=1").unwrap(), "wait=1");
        assert_eq!(left("wait=1,receipt=with-input, a=\"x, receipt\"").unwrap(), "wait=1, a=\"x, receipt\"");
        assert_eq!(left(" wait=1 ; x ,b").unwrap(), " wait=1 ; x ,b");
        let obscure = HeaderValue::from_bytes(b"receipt, \xff").unwrap();
        assert_eq!(without_receipt(&obscure), Some(obscure));
    }
}
