//! Types as JSON Schema (draft 2020-12): what [`decode`](super::decode) takes and
//! [`encode`](super::encode) gives.
//!
//! Invariants:
//! * Whatever is encoded fits the schema.
//! * A document fits the schema exactly where it decodes, but for what JSON Schema can't say: the range
//!   of an integer in a string, and that the keys of an array of pairs differ.

use serde_json::{Value, json};

use super::Params;
use super::decode::FLOAT32_MAX;
use super::types::Type;

/// A signed integer of 64 bits as a string.
pub(super) const SIGNED_DIGITS: &str = "^-?[0-9]+$";

/// An unsigned integer of 64 bits as a string.
pub(super) const UNSIGNED_DIGITS: &str = "^[0-9]+$";

/// Padded base64 whose unused bits are zero (RFC 4648 §3.5).
pub(super) const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The schema of `ty`.
pub fn json_schema(ty: &Type) -> Value {
    match ty {
        Type::Bool => json!({"type": "boolean"}),
        Type::S8 => integer(i64::from(i8::MIN), i64::from(i8::MAX)),
        Type::U8 => integer(0, i64::from(u8::MAX)),
        Type::S16 => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
        Type::U16 => integer(0, i64::from(u16::MAX)),
        Type::S32 => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
        Type::U32 => integer(0, i64::from(u32::MAX)),
        Type::S64 => json!({"oneOf": [
            {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
            {"type": "string", "pattern": SIGNED_DIGITS},
        ]}),
        Type::U64 => json!({"oneOf": [
            {"type": "integer", "minimum": 0, "maximum": u64::MAX},
            {"type": "string", "pattern": UNSIGNED_DIGITS},
        ]}),
        Type::Float32 => {
            let max = FLOAT32_MAX;
            json!({"oneOf": [
                {"type": "number", "minimum": -max, "maximum": max},
                {"enum": ["NaN", "Infinity", "-Infinity"]},
            ]})
        }
        Type::Float64 => json!({"oneOf": [
            {"type": "number"},
            {"enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
        Type::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Type::String => json!({"type": "string"}),
        Type::List(element) => match &**element {
            Type::U8 => json!({"oneOf": [
                {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
                {"type": "array", "items": integer(0, i64::from(u8::MAX))},
            ]}),
            element => json!({"type": "array", "items": json_schema(element)}),
        },
        Type::Map(map) => match &**map {
            (Type::String, value) => json!({"type": "object", "additionalProperties": json_schema(value)}),
            (key, value) => json!({"type": "array", "items": pair(&[key.clone(), value.clone()])}),
        },
        Type::Record(fields) => object_schema(fields),
        Type::Tuple(types) => pair(types),
        Type::Variant(cases) => Value::Object(serde_json::Map::from_iter([(
            "oneOf".to_owned(),
            Value::Array(
                cases
                    .iter()
                    .map(|(name, payload)| match payload {
                        None => json!({"const": name}),
                        Some(ty) => tagged(name, Some(ty)),
                    })
                    .collect(),
            ),
        )])),
        Type::Enum(names) => json!({"enum": **names}),
        Type::Flags(names) => json!({
            "type": "array", "uniqueItems": true, "items": {"enum": **names},
        }),
        Type::Option(inner) => match &**inner {
            inner @ Type::Option(_) => json!({"oneOf": [{"type": "null"}, tagged("some", Some(inner))]}),
            inner => json!({"oneOf": [{"type": "null"}, json_schema(inner)]}),
        },
        Type::Result(result) => {
            json!({"oneOf": [tagged("ok", result.ok.as_ref()), tagged("err", result.err.as_ref())]})
        }
    }
}

/// The schema of the document that holds these parameters; `None` where there are none.
pub fn input_schema(params: &Params) -> Option<Value> {
    match params {
        [] => None,
        [(_, ty)] => Some(json_schema(ty)),
        params => Some(object_schema(params)),
    }
}

/// The schema of parameters by name, or of the fields of a record.
fn object_schema(fields: &Params) -> Value {
    let required = fields.iter().filter(|(_, ty)| !matches!(ty, Type::Option(_)));
    let properties = fields.iter().map(|(name, ty)| (name.clone(), json_schema(ty)));
    json!({
        "type": "object", "properties": properties.collect::<serde_json::Map<_, _>>(),
        "required": required.map(|(name, _)| name).collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn integer(minimum: i64, maximum: i64) -> Value {
    json!({"type": "integer", "minimum": minimum, "maximum": maximum})
}

fn tagged(name: &str, payload: Option<&Type>) -> Value {
    let payload = payload.map_or_else(|| json!({"type": "null"}), json_schema);
    json!({
        "type": "object", "properties": {name: payload}, "required": [name], "additionalProperties": false,
    })
}

fn pair(types: &[Type]) -> Value {
    json!({
        "type": "array", "prefixItems": types.iter().map(json_schema).collect::<Vec<_>>(),
        "items": false, "minItems": types.len(), "maxItems": types.len(),
    })
}
