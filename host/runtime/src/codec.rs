//! WIT values to JSON and back, by reflection.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool`, integers, floats | boolean, number; 64-bit integers also as strings; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `string`, `char`, enum | string |
//! | `list<u8>` | base64 string (RFC 4648 §4); an array of numbers is accepted too |
//! | other lists, tuples, fixed-length lists | array |
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
//! * `decode(encode(v))` is `v` for every value of every supported type.
//! * Encoding is deterministic: equal values are equal bytes.

#![expect(clippy::wildcard_enum_match_arm, reason = "the wildcards mean: any other type doesn't fit here")]

mod decode;
mod encode;
mod query;
mod schema;
mod text;

#[cfg(test)]
mod tests;

use wasmtime::component::Type;

pub use self::decode::DecodeError;
pub(crate) use self::decode::decode;
pub(crate) use self::encode::{bytes_of, encode, encode_flat};
pub(crate) use self::query::decode_query;
pub(crate) use self::schema::json_schema;
pub(crate) use self::text::{signature_text, wit_text};

/// The named parameters of a function, in order.
pub(crate) type Params = [(String, Type)];

/// A type that has no JSON form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{path}` is a {what}, which is no value that JSON could carry")]
pub struct UnsupportedType {
    /// Where in the signature: `input.rows[].handle`.
    pub path: String,
    /// What stands there.
    pub what: &'static str,
}

/// Checks that every type under `ty` is a plain value.
pub(crate) fn check_supported(path: &str, ty: &Type) -> Result<(), UnsupportedType> {
    let refuse = |what| Err(UnsupportedType { path: path.to_owned(), what });
    let optional = |suffix: &str, ty: Option<Type>| match ty {
        Some(ty) => check_supported(&format!("{path}{suffix}"), &ty),
        None => Ok(()),
    };
    match ty {
        Type::Own(_) | Type::Borrow(_) => refuse("resource"),
        Type::Future(_) => refuse("future"),
        Type::Stream(_) => refuse("stream"),
        Type::ErrorContext => refuse("error-context"),
        Type::List(list) => check_supported(&format!("{path}[]"), &list.ty()),
        Type::FixedLengthList(list) => check_supported(&format!("{path}[]"), &list.ty()),
        Type::Map(map) => {
            check_supported(&format!("{path}.key"), &map.key())?;
            check_supported(&format!("{path}.value"), &map.value())
        }
        Type::Record(record) => record
            .fields()
            .try_for_each(|field| check_supported(&format!("{path}.{}", field.name), &field.ty)),
        Type::Tuple(tuple) => tuple
            .types()
            .enumerate()
            .try_for_each(|(index, ty)| check_supported(&format!("{path}.{index}"), &ty)),
        Type::Variant(variant) => {
            variant.cases().try_for_each(|case| optional(&format!(".{}", case.name), case.ty))
        }
        Type::Option(option) => check_supported(path, &option.ty()),
        Type::Result(result) => {
            optional(".ok", result.ok())?;
            optional(".err", result.err())
        }
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64
        | Type::Char
        | Type::String
        | Type::Enum(_)
        | Type::Flags(_) => Ok(()),
    }
}
