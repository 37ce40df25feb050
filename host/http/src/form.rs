//! Pairs of names and values, as browsers write them: query strings and
//! `application/x-www-form-urlencoded`.
//!
//! `curl -d` labels every body as a form, so a body is one only if it looks like one: see [`is_form`].

use crate::input::Intake;

/// The most pairs of a form. In memory they are several times as long as their text.
pub(crate) const PAIRS_MAX: usize = 1000;

/// Why the pairs can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairsError {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("over the limit of {max} pairs")]
    TooMany { max: usize },
}

/// Parses the pairs of a query string or a form, `max` at most.
///
/// # Errors
/// [`PairsError`].
pub(crate) fn pairs(text: &[u8], max: usize) -> Result<Vec<(String, String)>, PairsError> {
    let decode = |text: &[u8]| {
        let text = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect::<Vec<_>>();
        let text = percent_encoding::percent_decode(&text).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| PairsError::NotUtf8)
    };
    let mut found = Vec::new();
    for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        if found.len() == max {
            return Err(PairsError::TooMany { max });
        }
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        found.push((decode(name)?, decode(value)?));
    }
    Ok(found)
}

/// Returns whether a body with the media type of a form is one, and not the JSON or text of a
/// `curl -d`.
///
/// A form has a `=`, and encodes the characters that JSON objects, lists and strings begin with. For
/// a function of text or bytes, whose input may be any text, a form is its parameter's name, `=` and
/// characters that need no encoding.
pub(crate) fn is_form(intake: Intake<'_>, body: &[u8]) -> bool {
    match intake {
        Intake::Payload => false,
        Intake::Text(name) | Intake::Bytes(name) => {
            let value = body.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| value.iter().all(|&byte| is_encoded(byte)))
        }
        Intake::Values | Intake::Nothing => {
            let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
            !is_json && body.contains(&b'=')
        }
    }
}

/// Returns whether an encoded value may have this byte (URL Standard, application/x-www-form-urlencoded
/// percent-encode set).
fn is_encoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"*-._+%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let expected = [("a", "1"), ("b", "x y&z"), ("c", ""), ("d", ""), ("e", "=")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let pairs = |text: &[u8]| pairs(text, 5);
        assert_eq!(pairs(b"a=1&b=x+y%26z&c&&d=&e==").unwrap(), expected);
        assert_eq!(pairs(b"").unwrap(), []);
        assert_eq!(pairs(b"a=%ff"), Err(PairsError::NotUtf8));
        assert_eq!(pairs(b"a=\xff"), Err(PairsError::NotUtf8));
        assert_eq!(pairs(b"a&b&c&d&e&f"), Err(PairsError::TooMany { max: 5 }));
    }

    /// Writes pairs as `URLSearchParams` does.
    fn encode(pairs: &[(String, String)]) -> String {
        let encode = |text: &str| {
            let byte = |byte: u8| match byte {
                b' ' => "+".to_owned(),
                b'*' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            text.bytes().map(byte).collect::<String>()
        };
        pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&")
    }

    proptest! {
        #[test]
        fn forms_of_browsers_are_read(given: Vec<(String, String)>) {
            let body = encode(&given);
            prop_assert_eq!(pairs(body.as_bytes(), PAIRS_MAX).unwrap(), given.clone());
            prop_assert_eq!(is_form(Intake::Values, body.as_bytes()), !given.is_empty());
        }

        #[test]
        fn forms_of_one_text_are_read(value: String) {
            let given = [("text".to_owned(), value)];
            prop_assert!(is_form(Intake::Text("text"), encode(&given).as_bytes()));
            prop_assert!(!is_form(Intake::Text("other"), encode(&given).as_bytes()));
        }
    }

    #[test]
    fn json_of_curl_is_not_a_form() {
        for json in ["{\"a\": \"x=y\"}", " [1, \"=\"]", "\"a=b\"", "7", "-1.5e3", "null", "true", "", "\n"] {
            assert!(!is_form(Intake::Values, json.as_bytes()), "{json}");
        }
        for form in ["a=1", "a=1&b=2", "a=", "=", "n=5&a"] {
            assert!(is_form(Intake::Values, form.as_bytes()), "{form}");
            assert!(!is_form(Intake::Payload, form.as_bytes()), "{form}");
        }
    }

    #[test]
    fn text_of_curl_is_not_a_form() {
        for text in
            ["hello", "text", "a=b", "text = 1", "text=a b", "text=<b>", "text=a&b=c", "text=a\n", "=text="]
        {
            assert!(!is_form(Intake::Text("text"), text.as_bytes()), "{text}");
        }
        assert!(is_form(Intake::Bytes("text"), b"text=aGVsbG8%3D"));
    }
}
