//! Whether what flows fits what a step takes, and how it is made to.
//!
//! Types are compared structurally, with the codec's rules: a value fits where its JSON would be read as the
//! other type, whatever the value. So fields may come in any order, an option may be left out, a number may become a
//! wider one, and a pipeline gives what calling its functions one after the other over HTTP would.
//!
//! Invariant: what fits never fails to be converted.

use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::Flat;
use nebula_codec::{Case, Field, Outcome, Type};
use wasmtime::component::Val;

use super::shape::{Shape, Value};

/// What turns what flows into a value of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// It is one.
    Same,
    /// Whatever flows, it is this.
    Constant(Val),
    /// A payload's bytes, or a text's.
    Bytes,
    /// A scalar of the first type, read again as the second.
    Scalar(Type, Type),
    /// An enum's case as a variant's.
    Case,
    /// The names that are set, in this order.
    Flags(Vec<String>),
    /// A value as an option that has one.
    Some(Box<Conversion>),
    /// The value of an option, if it has one.
    Option(Box<Conversion>),
    /// Every item of a list.
    List(Box<Conversion>),
    /// Each part by itself.
    Tuple(Vec<Conversion>),
    /// Likewise, as a list.
    Items(Vec<Conversion>),
    /// The fields of a record.
    Record(Vec<Fitted>),
    /// The payload of a variant, by its case.
    Variant(Vec<(String, Conversion)>),
    /// The payloads of `ok` and `err`.
    Result(Box<Conversion>, Box<Conversion>),
}

/// A field of a record: its name, and the part it comes from, or none, which is an option that is left out.
type Fitted = (String, Option<(usize, Conversion)>);

/// Where what flows doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The way there, innermost first.
    steps: Vec<String>,
    /// What there is.
    found: String,
    /// What is taken.
    expected: String,
}

impl Misfit {
    fn new(found: impl ToString, expected: &Type) -> Self {
        Self { steps: Vec::new(), found: found.to_string(), expected: codec::wit_excerpt(expected) }
    }

    fn within(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// `.rows[].name`; empty is the whole.
    pub(crate) fn path(&self) -> String {
        self.steps.iter().rev().map(String::as_str).collect()
    }

    pub(crate) fn found(&self) -> &str {
        &self.found
    }

    pub(crate) fn expected(&self) -> &str {
        &self.expected
    }
}

/// How `shape` becomes the only parameter of a function, of type `ty`.
///
/// What is text travels as it is where it is the whole input, and a function on bytes takes that.
///
/// # Errors
/// As of [`fit`].
pub(crate) fn fit_whole(shape: &Shape, ty: &Type) -> Result<Conversion, Misfit> {
    if *shape == Shape::Value(Type::String) && ty.is_bytes() {
        return Ok(Conversion::Bytes);
    }
    fit(shape, ty)
}

/// How `shape` becomes a value of `ty`.
///
/// # Errors
/// [`Misfit`] for the first place where it can't.
pub(crate) fn fit(shape: &Shape, ty: &Type) -> Result<Conversion, Misfit> {
    match (shape, ty) {
        (Shape::Value(from), to) => fit_type(from, to),
        (Shape::Constant(value), to) => {
            let param = [(String::new(), to.clone())];
            match codec::decode(&param, value.to_string().as_bytes()).map(|mut vals| vals.pop()) {
                Ok(Some(val)) => Ok(Conversion::Constant(val)),
                Ok(None) | Err(_) => Err(Misfit::new(shape, to)),
            }
        }
        (Shape::Payload, to) if to.is_bytes() => Ok(Conversion::Bytes),
        (shape, Type::Option(inner)) if !matches!(**inner, Type::Option(_)) && *shape != Shape::Nothing => {
            Ok(Conversion::Some(Box::new(fit(shape, inner)?)))
        }
        (Shape::Record(from), Type::Record(to)) => {
            let part = |name: &str| from.iter().position(|(field, _)| field == name);
            let fields = fields(to, part, |index, ty| fit(&from[index].1, ty), shape)?;
            match from.iter().find(|(name, _)| !to.iter().any(|(field, _)| field == name)) {
                Some((name, _)) => Err(unknown(name, shape, ty)),
                None => Ok(Conversion::Record(fields)),
            }
        }
        (Shape::Tuple(from), Type::Tuple(to)) if from.len() == to.len() => {
            let parts = from.iter().zip(&**to).enumerate();
            let part = |(index, (shape, ty)): (usize, (&Shape, &Type))| {
                fit(shape, ty).map_err(|misfit| misfit.within(format!(".{index}")))
            };
            Ok(Conversion::Tuple(parts.map(part).collect::<Result<_, _>>()?))
        }
        (Shape::Tuple(from), Type::List(element)) => {
            let parts = from.iter().enumerate();
            let part = |(index, shape): (usize, &Shape)| {
                fit(shape, element).map_err(|misfit| misfit.within(format!(".{index}")))
            };
            Ok(Conversion::Items(parts.map(part).collect::<Result<_, _>>()?))
        }
        (Shape::List(item), Type::List(element)) => {
            let item = fit(item, element).map_err(|misfit| misfit.within("[]"))?;
            Ok(Conversion::List(Box::new(item)))
        }
        (
            Shape::Nothing | Shape::Payload | Shape::Record(_) | Shape::Tuple(_) | Shape::List(_),
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
            | Type::String
            | Type::List(_)
            | Type::Map(_)
            | Type::Record(_)
            | Type::Tuple(_)
            | Type::Variant(_)
            | Type::Enum(_)
            | Type::Flags(_)
            | Type::Option(_)
            | Type::Result(_),
        ) => Err(Misfit::new(shape, ty)),
    }
}

/// The fields of a record, each from the part of its name.
fn fields(
    to: &[Field],
    part: impl Fn(&str) -> Option<usize>,
    fit: impl Fn(usize, &Type) -> Result<Conversion, Misfit>,
    from: &Shape,
) -> Result<Vec<Fitted>, Misfit> {
    let field = |(name, ty): &Field| match part(name) {
        Some(index) => {
            let conversion = fit(index, ty).map_err(|misfit| misfit.within(format!(".{name}")))?;
            Ok((name.clone(), Some((index, conversion))))
        }
        None if matches!(ty, Type::Option(_)) => Ok((name.clone(), None)),
        None => Err(Misfit::new(format!("no such field in {from}"), ty).within(format!(".{name}"))),
    };
    to.iter().map(field).collect()
}

/// The codec knows no field that it has no place for.
fn unknown(name: &str, from: impl ToString, to: &Type) -> Misfit {
    Misfit {
        steps: vec![format!(".{name}")],
        found: from.to_string(),
        expected: format!("no such field in {}", codec::wit_excerpt(to)),
    }
}

fn fit_type(from: &Type, to: &Type) -> Result<Conversion, Misfit> {
    if from == to {
        return Ok(Conversion::Same);
    }
    let inside =
        |step: &str, from: &Type, to: &Type| fit_type(from, to).map_err(|misfit| misfit.within(step));
    Ok(match (from, to) {
        // An option in an option is written otherwise than one alone.
        (Type::Option(from_inner), Type::Option(to_inner))
            if matches!(**from_inner, Type::Option(_)) == matches!(**to_inner, Type::Option(_)) =>
        {
            Conversion::Option(Box::new(inside("?", from_inner, to_inner)?))
        }
        (Type::Option(_), Type::Option(_)) => return Err(misfit(from, to)),
        (from, Type::Option(to)) if !matches!(**to, Type::Option(_)) => {
            Conversion::Some(Box::new(fit_type(from, to)?))
        }
        (from, to) if is_wider(from, to) => Conversion::Scalar(from.clone(), to.clone()),
        (Type::Enum(from_names), Type::Enum(names)) if names_in(from_names, names) => Conversion::Same,
        (Type::Enum(from_names), Type::Variant(cases))
            if from_names.iter().all(|name| cases.contains(&(name.clone(), None))) =>
        {
            Conversion::Case
        }
        (Type::Flags(from_names), Type::Flags(names)) if names_in(from_names, names) => {
            Conversion::Flags(names.to_vec())
        }
        // Base64 is no list of anything else.
        (Type::List(from_item), Type::List(to_item)) if !from.is_bytes() && !to.is_bytes() => {
            Conversion::List(Box::new(inside("[]", from_item, to_item)?))
        }
        (Type::Tuple(from), Type::Tuple(to)) if from.len() == to.len() => {
            let parts = from.iter().zip(&**to).enumerate();
            let part = |(index, (from, to)): (usize, (&Type, &Type))| inside(&format!(".{index}"), from, to);
            Conversion::Tuple(parts.map(part).collect::<Result<_, _>>()?)
        }
        (Type::Tuple(from), Type::List(element)) => {
            let parts = from.iter().enumerate();
            let part = |(index, from): (usize, &Type)| inside(&format!(".{index}"), from, element);
            Conversion::Items(parts.map(part).collect::<Result<_, _>>()?)
        }
        (Type::Record(from_fields), Type::Record(to_fields)) => {
            let part = |name: &str| from_fields.iter().position(|(field, _)| field == name);
            let shape = Shape::Value(from.clone());
            let fields = fields(to_fields, part, |index, ty| fit_type(&from_fields[index].1, ty), &shape)?;
            if let Some((name, _)) =
                from_fields.iter().find(|(name, _)| !to_fields.iter().any(|(field, _)| field == name))
            {
                return Err(unknown(name, shape, to));
            }
            Conversion::Record(fields)
        }
        (Type::Variant(from_cases), Type::Variant(to_cases)) => {
            let case = |(name, payload): &Case| {
                let taken = to_cases.iter().find(|(case, _)| case == name);
                let conversion = match (payload, taken) {
                    (None, Some((_, None))) => Conversion::Same,
                    (Some(from), Some((_, Some(to)))) => inside(&format!(".{name}"), from, to)?,
                    (None | Some(_), Some(_) | None) => return Err(misfit(from, to)),
                };
                Ok((name.clone(), conversion))
            };
            Conversion::Variant(from_cases.iter().map(case).collect::<Result<_, _>>()?)
        }
        (Type::Result(from_outcome), Type::Result(to_outcome)) => {
            let side = |name: &str, side: fn(&Outcome) -> &Option<Type>| match (
                side(from_outcome),
                side(to_outcome),
            ) {
                (None, None) => Ok(Conversion::Same),
                (Some(from), Some(to)) => inside(name, from, to),
                (None | Some(_), None | Some(_)) => Err(misfit(from, to)),
            };
            let ok = side(".ok", |outcome| &outcome.ok)?;
            Conversion::Result(Box::new(ok), Box::new(side(".err", |outcome| &outcome.err)?))
        }
        (from, to) => return Err(misfit(from, to)),
    })
}

fn misfit(from: &Type, to: &Type) -> Misfit {
    Misfit::new(codec::wit_excerpt(from), to)
}

fn names_in(names: &[String], all: &[String]) -> bool {
    names.iter().all(|name| all.contains(name))
}

/// Whether every value of the scalar `from` is one of `to`, and is read back as just that.
fn is_wider(from: &Type, to: &Type) -> bool {
    use Type::{Char, Enum, Float32, Float64, S8, S16, S32, S64, String, U8, U16, U32, U64};
    matches!(
        (from, to),
        (U8, U16 | U32 | U64 | S16 | S32 | S64 | Float32 | Float64)
            | (U16, U32 | U64 | S32 | S64 | Float32 | Float64)
            | (U32, U64 | S64 | Float64)
            | (S8, S16 | S32 | S64 | Float32 | Float64)
            | (S16, S32 | S64 | Float32 | Float64)
            | (S32, S64 | Float64)
            | (Float32, Float64)
            | (Char | Enum(_), String)
    )
}

impl Conversion {
    /// Makes `value`, which is of the shape that this was made for, one of the type.
    pub fn apply(&self, value: Value) -> Value {
        match (self, value) {
            (
                Self::Same,
                value @ (Value::Nothing | Value::Payload { .. } | Value::Flat(..) | Value::Val(_)),
            ) => value,
            (Self::Constant(val), _) => val.clone().into(),
            (Self::Bytes, Value::Payload { body, .. } | Value::Flat(_, body)) => {
                Value::Flat(Flat::Bytes, body)
            }
            (Self::Bytes, Value::Val(val)) => {
                Value::Flat(Flat::Bytes, codec::bytes_of(Arc::unwrap_or_clone(val)))
            }
            (conversion, value) => conversion.val(value).into(),
        }
    }

    fn val(&self, value: Value) -> Val {
        match self {
            Self::Constant(val) => val.clone(),
            Self::Same | Self::Bytes => value.into_val(),
            Self::Some(inner) => Val::Option(Some(Box::new(inner.val(value)))),
            Self::List(item) => {
                Val::List(value.into_parts().into_iter().map(|part| item.val(part)).collect())
            }
            Self::Tuple(parts) => Val::Tuple(each(parts, value)),
            Self::Items(parts) => Val::List(each(parts, value)),
            Self::Record(fields) => {
                let mut parts: Vec<_> = value.into_parts().into_iter().map(Some).collect();
                let mut part = |index: usize| parts.get_mut(index).and_then(Option::take);
                let field = |(name, from): &Fitted| {
                    let val = match from {
                        Some((index, conversion)) => conversion.val(part(*index).unwrap_or(Value::Nothing)),
                        None => Val::Option(None),
                    };
                    (name.clone(), val)
                };
                Val::Record(fields.iter().map(field).collect())
            }
            Self::Scalar(..)
            | Self::Case
            | Self::Flags(_)
            | Self::Option(_)
            | Self::Variant(_)
            | Self::Result(..) => self.of_val(value.into_val()),
        }
    }

    /// Of what is a value already.
    fn of_val(&self, val: Val) -> Val {
        let inner = |conversion: &Self, val: Box<Val>| Box::new(conversion.val((*val).into()));
        match (self, val) {
            (Self::Scalar(from, to), val) => reread(from, to, val),
            (Self::Case, Val::Enum(name)) => Val::Variant(name, None),
            (Self::Flags(order), Val::Flags(set)) => {
                Val::Flags(order.iter().filter(|name| set.contains(name)).cloned().collect())
            }
            (Self::Option(conversion), Val::Option(val)) => {
                Val::Option(val.map(|val| inner(conversion, val)))
            }
            (Self::Variant(cases), Val::Variant(name, payload)) => {
                let payload = match cases.iter().find(|(case, _)| *case == name) {
                    Some((_, case)) => payload.map(|val| inner(case, val)),
                    None => payload,
                };
                Val::Variant(name, payload)
            }
            (Self::Result(ok, _), Val::Result(Ok(val))) => Val::Result(Ok(val.map(|val| inner(ok, val)))),
            (Self::Result(_, err), Val::Result(Err(val))) => Val::Result(Err(val.map(|val| inner(err, val)))),
            (conversion, val) => {
                debug_assert!(false, "{val:?} isn't what {conversion:?} was made for");
                val
            }
        }
    }
}

fn each(conversions: &[Conversion], value: Value) -> Vec<Val> {
    conversions.iter().zip(value.into_parts()).map(|(conversion, part)| conversion.val(part)).collect()
}

/// The value that the JSON of `val` is read as.
fn reread(from: &Type, to: &Type, val: Val) -> Val {
    let mut json = Vec::new();
    codec::encode(from, &val, &mut json);
    let read = codec::decode(&[(String::new(), to.clone())], &json).ok().and_then(|mut vals| vals.pop());
    debug_assert!(read.is_some(), "{val:?} isn't read as {to:?}");
    read.unwrap_or(val)
}

impl Value {
    /// As a single value, of what has a type.
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

    /// The items of a list, or the fields of a record or tuple, in order.
    pub fn into_parts(self) -> Vec<Self> {
        match self {
            Self::Parts(parts) => Arc::unwrap_or_clone(parts),
            Self::Val(val) => parts_of(Arc::unwrap_or_clone(val)),
            Self::Flat(Flat::Bytes, body) => body.iter().map(|byte| Val::U8(*byte).into()).collect(),
            Self::Nothing | Self::Payload { .. } | Self::Flat(Flat::String, _) => Vec::new(),
        }
    }

    /// Returns how many items, fields or parts it has.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has parts")]
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

    /// What `path` leads to, the number of a part for each step. Nothing else is copied.
    pub fn select(&self, path: &[usize]) -> Self {
        let [first, rest @ ..] = path else { return self.clone() };
        match self {
            Self::Parts(parts) => parts.get(*first).map_or(Self::Nothing, |part| part.select(rest)),
            Self::Val(val) => selected(val, path).map_or(Self::Nothing, |val| val.clone().into()),
            Self::Nothing | Self::Payload { .. } | Self::Flat(..) => Self::Nothing,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has parts")]
fn parts_of(val: Val) -> Vec<Value> {
    match val {
        Val::List(vals) | Val::Tuple(vals) => vals.into_iter().map(Value::from).collect(),
        Val::Record(fields) => fields.into_iter().map(|(_, val)| val.into()).collect(),
        _ => Vec::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has parts")]
fn selected<'a>(val: &'a Val, path: &[usize]) -> Option<&'a Val> {
    let [first, rest @ ..] = path else { return Some(val) };
    let part = match val {
        Val::Record(fields) => fields.get(*first).map(|(_, val)| val),
        Val::Tuple(vals) => vals.get(*first),
        _ => None,
    };
    selected(part?, rest)
}
