//! The search for a conversion from one type to another.
//!
//! Types compare by structure, with the codec's rules: a type fits another if the JSON of each of
//! its values decodes as the other. So fields may come in any order, options may be missing,
//! numbers may become wider, and a pipeline gives the same as calling its functions one after the
//! other over HTTP.

use nebula_codec as codec;
use nebula_codec::{Case, Field, Outcome, Primitive, Type};

use crate::conversion::{CaseConversion, Conversion, FieldConversion, PartConversion};
use crate::shape::{FieldShape, Shape};

/// The display of a missing or unknown field's type.
const NOTHING: &str = "nothing";

/// The first place where a shape doesn't fit a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incompatibility {
    /// The steps of the path, innermost first.
    steps: Vec<String>,
    /// The type there; `nothing` if a field is missing.
    pub(crate) found: String,
    /// The type expected there; `nothing` if a field is unknown.
    pub(crate) expected: String,
}

impl Incompatibility {
    fn new(found: impl ToString, expected: &Type) -> Self {
        Self { steps: Vec::new(), found: found.to_string(), expected: codec::wit_excerpt(expected) }
    }

    fn missing_field(field: &Field) -> Self {
        Self::new(NOTHING, &field.ty).within(format!(".{}", field.name))
    }

    fn unknown_field(name: &str, found: impl ToString) -> Self {
        Self { steps: vec![format!(".{name}")], found: found.to_string(), expected: NOTHING.to_owned() }
    }

    fn within(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// Returns the path to the place, as `.rows[].name`; empty for the whole type.
    pub(crate) fn path(&self) -> String {
        self.steps.iter().rev().map(String::as_str).collect()
    }
}

/// Finds the conversion to the only parameter of a function, of type `ty`.
///
/// Beyond [`fit`], text fits `list<u8>`, because a whole input travels as its bytes.
///
/// # Errors
/// [`Incompatibility`] for the first place that doesn't fit.
pub(crate) fn fit_input(shape: &Shape, ty: &Type) -> Result<Conversion, Incompatibility> {
    if *shape == Shape::Value(Type::STRING) && ty.is_bytes() {
        return Ok(Conversion::Bytes);
    }
    fit(shape, ty)
}

/// Finds the conversion from `shape` to `ty`.
///
/// # Errors
/// [`Incompatibility`] for the first place that doesn't fit.
pub(crate) fn fit(shape: &Shape, ty: &Type) -> Result<Conversion, Incompatibility> {
    match (shape, ty) {
        (Shape::Value(from), to) => fit_type(from, to),
        (Shape::Constant(value), to) => {
            match codec::decode(&[Field::new("", to.clone())], value.to_string().as_bytes()).as_deref() {
                Ok([val]) => Ok(Conversion::Constant(val.clone())),
                Ok(_) | Err(_) => Err(Incompatibility::new(shape, to)),
            }
        }
        (Shape::Payload, to) if to.is_bytes() => Ok(Conversion::Bytes),
        (shape, Type::Option(inner)) if !matches!(**inner, Type::Option(_)) && *shape != Shape::Nothing => {
            Ok(Conversion::Some(Box::new(fit(shape, inner)?)))
        }
        (Shape::Record(from), Type::Record(to)) => {
            let fields = fit_fields(
                to,
                |name| from.iter().position(|field| field.name == name),
                |index, ty| fit(&from[index].shape, ty),
            )?;
            let is_unknown = |field: &&FieldShape| !to.iter().any(|other| other.name == field.name);
            match from.iter().find(is_unknown) {
                Some(field) => Err(Incompatibility::unknown_field(&field.name, &field.shape)),
                None => Ok(Conversion::Record(fields)),
            }
        }
        (Shape::Tuple(from), Type::Tuple(to)) if from.len() == to.len() => {
            fit_parts(from.iter().zip(&**to), fit).map(Conversion::Tuple)
        }
        (Shape::Tuple(from), Type::List(element)) => {
            fit_parts(from.iter().map(|part| (part, &**element)), fit).map(Conversion::Items)
        }
        (Shape::List(item), Type::List(element)) => {
            let item = fit(item, element).map_err(|found| found.within("[]"))?;
            Ok(Conversion::List(Box::new(item)))
        }
        (
            Shape::Nothing | Shape::Payload | Shape::Record(_) | Shape::Tuple(_) | Shape::List(_),
            Type::Primitive(_)
            | Type::List(_)
            | Type::Map(_)
            | Type::Record(_)
            | Type::Tuple(_)
            | Type::Variant(_)
            | Type::Enum(_)
            | Type::Flags(_)
            | Type::Option(_)
            | Type::Result(_),
        ) => Err(Incompatibility::new(shape, ty)),
    }
}

/// Finds the conversion of each part of a tuple.
fn fit_parts<'a, From: 'a>(
    parts: impl Iterator<Item = (&'a From, &'a Type)>,
    fit: impl Fn(&From, &Type) -> Result<Conversion, Incompatibility>,
) -> Result<Vec<Conversion>, Incompatibility> {
    let part = |(index, (from, to)): (usize, (&From, &Type))| {
        fit(from, to).map_err(|found| found.within(format!(".{index}")))
    };
    parts.enumerate().map(part).collect()
}

/// Finds the source of each field. `index_of` returns the index of the part with a name, and `fit`
/// the conversion of the part at an index.
fn fit_fields(
    to: &[Field],
    index_of: impl Fn(&str) -> Option<usize>,
    fit: impl Fn(usize, &Type) -> Result<Conversion, Incompatibility>,
) -> Result<Vec<FieldConversion>, Incompatibility> {
    let field = |field: &Field| {
        let source = match index_of(&field.name) {
            Some(index) => {
                let conversion = fit(index, &field.ty);
                let conversion = conversion.map_err(|found| found.within(format!(".{}", field.name)))?;
                Some(PartConversion { index, conversion })
            }
            None if matches!(field.ty, Type::Option(_)) => None,
            None => return Err(Incompatibility::missing_field(field)),
        };
        Ok(FieldConversion { name: field.name.clone(), source })
    };
    to.iter().map(field).collect()
}

fn fit_type(from: &Type, to: &Type) -> Result<Conversion, Incompatibility> {
    if from == to {
        return Ok(Conversion::Same);
    }
    let inside = |step: &str, from: &Type, to: &Type| fit_type(from, to).map_err(|found| found.within(step));
    Ok(match (from, to) {
        // An option in an option has another JSON form than a single one.
        (Type::Option(from_inner), Type::Option(to_inner))
            if matches!(**from_inner, Type::Option(_)) == matches!(**to_inner, Type::Option(_)) =>
        {
            Conversion::Option(Box::new(inside("?", from_inner, to_inner)?))
        }
        (Type::Option(_), Type::Option(_)) => return Err(incompatible(from, to)),
        (from, Type::Option(to)) if !matches!(**to, Type::Option(_)) => {
            Conversion::Some(Box::new(fit_type(from, to)?))
        }
        (from, to) if is_wider(from, to) => Conversion::Scalar { from: from.clone(), to: to.clone() },
        (Type::Enum(from_names), Type::Enum(names)) if contains_all(names, from_names) => Conversion::Same,
        (Type::Enum(from_names), Type::Variant(cases))
            if from_names.iter().all(|name| cases.contains(&Case::new(name.clone(), None))) =>
        {
            Conversion::Case
        }
        (Type::Flags(from_names), Type::Flags(names)) if contains_all(names, from_names) => {
            Conversion::Flags(names.to_vec())
        }
        // Bytes are base64 in JSON, so they fit no other list.
        (Type::List(from_item), Type::List(to_item)) if !from.is_bytes() && !to.is_bytes() => {
            Conversion::List(Box::new(inside("[]", from_item, to_item)?))
        }
        (Type::Tuple(from), Type::Tuple(to)) if from.len() == to.len() => {
            Conversion::Tuple(fit_parts(from.iter().zip(&**to), fit_type)?)
        }
        (Type::Tuple(from), Type::List(element)) => {
            Conversion::Items(fit_parts(from.iter().map(|part| (part, &**element)), fit_type)?)
        }
        (Type::Record(from), Type::Record(to)) => {
            let fields = fit_fields(
                to,
                |name| from.iter().position(|field| field.name == name),
                |index, ty| fit_type(&from[index].ty, ty),
            )?;
            let is_unknown = |field: &&Field| !to.iter().any(|other| other.name == field.name);
            if let Some(field) = from.iter().find(is_unknown) {
                return Err(Incompatibility::unknown_field(&field.name, codec::wit_excerpt(&field.ty)));
            }
            Conversion::Record(fields)
        }
        (Type::Variant(from_cases), Type::Variant(to_cases)) => {
            let case = |Case { name, payload }: &Case| {
                let taken = to_cases.iter().find(|case| case.name == *name).map(|case| &case.payload);
                let payload = match (payload, taken) {
                    (None, Some(None)) => Conversion::Same,
                    (Some(from), Some(Some(to))) => inside(&format!(".{name}"), from, to)?,
                    (None | Some(_), Some(_) | None) => return Err(incompatible(from, to)),
                };
                Ok(CaseConversion { name: name.clone(), payload })
            };
            Conversion::Variant(from_cases.iter().map(case).collect::<Result<_, _>>()?)
        }
        (Type::Result(from_outcome), Type::Result(to_outcome)) => {
            let side = |name: &str, side: fn(&Outcome) -> &Option<Type>| {
                let conversion = match (side(from_outcome), side(to_outcome)) {
                    (None, None) => Conversion::Same,
                    (Some(from), Some(to)) => inside(name, from, to)?,
                    (None | Some(_), None | Some(_)) => return Err(incompatible(from, to)),
                };
                Ok(Box::new(conversion))
            };
            Conversion::Result {
                ok: side(".ok", |outcome| &outcome.ok)?,
                err: side(".err", |outcome| &outcome.err)?,
            }
        }
        (from, to) => return Err(incompatible(from, to)),
    })
}

fn incompatible(from: &Type, to: &Type) -> Incompatibility {
    Incompatibility::new(codec::wit_excerpt(from), to)
}

fn contains_all(all: &[String], names: &[String]) -> bool {
    names.iter().all(|name| all.contains(name))
}

/// Returns whether every value of the scalar `from` is also one of `to`, and its JSON decodes to
/// it.
fn is_wider(from: &Type, to: &Type) -> bool {
    use Primitive::{Char, Float32, Float64, S8, S16, S32, S64, String, U8, U16, U32, U64};
    let Type::Primitive(to) = *to else { return false };
    match *from {
        Type::Primitive(from) => matches!(
            (from, to),
            (U8, U16 | U32 | U64 | S16 | S32 | S64 | Float32 | Float64)
                | (U16, U32 | U64 | S32 | S64 | Float32 | Float64)
                | (U32, U64 | S64 | Float64)
                | (S8, S16 | S32 | S64 | Float32 | Float64)
                | (S16, S32 | S64 | Float32 | Float64)
                | (S32, S64 | Float64)
                | (Float32, Float64)
                | (Char, String)
        ),
        Type::Enum(_) => to == String,
        Type::List(_)
        | Type::Map(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Variant(_)
        | Type::Flags(_)
        | Type::Option(_)
        | Type::Result(_) => false,
    }
}
