//! JSON to values, driven by the type: no tree of the document is built in between.
//!
//! Where a value doesn't fit, the innermost visitor records what it expected and found, and each
//! level adds its step to the pointer as the error passes; nothing is spent on paths that decode.
//!
//! Invariant: what the values hold is counted before it is allocated, and bounded by the length of
//! the document (`trace`). A document is small beside its values: an absent option costs nothing to
//! send, and a name, an allocation and a value to hold.

mod arguments;
mod trace;
mod value;

use serde::de::DeserializeSeed;
use wasmtime::component::Val;

use self::arguments::{Arguments, Nothing};
use self::trace::Trace;
pub(crate) use self::value::FLOAT32_MAX;
use self::value::Seed;
use super::Params;
use super::types::Type;

/// Why a document is no input of a function.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// It is no JSON.
    #[error("invalid JSON at line {line}, column {column}: {message}")]
    Syntax {
        /// What is wrong there.
        message: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is JSON of another type.
    #[error("expected `{expected}` at `{at}`, found {found}")]
    Mismatch {
        /// JSON pointer (RFC 6901) to the first value that doesn't fit; empty is the whole document.
        at: String,
        /// The WIT type there, or the beginning of a long one.
        expected: String,
        /// What stands there instead.
        found: String,
    },
    /// It fits the type as far as it was read, and its values take more memory than they may.
    #[error("the values of the input take over {bytes_max} bytes: the room ran out at `{at}`")]
    TooLarge {
        /// JSON pointer to the value that there was no room for.
        at: String,
        /// What values of a document of this length may take in the host, bytes.
        bytes_max: usize,
    },
    /// A raw body that should have been UTF-8.
    #[error("the body is not UTF-8: invalid at byte {valid_up_to}")]
    NotUtf8 {
        /// How many bytes before it are fine.
        valid_up_to: usize,
    },
}

/// Decodes a JSON document into the arguments of a function, one for each parameter, in order.
///
/// Without parameters the body is empty, `null`, `{}` or `[]`; the document of a single parameter is
/// its value; several are an object by name, or an array in order.
///
/// # Errors
/// [`DecodeError`] for the first thing that doesn't fit.
pub fn decode(params: &Params, json: &[u8]) -> Result<Vec<Val>, DecodeError> {
    decode_within(Trace::new(json.len()), params, json)
}

/// Decodes what [`encode`](super::encode) has written of a value of `ty`, which was held before.
///
/// # Errors
/// [`DecodeError`] where it isn't that.
pub fn decode_own(ty: &Type, json: &[u8]) -> Result<Val, DecodeError> {
    let mut values = decode_within(Trace::unbounded(), &[(String::new(), ty.clone())], json)?;
    // There is one for each parameter.
    Ok(values.pop().unwrap_or(Val::Option(None)))
}

fn decode_within(trace: Trace, params: &Params, json: &[u8]) -> Result<Vec<Val>, DecodeError> {
    let decoded = match params {
        [] if json.iter().all(u8::is_ascii_whitespace) => return Ok(Vec::new()),
        [] => run(json, Nothing { trace: &trace }),
        [(_, ty)] => run(json, Seed { ty, trace: &trace }).map(|value| vec![value]),
        params => run(json, Arguments { params, trace: &trace }),
    };
    decoded.map_err(|error| match trace.into_error() {
        Some(stopped) => stopped,
        None => {
            let text = error.to_string();
            // serde_json appends the position, which is given apart.
            let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
            DecodeError::Syntax { message, line: error.line(), column: error.column() }
        }
    })
}

fn run<'de, S: DeserializeSeed<'de>>(json: &'de [u8], seed: S) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}
