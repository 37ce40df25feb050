//! Flat types: `string` and `list<u8>`, whose values also travel as raw bytes.

use crate::types::Type;

/// A type whose values also travel as raw bytes, without a `Val` for each byte.
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
        (*ty == Type::STRING).then_some(Self::String)
    }

    /// Returns the media type of the raw bytes.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::String => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }
}
