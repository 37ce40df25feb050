//! Entity tags (RFC 9110 §8.8.3): the hash of the content, or a tag that a guest has chosen.
//!
//! Content has another tag in each content coding (§8.8.3.3): `"x"` is `"x;gzip"` in gzip. Guests see
//! and choose only tags without a coding.

use std::borrow::Cow;

use http::HeaderValue;

use crate::coding::Coding;

/// A valid entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag(HeaderValue);

impl EntityTag {
    /// Returns the tag of some content: half of its BLAKE3 hash.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self::of_hash(blake3::hash(content).as_bytes())
    }

    /// Returns the tag of content that has this BLAKE3 hash.
    pub(crate) fn of_hash(hash: &[u8; 32]) -> Self {
        let mut tag = [b'"'; 34];
        // Half of the hash fits exactly, and hexadecimal digits and quotes are valid in a header.
        let written = hex::encode_to_slice(&hash[..16], &mut tag[1..33]);
        debug_assert!(written.is_ok(), "two digits a byte");
        Self(HeaderValue::from_bytes(&tag).unwrap_or(HeaderValue::from_static("\"\"")))
    }

    /// Parses the value of an `ETag` header. Returns `None` if it isn't one entity tag.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Self> {
        let (_, rest) = split(value.as_bytes())?;
        rest.is_empty().then(|| Self(value.clone()))
    }

    /// Returns the tag of the same content in a coding.
    pub(crate) fn in_coding(&self, coding: Coding) -> Self {
        let tag = self.0.as_bytes();
        let inner = tag.strip_suffix(b"\"").unwrap_or(tag);
        let tag = [inner, b";", coding.name().as_bytes(), b"\""].concat();
        // The name of a coding is valid within a tag.
        Self(HeaderValue::try_from(tag).unwrap_or_else(|_| self.0.clone()))
    }

    /// Returns whether a line of `If-None-Match` names this tag, by weak comparison (RFC 9110
    /// §13.1.2).
    pub(crate) fn is_named_in(&self, line: &HeaderValue) -> bool {
        self.is_in(line, |one, other| opaque(one) == opaque(other))
    }

    /// Returns whether a line of `If-Match` names this tag, by strong comparison (RFC 9110 §13.1.1).
    pub(crate) fn is_strongly_named_in(&self, line: &HeaderValue) -> bool {
        self.is_in(line, |one, other| one == other && !is_weak(one))
    }

    /// Returns whether the list in `line` has a tag that `matches` this one.
    fn is_in(&self, line: &HeaderValue, matches: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let mut rest = line.as_bytes();
        if rest.trim_ascii() == b"*" {
            return true;
        }
        loop {
            rest = match rest {
                [b',' | b' ' | b'\t', after @ ..] => after,
                // After something that isn't a tag, the next tag can't be found.
                rest => match split(rest) {
                    Some((candidate, _)) if matches(candidate, self.0.as_bytes()) => return true,
                    Some((_, after)) => after,
                    None => return false,
                },
            };
        }
    }
}

impl From<EntityTag> for HeaderValue {
    fn from(EntityTag(value): EntityTag) -> Self {
        value
    }
}

/// Returns a line of `If-None-Match` or `If-Match` with the tags of the content itself in place of
/// those of its codings.
pub(crate) fn without_codings(line: &HeaderValue) -> Cow<'_, HeaderValue> {
    let mut rest = line.as_bytes();
    let mut without = Vec::new();
    while let Some(at) = memchr::memchr(b';', rest) {
        let (before, after) = rest.split_at(at);
        without.extend_from_slice(before);
        let coding = Coding::ALL.into_iter().find_map(|coding| {
            after[1..].strip_prefix(coding.name().as_bytes()).filter(|after| after.starts_with(b"\""))
        });
        rest = match coding {
            Some(after) => after,
            None => {
                without.push(b';');
                &after[1..]
            }
        };
    }
    if without.len() + rest.len() == line.len() {
        return Cow::Borrowed(line);
    }
    without.extend_from_slice(rest);
    // Parts of a valid header value form a valid one.
    HeaderValue::try_from(without).map_or(Cow::Borrowed(line), Cow::Owned)
}

impl std::fmt::Display for EntityTag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(self.0.as_bytes()))
    }
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

/// Returns a tag without the mark of a weak one.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Splits `text` after the entity tag that it begins with. A tag may contain a comma.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let opaque = opaque(text).strip_prefix(b"\"")?;
    let is_tag = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    let length = opaque.iter().take_while(|byte| is_tag(byte)).count();
    (opaque.get(length) == Some(&b'"')).then(|| text.split_at(text.len() - opaque.len() + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &[u8]) -> HeaderValue {
        HeaderValue::from_bytes(text).unwrap()
    }

    fn names(line: &[u8], tag: &[u8]) -> bool {
        EntityTag::parse(&value(tag)).unwrap().is_named_in(&value(line))
    }

    #[test]
    fn tag_of_content_is_half_of_its_hash() {
        let tag = EntityTag::of(b"abc");
        assert_eq!(EntityTag::parse(&tag.0), Some(tag.clone()));
        assert_eq!(tag.0, format!("\"{}\"", &blake3::hash(b"abc").to_string()[..32]));
        assert_ne!(tag, EntityTag::of(b"abd"));
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

    #[test]
    fn weak_tags_never_match_strongly() {
        let names = |line: &[u8], tag: &[u8]| {
            EntityTag::parse(&value(tag)).unwrap().is_strongly_named_in(&value(line))
        };
        assert!(names(b"\"a\", \"b\"", b"\"b\""));
        assert!(names(b"*", b"W/\"b\""));
        assert!(!names(b"W/\"b\"", b"W/\"b\""));
        assert!(!names(b"W/\"b\"", b"\"b\""));
        assert!(!names(b"\"b\"", b"W/\"b\""));
    }

    /// A guest's tag may contain the separator of the list.
    #[test]
    fn tags_may_contain_commas() {
        assert!(names(b"\"x\",\"a,b\" , \"c\"", b"\"a,b\""));
        assert!(!names(b"\"a,b\"", b"\"b\""));
    }

    #[test]
    fn codings_of_content_have_their_own_tags() {
        for (tag, expected) in [(&b"\"a\""[..], &b"\"a;gzip\""[..]), (b"W/\"a,b\"", b"W/\"a,b;gzip\"")] {
            let tag = EntityTag::parse(&value(tag)).unwrap();
            let coded = tag.in_coding(Coding::Gzip);
            assert_eq!(coded.0.as_bytes(), expected);
            assert!(EntityTag::parse(&coded.0).is_some());
            assert!(!coded.is_named_in(&tag.0) && !tag.is_named_in(&coded.0));
            assert!(!coded.is_named_in(&tag.in_coding(Coding::Zstd).0));
            assert_eq!(*without_codings(&coded.0), tag.0);
        }
    }

    #[test]
    fn guests_see_tags_without_codings() {
        for (line, expected) in [
            (&b"\"a;gzip\", W/\"b;br\" ,\"c\""[..], &b"\"a\", W/\"b\" ,\"c\""[..]),
            (b"\"a;b;zstd\"", b"\"a;b\""),
            (b"\"a;gzip;deflate\"", b"\"a;gzip\""),
            (b"\"a;gzipped\", \"gzip\", \"a;lz4\"", b"\"a;gzipped\", \"gzip\", \"a;lz4\""),
            (b"*", b"*"),
            (b";gzip", b";gzip"),
            (b"", b""),
        ] {
            assert_eq!(without_codings(&value(line)).as_bytes(), expected, "{line:?}");
        }
    }

    #[test]
    fn malformed_tags_are_not_valid() {
        for tag in [&b"\"\""[..], b"\"a\"", b"W/\"a,b\"", b"\"\xe4\""] {
            assert!(EntityTag::parse(&value(tag)).is_some(), "{tag:?}");
        }
        for other in [&b""[..], b"a", b"\"a", b"w/\"a\"", b"\"a\"b", b"\"a\", \"b\"", b"\"a b\""] {
            assert!(EntityTag::parse(&value(other)).is_none(), "{other:?}");
        }
    }
}
