//! The canonical value among those with the same JSON.
//!
//! Several values can encode to the same JSON: all NaNs, and maps with repeated keys. The canonical
//! one is the value that this JSON decodes to.

use std::collections::HashSet;

use wasmtime::component::Val;

use crate::encode::encode;
use crate::types::Type;

/// Returns whether different values of `ty` may have the same JSON.
pub fn is_ambiguous(ty: &Type) -> bool {
    match ty {
        Type::Primitive(primitive) => primitive.is_float(),
        Type::Map(_) => true,
        Type::List(element) | Type::Option(element) => is_ambiguous(element),
        Type::Record(fields) => fields.iter().any(|field| is_ambiguous(&field.ty)),
        Type::Tuple(types) => types.iter().any(is_ambiguous),
        Type::Variant(cases) => cases.iter().filter_map(|case| case.payload.as_ref()).any(is_ambiguous),
        Type::Result(outcome) => [&outcome.ok, &outcome.err].into_iter().flatten().any(is_ambiguous),
        Type::Enum(_) | Type::Flags(_) => false,
    }
}

/// Returns the value of `ty` that the JSON of `val` decodes to.
pub fn canonical(ty: &Type, val: Val) -> Val {
    match (ty, val) {
        (_, Val::Float32(value)) if value.is_nan() => Val::Float32(f32::NAN),
        (_, Val::Float64(value)) if value.is_nan() => Val::Float64(f64::NAN),
        (Type::List(element), Val::List(vals)) if is_ambiguous(element) => {
            Val::List(vals.into_iter().map(|val| canonical(element, val)).collect())
        }
        (Type::Option(inner), Val::Option(Some(val))) => Val::Option(Some(Box::new(canonical(inner, *val)))),
        (Type::Record(types), Val::Record(vals)) => {
            let fields = types.iter().zip(vals);
            Val::Record(fields.map(|(field, (name, val))| (name, canonical(&field.ty, val))).collect())
        }
        (Type::Tuple(types), Val::Tuple(vals)) => {
            Val::Tuple(types.iter().zip(vals).map(|(ty, val)| canonical(ty, val)).collect())
        }
        (Type::Variant(cases), Val::Variant(name, Some(val))) => {
            let ty = cases.iter().find(|case| case.name == name).and_then(|case| case.payload.as_ref());
            let val = payload(ty, *val);
            Val::Variant(name, Some(val))
        }
        (Type::Result(outcome), Val::Result(Ok(Some(val)))) => {
            Val::Result(Ok(Some(payload(outcome.ok.as_ref(), *val))))
        }
        (Type::Result(outcome), Val::Result(Err(Some(val)))) => {
            Val::Result(Err(Some(payload(outcome.err.as_ref(), *val))))
        }
        (Type::Map(map), Val::Map(entries)) => {
            let mut seen = HashSet::new();
            // From the end, because the last of equal keys counts.
            let mut kept: Vec<_> = entries
                .into_iter()
                .rev()
                .map(|(key, value)| (canonical(&map.key, key), canonical(&map.value, value)))
                .filter(|(key, _)| {
                    let mut json = Vec::new();
                    encode(&map.key, key, &mut json);
                    seen.insert(json)
                })
                .collect();
            kept.reverse();
            Val::Map(kept)
        }
        (_, val) => val,
    }
}

fn payload(ty: Option<&Type>, val: Val) -> Box<Val> {
    Box::new(match ty {
        Some(ty) => canonical(ty, val),
        None => val,
    })
}
