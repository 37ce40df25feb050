//! Types whose values also travel as raw bytes: `string` and `list<u8>`.

use bytes::Bytes;

use super::decode::DecodeError;
use super::types::Type;

/// `string` or `list<u8>`: what also travels as a raw body, and is lowered without a value a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat {
    /// A `string`.
    String,
    /// A `list<u8>`.
    Bytes,
}

impl Flat {
    /// Returns the flat kind of a type, or `None` if its values aren't flat.
    pub fn of(ty: &Type) -> Option<Self> {
        if ty.is_bytes() {
            return Some(Self::Bytes);
        }
        (*ty == Type::String).then_some(Self::String)
    }

    /// Returns the media type of the raw bytes.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::String => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }
}

/// A body as text, for a `string` parameter.
pub fn utf8(body: &Bytes) -> Result<&str, DecodeError> {
    std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8 { valid_up_to: error.valid_up_to() })
}
