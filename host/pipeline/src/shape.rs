//! The types of values between steps.

use std::fmt;
use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::{Field, TYPE_DEPTH_MAX, TYPES_MAX, Type};

/// The type of the values on one edge.
///
/// Records, tuples and lists that steps gather stay separate from the types of functions until a
/// step takes them, because only that step determines the types of constants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// No value: from a function that returns none, or a case without payload.
    Nothing,
    /// Bytes with a media type. Inside of anything else, only the bytes.
    Payload,
    /// A value of this type.
    Value(Type),
    /// This constant, of a type that isn't determined yet.
    Constant(Arc<serde_json::Value>),
    /// A record of these fields.
    Record(Vec<FieldShape>),
    /// A tuple of these parts.
    Tuple(Vec<Shape>),
    /// A list of this.
    List(Box<Shape>),
}

/// A field of a gathered record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldShape {
    pub name: String,
    pub shape: Shape,
}

impl Shape {
    /// Returns whether the shape is within the limits of a signature, written out.
    pub(crate) fn is_within_limits(&self) -> bool {
        Budget { types_left: TYPES_MAX }.allows(self, TYPE_DEPTH_MAX)
    }

    /// Returns the type of the shape by itself, or `None` if a constant has none.
    pub(crate) fn ty(&self) -> Option<Type> {
        Some(match self {
            Self::Nothing => return None,
            Self::Payload => Type::list(Type::U8),
            Self::Value(ty) => ty.clone(),
            Self::Constant(value) => type_of(value)?,
            Self::Record(fields) => {
                let field = |field: &FieldShape| Some(Field::new(field.name.clone(), field.shape.ty()?));
                Type::Record(fields.iter().map(field).collect::<Option<_>>()?)
            }
            Self::Tuple(parts) => Type::Tuple(parts.iter().map(Self::ty).collect::<Option<_>>()?),
            Self::List(item) => Type::list(item.ty()?),
        })
    }
}

/// A walk over a shape that ends at the maximum number of types.
struct Budget {
    types_left: usize,
}

impl Budget {
    fn take(&mut self, count: usize) -> bool {
        let left = self.types_left.checked_sub(count);
        self.types_left = left.unwrap_or(0);
        left.is_some()
    }

    fn allows(&mut self, shape: &Shape, depth_left: usize) -> bool {
        if let Shape::Value(ty) = shape {
            return self.allows_type(ty, depth_left);
        }
        let Some(depth_left) = depth_left.checked_sub(1) else { return false };
        self.take(1)
            && match shape {
                Shape::Nothing | Shape::Payload | Shape::Value(_) => true,
                Shape::Constant(value) => self.allows_constant(value),
                Shape::Record(fields) => fields.iter().all(|field| self.allows(&field.shape, depth_left)),
                Shape::Tuple(parts) => parts.iter().all(|part| self.allows(part, depth_left)),
                Shape::List(item) => self.allows(item, depth_left),
            }
    }

    fn allows_type(&mut self, ty: &Type, depth_left: usize) -> bool {
        let Some(depth_left) = depth_left.checked_sub(1) else { return false };
        if !self.take(1) {
            return false;
        }
        let mut allows = |ty: &Type| self.allows_type(ty, depth_left);
        match ty {
            Type::Primitive(_) => true,
            Type::List(inner) | Type::Option(inner) => allows(inner),
            Type::Map(map) => allows(&map.key) && allows(&map.value),
            Type::Record(fields) => fields.iter().all(|field| allows(&field.ty)),
            Type::Tuple(types) => types.iter().all(allows),
            Type::Variant(cases) => {
                cases.iter().filter_map(|case| case.payload.as_ref()).all(allows) && self.take(cases.len())
            }
            Type::Enum(names) | Type::Flags(names) => self.take(names.len()),
            Type::Result(outcome) => [&outcome.ok, &outcome.err].into_iter().flatten().all(allows),
        }
    }

    /// Counts a type for each value. The depth of constants is bounded by their description.
    fn allows_constant(&mut self, value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(items) => {
                self.take(items.len()) && items.iter().all(|item| self.allows_constant(item))
            }
            serde_json::Value::Object(fields) => {
                self.take(fields.len()) && fields.values().all(|field| self.allows_constant(field))
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => true,
        }
    }
}

/// Returns the type of a constant that no step determines. A whole number is an `s64`, or a `u64`
/// beyond its range; any other number is an `f64`.
fn type_of(value: &serde_json::Value) -> Option<Type> {
    Some(match value {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(_) => Type::BOOL,
        serde_json::Value::Number(number) if number.is_i64() => Type::S64,
        serde_json::Value::Number(number) if number.is_u64() => Type::U64,
        serde_json::Value::Number(_) => Type::FLOAT64,
        serde_json::Value::String(_) => Type::STRING,
        serde_json::Value::Array(items) => {
            let mut types = items.iter().map(type_of);
            let first = types.next()??;
            let are_alike = types.all(|ty| ty.as_ref() == Some(&first));
            are_alike.then(|| Type::list(first))?
        }
        serde_json::Value::Object(fields) => {
            let field = |(name, value): (&String, _)| Some(Field::new(name.clone(), type_of(value)?));
            Type::Record(fields.iter().map(field).collect::<Option<_>>()?)
        }
    })
}

/// WIT, with `nothing`, `payload` and constants in place of types.
impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("nothing"),
            Self::Payload => formatter.write_str("payload"),
            Self::Value(ty) => formatter.write_str(&codec::wit_excerpt(ty)),
            Self::Constant(value) => formatter.write_str(&codec::excerpt(&value.to_string())),
            Self::Record(fields) => {
                let field = |field: &FieldShape| format!("{}: {}", field.name, field.shape);
                let fields: Vec<_> = fields.iter().map(field).collect();
                write!(formatter, "record {{ {} }}", fields.join(", "))
            }
            Self::Tuple(parts) => {
                let parts: Vec<_> = parts.iter().map(Self::to_string).collect();
                write!(formatter, "tuple<{}>", parts.join(", "))
            }
            Self::List(item) => write!(formatter, "list<{item}>"),
        }
    }
}
