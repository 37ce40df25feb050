//! Signatures of compiled components, checked against the limits on the way.
//!
//! Types are shared in a component: a few hundred bytes can define a pair, a pair of that pair, and
//! so on, which is a million types once written out, as in WIT, in a schema and in every value.
//!
//! Invariant: nothing is built beyond the limits of `types`; the walk stops there.

use std::sync::Arc;

use wasmtime::component::Type as Reflected;
use wasmtime::component::types::ComponentFunc;

use crate::text::{EXCERPT_CHARS_MAX, signature_excerpt};
use crate::types::{
    Case, Field, MapEntry, NAME_BYTES_MAX, Outcome, Primitive, Signature, TYPE_DEPTH_MAX, TYPES_MAX, Type,
};

/// Reasons to refuse a function's signature.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnsupportedType {
    /// The signature contains a type without a JSON form.
    #[error("`{path}` is a {kind}, which has no JSON form")]
    NoJsonForm {
        /// The place in the signature: `input.rows[].handle`.
        path: String,
        /// The kind of type there.
        kind: &'static str,
    },
    /// The signature is larger than [`TYPES_MAX`].
    #[error("the signature of `handle` has more than {TYPES_MAX} types, written out")]
    TooManyTypes,
    /// The types nest deeper than [`TYPE_DEPTH_MAX`].
    #[error("the types of `handle` are nested more than {TYPE_DEPTH_MAX} deep")]
    TooDeep,
    /// The names are longer than [`NAME_BYTES_MAX`].
    #[error("the names in the signature of `handle` have more than {NAME_BYTES_MAX} bytes, written out")]
    NamesTooLong,
}

/// Returns the signature of a compiled function.
///
/// # Errors
/// [`UnsupportedType`] if a type has no JSON form or the signature exceeds a limit.
pub fn reflect(func: &ComponentFunc) -> Result<Signature, UnsupportedType> {
    let mut reflector = Reflector {
        types_left: TYPES_MAX,
        name_bytes_left: NAME_BYTES_MAX,
        depth_left: TYPE_DEPTH_MAX,
        at_limit: AtLimit::Refuse,
    };
    reflector.signature(func)
}

/// Returns the beginning of any signature in WIT, or `None` if it contains a type without a JSON
/// form.
pub fn reflect_excerpt(name: &str, func: &ComponentFunc) -> Option<String> {
    let mut reflector = Reflector {
        // Each is at least one character.
        types_left: EXCERPT_CHARS_MAX,
        name_bytes_left: usize::MAX,
        depth_left: usize::MAX,
        at_limit: AtLimit::CutOff,
    };
    Some(signature_excerpt(name, &reflector.signature(func).ok()?))
}

/// The behaviour at the maximum number of types.
enum AtLimit {
    Refuse,
    /// Further types become placeholders. An excerpt ends before them.
    CutOff,
}

/// A walk over a signature, with what the limits still allow.
struct Reflector {
    types_left: usize,
    name_bytes_left: usize,
    depth_left: usize,
    at_limit: AtLimit,
}

/// An error on its way out of nested types.
enum Refusal {
    NoJsonForm {
        /// The path to the type, innermost step first.
        steps: Vec<String>,
        kind: &'static str,
    },
    Limit(UnsupportedType),
}

impl Refusal {
    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        if let Self::NoJsonForm { steps, .. } = &mut self {
            steps.push(step());
        }
        self
    }

    fn into_error(self, name: &str) -> UnsupportedType {
        match self {
            Self::NoJsonForm { steps, kind } => {
                let path = steps.iter().rev().fold(name.to_owned(), |path, step| path + step);
                UnsupportedType::NoJsonForm { path, kind }
            }
            Self::Limit(error) => error,
        }
    }
}

impl Reflector {
    fn signature(&mut self, func: &ComponentFunc) -> Result<Signature, UnsupportedType> {
        let mut params = Vec::new();
        for (name, ty) in func.params() {
            params.push(Field::new(name, self.named(name, &ty)?));
        }
        let result = match func.results().next() {
            Some(ty) => Some(self.named("result", &ty)?),
            None => None,
        };
        Ok(Signature { params, result })
    }

    fn named(&mut self, name: &str, ty: &Reflected) -> Result<Type, UnsupportedType> {
        self.count(name).and_then(|()| self.ty(ty)).map_err(|refusal| refusal.into_error(name))
    }

    /// Counts a type, field, case or flag. `name` is empty if it has none.
    fn count(&mut self, name: &str) -> Result<(), Refusal> {
        match self.at_limit {
            AtLimit::Refuse => {
                let left = self.types_left.checked_sub(1);
                self.types_left = left.ok_or(Refusal::Limit(UnsupportedType::TooManyTypes))?;
                let left = self.name_bytes_left.checked_sub(name.len());
                self.name_bytes_left = left.ok_or(Refusal::Limit(UnsupportedType::NamesTooLong))?;
            }
            AtLimit::CutOff => self.types_left = self.types_left.saturating_sub(1),
        }
        Ok(())
    }

    fn ty(&mut self, ty: &Reflected) -> Result<Type, Refusal> {
        if let (AtLimit::CutOff, 0) = (&self.at_limit, self.types_left) {
            return Ok(Type::BOOL);
        }
        self.count("")?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Refusal::Limit(UnsupportedType::TooDeep))?;
        let ty = self.type_within(ty)?;
        self.depth_left += 1;
        Ok(ty)
    }

    fn type_within(&mut self, ty: &Reflected) -> Result<Type, Refusal> {
        let no_json_form = |kind| Err(Refusal::NoJsonForm { steps: Vec::new(), kind });
        Ok(match ty {
            Reflected::Bool => Primitive::Bool.into(),
            Reflected::S8 => Primitive::S8.into(),
            Reflected::U8 => Primitive::U8.into(),
            Reflected::S16 => Primitive::S16.into(),
            Reflected::U16 => Primitive::U16.into(),
            Reflected::S32 => Primitive::S32.into(),
            Reflected::U32 => Primitive::U32.into(),
            Reflected::S64 => Primitive::S64.into(),
            Reflected::U64 => Primitive::U64.into(),
            Reflected::Float32 => Primitive::Float32.into(),
            Reflected::Float64 => Primitive::Float64.into(),
            Reflected::Char => Primitive::Char.into(),
            Reflected::String => Primitive::String.into(),
            Reflected::List(list) => Type::list(self.part("[]", &list.ty())?),
            Reflected::Map(map) => Type::map(MapEntry {
                key: self.part(".key", &map.key())?,
                value: self.part(".value", &map.value())?,
            }),
            Reflected::Record(record) => {
                let mut fields = Vec::new();
                for field in record.fields() {
                    self.count(field.name)?;
                    fields.push(Field::new(field.name, self.member(field.name, &field.ty)?));
                }
                Type::Record(fields.into())
            }
            Reflected::Tuple(tuple) => {
                let mut types = Vec::new();
                for (index, ty) in tuple.types().enumerate() {
                    types.push(self.member(&index.to_string(), &ty)?);
                }
                Type::Tuple(types.into())
            }
            Reflected::Variant(variant) => {
                let mut cases = Vec::new();
                for case in variant.cases() {
                    self.count(case.name)?;
                    let payload = case.ty.map(|ty| self.member(case.name, &ty)).transpose()?;
                    cases.push(Case::new(case.name, payload));
                }
                Type::Variant(cases.into())
            }
            Reflected::Enum(cases) => Type::Enum(self.names(cases.names())?),
            Reflected::Flags(flags) => Type::Flags(self.names(flags.names())?),
            Reflected::Option(option) => Type::option(self.ty(&option.ty())?),
            Reflected::Result(result) => Type::result(Outcome {
                ok: result.ok().map(|ty| self.part(".ok", &ty)).transpose()?,
                err: result.err().map(|ty| self.part(".err", &ty)).transpose()?,
            }),
            // The engine's admission refuses these too: wasmtime doesn't fully support them.
            Reflected::FixedLengthList(_) => return no_json_form("fixed-length list"),
            Reflected::Own(_) | Reflected::Borrow(_) => return no_json_form("resource"),
            Reflected::Future(_) => return no_json_form("future"),
            Reflected::Stream(_) => return no_json_form("stream"),
            Reflected::ErrorContext => return no_json_form("error-context"),
        })
    }

    /// Reflects a field, a payload or a part of a tuple.
    fn member(&mut self, name: &str, ty: &Reflected) -> Result<Type, Refusal> {
        self.ty(ty).map_err(|refusal| refusal.within(|| format!(".{name}")))
    }

    /// Reflects a part that paths show as `step`.
    fn part(&mut self, step: &str, ty: &Reflected) -> Result<Type, Refusal> {
        self.ty(ty).map_err(|refusal| refusal.within(|| step.to_owned()))
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Arc<[String]>, Refusal> {
        names.map(|name| self.count(name).map(|()| name.to_owned())).collect()
    }
}
