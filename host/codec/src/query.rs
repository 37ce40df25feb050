//! Query parameters as input: `?name=value`, for types that fit a query string.
//!
//! These are scalars, strings and enums, options and lists of them (a list repeats the name), and
//! one record of such fields. The pairs are assembled into the JSON that a POST would have sent,
//! and `decode` reads that.

use nebula_model::similar::did_you_mean;
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::decode::{DecodeError, decode};
use crate::text::{excerpt, params_excerpt, wit_excerpt};
use crate::types::{Field, Params, Primitive, Type};

/// Decodes query parameters into the arguments of a function.
///
/// # Errors
/// [`DecodeError`], with a pointer to the parameter.
pub fn decode_query(params: &Params, pairs: &[(String, String)]) -> Result<Vec<Val>, DecodeError> {
    match params {
        [Field { ty: Type::Record(fields), .. }] => decode(params, object(fields, pairs)?.as_bytes()),
        [param] => decode_single(param, pairs),
        params => decode(params, object(params, pairs)?.as_bytes()),
    }
}

/// Decodes the only parameter of a function. It isn't a record, so no other name is allowed.
fn decode_single(param: &Field, pairs: &[(String, String)]) -> Result<Vec<Val>, DecodeError> {
    let params = std::slice::from_ref(param);
    let Field { name, ty } = param;
    if let Some((other, _)) = pairs.iter().find(|(key, _)| key != name) {
        return Err(DecodeError::Mismatch {
            at: String::new(),
            expected: params_excerpt(params),
            found: excerpt(&format!("an unknown parameter `{other}`")),
            hint: did_you_mean(other, [name.as_str()]),
        });
    }
    let value = match (parameter(param, pairs)?, ty) {
        (Some(value), _) => value,
        // An absent option is `none`, as for one of several parameters.
        (None, Type::Option(_)) => "null".to_owned(),
        (None, _) => {
            return Err(DecodeError::Mismatch {
                at: format!("/{name}"),
                expected: wit_excerpt(ty),
                found: "no parameter of that name".to_owned(),
                hint: None,
            });
        }
    };
    // The document of a single parameter is its value.
    decode(params, value.as_bytes()).map_err(|error| below(name, error))
}

/// Returns the error with its pointer below the parameter's name.
fn below(name: &str, error: DecodeError) -> DecodeError {
    match error {
        DecodeError::Mismatch { at, expected, found, hint } => {
            DecodeError::Mismatch { at: format!("/{name}{at}"), expected, found, hint }
        }
        DecodeError::TooLarge { at, bytes_max } => {
            DecodeError::TooLarge { at: format!("/{name}{at}"), bytes_max }
        }
        error @ (DecodeError::Syntax { .. } | DecodeError::Empty { .. } | DecodeError::NotUtf8 { .. }) => {
            error
        }
    }
}

fn object(fields: &Params, pairs: &[(String, String)]) -> Result<String, DecodeError> {
    let mut members = Vec::new();
    for field in fields {
        if let Some(value) = parameter(field, pairs)? {
            members.push(format!("{}:{value}", string(&field.name)));
        }
    }
    // `decode` refuses unknown names.
    for (key, value) in pairs {
        if !fields.iter().any(|field| field.name == *key) {
            members.push(format!("{}:{}", string(key), string(value)));
        }
    }
    Ok(format!("{{{}}}", members.join(",")))
}

/// Returns the JSON of one parameter or field, or `None` if it isn't given. An absent list is
/// empty.
fn parameter(param: &Field, pairs: &[(String, String)]) -> Result<Option<String>, DecodeError> {
    let Field { name, ty } = param;
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let inner = match ty {
        Type::Option(inner) => inner,
        other => other,
    };
    if let Type::List(element) = inner
        && !inner.is_bytes()
    {
        let items: Vec<_> = values.map(|value| scalar(name, element, value)).collect::<Result<_, _>>()?;
        let absent = items.is_empty() && matches!(ty, Type::Option(_));
        return Ok((!absent).then(|| format!("[{}]", items.join(","))));
    }
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(DecodeError::Mismatch {
            at: format!("/{name}"),
            expected: wit_excerpt(ty),
            found: "the parameter more than once".to_owned(),
            hint: None,
        });
    }
    scalar(name, inner, value).map(Some)
}

/// Returns the JSON of a value of `ty`, written as `text`. A text of the wrong form stays a string,
/// which `decode` refuses.
fn scalar(name: &str, ty: &Type, text: &str) -> Result<String, DecodeError> {
    match ty {
        Type::Primitive(Primitive::Bool) if matches!(text, "true" | "false") => Ok(text.to_owned()),
        Type::Primitive(primitive) if primitive.is_number() && is_number(text) => Ok(text.to_owned()),
        Type::Primitive(_) | Type::Enum(_) => Ok(string(text)),
        Type::List(_) if ty.is_bytes() => Ok(string(text)),
        Type::List(_)
        | Type::Map(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Variant(_)
        | Type::Option(_)
        | Type::Result(_)
        | Type::Flags(_) => Err(DecodeError::Mismatch {
            at: format!("/{name}"),
            expected: wit_excerpt(ty),
            found: "a query parameter, which can't carry this type: use POST".to_owned(),
            hint: None,
        }),
    }
}

/// Returns whether a text is a JSON number. All its digits are kept.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().len() == text.len())
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
