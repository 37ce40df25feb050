//! What the signature of a function may hold.
//!
//! Types are shared: a component of a few hundred bytes can define a pair, a pair of that pair, and
//! so on, which is a million types once it is written out, as it is in its WIT, in its schema, and in
//! every value. So a signature is measured as written out before anything else looks at it, by a walk
//! that ends at the limit.

use wasmtime::component::Type as Reflected;

use super::text::{EXCERPT_CHARS_MAX, signature_excerpt};
use super::types::{Field, Type};

/// Types, fields, cases and flags of a signature written out. Wide records have hundreds.
pub const TYPES_MAX: usize = 10_000;

/// Types in one another. A schema nests up to four levels for each, and JSON is read to a depth of 128.
pub const TYPE_DEPTH_MAX: usize = 24;

/// The names of its parameters, fields, cases and flags, bytes, written out.
pub const NAME_BYTES_MAX: usize = 256 * 1024;

/// Why a signature can't be a function's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnsupportedType {
    /// A type that has no JSON form.
    #[error("`{path}` is a {what}, which is no value that JSON could carry")]
    NoValue {
        /// Where in the signature: `input.rows[].handle`.
        path: String,
        /// What stands there.
        what: &'static str,
    },
    /// Too large a type.
    #[error("the types of `handle`, written out, are over {TYPES_MAX}")]
    TooManyTypes,
    /// Too deep a type.
    #[error("the types of `handle` are more than {TYPE_DEPTH_MAX} deep")]
    TooDeep,
    /// Too much to say.
    #[error("the names in the types of `handle`, written out, are over {NAME_BYTES_MAX} bytes")]
    NamesTooLong,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The named parameters, in order.
    pub params: Vec<Field>,
    /// The type of the result, if there is one.
    pub result: Option<Type>,
}

/// The signature that wasmtime tells, if every type of it is a plain value and all of them are few enough to be
/// written out.
///
/// # Errors
/// [`UnsupportedType`].
pub fn reflect(
    params: &[(String, Reflected)],
    result: Option<&Reflected>,
) -> Result<Signature, UnsupportedType> {
    check(params, result)?;
    // What can't be is refused by the check.
    let no_value = UnsupportedType::NoValue { path: String::new(), what: "type" };
    reflect_up_to(usize::MAX, params, result).ok_or(no_value)
}

/// The beginning of any signature, in WIT; nothing where it has what is no plain value.
pub fn reflect_excerpt(
    name: &str,
    params: &[(String, Reflected)],
    result: Option<&Reflected>,
) -> Option<String> {
    // Each is more than a character.
    let signature = reflect_up_to(EXCERPT_CHARS_MAX, params, result)?;
    Some(signature_excerpt(name, &signature))
}

fn reflect_up_to(
    mut types_left: usize,
    params: &[(String, Reflected)],
    result: Option<&Reflected>,
) -> Option<Signature> {
    let mut fields = Vec::new();
    for (name, ty) in params {
        fields.push((name.clone(), Type::reflect(ty, &mut types_left)?));
    }
    let result = match result {
        Some(ty) => Some(Type::reflect(ty, &mut types_left)?),
        None => None,
    };
    Some(Signature { params: fields, result })
}

fn check(params: &[(String, Reflected)], result: Option<&Reflected>) -> Result<(), UnsupportedType> {
    let mut walk =
        Walk { types_left: TYPES_MAX, name_bytes_left: NAME_BYTES_MAX, depth_left: TYPE_DEPTH_MAX };
    let params = params.iter().map(|(name, ty)| (name.as_str(), ty));
    for (name, ty) in params.chain(result.map(|ty| ("result", ty))) {
        walk.item(name).and_then(|()| walk.ty(ty)).map_err(|reason| match reason {
            Reason::NoValue { steps, what } => {
                let path = steps.iter().rev().fold(name.to_owned(), |path, step| path + step);
                UnsupportedType::NoValue { path, what }
            }
            Reason::TooManyTypes => UnsupportedType::TooManyTypes,
            Reason::TooDeep => UnsupportedType::TooDeep,
            Reason::NamesTooLong => UnsupportedType::NamesTooLong,
        })?;
    }
    Ok(())
}

/// What is still allowed.
struct Walk {
    types_left: usize,
    name_bytes_left: usize,
    depth_left: usize,
}

enum Reason {
    /// The steps are innermost first.
    NoValue {
        steps: Vec<String>,
        what: &'static str,
    },
    TooManyTypes,
    TooDeep,
    NamesTooLong,
}

impl Reason {
    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        if let Self::NoValue { steps, .. } = &mut self {
            steps.push(step());
        }
        self
    }
}

impl Walk {
    /// One more type, field, case or flag; `name` is empty where it has none.
    fn item(&mut self, name: &str) -> Result<(), Reason> {
        self.types_left = self.types_left.checked_sub(1).ok_or(Reason::TooManyTypes)?;
        self.name_bytes_left = self.name_bytes_left.checked_sub(name.len()).ok_or(Reason::NamesTooLong)?;
        Ok(())
    }

    fn names<'a>(&mut self, mut names: impl Iterator<Item = &'a str>) -> Result<(), Reason> {
        names.try_for_each(|name| self.item(name))
    }

    fn member(&mut self, name: &str, ty: Option<&Reflected>) -> Result<(), Reason> {
        self.item(name)?;
        match ty {
            Some(ty) => self.ty(ty).map_err(|reason| reason.within(|| format!(".{name}"))),
            None => Ok(()),
        }
    }

    fn inner(&mut self, step: &str, ty: Option<&Reflected>) -> Result<(), Reason> {
        match ty {
            Some(ty) => self.ty(ty).map_err(|reason| reason.within(|| step.to_owned())),
            None => Ok(()),
        }
    }

    fn ty(&mut self, ty: &Reflected) -> Result<(), Reason> {
        self.item("")?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Reason::TooDeep)?;
        self.type_within(ty)?;
        self.depth_left += 1;
        Ok(())
    }

    fn type_within(&mut self, ty: &Reflected) -> Result<(), Reason> {
        let refuse = |what| Err(Reason::NoValue { steps: Vec::new(), what });
        match ty {
            Reflected::Own(_) | Reflected::Borrow(_) => refuse("resource"),
            Reflected::Future(_) => refuse("future"),
            Reflected::Stream(_) => refuse("stream"),
            Reflected::ErrorContext => refuse("error-context"),
            Reflected::List(list) => self.inner("[]", Some(&list.ty())),
            // Refused by `admission` already: wasmtime's support of them isn't complete.
            Reflected::FixedLengthList(_) => refuse("list of a fixed length"),
            Reflected::Map(map) => {
                self.inner(".key", Some(&map.key()))?;
                self.inner(".value", Some(&map.value()))
            }
            Reflected::Record(record) => {
                record.fields().try_for_each(|field| self.member(field.name, Some(&field.ty)))
            }
            Reflected::Tuple(tuple) => tuple.types().enumerate().try_for_each(|(index, ty)| {
                self.ty(&ty).map_err(|reason| reason.within(|| format!(".{index}")))
            }),
            Reflected::Variant(variant) => {
                variant.cases().try_for_each(|case| self.member(case.name, case.ty.as_ref()))
            }
            Reflected::Enum(cases) => self.names(cases.names()),
            Reflected::Flags(flags) => self.names(flags.names()),
            Reflected::Option(option) => self.ty(&option.ty()),
            Reflected::Result(result) => {
                self.inner(".ok", result.ok().as_ref())?;
                self.inner(".err", result.err().as_ref())
            }
            Reflected::Bool
            | Reflected::S8
            | Reflected::U8
            | Reflected::S16
            | Reflected::U16
            | Reflected::S32
            | Reflected::U32
            | Reflected::S64
            | Reflected::U64
            | Reflected::Float32
            | Reflected::Float64
            | Reflected::Char
            | Reflected::String => Ok(()),
        }
    }
}
