//! Encodes values as compact JSON.

use std::collections::HashMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use wasmtime::component::Val;

use crate::flat::Flat;
use crate::types::{MapEntry, Type};

/// Appends `val`, a value of `ty`, to `out` as JSON.
///
/// ```
/// use nebula_codec::{encode, parse_type};
/// use wasmtime::component::Val;
///
/// let ty = parse_type("option<string>").unwrap();
/// let mut json = Vec::new();
/// encode(&ty, &Val::Option(Some(Box::new(Val::String("hi".to_owned())))), &mut json);
/// assert_eq!(json, br#""hi""#);
/// ```
///
/// A value that isn't of `ty` is written as `null`. wasmtime lifts values by their type, so that
/// doesn't happen.
pub fn encode(ty: &Type, val: &Val, out: &mut Vec<u8>) {
    match val {
        Val::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Val::S8(value) => number(out, *value),
        Val::U8(value) => number(out, *value),
        Val::S16(value) => number(out, *value),
        Val::U16(value) => number(out, *value),
        Val::S32(value) => number(out, *value),
        Val::U32(value) => number(out, *value),
        Val::S64(value) => number(out, *value),
        Val::U64(value) => number(out, *value),
        Val::Float32(value) if value.is_finite() => number(out, *value),
        Val::Float32(value) => non_finite(out, f64::from(*value)),
        Val::Float64(value) if value.is_finite() => number(out, *value),
        Val::Float64(value) => non_finite(out, *value),
        Val::Char(value) => string(out, value.encode_utf8(&mut [0; 4])),
        Val::String(value) | Val::Enum(value) => string(out, value),
        Val::Flags(names) => array(out, names, |out, name| string(out, name)),
        Val::List(items) => {
            let Type::List(element) = ty else { return null(out) };
            if **element == Type::U8 {
                base64_bytes(out, &list_bytes(items));
            } else {
                array(out, items, |out, item| encode(element, item, out));
            }
        }
        Val::Map(entries) => encode_map(ty, entries, out),
        Val::Record(fields) => {
            let Type::Record(types) = ty else { return null(out) };
            out.push(b'{');
            for (index, (field, (name, value))) in types.iter().zip(fields).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(out, name);
                out.push(b':');
                encode(&field.ty, value, out);
            }
            out.push(b'}');
        }
        Val::Tuple(items) => {
            let Type::Tuple(types) = ty else { return null(out) };
            out.push(b'[');
            for (index, (ty, item)) in types.iter().zip(items).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                encode(ty, item, out);
            }
            out.push(b']');
        }
        Val::Variant(name, payload) => {
            let Type::Variant(cases) = ty else { return null(out) };
            match payload {
                None => string(out, name),
                Some(payload) => {
                    let case = cases.iter().find(|case| case.name == *name);
                    tagged(out, name, case.and_then(|case| case.payload.as_ref()), Some(payload));
                }
            }
        }
        Val::Option(value) => {
            let Type::Option(inner) = ty else { return null(out) };
            match (value, &**inner) {
                (None, _) => null(out),
                (Some(value), inner @ Type::Option(_)) => tagged(out, "some", Some(inner), Some(value)),
                (Some(value), inner) => encode(inner, value, out),
            }
        }
        Val::Result(value) => {
            let Type::Result(result) = ty else { return null(out) };
            match value {
                Ok(payload) => tagged(out, "ok", result.ok.as_ref(), payload.as_deref()),
                Err(payload) => tagged(out, "err", result.err.as_ref(), payload.as_deref()),
            }
        }
        Val::FixedLengthList(_)
        | Val::Resource(_)
        | Val::Future(_)
        | Val::Stream(_)
        | Val::ErrorContext(_) => null(out),
    }
}

/// Encodes a map. Of equal keys the last counts, as in WIT, so that an object has each key once.
fn encode_map(ty: &Type, entries: &[(Val, Val)], out: &mut Vec<u8>) {
    let Type::Map(map) = ty else { return null(out) };
    let MapEntry { key: key_type, value: value_type } = &**map;
    let keys: Vec<Vec<u8>> = entries
        .iter()
        .map(|(key, _)| {
            let mut json = Vec::new();
            encode(key_type, key, &mut json);
            json
        })
        .collect();
    let last: HashMap<&[u8], usize> =
        keys.iter().enumerate().map(|(index, key)| (key.as_slice(), index)).collect();
    let object = *key_type == Type::STRING;
    out.push(if object { b'{' } else { b'[' });
    let mut first = true;
    for (index, (key, (_, value))) in keys.iter().zip(entries).enumerate() {
        if last.get(key.as_slice()) != Some(&index) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        if !object {
            out.push(b'[');
        }
        out.extend_from_slice(key);
        out.push(if object { b':' } else { b',' });
        encode(value_type, value, out);
        if !object {
            out.push(b']');
        }
    }
    out.push(if object { b'}' } else { b']' });
}

fn tagged(out: &mut Vec<u8>, name: &str, ty: Option<&Type>, payload: Option<&Val>) {
    out.push(b'{');
    string(out, name);
    out.push(b':');
    match (ty, payload) {
        (Some(ty), Some(payload)) => encode(ty, payload, out),
        (None, _) | (_, None) => null(out),
    }
    out.push(b'}');
}

fn array<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Returns the bytes of a `string` or `list<u8>`. No other value may be given.
pub fn bytes_of(val: Val) -> Bytes {
    match val {
        Val::String(text) => text.into(),
        Val::List(items) => list_bytes(&items).into(),
        other => {
            debug_assert!(false, "{other:?} is neither a string nor a list<u8>");
            Bytes::new()
        }
    }
}

/// Returns the JSON of a flat value, given as its raw bytes.
pub fn encode_flat(flat: Flat, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    match flat {
        Flat::String => string(&mut out, &String::from_utf8_lossy(body)),
        Flat::Bytes => base64_bytes(&mut out, body),
    }
    out
}

fn list_bytes(items: &[Val]) -> Vec<u8> {
    items.iter().filter_map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None }).collect()
}

fn base64_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Writes the shortest text that reads back as the same number.
fn number(out: &mut Vec<u8>, value: impl serde::Serialize) {
    // Serializing a number into memory doesn't fail.
    let _ = serde_json::to_writer(out, &value);
}

fn string(out: &mut Vec<u8>, value: &str) {
    // Serializing a string into memory doesn't fail.
    let _ = serde_json::to_writer(out, value);
}

fn non_finite(out: &mut Vec<u8>, value: f64) {
    let text = if value.is_nan() {
        "\"NaN\""
    } else if value > 0.0 {
        "\"Infinity\""
    } else {
        "\"-Infinity\""
    };
    // Writing into memory doesn't fail.
    let _ = out.write_all(text.as_bytes());
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}
