//! What flows from one step to the next.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Val;

use crate::codec::{self, Type};
use crate::engine::Flat;

/// The type of what flows along an edge.
///
/// What `all` and `each` gather is kept apart from the types of functions until a step takes it: only that says of
/// which type a constant is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Of a function that returns nothing, or a case without a payload.
    Nothing,
    /// Bytes with a media type. Inside of anything else it is its bytes.
    Payload,
    Value(Type),
    Constant(Arc<serde_json::Value>),
    Record(Vec<(String, Shape)>),
    Tuple(Vec<Shape>),
    List(Box<Shape>),
}

impl Shape {
    /// What it is where nothing more is said of it; `None` for what has no type by itself.
    pub(crate) fn ty(&self) -> Option<Type> {
        Some(match self {
            Self::Nothing => return None,
            Self::Payload => Type::list(Type::U8),
            Self::Value(ty) => ty.clone(),
            Self::Constant(value) => type_of(value)?,
            Self::Record(fields) => {
                let field = |(name, shape): &(String, Self)| Some((name.clone(), shape.ty()?));
                Type::Record(fields.iter().map(field).collect::<Option<_>>()?)
            }
            Self::Tuple(parts) => Type::Tuple(parts.iter().map(Self::ty).collect::<Option<_>>()?),
            Self::List(item) => Type::list(item.ty()?),
        })
    }
}

/// A number without a fraction is the first of `s64` and `u64` that has it, any other `f64`.
fn type_of(value: &serde_json::Value) -> Option<Type> {
    Some(match value {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(_) => Type::Bool,
        serde_json::Value::Number(number) if number.is_i64() => Type::S64,
        serde_json::Value::Number(number) if number.is_u64() => Type::U64,
        serde_json::Value::Number(_) => Type::Float64,
        serde_json::Value::String(_) => Type::String,
        serde_json::Value::Array(items) => {
            let first = type_of(items.first()?)?;
            let alike = items.iter().all(|item| type_of(item).as_ref() == Some(&first));
            alike.then(|| Type::list(first))?
        }
        serde_json::Value::Object(fields) => {
            let field = |(name, value): (&String, _)| Some((name.clone(), type_of(value)?));
            Type::Record(fields.iter().map(field).collect::<Option<_>>()?)
        }
    })
}

/// In WIT, as far as it is that.
impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            |formatter: &mut fmt::Formatter<'_>, parts: &[String]| formatter.write_str(&parts.join(", "));
        match self {
            Self::Nothing => formatter.write_str("nothing"),
            Self::Payload => formatter.write_str("payload"),
            Self::Value(ty) => formatter.write_str(&codec::wit_excerpt(ty)),
            Self::Constant(value) => formatter.write_str(&codec::excerpt(&value.to_string())),
            Self::Record(fields) => {
                formatter.write_str("record { ")?;
                let fields: Vec<_> = fields.iter().map(|(name, shape)| format!("{name}: {shape}")).collect();
                parts(formatter, &fields)?;
                formatter.write_str(" }")
            }
            Self::Tuple(shapes) => {
                formatter.write_str("tuple<")?;
                parts(formatter, &shapes.iter().map(Self::to_string).collect::<Vec<_>>())?;
                formatter.write_str(">")
            }
            Self::List(item) => write!(formatter, "list<{item}>"),
        }
    }
}

/// What flows, while a pipeline runs. Of a constant nothing does: its value is where it is used.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nothing,
    Payload {
        media_type: String,
        body: Bytes,
    },
    /// A `string` or `list<u8>`, without a value a byte.
    Flat(Flat, Bytes),
    Val(Val),
    /// What `all` and `each` have gathered.
    Parts(Vec<Value>),
}

impl Value {
    /// About what it holds, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Payload { media_type, body } => (media_type.len() + body.len()) as u64,
            Self::Flat(_, body) => body.len() as u64,
            Self::Val(val) => bytes_of(val),
            Self::Parts(parts) => {
                parts.iter().map(|part| size_of::<Self>() as u64 + part.bytes()).fold(0, u64::saturating_add)
            }
        }
    }
}

/// What a value holds besides itself, bytes.
fn bytes_of(val: &Val) -> u64 {
    const VAL_BYTES: u64 = size_of::<Val>() as u64;
    let boxed = |val: &Val| VAL_BYTES + bytes_of(val);
    let all = |vals: &[Val]| vals.iter().map(boxed).fold(0, u64::saturating_add);
    let maybe = |val: &Option<Box<Val>>| val.as_deref().map_or(0, boxed);
    let named = |name: &String| (size_of::<String>() + name.len()) as u64;
    match val {
        Val::String(text) | Val::Enum(text) => text.len() as u64,
        Val::List(vals) | Val::Tuple(vals) => all(vals),
        Val::Map(entries) => entries
            .iter()
            .map(|(key, value)| boxed(key).saturating_add(boxed(value)))
            .fold(0, u64::saturating_add),
        Val::Record(fields) => fields
            .iter()
            .map(|(name, value)| named(name).saturating_add(boxed(value)))
            .fold(0, u64::saturating_add),
        Val::Flags(names) => names.iter().map(named).fold(0, u64::saturating_add),
        Val::Variant(name, payload) => (name.len() as u64).saturating_add(maybe(payload)),
        Val::Option(inner) => maybe(inner),
        Val::Result(Ok(inner) | Err(inner)) => maybe(inner),
        Val::Bool(_)
        | Val::S8(_)
        | Val::U8(_)
        | Val::S16(_)
        | Val::U16(_)
        | Val::S32(_)
        | Val::U32(_)
        | Val::S64(_)
        | Val::U64(_)
        | Val::Float32(_)
        | Val::Float64(_)
        | Val::Char(_)
        | Val::FixedLengthList(_)
        | Val::Resource(_)
        | Val::Future(_)
        | Val::Stream(_)
        | Val::ErrorContext(_) => 0,
    }
}
