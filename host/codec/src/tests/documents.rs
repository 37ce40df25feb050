//! Properties of any type: values survive the round trip, and the schema agrees with the codec.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::schemas::fits;
use super::{decode_one, json as encoded};
use crate::testing::{any_type, value_of};
use crate::text::wit_text;
use crate::{DecodeError, Field, Type, answer_schema, decode, input_schema, json_schema, parse_type};

/// Number of types in each test. Each compiles a component.
const TYPES: u32 = 300;

/// Generates any type and a few values of it.
fn typed_values() -> impl Strategy<Value = (Type, Vec<Val>)> {
    any_type().prop_flat_map(|ty| {
        let values = proptest::collection::vec(value_of(&ty), 4);
        (Just(ty), values)
    })
}

fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(TYPES) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

/// The decoded value equals the original, not just its JSON. All NaNs count as equal.
#[test]
fn values_of_any_type_survive_the_round_trip() {
    check(typed_values(), |(ty, vals)| {
        for val in vals {
            let text = encoded(&ty, &val);
            let back = decode_one(&ty, text.as_bytes());
            prop_assert_eq!(back.as_ref(), Ok(&val), "{} of {}", text, wit_text(&ty));
        }
        Ok(())
    });
}

#[test]
fn types_parse_from_their_text() {
    check(any_type(), |ty| {
        prop_assert_eq!(parse_type(&wit_text(&ty)), Ok(ty));
        Ok(())
    });
}

#[test]
fn arbitrary_text_parses_or_returns_an_error() {
    check("(list|record|\\{|\\}|<|>|u8|a: |,| |option|result|_|%|é){0,20}", |text| {
        if let Ok(ty) = parse_type(&text) {
            prop_assert_eq!(parse_type(&wit_text(&ty)), Ok(ty));
        }
        Ok(())
    });
}

#[test]
fn encoded_values_are_valid_by_the_schema() {
    check(typed_values(), |(ty, vals)| {
        let (input, answer) = (json_schema(&ty), answer_schema(&ty));
        for val in vals {
            let document = serde_json::from_str(&encoded(&ty, &val)).unwrap();
            prop_assert!(fits(&input, &document), "{} of {}", document, wit_text(&ty));
            prop_assert!(fits(&answer, &document), "{} from {}", document, wit_text(&ty));
        }
        Ok(())
    });
}

/// Generates values that almost fit some type.
fn near_miss() -> impl Strategy<Value = Value> {
    let all = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(-0.0),
        json!(1.5),
        json!(255),
        json!(256),
        json!(256.0),
        json!(1e10),
        json!(9e17),
        json!(1e19),
        json!(1.9e19),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(3.402_823_567_797_336_2e38),
        json!(3.402_823_567_797_336_6e38),
        json!(-3.5e38),
        json!(1e300),
        json!(f64::MAX),
        json!(5e-324),
        json!(""),
        json!("x"),
        json!("xy"),
        json!("\u{1f980}"),
        json!("5"),
        json!("+5"),
        json!("-5"),
        json!("-0"),
        json!("007"),
        json!("5.0"),
        json!("NaN"),
        json!("Infinity"),
        json!("nan"),
        json!("AA=="),
        json!("AB=="),
        json!("AAA"),
        json!("AAAA"),
        json!("AA-_"),
        json!("c0"),
        json!("c1"),
        json!("ok"),
        json!("some"),
        json!([]),
        json!({}),
        json!([0]),
        json!([255, 256]),
        json!([0, "x"]),
        json!([["x", 0]]),
        json!([[0, 0]]),
        json!(["c0"]),
        json!(["c0", "c0"]),
        json!(["c1", "c0"]),
        json!({"c0": null}),
        json!({"c1": 0}),
        json!({"ok": null}),
        json!({"err": 0}),
        json!({"ok": null, "err": null}),
        json!({"some": null}),
        json!({"f0": 0}),
        json!({"f0": null, "f1": "x"}),
    ];
    proptest::sample::select(all.to_vec())
}

/// Replaces the value number `at` of `document`, in document order, with `other`.
fn replace(document: &mut Value, at: &mut usize, other: &Value) {
    if *at == 0 {
        *document = other.clone();
    }
    *at = at.wrapping_sub(1);
    match document {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, at, other)),
        Value::Object(entries) => entries.values_mut().for_each(|value| replace(value, at, other)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn count(document: &Value) -> usize {
    1 + match document {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Replaces one value, and adds or removes one entry at the top.
fn alter(mut document: Value, at: Index, other: &Value, entries: u8) -> Value {
    let mut at = at.index(count(&document));
    replace(&mut document, &mut at, other);
    match (&mut document, entries) {
        (Value::Object(object), 0) => drop(object.insert("extra".to_owned(), other.clone())),
        (Value::Object(object), 1) => {
            if let Some(first) = object.keys().next().cloned() {
                object.remove(&first);
            }
        }
        (Value::Array(items), 0) => items.push(other.clone()),
        (Value::Array(items), 1) => drop(items.pop()),
        _ => {}
    }
    document
}

/// A valid answer has the one form in which its value is written, numbers apart: `1.0` is 1.
#[test]
fn only_documents_as_they_are_encoded_are_valid_answers() {
    let altered = proptest::collection::vec((any::<Index>(), near_miss(), 0_u8..8), 24);
    check((typed_values(), altered), |((ty, vals), altered)| {
        let schema = answer_schema(&ty);
        for (val, (at, other, entries)) in vals.iter().cycle().zip(altered) {
            let document = serde_json::from_str(&encoded(&ty, val)).unwrap();
            let document = alter(document, at, &other, entries);
            let decoded = decode_one(&ty, document.to_string().as_bytes());
            let encoded: Option<Value> =
                decoded.ok().map(|val| serde_json::from_str(&encoded(&ty, &val)).unwrap());
            let is_encoded = encoded.as_ref().is_some_and(|encoded| same(encoded, &document));
            let fits = fits(&schema, &document);
            prop_assert!(fits || !is_encoded, "{} isn't valid from {}", document, wit_text(&ty));
            if let Some(encoded) = encoded.filter(|_| fits) {
                prop_assert!(same(&encoded, &document), "{} from {}: {}", document, wit_text(&ty), encoded);
            }
        }
        Ok(())
    });
}

/// Returns whether two documents differ at most in the notation of numbers, the rounding to `f32`,
/// and the order and number of names in arrays, as flags may be written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => (a.as_f64().unwrap() as f32) == (b.as_f64().unwrap() as f32),
        (Value::Array(a), Value::Array(b)) if a.iter().chain(b).all(Value::is_string) => {
            a.len() == b.len() && a.iter().all(|item| b.contains(item))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn documents_decode_exactly_if_they_are_valid_by_the_schema() {
    let altered = proptest::collection::vec((any::<Index>(), near_miss(), 0_u8..8), 24);
    check((typed_values(), altered), |((ty, vals), altered)| {
        let schema = json_schema(&ty);
        for (val, (at, other, entries)) in vals.iter().cycle().zip(altered) {
            let document = serde_json::from_str(&encoded(&ty, val)).unwrap();
            let document = alter(document, at, &other, entries);
            let decoded = decode_one(&ty, document.to_string().as_bytes());
            // JSON Schema can't require different keys.
            if matches!(&decoded, Err(DecodeError::Mismatch { found, .. }) if found.starts_with("the key ")) {
                continue;
            }
            let fits = fits(&schema, &document);
            prop_assert_eq!(fits, decoded.is_ok(), "{} as {}: {:?}", document, wit_text(&ty), decoded);
            // The pointer of an error leads into the document.
            if let Err(DecodeError::Mismatch { at, .. }) = &decoded {
                let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
                prop_assert!(document.pointer(parent).is_some(), "{} in {}", at, document);
            } else {
                prop_assert!(decoded.is_ok(), "{:?} of {}", decoded, document);
            }
        }
        Ok(())
    });
}

/// Generates several parameters, and values of them.
fn arguments() -> impl Strategy<Value = Vec<(Type, Val)>> {
    let argument = any_type().prop_flat_map(|ty| (Just(ty.clone()), value_of(&ty)));
    proptest::collection::vec(argument, 2..4)
}

/// By name and by position, whole and altered.
#[test]
fn arguments_decode_exactly_if_they_are_valid_by_the_schema() {
    let altered = proptest::collection::vec((any::<Index>(), near_miss(), 0_u8..4), 12);
    check((arguments(), altered), |(arguments, altered)| {
        let field = |(index, (ty, _)): (usize, &(Type, Val))| Field::new(format!("p{index}"), ty.clone());
        let params: Vec<_> = arguments.iter().enumerate().map(field).collect();
        let schema = input_schema(&params).unwrap();
        let values = arguments.iter().map(|(ty, val)| serde_json::from_str(&encoded(ty, val)).unwrap());
        let by_position: Vec<Value> = values.collect();
        let by_name: serde_json::Map<_, _> = params
            .iter()
            .zip(&by_position)
            .map(|(param, value)| (param.name.clone(), value.clone()))
            .collect();
        for document in [Value::Object(by_name), Value::Array(by_position)] {
            prop_assert!(fits(&schema, &document), "{}", document);
            prop_assert!(decode(&params, document.to_string().as_bytes()).is_ok(), "{}", document);
            for (at, other, entries) in &altered {
                let document = alter(document.clone(), *at, other, *entries);
                let decoded = decode(&params, document.to_string().as_bytes());
                if matches!(&decoded, Err(DecodeError::Mismatch { found, .. }) if found.starts_with("the key "))
                {
                    continue;
                }
                prop_assert_eq!(fits(&schema, &document), decoded.is_ok(), "{}: {:?}", document, decoded);
            }
        }
        Ok(())
    });
}
