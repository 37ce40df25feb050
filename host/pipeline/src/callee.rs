//! The types of a function or pipeline, as the pipelines that call it see them.

use nebula_codec as codec;
use nebula_codec::{Case, Field, Flat, Outcome, Signature, Type};

use crate::shape::Shape;

/// The input of a function or pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum InputType {
    /// Named parameters.
    Values(Vec<Field>),
    /// A payload: bytes with a media type.
    Payload,
}

/// The output of a function or pipeline that succeeds.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputType {
    /// No value.
    Nothing,
    /// A payload: bytes with a media type.
    Payload,
    /// A value of this type.
    Value(Type),
}

/// The error that a function or pipeline may return instead of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The call never fails.
    Never,
    /// An error without a value.
    Empty,
    /// An error value of this type.
    Value(Type),
}

/// A function or pipeline, as a pipeline that calls it sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Callee {
    /// The type of the input.
    pub input: InputType,
    /// The type of the output.
    pub output: OutputType,
    /// The type of the error.
    pub error: ErrorType,
    /// The nesting of a pipeline's steps, called pipelines included; 0 for a function.
    pub depth: usize,
}

impl InputType {
    /// Returns the type of values that suit this input. Several parameters are a record.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Payload => Shape::Payload,
            Self::Values(params) => match params.as_slice() {
                [] => Shape::Nothing,
                [param] => Shape::Value(param.ty.clone()),
                params => Shape::Value(Type::Record(params.into())),
            },
        }
    }
}

impl OutputType {
    fn of(ty: Option<&Type>) -> Self {
        ty.cloned().map_or(Self::Nothing, Self::Value)
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Nothing => Shape::Nothing,
            Self::Payload => Shape::Payload,
            Self::Value(ty) => Shape::Value(ty.clone()),
        }
    }

    /// Returns the flat kind of the value, or `None` if it isn't flat.
    pub fn flat(&self) -> Option<Flat> {
        if let Self::Value(ty) = self { Flat::of(ty) } else { None }
    }
}

impl ErrorType {
    /// Returns the error type of a `result` with this `err`.
    pub(crate) fn of_err(err: Option<Type>) -> Self {
        err.map_or(Self::Empty, Self::Value)
    }

    /// Returns the type of the error's value, if it has one.
    pub fn value(&self) -> Option<&Type> {
        match self {
            Self::Value(ty) => Some(ty),
            Self::Never | Self::Empty => None,
        }
    }
}

impl Callee {
    /// Returns the types of a typed function. A `result` is split into output and error.
    pub fn typed(signature: &Signature) -> Self {
        let (output, error) = match &signature.result {
            Some(Type::Result(outcome)) => {
                (OutputType::of(outcome.ok.as_ref()), ErrorType::of_err(outcome.err.clone()))
            }
            result => (OutputType::of(result.as_ref()), ErrorType::Never),
        };
        Self { input: InputType::Values(signature.params.clone()), output, error, depth: 0 }
    }

    /// Returns the types of a function of the raw form. Its `bad-input` is an error of the
    /// function; its failure is not.
    pub fn raw() -> Self {
        let bad_input = Type::Variant([Case::new("bad-input", Some(Type::STRING))].into());
        Self {
            input: InputType::Payload,
            output: OutputType::Payload,
            error: ErrorType::Value(bad_input),
            depth: 0,
        }
    }

    /// Returns the `result` type of output and error, or `None` if it never fails or gives a
    /// payload.
    pub(crate) fn result(&self) -> Option<Type> {
        let err = match &self.error {
            ErrorType::Never => return None,
            ErrorType::Empty => None,
            ErrorType::Value(ty) => Some(ty.clone()),
        };
        let ok = match &self.output {
            OutputType::Nothing => None,
            OutputType::Payload => return None,
            OutputType::Value(ty) => Some(ty.clone()),
        };
        Some(Type::result(Outcome { ok, err }))
    }

    /// Returns the signature in WIT, with `payload` in place of a type.
    pub fn signature_text(&self) -> String {
        let params = match &self.input {
            InputType::Values(params) => {
                let param = |param: &Field| format!("{}: {}", param.name, codec::wit_text(&param.ty));
                params.iter().map(param).collect::<Vec<_>>().join(", ")
            }
            InputType::Payload => "request: payload".to_owned(),
        };
        let output = match &self.output {
            OutputType::Nothing => None,
            OutputType::Payload => Some("payload".to_owned()),
            OutputType::Value(ty) => Some(codec::wit_text(ty)),
        };
        let result = match (output, &self.error) {
            (output, ErrorType::Never) => output,
            (None, ErrorType::Empty) => Some("result".to_owned()),
            (Some(output), ErrorType::Empty) => Some(format!("result<{output}>")),
            (output, ErrorType::Value(err)) => {
                let output = output.unwrap_or_else(|| "_".to_owned());
                Some(format!("result<{output}, {}>", codec::wit_text(err)))
            }
        };
        let result = result.map(|result| format!(" -> {result}")).unwrap_or_default();
        format!("handle: func({params}){result}")
    }
}
