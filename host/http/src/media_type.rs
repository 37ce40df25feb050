//! The `Content-Type` of a body: the kinds that are read in a way of their own, and its charset.

use encoding_rs::{Encoding, UTF_8};

/// A `Content-Type`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaType<'a>(pub(crate) &'a str);

/// A charset that isn't known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownCharset(pub(crate) String);

impl<'a> MediaType<'a> {
    /// Returns the type without its parameters.
    pub(crate) fn essence(self) -> &'a str {
        self.0.split(';').next().unwrap_or(self.0).trim()
    }

    /// Returns whether the type is this one.
    pub(crate) fn is(self, essence: &str) -> bool {
        self.essence().eq_ignore_ascii_case(essence)
    }

    /// Returns whether the content is JSON.
    pub(crate) fn is_json(self) -> bool {
        let essence = self.essence();
        let suffix = essence.len().checked_sub("+json".len()).and_then(|at| essence.get(at..));
        essence.eq_ignore_ascii_case("application/json")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    }

    /// Returns whether the content is text of any kind.
    pub(crate) fn is_text(self) -> bool {
        self.essence().get(.."text/".len()).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"))
    }

    /// Returns the encoding of the text, unless it is UTF-8.
    ///
    /// # Errors
    /// The charset, if it isn't known.
    pub(crate) fn other_encoding(self) -> Result<Option<&'static Encoding>, UnknownCharset> {
        let Some(label) = self.parameter("charset") else { return Ok(None) };
        // ASCII is a part of UTF-8. The table has it as a name of windows-1252.
        if ["utf-8", "us-ascii", "ascii"].into_iter().any(|utf8| label.eq_ignore_ascii_case(utf8)) {
            return Ok(None);
        }
        match Encoding::for_label_no_replacement(label.as_bytes()) {
            Some(encoding) => Ok(Some(encoding).filter(|encoding| *encoding != UTF_8)),
            None => Err(UnknownCharset(label.to_owned())),
        }
    }

    /// Returns the value of a parameter without its quotes.
    fn parameter(self, name: &str) -> Option<&'a str> {
        self.0.split(';').skip(1).find_map(|parameter| {
            let (own, value) = parameter.split_once('=')?;
            own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// Decodes text to UTF-8. A byte-order mark overrides the encoding, and isn't part of the text.
/// Returns `None` if the text is malformed.
pub(crate) fn decode_text(encoding: &'static Encoding, text: &[u8]) -> Option<String> {
    let (encoding, mark_bytes) = Encoding::for_bom(text).unwrap_or((encoding, 0));
    let text = &text[mark_bytes..];
    encoding.decode_without_bom_handling_and_without_replacement(text).map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(media_type: &str) -> Result<Option<&'static str>, String> {
        let encoding = MediaType(media_type).other_encoding();
        encoding.map(|encoding| encoding.map(Encoding::name)).map_err(|UnknownCharset(name)| name)
    }

    #[test]
    fn charsets_other_than_utf_8_are_found() {
        for plain in [
            "text/plain",
            "text/plain; charset=utf-8",
            "text/plain;CHARSET=UTF8",
            "text/plain; charset=\"utf-8\"",
            "text/plain; charset=us-ascii",
            "text/plain; format=flowed",
            "text/plain; charset",
        ] {
            assert_eq!(encoding(plain), Ok(None), "{plain}");
        }
        for (media_type, name) in [
            ("text/plain; charset=utf-16le", "UTF-16LE"),
            ("text/plain; format=flowed; Charset = \"UTF-16BE\"", "UTF-16BE"),
            ("application/json;charset=iso-8859-1", "windows-1252"),
            ("text/csv; charset=Shift_JIS", "Shift_JIS"),
            ("text/plain; charset=gb18030", "gb18030"),
        ] {
            assert_eq!(encoding(media_type), Ok(Some(name)), "{media_type}");
        }
        for unknown in ["utf-7", "utf-32", "ebcdic", "hz-gb-2312", "x"] {
            assert_eq!(encoding(&format!("text/plain; charset={unknown}")), Err(unknown.to_owned()));
        }
    }

    #[test]
    fn text_is_decoded_or_malformed() {
        let of = |label: &str, text: &[u8]| decode_text(Encoding::for_label(label.as_bytes()).unwrap(), text);
        assert_eq!(of("utf-16le", b"h\0i\0").unwrap(), "hi");
        assert_eq!(of("utf-16le", b"\xff\xfeh\0i\0").unwrap(), "hi");
        assert_eq!(of("utf-16", b"\xfe\xff\0h\0i").unwrap(), "hi");
        assert_eq!(of("utf-16be", b"\xd8\x3d\xde\x00").unwrap(), "😀");
        assert_eq!(of("iso-8859-1", b"gr\xfc\xdfe").unwrap(), "grüße");
        assert_eq!(of("shift_jis", b"\x93\xfa\x96{").unwrap(), "日本");
        // Half a character, and a surrogate alone.
        assert_eq!(of("utf-16le", b"h\0i"), None);
        assert_eq!(of("utf-16le", b"\x00\xd8h\0"), None);
        assert_eq!(of("shift_jis", b"\x93"), None);
    }

    #[test]
    fn kinds_are_told_by_the_essence() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(MediaType(json).is_json() && !MediaType(json).is_text(), "{json}");
        }
        for text in ["text/plain", "TEXT/csv;x=y", "text/x"] {
            assert!(MediaType(text).is_text() && !MediaType(text).is_json(), "{text}");
        }
        for other in ["", "json", "application/jsonp", "image/png", "texts/plain", "täxt/+json "] {
            assert!(!MediaType(other).is_text(), "{other}");
        }
    }
}
