//! WIT types by structure: a type is what its values look like, and names of types don't matter.
//!
//! wasmtime's own types belong to the component that they are reflected from and can't be built.
//! These can, because pipelines have types that no component has.
//!
//! `reflect` makes them from a component, `parse` from text.

use std::sync::Arc;

/// Maximum number of types, fields, cases and flags of a signature, written out. Wide records have
/// hundreds.
pub const TYPES_MAX: usize = 10_000;

/// Maximum nesting of types. A schema nests up to four levels for each, and JSON is read to a depth
/// of 128.
pub const TYPE_DEPTH_MAX: usize = 24;

/// Maximum length of all names of parameters, fields, cases and flags of a signature, written out,
/// bytes.
pub const NAME_BYTES_MAX: usize = 256 * 1024;

/// A type without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// `bool`.
    Bool,
    /// `s8`.
    S8,
    /// `u8`.
    U8,
    /// `s16`.
    S16,
    /// `u16`.
    U16,
    /// `s32`.
    S32,
    /// `u32`.
    U32,
    /// `s64`.
    S64,
    /// `u64`.
    U64,
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// `char`.
    Char,
    /// `string`.
    String,
}

impl Primitive {
    /// All primitive types.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::S8,
        Self::U8,
        Self::S16,
        Self::U16,
        Self::S32,
        Self::U32,
        Self::S64,
        Self::U64,
        Self::Float32,
        Self::Float64,
        Self::Char,
        Self::String,
    ];

    /// Returns the type's name in WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::U16 => "u16",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::S64 => "s64",
            Self::U64 => "u64",
            Self::Float32 => "f32",
            Self::Float64 => "f64",
            Self::Char => "char",
            Self::String => "string",
        }
    }

    /// Returns the type that WIT gives this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| primitive.name() == name)
    }

    /// Returns whether it is one of the eight integer types.
    pub fn is_integer(self) -> bool {
        match self {
            Self::S8 | Self::U8 | Self::S16 | Self::U16 | Self::S32 | Self::U32 | Self::S64 | Self::U64 => {
                true
            }
            Self::Bool | Self::Float32 | Self::Float64 | Self::Char | Self::String => false,
        }
    }

    /// Returns whether it is `f32` or `f64`.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// Returns whether its values are numbers in JSON.
    pub fn is_number(self) -> bool {
        self.is_integer() || self.is_float()
    }
}

/// The type of a value that has a JSON form. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A type without parts.
    Primitive(Primitive),
    /// `list<T>`.
    List(Arc<Type>),
    /// `map<K, V>`.
    Map(Arc<MapEntry>),
    /// A record, with its fields in order.
    Record(Arc<[Field]>),
    /// A tuple.
    Tuple(Arc<[Type]>),
    /// A variant, with its cases in order.
    Variant(Arc<[Case]>),
    /// An enum: the names of its cases in order.
    Enum(Arc<[String]>),
    /// Flags: their names in order.
    Flags(Arc<[String]>),
    /// `option<T>`.
    Option(Arc<Type>),
    /// `result<T, E>`.
    Result(Arc<Outcome>),
}

/// A field of a record, or a parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in WIT.
    pub name: String,
    /// The type of the value.
    pub ty: Type,
}

/// The named parameters of a function, in order.
pub type Params = [Field];

/// A case of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The name in WIT.
    pub name: String,
    /// The type of the payload, if the case has one.
    pub payload: Option<Type>,
}

/// The types of a map's keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The type of the keys.
    pub key: Type,
    /// The type of the values.
    pub value: Type,
}

/// The two types of a `result`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The type of `ok`, if it carries a value.
    pub ok: Option<Type>,
    /// The type of `err`, if it carries a value.
    pub err: Option<Type>,
}

/// The types of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The named parameters, in order.
    pub params: Vec<Field>,
    /// The type of the result, if the function returns one.
    pub result: Option<Type>,
}

impl Field {
    /// Creates a field or parameter.
    pub fn new(name: impl Into<String>, ty: Type) -> Self {
        Self { name: name.into(), ty }
    }
}

impl Case {
    /// Creates a case.
    pub fn new(name: impl Into<String>, payload: Option<Type>) -> Self {
        Self { name: name.into(), payload }
    }
}

impl From<Primitive> for Type {
    fn from(primitive: Primitive) -> Self {
        Self::Primitive(primitive)
    }
}

impl Type {
    /// `bool`.
    pub const BOOL: Self = Self::Primitive(Primitive::Bool);
    /// `s8`.
    pub const S8: Self = Self::Primitive(Primitive::S8);
    /// `u8`.
    pub const U8: Self = Self::Primitive(Primitive::U8);
    /// `s16`.
    pub const S16: Self = Self::Primitive(Primitive::S16);
    /// `u16`.
    pub const U16: Self = Self::Primitive(Primitive::U16);
    /// `s32`.
    pub const S32: Self = Self::Primitive(Primitive::S32);
    /// `u32`.
    pub const U32: Self = Self::Primitive(Primitive::U32);
    /// `s64`.
    pub const S64: Self = Self::Primitive(Primitive::S64);
    /// `u64`.
    pub const U64: Self = Self::Primitive(Primitive::U64);
    /// `f32`.
    pub const FLOAT32: Self = Self::Primitive(Primitive::Float32);
    /// `f64`.
    pub const FLOAT64: Self = Self::Primitive(Primitive::Float64);
    /// `char`.
    pub const CHAR: Self = Self::Primitive(Primitive::Char);
    /// `string`.
    pub const STRING: Self = Self::Primitive(Primitive::String);

    /// Returns `list<element>`.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// Returns `option<inner>`.
    pub fn option(inner: Self) -> Self {
        Self::Option(Arc::new(inner))
    }

    /// Returns the map type of these entries.
    pub fn map(entry: MapEntry) -> Self {
        Self::Map(Arc::new(entry))
    }

    /// Returns the result type of this outcome.
    pub fn result(outcome: Outcome) -> Self {
        Self::Result(Arc::new(outcome))
    }

    /// Returns whether it is `list<u8>`, which is base64 in JSON.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::List(element) if **element == Self::U8)
    }
}
