//! Types as JSON Schema (draft 2020-12): the documents that [`decode`](crate::decode()) accepts and
//! [`encode`](crate::encode()) writes.
//!
//! Invariants:
//! * Every encoded value is valid.
//! * A document is valid exactly if it decodes. Only two rules are outside of JSON Schema: the
//!   range of an integer in a string, and different keys in an array of pairs. A validator may
//!   round numbers to doubles before it compares them; the decoder compares integers exactly.

use serde_json::{Value, json};

use crate::decode::FLOAT32_MAX;
use crate::types::{Params, Primitive, Type};

/// Pattern of a signed 64-bit integer in a string.
pub(super) const SIGNED_DIGITS: &str = "^-?[0-9]+$";

/// Pattern of an unsigned 64-bit integer in a string.
pub(super) const UNSIGNED_DIGITS: &str = "^[0-9]+$";

/// Pattern of padded base64 whose unused bits are zero (RFC 4648 §3.5).
pub(super) const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// Returns the schema of `ty`.
pub fn json_schema(ty: &Type) -> Value {
    match ty {
        Type::Primitive(primitive) => primitive_schema(*primitive),
        Type::List(_) if ty.is_bytes() => json!({"oneOf": [
            {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
            {"type": "array", "items": integer(0, i64::from(u8::MAX))},
        ]}),
        Type::List(element) => json!({"type": "array", "items": json_schema(element)}),
        Type::Map(map) if map.key == Type::STRING => {
            json!({"type": "object", "additionalProperties": json_schema(&map.value)})
        }
        Type::Map(map) => json!({"type": "array", "items": tuple([&map.key, &map.value].into_iter())}),
        Type::Record(fields) => object_schema(fields),
        Type::Tuple(types) => tuple(types.iter()),
        Type::Variant(cases) => Value::Object(serde_json::Map::from_iter([(
            "oneOf".to_owned(),
            Value::Array(
                cases
                    .iter()
                    .map(|case| match &case.payload {
                        None => json!({"const": case.name}),
                        Some(ty) => tagged(&case.name, Some(ty)),
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

fn primitive_schema(primitive: Primitive) -> Value {
    match primitive {
        Primitive::Bool => json!({"type": "boolean"}),
        Primitive::S8 => integer(i64::from(i8::MIN), i64::from(i8::MAX)),
        Primitive::U8 => integer(0, i64::from(u8::MAX)),
        Primitive::S16 => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
        Primitive::U16 => integer(0, i64::from(u16::MAX)),
        Primitive::S32 => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
        Primitive::U32 => integer(0, i64::from(u32::MAX)),
        Primitive::S64 => json!({"oneOf": [
            {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
            {"type": "string", "pattern": SIGNED_DIGITS},
        ]}),
        Primitive::U64 => json!({"oneOf": [
            {"type": "integer", "minimum": 0, "maximum": u64::MAX},
            {"type": "string", "pattern": UNSIGNED_DIGITS},
        ]}),
        Primitive::Float32 => json!({"oneOf": [
            {"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX},
            {"enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
        Primitive::Float64 => json!({"oneOf": [
            {"type": "number", "minimum": f64::MIN, "maximum": f64::MAX},
            {"enum": ["NaN", "Infinity", "-Infinity"]},
        ]}),
        Primitive::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Primitive::String => json!({"type": "string"}),
    }
}

/// Returns the schema of the input document, or `None` without parameters.
pub fn input_schema(params: &Params) -> Option<Value> {
    match params {
        [] => None,
        [param] => Some(json_schema(&param.ty)),
        params => Some(arguments_schema(params)),
    }
}

/// Returns the schema of several arguments: an object by name, or an array of all in order. The
/// keywords for the one kind don't apply to the other.
fn arguments_schema(params: &Params) -> Value {
    let mut schema = object_schema(params);
    let by_position = tuple(params.iter().map(|param| &param.ty));
    if let (Value::Object(schema), Value::Object(by_position)) = (&mut schema, by_position) {
        schema.extend(by_position);
        schema.insert("type".to_owned(), json!(["object", "array"]));
    }
    schema
}

/// Returns the schema of an object with these parameters or fields.
fn object_schema(fields: &Params) -> Value {
    let required = fields.iter().filter(|field| !matches!(field.ty, Type::Option(_)));
    let properties = fields.iter().map(|field| (field.name.clone(), json_schema(&field.ty)));
    json!({
        "type": "object", "properties": properties.collect::<serde_json::Map<_, _>>(),
        "required": required.map(|field| &field.name).collect::<Vec<_>>(),
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

fn tuple<'a>(types: impl ExactSizeIterator<Item = &'a Type>) -> Value {
    let count = types.len();
    json!({
        "type": "array", "prefixItems": types.map(json_schema).collect::<Vec<_>>(),
        "items": false, "minItems": count, "maxItems": count,
    })
}
