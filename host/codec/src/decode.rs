//! Decodes JSON into values. The type drives it, and no tree of the document is built in between.
//!
//! If a value doesn't fit, the innermost visitor records what it expected and found, and each level
//! adds its step to the pointer as the error passes. Values that decode cost nothing extra.
//!
//! ```text
//! numbers as integers and doubles --(a number needs its digits)--> once more, with digits
//! ```
//!
//! Few documents need the second pass (`number`), and the first one is faster by a third.
//!
//! Invariant: memory for values is counted before it is allocated, and bounded by the length of the
//! document (`state`). Values can be much larger than their document: an absent option takes no
//! byte to send, but a name, an allocation and a value to hold.

mod arguments;
mod error;
mod explain;
mod kinds;
mod number;
mod state;
mod value;

use bytes::Bytes;
use serde::de::DeserializeSeed;
use wasmtime::component::Val;

use self::arguments::{Arguments, NoArguments};
pub use self::error::DecodeError;
use self::explain::explain;
use self::kinds::ByKind;
pub(crate) use self::number::FLOAT32_MAX;
use self::state::{Numbers, State, decoded_bytes_max};
use self::value::ValueSeed;
use crate::types::{Params, Type};

/// Decodes a JSON document into the arguments of a function, one for each parameter, in order.
///
/// Without parameters the document is empty, `null`, `{}` or `[]`. With one parameter it is the
/// value. With several it is an object by name, or an array of all of them in order.
///
/// ```
/// use nebula_codec::{DecodeError, Field, Type, decode};
/// use wasmtime::component::Val;
///
/// let params = [Field::new("a", Type::S64), Field::new("b", Type::S64)];
/// assert_eq!(decode(&params, br#"{"b": 2, "a": 1}"#), Ok(vec![Val::S64(1), Val::S64(2)]));
///
/// let error = decode(&params, br#"{"a": 1, "b": true}"#).unwrap_err();
/// assert_eq!(error.to_string(), "expected `s64` at `/b`, found a boolean");
/// ```
///
/// # Errors
/// [`DecodeError`] for the first place that doesn't fit.
pub fn decode(params: &Params, json: &[u8]) -> Result<Vec<Val>, DecodeError> {
    if params.is_empty() && json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let decoded = read(decoded_bytes_max(json.len()), |state| match params {
        [] => run(json, ByKind(NoArguments { state })),
        [param] => run(json, ValueSeed { ty: &param.ty, state }).map(|value| vec![value]),
        params => run(json, ByKind(Arguments { params, state })),
    });
    decoded.map_err(|error| explain(params, json, error))
}

/// Decodes JSON that [`encode`](crate::encode()) wrote for a value of `ty`.
///
/// The value was in memory before, so this doesn't limit its memory.
///
/// # Errors
/// [`DecodeError`] if `json` is something else.
pub fn decode_trusted(ty: &Type, json: &[u8]) -> Result<Val, DecodeError> {
    read(usize::MAX, |state| run(json, ValueSeed { ty, state }))
}

/// Returns a body as text, for a `string` parameter.
///
/// # Errors
/// [`DecodeError::NotUtf8`].
pub fn utf8(body: &Bytes) -> Result<&str, DecodeError> {
    std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8 { valid_up_to: error.valid_up_to() })
}

/// Reads a document whose values may use `bytes_max` of memory; a second time if a number needs its
/// digits.
fn read<T>(
    bytes_max: usize,
    document: impl Fn(&State) -> Result<T, serde_json::Error>,
) -> Result<T, DecodeError> {
    let state = State::new(bytes_max, Numbers::Parsed);
    let error = match document(&state) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !state.needs_digits() {
        return Err(describe(state, &error));
    }
    let state = State::new(bytes_max, Numbers::Digits);
    document(&state).map_err(|error| describe(state, &error))
}

fn run<'de, S: DeserializeSeed<'de>>(json: &'de [u8], seed: S) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn describe(state: State, error: &serde_json::Error) -> DecodeError {
    state.into_error().unwrap_or_else(|| {
        let text = error.to_string();
        let (line, column) = (error.line(), error.column());
        // serde_json appends the position, which has fields of its own here.
        let position = format!(" at line {line} column {column}");
        let message = text.strip_suffix(&position).unwrap_or(&text).to_owned();
        DecodeError::Syntax { message, line, column }
    })
}
