//! Values as their JSON is read again: of what JSON writes alike there is one.

use std::collections::HashSet;

use wasmtime::component::Val;

use super::encode::encode;
use super::types::Type;

/// Whether two values of `ty` may be written alike: NaNs are all one, and of a map's equal keys the last counts.
pub fn is_ambiguous(ty: &Type) -> bool {
    match ty {
        Type::Float32 | Type::Float64 | Type::Map(_) => true,
        Type::List(element) | Type::Option(element) => is_ambiguous(element),
        Type::Record(fields) => fields.iter().any(|(_, ty)| is_ambiguous(ty)),
        Type::Tuple(types) => types.iter().any(is_ambiguous),
        Type::Variant(cases) => cases.iter().filter_map(|(_, ty)| ty.as_ref()).any(is_ambiguous),
        Type::Result(outcome) => [&outcome.ok, &outcome.err].into_iter().flatten().any(is_ambiguous),
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Char
        | Type::String
        | Type::Enum(_)
        | Type::Flags(_) => false,
    }
}

/// The value that the JSON of `val`, a value of `ty`, is read as.
pub fn canonical(ty: &Type, val: Val) -> Val {
    match (ty, val) {
        (_, Val::Float32(value)) if value.is_nan() => Val::Float32(f32::NAN),
        (_, Val::Float64(value)) if value.is_nan() => Val::Float64(f64::NAN),
        (Type::List(element), Val::List(vals)) if is_ambiguous(element) => {
            Val::List(vals.into_iter().map(|val| canonical(element, val)).collect())
        }
        (Type::Option(inner), Val::Option(Some(val))) => Val::Option(Some(Box::new(canonical(inner, *val)))),
        (Type::Record(types), Val::Record(fields)) => {
            let fields = types.iter().zip(fields);
            Val::Record(fields.map(|((_, ty), (name, val))| (name, canonical(ty, val))).collect())
        }
        (Type::Tuple(types), Val::Tuple(vals)) => {
            Val::Tuple(types.iter().zip(vals).map(|(ty, val)| canonical(ty, val)).collect())
        }
        (Type::Variant(cases), Val::Variant(name, Some(val))) => {
            let ty = cases.iter().find(|(case, _)| *case == name).and_then(|(_, ty)| ty.as_ref());
            let val = match ty {
                Some(ty) => canonical(ty, *val),
                None => *val,
            };
            Val::Variant(name, Some(Box::new(val)))
        }
        (Type::Result(outcome), Val::Result(Ok(Some(val)))) => {
            Val::Result(Ok(Some(Box::new(side(outcome.ok.as_ref(), *val)))))
        }
        (Type::Result(outcome), Val::Result(Err(Some(val)))) => {
            Val::Result(Err(Some(Box::new(side(outcome.err.as_ref(), *val)))))
        }
        (Type::Map(map), Val::Map(entries)) => {
            let mut known = HashSet::new();
            let mut last: Vec<_> = entries
                .into_iter()
                .rev()
                .map(|(key, value)| (canonical(&map.0, key), canonical(&map.1, value)))
                .filter(|(key, _)| {
                    let mut json = Vec::new();
                    encode(&map.0, key, &mut json);
                    known.insert(json)
                })
                .collect();
            last.reverse();
            Val::Map(last)
        }
        (_, val) => val,
    }
}

fn side(ty: Option<&Type>, val: Val) -> Val {
    match ty {
        Some(ty) => canonical(ty, val),
        None => val,
    }
}
