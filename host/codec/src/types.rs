//! The types of values, structurally: what WIT calls them doesn't matter.
//!
//! wasmtime's own belong to the component that they are reflected from and can't be made; a pipeline has types
//! that no component has.

use std::sync::Arc;

use wasmtime::component::Type as Reflected;

/// The type of a value that can travel. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
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
    /// `list<T>`.
    List(Arc<Type>),
    /// Keys and values.
    Map(Arc<(Type, Type)>),
    /// A record, its fields in order.
    Record(Arc<[Field]>),
    /// A tuple.
    Tuple(Arc<[Type]>),
    /// A variant, its cases in order.
    Variant(Arc<[Case]>),
    /// An enum, the names of its cases in order.
    Enum(Arc<[String]>),
    /// Flags, their names in order.
    Flags(Arc<[String]>),
    /// `option<T>`.
    Option(Arc<Type>),
    /// `result<T, E>`.
    Result(Arc<Outcome>),
}

/// A field or parameter.
pub type Field = (String, Type);

/// A case, and its payload if it has one.
pub type Case = (String, Option<Type>);

/// Of a `result`, the types of `ok` and `err`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The type of `ok`, if it carries a value.
    pub ok: Option<Type>,
    /// The type of `err`, if it carries a value.
    pub err: Option<Type>,
}

impl Type {
    /// Returns `list<element>`.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// Returns `result<ok, err>`.
    pub fn result(ok: Option<Self>, err: Option<Self>) -> Self {
        Self::Result(Arc::new(Outcome { ok, err }))
    }

    /// Whether it is `list<u8>`, which is base64 in JSON.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::List(element) if **element == Self::U8)
    }

    /// `None` for what is no plain value. Of what is written out as more than `types_left` types not all is looked at: it
    /// is good for no more than to show its beginning.
    pub(super) fn reflect(ty: &Reflected, types_left: &mut usize) -> Option<Self> {
        let Some(left) = types_left.checked_sub(1) else { return Some(Self::Bool) };
        *types_left = left;
        let mut inner = |ty: &Reflected| Self::reflect(ty, types_left);
        Some(match ty {
            Reflected::Bool => Self::Bool,
            Reflected::S8 => Self::S8,
            Reflected::U8 => Self::U8,
            Reflected::S16 => Self::S16,
            Reflected::U16 => Self::U16,
            Reflected::S32 => Self::S32,
            Reflected::U32 => Self::U32,
            Reflected::S64 => Self::S64,
            Reflected::U64 => Self::U64,
            Reflected::Float32 => Self::Float32,
            Reflected::Float64 => Self::Float64,
            Reflected::Char => Self::Char,
            Reflected::String => Self::String,
            Reflected::List(list) => Self::list(inner(&list.ty())?),
            Reflected::Map(map) => Self::Map(Arc::new((inner(&map.key())?, inner(&map.value())?))),
            Reflected::Record(record) => {
                let field = |field: wasmtime::component::types::Field<'_>| {
                    Some((field.name.to_owned(), inner(&field.ty)?))
                };
                Self::Record(record.fields().map(field).collect::<Option<_>>()?)
            }
            Reflected::Tuple(tuple) => {
                Self::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Option<_>>()?)
            }
            Reflected::Variant(variant) => {
                let case = |case: wasmtime::component::types::Case<'_>| {
                    Some((case.name.to_owned(), maybe(&mut inner, case.ty)?))
                };
                Self::Variant(variant.cases().map(case).collect::<Option<_>>()?)
            }
            Reflected::Enum(cases) => Self::Enum(cases.names().map(str::to_owned).collect()),
            Reflected::Flags(flags) => Self::Flags(flags.names().map(str::to_owned).collect()),
            Reflected::Option(option) => Self::Option(Arc::new(inner(&option.ty())?)),
            Reflected::Result(result) => {
                Self::result(maybe(&mut inner, result.ok())?, maybe(&mut inner, result.err())?)
            }
            Reflected::FixedLengthList(_)
            | Reflected::Own(_)
            | Reflected::Borrow(_)
            | Reflected::Future(_)
            | Reflected::Stream(_)
            | Reflected::ErrorContext => return None,
        })
    }
}

/// The payload of a case, which may have none; `None` if it is no plain value.
fn maybe(
    reflect: &mut impl FnMut(&Reflected) -> Option<Type>,
    ty: Option<Reflected>,
) -> Option<Option<Type>> {
    ty.map(|ty| reflect(&ty).ok_or(())).transpose().ok()
}
