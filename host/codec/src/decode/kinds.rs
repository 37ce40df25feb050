//! Decodes a value by its kind in JSON, where the type allows only some kinds.
//!
//! serde reports a value of another kind with an error that only its text tells apart from a syntax
//! error. So these visitors accept every kind and record the mismatch themselves.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Decodes a value of the kinds whose methods an implementation overrides.
pub(super) trait Kinds<'de>: Copy {
    type Value;

    /// Records a mismatch: the value is of a kind that doesn't fit.
    fn mismatch<E: de::Error>(self) -> E;

    fn null<E: de::Error>(self) -> Result<Self::Value, E> {
        Err(self.mismatch())
    }

    /// Decodes a string, borrowed from the document if it has no escapes.
    fn string<E: de::Error>(self, _: Cow<'de, str>) -> Result<Self::Value, E> {
        Err(self.mismatch())
    }

    fn array<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.mismatch())
    }

    fn object<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.mismatch())
    }
}

/// Deserializes by [`Kinds`].
#[derive(Clone, Copy)]
pub(super) struct ByKind<K>(pub(super) K);

impl<'de, K: Kinds<'de>> DeserializeSeed<'de> for ByKind<K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        deserializer
            .deserialize_any(self)
            .map_err(|error| if is_out_of_range(&error) { self.0.mismatch() } else { error })
    }
}

/// Returns whether serde_json found a number that no double can hold. It calls that a syntax error,
/// and only its message tells them apart.
pub(super) fn is_out_of_range(error: &impl fmt::Display) -> bool {
    error.to_string().starts_with("number out of range")
}

impl<'de, K: Kinds<'de>> Visitor<'de> for ByKind<K> {
    type Value = K::Value;

    /// No error shows this: every kind has its method.
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("another kind of value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<K::Value, E> {
        Err(self.0.mismatch())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<K::Value, E> {
        Err(self.0.mismatch())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<K::Value, E> {
        Err(self.0.mismatch())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<K::Value, E> {
        Err(self.0.mismatch())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<K::Value, E> {
        self.0.string(Cow::Owned(text.to_owned()))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<K::Value, E> {
        self.0.string(Cow::Borrowed(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<K::Value, E> {
        self.0.null()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<K::Value, A::Error> {
        self.0.array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<K::Value, A::Error> {
        self.0.object(entries)
    }
}

/// A string of the document, borrowed if it has no escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}
