//! A validator for the JSON Schema keywords that the codec uses, and no others.

use std::cmp::Ordering;

use regex_lite::Regex;
use serde_json::Value;

/// Returns whether `value` is valid. The codec's patterns mean the same to `regex_lite` as in
/// ECMA-262.
pub(super) fn fits(schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(any) => *any,
        Value::Object(keywords) => {
            keywords.iter().all(|(keyword, argument)| keyword_fits(schema, keyword, argument, value))
        }
        other => panic!("not a schema: {other}"),
    }
}

fn keyword_fits(schema: &Value, keyword: &str, argument: &Value, value: &Value) -> bool {
    let count = || usize::try_from(argument.as_u64().unwrap()).unwrap();
    let all = || argument.as_array().unwrap();
    match keyword {
        "type" => match argument {
            Value::Array(types) => types.iter().any(|ty| type_fits(ty.as_str().unwrap(), value)),
            ty => type_fits(ty.as_str().unwrap(), value),
        },
        "const" => value == argument,
        "enum" => all().contains(value),
        "oneOf" => all().iter().filter(|schema| fits(schema, value)).count() == 1,
        "minimum" => !value.is_number() || compare(value, argument) != Ordering::Less,
        "maximum" => !value.is_number() || compare(value, argument) != Ordering::Greater,
        "pattern" => {
            value.as_str().is_none_or(|text| Regex::new(argument.as_str().unwrap()).unwrap().is_match(text))
        }
        "contentEncoding" => true,
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= count()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() <= count()),
        "minItems" => value.as_array().is_none_or(|items| items.len() >= count()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() <= count()),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|items| items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))),
        "prefixItems" => value
            .as_array()
            .is_none_or(|items| all().iter().zip(items).all(|(schema, item)| fits(schema, item))),
        "items" => {
            let before = schema["prefixItems"].as_array().map_or(0, Vec::len);
            value.as_array().is_none_or(|items| items.iter().skip(before).all(|item| fits(argument, item)))
        }
        "required" => value
            .as_object()
            .is_none_or(|object| all().iter().all(|name| object.contains_key(name.as_str().unwrap()))),
        "properties" => value.as_object().is_none_or(|object| {
            let properties = argument.as_object().unwrap();
            properties.iter().all(|(name, schema)| object.get(name).is_none_or(|value| fits(schema, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = |name: &String| schema["properties"].get(name).is_some();
            object.iter().all(|(name, value)| known(name) || fits(argument, value))
        }),
        other => panic!("the codec's schemas have no `{other}`"),
    }
}

fn type_fits(ty: &str, value: &Value) -> bool {
    match ty {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        other => panic!("not a type: {other}"),
    }
}

/// Compares exactly: an integer isn't rounded to a double.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()).unwrap(),
    }
}

/// Returns the value of an integer, unless it is too large for any comparison with one.
fn integer(value: &Value) -> Option<i128> {
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() < 1e30;
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    integer.or_else(|| value.as_f64().filter(whole).map(|number| number as i128))
}
