//! Spellings: the raw bytes of a call, by which its result is found without decoding.
//!
//! Short bodies are compared whole, which is faster than hashing them (BLAKE3 takes a microsecond
//! for 1 KiB, a single chunk). For long bodies the hash is kept.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use nebula_model::request::{HASHED_LIGHT_BYTES_MAX, Prefer, Request};
use quick_cache::Equivalent;

use crate::key::FunctionKey;

/// Maximum length of a body that is compared whole, bytes.
const COMPARED_BYTES_MAX: usize = 4 * 1024;

/// Maximum length of names and values, which are compared whole, bytes. Only a form is longer than
/// that.
const QUERY_BYTES_MAX: usize = 64 * 1024;

/// The raw bytes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling<'a> {
    function: FunctionKey,
    prefer: Prefer,
    content: Content<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content<'a> {
    Whole { media_type: Option<Cow<'a, str>>, body: Cow<'a, [u8]> },
    Hashed { media_type: Option<Cow<'a, str>>, hash: [u8; 32] },
    Query(Cow<'a, [(String, String)]>),
}

impl<'a> Spelling<'a> {
    /// Returns the spelling of a call. Returns `None` for a whole HTTP request, which is hashed
    /// anyway, and for a body or form that takes long to hash.
    pub fn of(function: &FunctionKey, prefer: Prefer, request: &'a Request) -> Option<Self> {
        let content = match request {
            Request::Payload { media_type, body } => {
                let media_type = media_type.as_deref().map(Cow::Borrowed);
                if body.len() > HASHED_LIGHT_BYTES_MAX {
                    return None;
                } else if body.len() <= COMPARED_BYTES_MAX {
                    Content::Whole { media_type, body: Cow::Borrowed(body) }
                } else {
                    Content::Hashed { media_type, hash: *blake3::hash(body).as_bytes() }
                }
            }
            Request::Query(_) if request.input_bytes() > QUERY_BYTES_MAX => return None,
            Request::Query(pairs) => Content::Query(Cow::Borrowed(pairs)),
            Request::Http(_) => return None,
        };
        Some(Self { function: *function, prefer, content })
    }

    /// Returns a copy to keep in the cache. It doesn't share the body, which may be a slice of a
    /// larger buffer.
    pub fn into_owned(self) -> Spelling<'static> {
        let owned = |media_type: Option<Cow<'_, str>>| media_type.map(|text| Cow::Owned(text.into_owned()));
        let content = match self.content {
            Content::Whole { media_type, body } => {
                Content::Whole { media_type: owned(media_type), body: Cow::Owned(body.into_owned()) }
            }
            Content::Hashed { media_type, hash } => Content::Hashed { media_type: owned(media_type), hash },
            Content::Query(pairs) => Content::Query(Cow::Owned(pairs.into_owned())),
        };
        Spelling { function: self.function, prefer: self.prefer, content }
    }

    /// Returns the approximate memory that the spelling takes, bytes.
    pub fn bytes(&self) -> usize {
        let of_type = |media_type: &Option<Cow<'_, str>>| media_type.as_ref().map_or(0, |text| text.len());
        match &self.content {
            Content::Whole { media_type, body } => of_type(media_type) + body.len(),
            Content::Hashed { media_type, .. } => of_type(media_type),
            Content::Query(pairs) => pairs.iter().map(|(name, value)| name.len() + value.len() + 48).sum(),
        }
    }
}

impl Hash for Spelling<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Eight bytes are enough: the function's key is as random as a hash.
        state.write(&self.function.bytes()[..8]);
        match &self.content {
            Content::Whole { media_type, body } => {
                media_type.hash(state);
                body.hash(state);
            }
            Content::Hashed { media_type, hash } => {
                media_type.hash(state);
                state.write(&hash[..8]);
            }
            Content::Query(pairs) => pairs.hash(state),
        }
    }
}

/// A borrowed spelling for lookups, which may live shorter than the cached ones.
#[derive(Hash)]
pub(crate) struct BorrowedSpelling<'a>(pub &'a Spelling<'a>);

impl Equivalent<Spelling<'static>> for BorrowedSpelling<'_> {
    fn equivalent(&self, key: &Spelling<'static>) -> bool {
        self.0 == key
    }
}
