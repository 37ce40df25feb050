//! Types as JSON Schema (draft 2020-12): the documents that [`decode`](crate::decode()) accepts, and
//! those that [`encode`](crate::encode()) writes.
//!
//! Invariants:
//! * A document is a valid input exactly if it decodes. Only one rule is outside of JSON Schema:
//!   different keys in an array of pairs. A validator may round numbers to doubles before it compares
//!   them; the decoder compares integers exactly.
//! * Every encoded value is a valid answer, and every valid answer is a valid input.
//! * An answer has one form for each type, so that clients need no code for others.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::decode::FLOAT32_MAX;
use crate::types::{Case, Field, Params, Primitive, Type};

/// Pattern of a signed 64-bit integer in a string.
static SIGNED_DIGITS: LazyLock<String> = LazyLock::new(|| {
    let positive = digits_up_to(i64::MAX.unsigned_abs());
    format!("^(-?({positive})|-0*{})$", i64::MIN.unsigned_abs())
});

/// Pattern of an unsigned 64-bit integer in a string.
static UNSIGNED_DIGITS: LazyLock<String> = LazyLock::new(|| format!("^({})$", digits_up_to(u64::MAX)));

/// Pattern of padded base64 whose unused bits are zero (RFC 4648 §3.5).
pub(super) const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The document that a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    /// A document that the decoder accepts.
    Input,
    /// A document that the encoder writes.
    Answer,
}

/// Returns the schema of the documents that decode to a value of `ty`.
pub fn json_schema(ty: &Type) -> Value {
    Document::Input.schema(ty)
}

/// Returns the schema of the documents that values of `ty` are encoded to.
pub fn answer_schema(ty: &Type) -> Value {
    Document::Answer.schema(ty)
}

/// Returns the schema of the input document of a function, or `None` without parameters.
pub fn input_schema(params: &Params) -> Option<Value> {
    match params {
        [] => None,
        [param] => Some(json_schema(&param.ty)),
        params => Some(several_arguments(params)),
    }
}

/// Returns the schema of several arguments: an object by name, or an array of all in order. The
/// keywords for the one kind don't apply to the other.
fn several_arguments(params: &Params) -> Value {
    let mut schema = Document::Input.object(params);
    let by_position = Document::Input.tuple(params.iter().map(|param| &param.ty));
    if let (Value::Object(schema), Value::Object(by_position)) = (&mut schema, by_position) {
        schema.extend(by_position);
        schema.insert("type".to_owned(), json!(["object", "array"]));
    }
    schema
}

impl Document {
    fn schema(self, ty: &Type) -> Value {
        match ty {
            Type::Primitive(primitive) => self.primitive(*primitive),
            Type::List(_) if ty.is_bytes() => {
                let base64 = json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64});
                let numbers = json!({"type": "array", "items": integer(0, i64::from(u8::MAX))});
                self.written_as(base64, numbers)
            }
            Type::List(element) => json!({"type": "array", "items": self.schema(element)}),
            Type::Map(map) if map.key == Type::STRING => {
                json!({"type": "object", "additionalProperties": self.schema(&map.value)})
            }
            Type::Map(map) => {
                json!({"type": "array", "items": self.tuple([&map.key, &map.value].into_iter())})
            }
            Type::Record(fields) => self.object(fields),
            Type::Tuple(types) => self.tuple(types.iter()),
            Type::Variant(cases) => {
                let case = |case: &Case| match &case.payload {
                    None => json!({"const": case.name}),
                    Some(ty) => self.tagged(&case.name, Some(ty)),
                };
                json!({"oneOf": cases.iter().map(case).collect::<Vec<_>>()})
            }
            Type::Enum(names) => one_of_names(names),
            Type::Flags(names) => json!({"type": "array", "uniqueItems": true, "items": one_of_names(names)}),
            Type::Option(inner) => match &**inner {
                inner @ Type::Option(_) => {
                    json!({"oneOf": [{"type": "null"}, self.tagged("some", Some(inner))]})
                }
                inner => json!({"oneOf": [{"type": "null"}, self.schema(inner)]}),
            },
            Type::Result(result) => {
                let (ok, err) = (result.ok.as_ref(), result.err.as_ref());
                json!({"oneOf": [self.tagged("ok", ok), self.tagged("err", err)]})
            }
        }
    }

    fn primitive(self, primitive: Primitive) -> Value {
        match primitive {
            Primitive::Bool => json!({"type": "boolean"}),
            Primitive::S8 => integer(i64::from(i8::MIN), i64::from(i8::MAX)),
            Primitive::U8 => integer(0, i64::from(u8::MAX)),
            Primitive::S16 => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
            Primitive::U16 => integer(0, i64::from(u16::MAX)),
            Primitive::S32 => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
            Primitive::U32 => integer(0, i64::from(u32::MAX)),
            Primitive::S64 => self.written_as(
                json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
                json!({"type": "string", "pattern": *SIGNED_DIGITS}),
            ),
            Primitive::U64 => self.written_as(
                json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
                json!({"type": "string", "pattern": *UNSIGNED_DIGITS}),
            ),
            Primitive::Float32 => float(FLOAT32_MAX),
            Primitive::Float64 => float(f64::MAX),
            Primitive::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Primitive::String => json!({"type": "string"}),
        }
    }

    /// Returns the schema of an object with these parameters or fields.
    fn object(self, fields: &Params) -> Value {
        let is_required = |field: &&Field| self == Self::Answer || !matches!(field.ty, Type::Option(_));
        let properties = fields.iter().map(|field| (field.name.clone(), self.schema(&field.ty)));
        json!({
            "type": "object", "properties": properties.collect::<serde_json::Map<_, _>>(),
            "required": fields.iter().filter(is_required).map(|field| &field.name).collect::<Vec<_>>(),
            "additionalProperties": false,
        })
    }

    fn tagged(self, name: &str, payload: Option<&Type>) -> Value {
        let payload = payload.map_or_else(|| json!({"type": "null"}), |ty| self.schema(ty));
        json!({
            "type": "object", "properties": {name: payload}, "required": [name],
            "additionalProperties": false,
        })
    }

    fn tuple<'a>(self, types: impl ExactSizeIterator<Item = &'a Type>) -> Value {
        let count = types.len();
        json!({
            "type": "array", "prefixItems": types.map(|ty| self.schema(ty)).collect::<Vec<_>>(),
            "minItems": count, "maxItems": count,
        })
    }

    /// Returns the schema of a value that is written in one form, and is read in another one too.
    fn written_as(self, written: Value, other: Value) -> Value {
        match self {
            Self::Input => json!({"oneOf": [written, other]}),
            Self::Answer => written,
        }
    }
}

fn one_of_names(names: &[String]) -> Value {
    json!({"type": "string", "enum": names})
}

/// Returns the schema of a float, up to `max` or not finite.
fn float(max: f64) -> Value {
    json!({"oneOf": [
        {"type": "number", "minimum": -max, "maximum": max},
        {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
    ]})
}

/// Returns the pattern of the decimal digits of every number from 0 to `max`, which has several digits.
fn digits_up_to(max: u64) -> String {
    let max = max.to_string();
    // Numbers with fewer digits, then those that begin like the maximum and go on with a lower digit.
    let mut numbers = vec![format!("[0-9]{{1,{}}}", max.len() - 1)];
    for (at, digit) in max.bytes().enumerate() {
        let lowest = if at == 0 { b'1' } else { b'0' };
        if digit > lowest {
            let (lowest, highest) = (char::from(lowest), char::from(digit - 1));
            numbers.push(format!("{}[{lowest}-{highest}][0-9]{{{}}}", &max[..at], max.len() - at - 1));
        }
    }
    numbers.push(max);
    format!("0*({})", numbers.join("|"))
}

fn integer(minimum: i64, maximum: i64) -> Value {
    json!({"type": "integer", "minimum": minimum, "maximum": maximum})
}
