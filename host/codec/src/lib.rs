//! WIT types and values, converted to JSON and back.
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
//! | `option<T>` | `null` or the value; if `T` is itself an option, `null` or `{"some": value}` |
//! | `result<T, E>` | `{"ok": …}` or `{"err": …}` |
//! | `map<K, V>` | object for string keys, else an array of pairs |
//!
//! ```
//! use nebula_codec::{decode, encode, parse_type, Field};
//!
//! let ty = parse_type("record { name: string, size: option<u32> }").unwrap();
//! let values = decode(&[Field::new("file", ty.clone())], br#"{"name": "a.txt"}"#).unwrap();
//!
//! let mut json = Vec::new();
//! encode(&ty, &values[0], &mut json);
//! assert_eq!(json, br#"{"name":"a.txt","size":null}"#);
//! ```
//!
//! Invariants:
//! * The type drives decoding: a value nests as deep as its type, and content that the type has no
//!   place for is an error.
//! * `decode(encode(v))` is `v` for every value of every type; of equal keys of a map, the last
//!   counts.
//! * Encoding is deterministic: equal values give equal bytes.

#![expect(clippy::wildcard_enum_match_arm, reason = "a wildcard means: any other type doesn't fit here")]

mod canonical;
mod decode;
mod difference;
mod docs;
mod encode;
mod flat;
mod input;
mod parse;
mod query;
mod reflect;
mod schema;
mod text;
mod types;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use self::canonical::{canonical, is_ambiguous};
pub use self::decode::{DecodeError, decode, decode_trusted, utf8};
pub use self::difference::{Difference, difference};
pub use self::docs::{FunctionSchemas, describe_schemas};
pub use self::encode::{bytes_of, encode, encode_flat};
pub use self::flat::Flat;
pub use self::input::Input;
pub use self::parse::{TypeSyntaxError, parse_type};
pub use self::query::decode_query;
pub use self::reflect::{UnsupportedType, reflect, reflect_excerpt};
pub use self::schema::{answer_schema, input_schema, json_schema};
pub use self::text::{excerpt, signature_excerpt, signature_text, wit_excerpt, wit_text};
pub use self::types::{
    Case, Field, MapEntry, NAME_BYTES_MAX, Outcome, Params, Primitive, Signature, TYPE_DEPTH_MAX, TYPES_MAX,
    Type,
};
