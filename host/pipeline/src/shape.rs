//! What flows from one step to the next.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nebula_codec as codec;
use nebula_codec::Flat;
use nebula_codec::{TYPE_DEPTH_MAX, TYPES_MAX, Type};
use wasmtime::component::Val;

use super::check::InvalidPipeline;

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
    /// Whether it is small enough to be written out.
    ///
    /// # Errors
    /// [`InvalidPipeline::TypeTooLarge`].
    pub(super) fn check_size(&self) -> Result<(), InvalidPipeline> {
        let mut left = TYPES_MAX;
        if self.is_within(&mut left, TYPE_DEPTH_MAX) { Ok(()) } else { Err(InvalidPipeline::TypeTooLarge) }
    }

    fn is_within(&self, types_left: &mut usize, depth: usize) -> bool {
        let Some((left, depth)) = types_left.checked_sub(1).zip(depth.checked_sub(1)) else { return false };
        *types_left = left;
        match self {
            Self::Nothing | Self::Payload => true,
            Self::Constant(value) => constant_is_within(value, types_left),
            Self::Value(ty) => type_is_within(ty, types_left, depth + 1),
            Self::Record(fields) => fields.iter().all(|(_, shape)| shape.is_within(types_left, depth)),
            Self::Tuple(parts) => parts.iter().all(|shape| shape.is_within(types_left, depth)),
            Self::List(item) => item.is_within(types_left, depth),
        }
    }

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

fn type_is_within(ty: &Type, types_left: &mut usize, depth: usize) -> bool {
    let Some((left, depth)) = types_left.checked_sub(1).zip(depth.checked_sub(1)) else { return false };
    *types_left = left;
    let mut within = |ty: &Type| type_is_within(ty, types_left, depth);
    match ty {
        Type::List(inner) | Type::Option(inner) => within(inner),
        Type::Map(map) => within(&map.0) && within(&map.1),
        Type::Record(fields) => fields.iter().all(|(_, ty)| within(ty)),
        Type::Tuple(types) => types.iter().all(within),
        Type::Variant(cases) => {
            let mut payloads = cases.iter().filter_map(|(_, ty)| ty.as_ref());
            payloads.all(&mut within) && charge(types_left, cases.len())
        }
        Type::Enum(names) | Type::Flags(names) => charge(types_left, names.len()),
        Type::Result(outcome) => [&outcome.ok, &outcome.err].into_iter().flatten().all(within),
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
        | Type::String => true,
    }
}

/// A type for each of its values at most. How deep it is was looked at before.
fn constant_is_within(value: &serde_json::Value, types_left: &mut usize) -> bool {
    match value {
        serde_json::Value::Array(items) => {
            charge(types_left, items.len()) && items.iter().all(|item| constant_is_within(item, types_left))
        }
        serde_json::Value::Object(fields) => {
            charge(types_left, fields.len())
                && fields.values().all(|field| constant_is_within(field, types_left))
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => true,
    }
}

fn charge(types_left: &mut usize, count: usize) -> bool {
    let left = types_left.checked_sub(count);
    *types_left = left.unwrap_or(0);
    left.is_some()
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
            let mut types = items.iter().map(type_of);
            let first = types.next()??;
            let alike = types.all(|ty| ty.as_ref() == Some(&first));
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

/// What flows, while a pipeline runs. Cheap to clone: branches share it.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Nothing,
    /// The payload of a raw function.
    Payload {
        /// The media type.
        media_type: String,
        /// The content.
        body: Bytes,
    },
    /// A `string` or `list<u8>`, without a value a byte.
    Flat(Flat, Bytes),
    /// Any other value.
    Val(Arc<Val>),
    /// What `all` and `each` have gathered.
    Parts(Arc<Vec<Value>>),
}

impl From<Val> for Value {
    fn from(val: Val) -> Self {
        Self::Val(Arc::new(val))
    }
}

impl Value {
    /// About what it holds, bytes.
    pub fn bytes(&self) -> u64 {
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
