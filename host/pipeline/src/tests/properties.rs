//! Properties of any description and any types.

use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::testing::{any_type, value_of};
use nebula_codec::{Case, Field, Outcome, Primitive, Type};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wasmtime::component::Val;

use super::*;
use crate::fit::fit;
use crate::shape::Shape;

fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

/// Returns a type that `ty` fits, wider in places that `choices` decide.
fn wider(ty: &Type, choices: &mut impl Iterator<Item = u8>) -> Type {
    let choice = choices.next().unwrap_or(0);
    let inner = match ty {
        Type::Primitive(primitive) => wider_primitive(*primitive, choice).into(),
        Type::Map(_) => ty.clone(),
        Type::List(_) if ty.is_bytes() => ty.clone(),
        Type::List(element) => {
            let element = wider(element, choices);
            // Bytes are base64 in JSON.
            if element == Type::U8 { ty.clone() } else { Type::list(element) }
        }
        Type::Option(inner) => {
            let inner = wider(inner, choices);
            // An option in an option has another JSON form.
            if matches!(inner, Type::Option(_)) { ty.clone() } else { Type::option(inner) }
        }
        Type::Tuple(types) => Type::Tuple(types.iter().map(|ty| wider(ty, choices)).collect()),
        Type::Record(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|field| Field::new(field.name.clone(), wider(&field.ty, choices)))
                .collect();
            if choice % 3 == 1 {
                fields.reverse();
            }
            if choice % 5 == 1 {
                fields.insert(0, Field::new("another", Type::option(Type::STRING)));
            }
            Type::Record(fields.into())
        }
        Type::Variant(cases) => {
            let mut cases: Vec<_> = cases
                .iter()
                .map(|case| Case::new(case.name.clone(), case.payload.as_ref().map(|ty| wider(ty, choices))))
                .collect();
            if choice % 3 == 1 {
                cases.insert(0, Case::new("another", Some(Type::U8)));
            }
            Type::Variant(cases.into())
        }
        Type::Enum(names) => match choice % 4 {
            1 => Type::Enum(names.iter().cloned().chain(["another".to_owned()]).collect()),
            2 => Type::Variant(names.iter().map(|name| Case::new(name.clone(), None)).collect()),
            3 => Type::STRING,
            _ => ty.clone(),
        },
        Type::Flags(names) if choice % 2 == 1 => {
            Type::Flags(names.iter().rev().cloned().chain(["another".to_owned()]).collect())
        }
        Type::Flags(_) => ty.clone(),
        Type::Result(outcome) => {
            let side = |ty: &Option<Type>, choices: &mut _| ty.as_ref().map(|ty| wider(ty, choices));
            let ok = side(&outcome.ok, choices);
            Type::result(Outcome { ok, err: side(&outcome.err, choices) })
        }
    };
    if choice % 7 == 6 && !matches!(inner, Type::Option(_)) { Type::option(inner) } else { inner }
}

/// Returns a type that all values of `primitive` fit.
fn wider_primitive(primitive: Primitive, choice: u8) -> Primitive {
    use Primitive::{Bool, Char, Float32, Float64, S8, S16, S32, S64, String, U8, U16, U32, U64};
    let candidates: &[Primitive] = match primitive {
        U8 => &[U8, U16, U32, S64, Float32, Float64],
        S16 => &[S16, S32, S64, Float32],
        U32 => &[U32, U64, S64, Float64],
        S32 => &[S32, S64, Float64],
        Float32 => &[Float32, Float64],
        Char => &[Char, String],
        Bool | S8 | U16 | S64 | U64 | Float64 | String => return primitive,
    };
    candidates[choice as usize % candidates.len()]
}

fn decode(ty: &Type, json: &[u8]) -> Result<Val, codec::DecodeError> {
    codec::decode(&[Field::new("x", ty.clone())], json).map(|mut vals| vals.remove(0))
}

/// A step gets the value that it would have got through JSON.
#[test]
fn conversion_gives_the_value_that_the_json_decodes_to() {
    let pairs = (any_type(), proptest::collection::vec(any::<u8>(), 24)).prop_flat_map(|(from, choices)| {
        let to = wider(&from, &mut choices.into_iter());
        (proptest::collection::vec(value_of(&from), 4), Just(from), Just(to))
    });
    check(400, pairs, |(vals, from, to)| {
        let conversion = fit(&Shape::Value(from.clone()), &to);
        let conversion =
            conversion.map_err(|found| TestCaseError::fail(format!("{from:?} to {to:?}: {found:?}")))?;
        for val in vals {
            let mut json = Vec::new();
            codec::encode(&from, &val, &mut json);
            let expected = decode(&to, &json);
            let converted = conversion.apply(val.into()).into_val();
            prop_assert_eq!(expected.as_ref(), Ok(&converted), "{:?} to {:?}", from, to);
        }
        Ok(())
    });
}

/// The two types are generated independently.
#[test]
fn conversion_between_arbitrary_types_gives_the_value_that_the_json_decodes_to() {
    check(
        400,
        (any_type(), any_type()).prop_flat_map(|(from, to)| (value_of(&from), Just(from), Just(to))),
        |(val, from, to)| {
            if let Ok(conversion) = fit(&Shape::Value(from.clone()), &to) {
                let mut json = Vec::new();
                codec::encode(&from, &val, &mut json);
                prop_assert_eq!(decode(&to, &json), Ok(conversion.apply(val.into()).into_val()));
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
        let named = || {
            proptest::collection::btree_map(any_name(), inner.clone(), 1..4).prop_map(|steps| {
                steps.into_iter().map(|(name, step)| NamedStep { name, step }).collect::<Vec<_>>()
            })
        };
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Step::Sequence),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Step::AllOf),
            named().prop_map(Step::All),
            named().prop_map(Step::Choice),
            boxed.clone().prop_map(Step::Each),
            (path(), boxed).prop_map(|(by, each)| Step::Group { by, each }),
        ]
    })
}

#[test]
fn any_description_survives_the_round_trip() {
    check(200, any_step(), |steps| {
        let pipeline = Pipeline { input: None, steps, calls_max: None, fuse: Fuse::Auto };
        let json = serde_json::to_string(&pipeline).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Pipeline>(&json).unwrap(), &pipeline, "{}", json);
        Ok(())
    });
}

#[test]
fn any_description_is_planned_or_refused_without_a_panic() {
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
fn arbitrary_text_deserializes_or_returns_an_error() {
    check(400, r#"(\{|\}|\[|\]|"steps"|"all"|"each"|"choice"|"call"|"as"|"a"|:|,|1|null){0,24}"#, |text| {
        let _ = serde_json::from_str::<Pipeline>(&text).is_ok();
        let _ = serde_json::from_str::<Step>(&text).is_ok();
        Ok(())
    });
}
