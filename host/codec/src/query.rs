//! Query parameters as input: `?name=value`, for what fits a query string.
//!
//! Scalars, strings and enums, options of them, lists of them (by repeating the name), and one
//! record of such fields. The pairs are put together as the JSON that a POST would have sent.

use wasmtime::component::Val;

use super::Params;
use super::decode::{DecodeError, decode};
use super::text::{excerpt, params_excerpt, wit_excerpt};
use super::types::Type;

/// Decodes query parameters into the arguments of a function.
///
/// # Errors
/// [`DecodeError`], with a pointer to the parameter.
pub fn decode_query(params: &Params, pairs: &[(String, String)]) -> Result<Vec<Val>, DecodeError> {
    if let [(_, Type::Record(fields))] = params {
        let json = object(fields, pairs)?;
        return decode(params, json.as_bytes());
    }
    if let [(name, ty)] = params {
        return decode_lone(name, ty, params, pairs);
    }
    let json = object(params, pairs)?;
    decode(params, json.as_bytes())
}

/// One parameter that is no record: its own name is the only one there is.
fn decode_lone(
    name: &str,
    ty: &Type,
    params: &Params,
    pairs: &[(String, String)],
) -> Result<Vec<Val>, DecodeError> {
    if let Some((other, _)) = pairs.iter().find(|(key, _)| key != name) {
        return Err(DecodeError::Mismatch {
            at: String::new(),
            expected: params_excerpt(params),
            found: excerpt(&format!("an unknown parameter `{other}`")),
        });
    }
    let value = match (parameter(name, ty, pairs)?, ty) {
        (Some(value), _) => value.to_string(),
        // As where it is one of several.
        (None, Type::Option(_)) => "null".to_owned(),
        (None, _) => {
            return Err(DecodeError::Mismatch {
                at: format!("/{name}"),
                expected: wit_excerpt(ty),
                found: "no parameter of that name".to_owned(),
            });
        }
    };
    // The document of a single parameter is its value.
    decode(params, value.as_bytes()).map_err(|error| below(name, error))
}

/// The error with its pointer below the parameter's name.
fn below(name: &str, error: DecodeError) -> DecodeError {
    match error {
        DecodeError::Mismatch { at, expected, found } => {
            DecodeError::Mismatch { at: format!("/{name}{at}"), expected, found }
        }
        DecodeError::TooLarge { at, bytes_max } => {
            DecodeError::TooLarge { at: format!("/{name}{at}"), bytes_max }
        }
        error @ (DecodeError::Syntax { .. } | DecodeError::NotUtf8 { .. }) => error,
    }
}

fn object(fields: &Params, pairs: &[(String, String)]) -> Result<String, DecodeError> {
    let mut object = serde_json::Map::new();
    for (name, ty) in fields {
        if let Some(value) = parameter(name, ty, pairs)? {
            object.insert(name.clone(), value);
        }
    }
    // What has no place is refused where it is decoded.
    for (key, value) in pairs {
        if !fields.iter().any(|(name, _)| name == key) {
            object.insert(key.clone(), serde_json::Value::String(value.clone()));
        }
    }
    Ok(serde_json::Value::Object(object).to_string())
}

/// The JSON of one parameter or field: `None` where it isn't given, but a list of none.
fn parameter(
    name: &str,
    ty: &Type,
    pairs: &[(String, String)],
) -> Result<Option<serde_json::Value>, DecodeError> {
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
        return Ok((!absent).then_some(serde_json::Value::Array(items)));
    }
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(DecodeError::Mismatch {
            at: format!("/{name}"),
            expected: wit_excerpt(ty),
            found: "the parameter more than once".to_owned(),
        });
    }
    scalar(name, inner, value).map(Some)
}

fn scalar(name: &str, ty: &Type, text: &str) -> Result<serde_json::Value, DecodeError> {
    let as_string = || serde_json::Value::String(text.to_owned());
    match ty {
        Type::Bool => Ok(match text {
            "true" => serde_json::Value::Bool(true),
            "false" => serde_json::Value::Bool(false),
            _ => as_string(),
        }),
        Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64 => {
            Ok(text.parse::<serde_json::Number>().map_or_else(|_| as_string(), serde_json::Value::Number))
        }
        Type::Char | Type::String | Type::Enum(_) => Ok(as_string()),
        Type::List(_) if ty.is_bytes() => Ok(as_string()),
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
        }),
    }
}
