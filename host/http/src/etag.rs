//! Entity tags (RFC 9110 §8.8.3): the content's own hash, or one that a guest has chosen.

use http::HeaderValue;

/// The tag of some content: half of its BLAKE3 hash.
pub(crate) fn of(content: &[u8]) -> HeaderValue {
    of_hash(blake3::hash(content).as_bytes())
}

/// The tag of content that has this BLAKE3 hash.
pub(crate) fn of_hash(hash: &[u8; 32]) -> HeaderValue {
    let mut tag = [b'"'; 34];
    // Half of the hash fits, and hexadecimal digits and quotes may stand in a header.
    let written = hex::encode_to_slice(&hash[..16], &mut tag[1..33]);
    debug_assert!(written.is_ok(), "two digits a byte");
    HeaderValue::from_bytes(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether this is one entity tag, and nothing else.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    split(text).is_some_and(|(_, rest)| rest.is_empty())
}

/// Whether an `If-None-Match` names `etag`; compared weakly, as RFC 9110 §13.1.2 says.
pub(crate) fn names(candidates: &[u8], etag: &[u8]) -> bool {
    let opaque = |etag: &[u8]| etag.strip_prefix(b"W/").unwrap_or(etag).to_vec();
    if candidates.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = candidates;
    loop {
        rest = match rest {
            [b',' | b' ' | b'\t', after @ ..] => after,
            // What comes after something that is no tag can't be told apart.
            rest => match split(rest) {
                Some((candidate, _)) if opaque(candidate) == opaque(etag) => return true,
                Some((_, after)) => after,
                None => return false,
            },
        };
    }
}

/// The entity tag that `text` begins with, and what follows. A comma may stand in a tag.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let opaque = text.strip_prefix(b"W/").unwrap_or(text).strip_prefix(b"\"")?;
    let is_tag = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    let length = opaque.iter().take_while(|byte| is_tag(byte)).count();
    (opaque.get(length) == Some(&b'"')).then(|| text.split_at(text.len() - opaque.len() + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_content_is_its_hash() {
        let tag = of(b"abc");
        assert!(is_valid(tag.as_bytes()));
        assert_eq!(tag, format!("\"{}\"", &blake3::hash(b"abc").to_string()[..32]));
        assert_ne!(tag, of(b"abd"));
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        assert!(names(b"\"a\", W/\"b\"", b"\"b\""));
        assert!(names(b"\"b\"", b"W/\"b\""));
        assert!(names(b" * ", b"\"b\""));
        assert!(!names(b"\"a\"", b"\"b\""));
        assert!(!names(b"b", b"\"b\""));
        assert!(!names(b"", b"\"b\""));
    }

    /// Those of guests may hold what separates a list.
    #[test]
    fn a_comma_may_stand_in_a_tag() {
        assert!(names(b"\"x\",\"a,b\" , \"c\"", b"\"a,b\""));
        assert!(!names(b"\"a,b\"", b"\"b\""));
    }

    #[test]
    fn what_is_no_tag_is_told_apart() {
        for tag in [&b"\"\""[..], b"\"a\"", b"W/\"a,b\"", b"\"\xe4\""] {
            assert!(is_valid(tag), "{tag:?}");
        }
        for other in [&b""[..], b"a", b"\"a", b"w/\"a\"", b"\"a\"b", b"\"a\", \"b\"", b"\"a b\""] {
            assert!(!is_valid(other), "{other:?}");
        }
    }
}
