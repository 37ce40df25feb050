//! The values between steps, while a pipeline runs.

use std::sync::Arc;

use bytes::Bytes;
use nebula_codec::Flat;
use wasmtime::component::Val;

/// A value between steps. Cheap to clone, because branches share it.
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
    /// A `string` or `list<u8>` as raw bytes.
    Flat(Flat, Bytes),
    /// Any other value.
    Val(Arc<Val>),
    /// The parts that an `all`, `each` or `group` has gathered.
    Parts(Arc<Vec<Value>>),
}

impl From<Val> for Value {
    fn from(val: Val) -> Self {
        Self::Val(Arc::new(val))
    }
}

impl Value {
    /// Returns the value as a single `Val`.
    pub fn into_val(self) -> Val {
        match self {
            Self::Val(val) => Arc::unwrap_or_clone(val),
            Self::Flat(Flat::String, body) => Val::String(String::from_utf8_lossy(&body).into_owned()),
            Self::Flat(Flat::Bytes, body) | Self::Payload { body, .. } => {
                Val::List(body.iter().copied().map(Val::U8).collect())
            }
            Self::Parts(parts) => {
                Val::Tuple(Arc::unwrap_or_clone(parts).into_iter().map(Self::into_val).collect())
            }
            Self::Nothing => Val::Tuple(Vec::new()),
        }
    }

    /// Returns the items of a list, or the fields of a record or tuple, in order.
    pub fn into_parts(self) -> Vec<Self> {
        match self {
            Self::Parts(parts) => Arc::unwrap_or_clone(parts),
            Self::Val(val) => parts_of(Arc::unwrap_or_clone(val)),
            Self::Flat(Flat::Bytes, body) => body.iter().map(|byte| Val::U8(*byte).into()).collect(),
            Self::Nothing | Self::Payload { .. } | Self::Flat(Flat::String, _) => Vec::new(),
        }
    }

    /// Returns the number of items, fields or parts.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other value has parts")]
    pub fn part_count(&self) -> usize {
        match self {
            Self::Parts(parts) => parts.len(),
            Self::Val(val) => match &**val {
                Val::List(vals) | Val::Tuple(vals) => vals.len(),
                Val::Record(fields) => fields.len(),
                _ => 0,
            },
            Self::Flat(Flat::Bytes, body) => body.len(),
            Self::Nothing | Self::Payload { .. } | Self::Flat(Flat::String, _) => 0,
        }
    }

    /// Returns the part at `path`, an index for each level. Only that part is copied.
    pub fn select(&self, path: &[usize]) -> Self {
        let [first, rest @ ..] = path else { return self.clone() };
        match self {
            Self::Parts(parts) => parts.get(*first).map_or(Self::Nothing, |part| part.select(rest)),
            Self::Val(val) => selected(val, path).map_or(Self::Nothing, |val| val.clone().into()),
            Self::Nothing | Self::Payload { .. } | Self::Flat(..) => Self::Nothing,
        }
    }

    /// Returns the approximate size of the contents, bytes.
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

#[expect(clippy::wildcard_enum_match_arm, reason = "no other value has parts")]
fn parts_of(val: Val) -> Vec<Value> {
    match val {
        Val::List(vals) | Val::Tuple(vals) => vals.into_iter().map(Value::from).collect(),
        Val::Record(fields) => fields.into_iter().map(|(_, val)| val.into()).collect(),
        _ => Vec::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other value can be selected from")]
fn selected<'a>(val: &'a Val, path: &[usize]) -> Option<&'a Val> {
    let [first, rest @ ..] = path else { return Some(val) };
    let part = match val {
        Val::Record(fields) => fields.get(*first).map(|(_, val)| val),
        Val::Tuple(vals) => vals.get(*first),
        _ => None,
    };
    selected(part?, rest)
}

/// Returns the size of a value's contents, without the `Val` itself, bytes.
fn bytes_of(val: &Val) -> u64 {
    const VAL_BYTES: u64 = size_of::<Val>() as u64;
    let boxed = |val: &Val| VAL_BYTES + bytes_of(val);
    let all = |vals: &[Val]| vals.iter().map(boxed).fold(0, u64::saturating_add);
    let payload = |val: &Option<Box<Val>>| val.as_deref().map_or(0, boxed);
    let name = |name: &String| (size_of::<String>() + name.len()) as u64;
    match val {
        Val::String(text) | Val::Enum(text) => text.len() as u64,
        Val::List(vals) | Val::Tuple(vals) => all(vals),
        Val::Map(entries) => entries
            .iter()
            .map(|(key, value)| boxed(key).saturating_add(boxed(value)))
            .fold(0, u64::saturating_add),
        Val::Record(fields) => fields
            .iter()
            .map(|(field, value)| name(field).saturating_add(boxed(value)))
            .fold(0, u64::saturating_add),
        Val::Flags(names) => names.iter().map(name).fold(0, u64::saturating_add),
        Val::Variant(case, inner) => (case.len() as u64).saturating_add(payload(inner)),
        Val::Option(inner) => payload(inner),
        Val::Result(Ok(inner) | Err(inner)) => payload(inner),
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
