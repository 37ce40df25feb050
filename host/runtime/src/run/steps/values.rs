//! Conversions between a function's input, its output, and the values that flow between steps.
//!
//! Invariant: a value is the same whether the call has just run or its result is cached.

use std::sync::Arc;

use bytes::Bytes;
use nebula_codec as codec;
use nebula_codec::Type;
use nebula_codec::{Flat, Input};
use nebula_model::answer::{Answer, Content};
use nebula_model::id::Digest;
use nebula_model::request::Request;
use nebula_pipeline::{CallInput, Callee, ErrorType, InputType, OutputType, Value};
use wasmtime::component::Val;

use crate::error::CallError;

/// Returns the value that a pipeline is called with.
pub(super) fn input_value(ty: &InputType, input: &Input) -> Value {
    match (ty, input) {
        (_, Input::Payload { media_type, body }) => {
            Value::Payload { media_type: media_type.clone(), body: body.clone() }
        }
        (_, Input::Flat(flat, body)) => Value::Flat(*flat, body.clone()),
        (InputType::Values(params), Input::Values(values)) => match &**values {
            [] => Value::Nothing,
            [value] => value.clone().into(),
            values => {
                let fields =
                    params.iter().zip(values).map(|(param, value)| (param.name.clone(), value.clone()));
                Val::Record(fields.collect()).into()
            }
        },
        (InputType::Payload, Input::Values(_)) | (_, Input::Http(_)) => Value::Nothing,
    }
}

/// The outcome of a step's call.
pub(super) enum StepOutput {
    Value(Value),
    /// The function returned its own error.
    Error(Option<Val>),
    Failed(Arc<CallError>),
}

impl StepOutput {
    /// Decodes a cached result.
    pub(super) fn read(callee: &Callee, result: &Result<Answer, Arc<CallError>>) -> Result<Self, String> {
        Self::of(callee, result.clone(), None)
    }

    /// Decodes an answer. `value` is the value that it encodes, if it is at hand. The outcome is
    /// the same with and without it.
    pub(super) fn of(
        callee: &Callee,
        result: Result<Answer, Arc<CallError>>,
        value: Option<Val>,
    ) -> Result<Self, String> {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return Ok(Self::Failed(error)),
        };
        let read = |ty: &Type, content: &Content, value: Option<Val>| match value {
            Some(value) if codec::is_ambiguous(ty) => Ok(codec::canonical(ty, value)),
            Some(value) => Ok(value),
            None => codec::decode_trusted(ty, &content.body).map_err(|error| error.to_string()),
        };
        Ok(match answer {
            Answer::Value(content) => Self::Value(match &callee.output {
                OutputType::Nothing => Value::Nothing,
                OutputType::Payload => {
                    let media_type = content.told_media_type().to_owned();
                    Value::Payload { media_type, body: content.body }
                }
                OutputType::Value(ty) => match Flat::of(ty) {
                    Some(flat) => Value::Flat(flat, content.body),
                    None => read(ty, &content, value)?.into(),
                },
            }),
            Answer::Error(content) => Self::Error(match &callee.error {
                ErrorType::Value(ty) => Some(read(ty, &content, value)?),
                ErrorType::Empty | ErrorType::Never => None,
            }),
            Answer::Http(_) => return Err("a response".to_owned()),
        })
    }

    /// Describes the outcome for people.
    pub(super) fn description(&self, callee: &Callee) -> String {
        match (self, &callee.output, &callee.error) {
            (Self::Value(Value::Nothing), _, _) => "nothing".to_owned(),
            (Self::Value(Value::Payload { media_type, body }), _, _) => describe(media_type, body),
            (Self::Value(value), OutputType::Value(ty), _) => {
                let content = EncodedValue::new(ty, value.clone(), true).content;
                describe(&content.media_type, &content.body)
            }
            (Self::Value(_), OutputType::Nothing | OutputType::Payload, _) => "nothing".to_owned(),
            (Self::Error(Some(error)), _, ErrorType::Value(ty)) => {
                describe("application/json", &json(ty, error).body)
            }
            (Self::Error(_), _, _) => "an error".to_owned(),
            (Self::Failed(error), _, _) => error.to_string(),
        }
    }
}

/// Returns the length of an input that is bytes. Values are limited by what may be passed into an
/// instance.
pub(super) fn flat_bytes(input: &Input) -> u64 {
    match input {
        Input::Flat(_, body) | Input::Payload { body, .. } => body.len() as u64,
        Input::Values(_) | Input::Http(_) => 0,
    }
}

/// Converts a value to the input of a function.
pub(super) fn input_of(input: &CallInput, value: Value) -> Input {
    let payload = |media_type: &str, body: Bytes| Input::Payload { media_type: media_type.to_owned(), body };
    match input {
        CallInput::Nothing => Input::Values(Arc::new([])),
        CallInput::Payload => match value {
            Value::Payload { media_type, body } => Input::Payload { media_type, body },
            value @ (Value::Nothing | Value::Flat(..) | Value::Val(_) | Value::Parts(_)) => {
                payload(Flat::Bytes.media_type(), codec::bytes_of(value.into_val()))
            }
        },
        CallInput::EncodedPayload { conversion, ty } => {
            let content = EncodedValue::new(ty, conversion.apply(value), true).content;
            payload(&content.media_type, content.body)
        }
        CallInput::Parameter(conversion) => {
            let value = conversion.apply(value);
            if let Value::Flat(flat, body) = value {
                return Input::Flat(flat, body);
            }
            let val = value.into_val();
            // Avoids a copy.
            if let Val::String(text) = val {
                return Input::Flat(Flat::String, text.into());
            }
            Input::Values(Arc::new([val]))
        }
        CallInput::Parameters(conversion) => {
            let arguments = conversion.apply(value).into_parts().into_iter().map(Value::into_val);
            Input::Values(arguments.collect())
        }
    }
}

/// A value encoded as content.
pub(super) struct EncodedValue {
    pub(super) content: Content,
    /// The value, if the content is its JSON.
    pub(super) value: Option<Val>,
}

impl EncodedValue {
    /// Encodes a value of `ty`; `raw` says whether a `string` or `list<u8>` becomes its plain
    /// bytes.
    pub(super) fn new(ty: &Type, value: Value, raw: bool) -> Self {
        let Some(flat) = Flat::of(ty) else {
            let value = value.into_val();
            return Self { content: json(ty, &value), value: Some(value) };
        };
        let body = if let Value::Flat(_, body) = value { body } else { codec::bytes_of(value.into_val()) };
        let content = match raw {
            true => Content { media_type: flat.media_type().into(), body },
            false => Content::json(codec::encode_flat(flat, &body)),
        };
        Self { content, value: None }
    }
}

pub(super) fn json(ty: &Type, value: &Val) -> Content {
    let mut json = Vec::new();
    codec::encode(ty, value, &mut json);
    Content::json(json)
}

/// Splits a value into its case and payload.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has cases")]
pub(super) fn case_of(val: Val) -> (String, Option<Box<Val>>) {
    match val {
        Val::Variant(name, payload) => (name, payload),
        Val::Enum(name) => (name, None),
        Val::Option(Some(payload)) => ("some".to_owned(), Some(payload)),
        Val::Option(None) => ("none".to_owned(), None),
        Val::Result(Ok(payload)) => ("ok".to_owned(), payload),
        Val::Result(Err(payload)) => ("err".to_owned(), payload),
        Val::Bool(value) => (value.to_string(), None),
        _ => (String::new(), None),
    }
}

/// Returns a text that differs for different keys of one type.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is a key")]
pub(super) fn key_text(key: &Val) -> String {
    match key {
        Val::String(text) | Val::Enum(text) => text.clone(),
        Val::Bool(value) => value.to_string(),
        Val::Char(value) => value.to_string(),
        Val::S8(value) => value.to_string(),
        Val::U8(value) => value.to_string(),
        Val::S16(value) => value.to_string(),
        Val::U16(value) => value.to_string(),
        Val::S32(value) => value.to_string(),
        Val::U32(value) => value.to_string(),
        Val::S64(value) => value.to_string(),
        Val::U64(value) => value.to_string(),
        _ => String::new(),
    }
}

/// Returns the document that calls a function with this input directly.
pub(super) fn document_of(input: &Input, callee: &Callee) -> Vec<u8> {
    match (input, &callee.input) {
        (Input::Flat(_, body) | Input::Payload { body, .. }, _) => body.to_vec(),
        (Input::Values(values), InputType::Values(params)) => {
            let mut json = Vec::new();
            match (&**values, params.as_slice()) {
                ([value], [param]) => codec::encode(&param.ty, value, &mut json),
                (values, params) => {
                    let fields = params.iter().zip(values);
                    let record = Val::Record(
                        fields.map(|(param, value)| (param.name.clone(), value.clone())).collect(),
                    );
                    codec::encode(&Type::Record(params.into()), &record, &mut json);
                }
            }
            json
        }
        (Input::Values(_), InputType::Payload) | (Input::Http(_), _) => Vec::new(),
    }
}

/// Returns the request that calls a function with this input directly.
pub(super) fn request_of(input: &Input, callee: &Callee) -> Request {
    let media_type = match input {
        Input::Flat(flat, _) => flat.media_type().to_owned(),
        Input::Payload { media_type, .. } => media_type.clone(),
        Input::Values(_) | Input::Http(_) => "application/json".to_owned(),
    };
    Request::Payload { media_type: Some(media_type), body: document_of(input, callee).into() }
}

/// Longest text of an input or output in a description, characters.
const DESCRIPTION_CHARS_MAX: usize = 2000;

fn describe(media_type: &str, body: &[u8]) -> String {
    let is_shown = |char: char| !char.is_control() || char.is_whitespace();
    match std::str::from_utf8(body) {
        Ok(text) if text.chars().all(is_shown) => match text.char_indices().nth(DESCRIPTION_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        },
        Ok(_) | Err(_) => format!("{} bytes of {media_type}, {}", body.len(), Digest::of(body)),
    }
}

pub(super) fn describe_input(input: &Input, callee: &Callee) -> String {
    let media_type = match input {
        Input::Flat(flat, _) => flat.media_type(),
        Input::Payload { media_type, .. } => media_type,
        Input::Values(_) | Input::Http(_) => "application/json",
    };
    describe(media_type, &document_of(input, callee))
}
