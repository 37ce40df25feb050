//! What a caller would like beside the answer: `Prefer` (RFC 7240).
//!
//! ```text
//! Prefer: receipt                a receipt with the answer
//! Prefer: receipt=with-input     and the input kept, so that the call can be made again from the receipt
//! ```
//!
//! Other preferences, and other values of this one, are not Nebula's and ask for nothing (RFC 7240 §2).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The request's.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The answer's.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A receipt, asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantsReceipt {
    pub(crate) with_input: bool,
}

/// Whether a receipt is asked for.
pub(crate) fn receipt(headers: &HeaderMap) -> Option<WantsReceipt> {
    lines(headers).flat_map(preferences).find_map(wants_receipt)
}

/// Takes that out, so that it makes no other call of a function that sees its request's headers.
pub(crate) fn remove_receipt(headers: &mut HeaderMap) {
    if receipt(headers).is_none() {
        return;
    }
    let others = |line| preferences(line).filter(|item| wants_receipt(item).is_none()).collect::<Vec<_>>();
    let rest: Vec<String> =
        lines(headers).map(others).filter(|items| !items.is_empty()).map(|items| items.join(",")).collect();
    headers.remove(PREFER);
    for line in rest {
        // Parts of what was a value are one.
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.append(PREFER, line);
        }
    }
}

/// What isn't ASCII is none of this one's.
fn lines(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok())
}

/// The preferences of a line: split at commas, but for those within quotes.
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

fn wants_receipt(preference: &str) -> Option<WantsReceipt> {
    let (name, value) = match preference.split_once('=') {
        Some((name, value)) => (name, value.trim().trim_matches('"')),
        None => (preference, ""),
    };
    let with_input = match value {
        "" => false,
        "with-input" => true,
        _ => return None,
    };
    name.trim().eq_ignore_ascii_case("receipt").then_some(WantsReceipt { with_input })
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

    fn left(lines: &[&'static str]) -> Vec<String> {
        let mut headers = headers(lines);
        remove_receipt(&mut headers);
        headers.get_all(PREFER).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_receipt_is_asked_for_in_any_line_and_case() {
        let wants = |lines: &[&'static str]| receipt(&headers(lines)).map(|wants| wants.with_input);
        assert_eq!(wants(&[]), None);
        assert_eq!(wants(&["receipt"]), Some(false));
        assert_eq!(wants(&["return=minimal", "wait=1, Receipt = \"with-input\""]), Some(true));
        assert_eq!(wants(&["receipts", "receipt=other", "a=\"x, receipt, y\"", "a=\"\\\", receipt\""]), None);
    }

    #[test]
    fn the_rest_is_left_as_it_was() {
        assert_eq!(left(&["receipt"]), [""; 0]);
        assert_eq!(
            left(&["wait=1,receipt=with-input, a=\"x, receipt\"", "b"]),
            ["wait=1, a=\"x, receipt\"", "b"]
        );
        assert_eq!(left(&["wait=1 ; x", "b"]), ["wait=1 ; x", "b"]);
    }
}
