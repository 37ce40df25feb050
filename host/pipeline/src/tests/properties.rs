//! What holds for any description and any types.

use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::Type;
use nebula_codec::testing::{any_type, value_of};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wasmtime::component::Val;

use super::super::fit::fit;
use super::super::shape::Shape;
use super::*;

fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

/// A type that takes what `ty` gives, looser in places that `choices` decide.
fn looser(ty: &Type, choices: &mut impl Iterator<Item = u8>) -> Type {
    let choice = choices.next().unwrap_or(0);
    let arc = |ty| Arc::new(ty);
    let inner = match ty {
        Type::U8 => [Type::U8, Type::U16, Type::U32, Type::S64, Type::Float32, Type::Float64]
            [choice as usize % 6]
            .clone(),
        Type::S16 => [Type::S16, Type::S32, Type::S64, Type::Float32][choice as usize % 4].clone(),
        Type::U32 => [Type::U32, Type::U64, Type::S64, Type::Float64][choice as usize % 4].clone(),
        Type::S32 => [Type::S32, Type::S64, Type::Float64][choice as usize % 3].clone(),
        Type::Float32 if choice % 2 == 1 => Type::Float64,
        Type::Char if choice % 2 == 1 => Type::String,
        Type::Bool
        | Type::S8
        | Type::U16
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64
        | Type::Char
        | Type::String
        | Type::Map(_) => ty.clone(),
        Type::List(_) if ty.is_bytes() => ty.clone(),
        Type::List(element) => {
            let element = looser(element, choices);
            // Bytes travel as base64.
            if element == Type::U8 { ty.clone() } else { Type::list(element) }
        }
        Type::Option(inner) => {
            let inner = looser(inner, choices);
            // An option of an option is written otherwise.
            if matches!(inner, Type::Option(_)) { ty.clone() } else { Type::Option(arc(inner)) }
        }
        Type::Tuple(types) => Type::Tuple(types.iter().map(|ty| looser(ty, choices)).collect()),
        Type::Record(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, ty)| (name.clone(), looser(ty, choices))).collect();
            if choice % 3 == 1 {
                fields.reverse();
            }
            if choice % 5 == 1 {
                fields.insert(0, ("another".to_owned(), Type::Option(arc(Type::String))));
            }
            Type::Record(fields.into())
        }
        Type::Variant(cases) => {
            let mut cases: Vec<_> = cases
                .iter()
                .map(|(name, ty)| (name.clone(), ty.as_ref().map(|ty| looser(ty, choices))))
                .collect();
            if choice % 3 == 1 {
                cases.insert(0, ("another".to_owned(), Some(Type::U8)));
            }
            Type::Variant(cases.into())
        }
        Type::Enum(names) => match choice % 4 {
            1 => Type::Enum(names.iter().cloned().chain(["another".to_owned()]).collect()),
            2 => Type::Variant(names.iter().map(|name| (name.clone(), None)).collect()),
            3 => Type::String,
            _ => ty.clone(),
        },
        Type::Flags(names) if choice % 2 == 1 => {
            Type::Flags(names.iter().rev().cloned().chain(["another".to_owned()]).collect())
        }
        Type::Flags(_) => ty.clone(),
        Type::Result(outcome) => {
            let side = |ty: &Option<Type>, choices: &mut _| ty.as_ref().map(|ty| looser(ty, choices));
            let ok = side(&outcome.ok, choices);
            Type::result(ok, side(&outcome.err, choices))
        }
    };
    if choice % 7 == 6 && !matches!(inner, Type::Option(_)) { Type::Option(arc(inner)) } else { inner }
}

fn read(ty: &Type, json: &[u8]) -> Result<Val, codec::DecodeError> {
    codec::decode(&[("x".to_owned(), ty.clone())], json).map(|mut vals| vals.remove(0))
}

/// A step gets what it would have got by way of JSON.
#[test]
fn what_fits_becomes_what_its_json_is_read_as() {
    let pairs = (any_type(), proptest::collection::vec(any::<u8>(), 24)).prop_flat_map(|(from, choices)| {
        let to = looser(&from, &mut choices.into_iter());
        (proptest::collection::vec(value_of(&from), 4), Just(from), Just(to))
    });
    check(400, pairs, |(vals, from, to)| {
        let conversion = fit(&Shape::Value(from.clone()), &to);
        let conversion =
            conversion.map_err(|misfit| TestCaseError::fail(format!("{from:?} to {to:?}: {misfit:?}")))?;
        for val in vals {
            let mut json = Vec::new();
            codec::encode(&from, &val, &mut json);
            let expected = read(&to, &json);
            let converted = conversion.apply(val.into()).into_val();
            prop_assert_eq!(expected.as_ref(), Ok(&converted), "{:?} to {:?}", from, to);
        }
        Ok(())
    });
}

/// Also where nobody has made them for one another.
#[test]
fn of_any_two_types_that_fit_every_value_does() {
    check(
        400,
        (any_type(), any_type()).prop_flat_map(|(from, to)| (value_of(&from), Just(from), Just(to))),
        |(val, from, to)| {
            if let Ok(conversion) = fit(&Shape::Value(from.clone()), &to) {
                let mut json = Vec::new();
                codec::encode(&from, &val, &mut json);
                prop_assert_eq!(read(&to, &json), Ok(conversion.apply(val.into()).into_val()));
            }
            Ok(())
        },
    );
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}(-[a-z][a-z0-9]{0,6}){0,2}"
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::json!("text")),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        Just(serde_json::json!({"a": [1, 2.5], "b": {"c": "d"}})),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let path = || proptest::collection::vec(any_name(), 0..3).prop_map(Path);
    let leaf = prop_oneof![
        (any_name(), proptest::option::of(any_name()))
            .prop_map(|(name, label)| Step::Call { function: name.parse().unwrap(), label }),
        path().prop_map(Step::Select),
        any_json().prop_map(|value| Step::Constant(Arc::new(value))),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let named = || proptest::collection::btree_map(any_name(), inner.clone(), 1..4);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Step::Sequence),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Step::AllOf),
            named().prop_map(|named| Step::All(named.into_iter().collect())),
            named().prop_map(|named| Step::Choice(named.into_iter().collect())),
            boxed.clone().prop_map(Step::Each),
            (path(), boxed).prop_map(|(by, each)| Step::Group { by, each }),
        ]
    })
}

#[test]
fn any_description_reads_back() {
    check(200, any_step(), |steps| {
        let pipeline = Pipeline { input: None, steps, calls_max: None, fuse: Fuse::Auto };
        let json = serde_json::to_string(&pipeline).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Pipeline>(&json).unwrap(), &pipeline, "{}", json);
        Ok(())
    });
}

/// It is refused, or planned; the types of what there is decide, and never a panic.
#[test]
fn any_description_is_planned_or_refused() {
    check(400, any_step(), |steps| {
        let pipeline = Pipeline { input: None, steps, calls_max: None, fuse: Fuse::Auto };
        let names = ["thumbnail", "memeify", "sha256", "markdown", "add", "trials", "estimate", "sum"];
        let mut any_function = |function: &nebula_model::id::FunctionRef| {
            let at = function.name.as_str().len() % names.len();
            lookup(&names[at].parse().unwrap())
        };
        if let Ok(plan) = super::check(&pipeline, &mut any_function) {
            prop_assert!(plan.callee.signature_text().starts_with("handle: func("));
        }
        Ok(())
    });
}

#[test]
fn any_text_is_a_description_or_an_error() {
    check(400, r#"(\{|\}|\[|\]|"steps"|"all"|"each"|"choice"|"call"|"as"|"a"|:|,|1|null){0,24}"#, |text| {
        let _ = serde_json::from_str::<Pipeline>(&text).is_ok();
        let _ = serde_json::from_str::<Step>(&text).is_ok();
        Ok(())
    });
}
