//! WIT values to JSON and back, by reflection.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool`, integers, floats | boolean, number; 64-bit integers also as strings; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `string`, `char`, enum | string |
//! | `list<u8>` | base64 string (RFC 4648 §4); an array of numbers is accepted too |
//! | other lists, tuples | array |
//! | record | object with the WIT field names; an absent option is `none` |
//! | variant | `{"case": payload}`, or `"case"` without one |
//! | flags | array of strings |
//! | `option<T>` | `null` or the value; where `T` is itself an option, `null` or `{"some": value}` |
//! | `result<T, E>` | `{"ok": …}` or `{"err": …}` |
//! | `map<K, V>` | object for string keys, else an array of pairs |
//!
//! Invariants:
//! * Decoding is driven by the type: its depth is the type's, and nothing is kept of what the type
//!   has no place for.
//! * `decode(encode(v))` is `v` for every value of every supported type; of a map's equal keys, the
//!   last is kept.
//! * Encoding is deterministic: equal values are equal bytes.

#![expect(clippy::wildcard_enum_match_arm, reason = "the wildcards mean: any other type doesn't fit here")]

mod canonical;
mod decode;
mod difference;
mod encode;
mod flat;
mod input;
mod parse;
mod query;
mod schema;
mod signature;
mod text;
mod types;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use self::canonical::{canonical, is_ambiguous};
pub use self::decode::DecodeError;
pub use self::decode::{decode, decode_own};
pub use self::difference::difference;
pub use self::encode::{bytes_of, encode, encode_flat};
pub use self::flat::{Flat, utf8};
pub use self::input::Input;
pub use self::parse::parse_type;
pub use self::query::decode_query;
pub use self::schema::{input_schema, json_schema};
pub use self::signature::UnsupportedType;
pub use self::signature::{NAME_BYTES_MAX, Signature, TYPE_DEPTH_MAX, TYPES_MAX, reflect, reflect_excerpt};
pub use self::text::{excerpt, signature_excerpt, signature_text, wit_excerpt, wit_text};
pub use self::types::{Case, Field, Outcome, Type};

/// The named parameters of a function, in order.
pub type Params = [Field];
