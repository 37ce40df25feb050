//! Conversions of values from one type to another that it fits.
//!
//! Invariant: a conversion never fails. `fit` finds one only if every value can be converted.

use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::{Flat, Type};
use wasmtime::component::Val;

use crate::value::Value;

/// The conversion of a value between steps to a value of some type.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// The value has the type.
    Same,
    /// This constant replaces any value.
    Constant(Val),
    /// The bytes of a payload or text become a `list<u8>`.
    Bytes,
    /// A scalar becomes the value that its JSON decodes to.
    Scalar {
        /// The type of the value.
        from: Type,
        /// The type of the result.
        to: Type,
    },
    /// An enum's case becomes a variant's case without payload.
    Case,
    /// Flags are put into this order.
    Flags(Vec<String>),
    /// The value becomes a present option.
    Some(Box<Conversion>),
    /// The value of a present option is converted.
    Option(Box<Conversion>),
    /// Every item of a list is converted.
    List(Box<Conversion>),
    /// Each part of a tuple is converted.
    Tuple(Vec<Conversion>),
    /// Each part of a tuple is converted to an item of a list.
    Items(Vec<Conversion>),
    /// Fields of a record are converted and put into this order.
    Record(Vec<FieldConversion>),
    /// The payload of a variant is converted, by its case.
    Variant(Vec<CaseConversion>),
    /// The payloads of a `result` are converted.
    Result {
        /// The conversion of `ok`.
        ok: Box<Conversion>,
        /// The conversion of `err`.
        err: Box<Conversion>,
    },
}

/// The source of a record's field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldConversion {
    /// The name of the field.
    pub name: String,
    /// The part that it comes from; `None` for an option that is left out.
    pub source: Option<PartConversion>,
}

/// A part of a record, and its conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct PartConversion {
    /// The index of the part.
    pub index: usize,
    /// The conversion of the part.
    pub conversion: Conversion,
}

/// The conversion of a case's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseConversion {
    /// The name of the case.
    pub name: String,
    /// The conversion of the payload; [`Conversion::Same`] for a case without one.
    pub payload: Conversion,
}

impl Conversion {
    /// Converts a value of the shape that this conversion was made for.
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
            (conversion, value) => conversion.to_val(value).into(),
        }
    }

    fn to_val(&self, value: Value) -> Val {
        match self {
            Self::Constant(val) => val.clone(),
            Self::Same | Self::Bytes => value.into_val(),
            Self::Some(inner) => Val::Option(Some(Box::new(inner.to_val(value)))),
            Self::List(item) => {
                Val::List(value.into_parts().into_iter().map(|part| item.to_val(part)).collect())
            }
            Self::Tuple(parts) => Val::Tuple(convert_each(parts, value)),
            Self::Items(parts) => Val::List(convert_each(parts, value)),
            Self::Record(fields) => {
                let mut parts: Vec<_> = value.into_parts().into_iter().map(Some).collect();
                let mut take = |index: usize| parts.get_mut(index).and_then(Option::take);
                let field = |field: &FieldConversion| {
                    let val = match &field.source {
                        Some(PartConversion { index, conversion }) => {
                            conversion.to_val(take(*index).unwrap_or(Value::Nothing))
                        }
                        None => Val::Option(None),
                    };
                    (field.name.clone(), val)
                };
                Val::Record(fields.iter().map(field).collect())
            }
            Self::Scalar { .. }
            | Self::Case
            | Self::Flags(_)
            | Self::Option(_)
            | Self::Variant(_)
            | Self::Result { .. } => self.convert_val(value.into_val()),
        }
    }

    /// Converts a value that isn't gathered from parts.
    fn convert_val(&self, val: Val) -> Val {
        let inner = |conversion: &Self, val: Box<Val>| Box::new(conversion.to_val((*val).into()));
        match (self, val) {
            (Self::Scalar { from, to }, val) => recode(from, to, val),
            (Self::Case, Val::Enum(name)) => Val::Variant(name, None),
            (Self::Flags(order), Val::Flags(set)) => {
                Val::Flags(order.iter().filter(|name| set.contains(name)).cloned().collect())
            }
            (Self::Option(conversion), Val::Option(val)) => {
                Val::Option(val.map(|val| inner(conversion, val)))
            }
            (Self::Variant(cases), Val::Variant(name, payload)) => {
                let payload = match cases.iter().find(|case| case.name == name) {
                    Some(case) => payload.map(|val| inner(&case.payload, val)),
                    None => payload,
                };
                Val::Variant(name, payload)
            }
            (Self::Result { ok, .. }, Val::Result(Ok(val))) => Val::Result(Ok(val.map(|val| inner(ok, val)))),
            (Self::Result { err, .. }, Val::Result(Err(val))) => {
                Val::Result(Err(val.map(|val| inner(err, val))))
            }
            (conversion, val) => {
                debug_assert!(false, "{conversion:?} wasn't made for {val:?}");
                val
            }
        }
    }
}

fn convert_each(conversions: &[Conversion], value: Value) -> Vec<Val> {
    conversions.iter().zip(value.into_parts()).map(|(conversion, part)| conversion.to_val(part)).collect()
}

/// Returns the value of `to` that the JSON of `val`, a value of `from`, decodes to.
fn recode(from: &Type, to: &Type, val: Val) -> Val {
    let mut json = Vec::new();
    codec::encode(from, &val, &mut json);
    let decoded = codec::decode_trusted(to, &json);
    debug_assert!(decoded.is_ok(), "{val:?} doesn't decode as {to:?}: {decoded:?}");
    decoded.unwrap_or(val)
}
