//! A pipeline that was checked: every step knows what it gets and what it makes of it.
//!
//! The steps are one list, in the order in which they are written, and name one another by their numbers.

use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::Flat;
use nebula_codec::{Field, Outcome, Signature, Type};
use nebula_model::id::FunctionRef;
use wasmtime::component::Val;

use super::fit::Conversion;
use super::shape::Shape;

/// What a function or pipeline takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// Named parameters.
    Values(Vec<Field>),
    /// A payload: bytes with a media type.
    Payload,
}

/// What it gives, if it doesn't fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Gives {
    /// No value.
    Nothing,
    /// A payload: bytes with a media type.
    Payload,
    /// A value of this type.
    Value(Type),
}

/// A function as a pipeline sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Callee {
    /// The input.
    pub takes: Takes,
    /// The output.
    pub gives: Gives,
    /// The error that it may return instead, and that error's type, if it has one.
    pub fails: Option<Option<Type>>,
    /// Of a pipeline: how deep its steps are in one another.
    pub depth: usize,
}

impl Callee {
    /// Returns the types of a typed function.
    pub fn typed(signature: &Signature) -> Self {
        let gives = |ty: Option<&Type>| ty.cloned().map_or(Gives::Nothing, Gives::Value);
        let (gives, fails) = match &signature.result {
            Some(Type::Result(outcome)) => (gives(outcome.ok.as_ref()), Some(outcome.err.clone())),
            result => (gives(result.as_ref()), None),
        };
        Self { takes: Takes::Values(signature.params.clone()), gives, fails, depth: 0 }
    }

    /// Of the raw form. What it says of bad input is its own error; that it failed isn't one.
    pub fn raw() -> Self {
        let bad_input = Type::Variant([("bad-input".to_owned(), Some(Type::String))].into());
        Self { takes: Takes::Payload, gives: Gives::Payload, fails: Some(Some(bad_input)), depth: 0 }
    }

    /// What it gives, as a `result` where it may fail.
    pub(super) fn result(&self) -> Option<Type> {
        let err = self.fails.clone()?;
        let ok = match &self.gives {
            Gives::Nothing => None,
            Gives::Payload => return None,
            Gives::Value(ty) => Some(ty.clone()),
        };
        Some(Type::Result(Outcome { ok, err }.into()))
    }

    /// As WIT, as far as it is that.
    pub fn signature_text(&self) -> String {
        let params = match &self.takes {
            Takes::Values(params) => {
                let params: Vec<_> =
                    params.iter().map(|(name, ty)| format!("{name}: {}", codec::wit_text(ty))).collect();
                params.join(", ")
            }
            Takes::Payload => "request: payload".to_owned(),
        };
        let gives = match &self.gives {
            Gives::Nothing => None,
            Gives::Payload => Some("payload".to_owned()),
            Gives::Value(ty) => Some(codec::wit_text(ty)),
        };
        let result = match (gives, &self.fails) {
            (gives, None) => gives,
            (None, Some(None)) => Some("result".to_owned()),
            (Some(gives), Some(None)) => Some(format!("result<{gives}>")),
            (gives, Some(Some(err))) => {
                let gives = gives.unwrap_or_else(|| "_".to_owned());
                Some(format!("result<{gives}, {}>", codec::wit_text(err)))
            }
        };
        let result = result.map(|result| format!(" -> {result}")).unwrap_or_default();
        format!("handle: func({params}){result}")
    }
}

impl Plan {
    /// The calls of a chain: functions on values, each of which gets what the one before gave as it is. `None` of
    /// anything else.
    pub fn chain(&self) -> Option<Vec<usize>> {
        let mut calls = Vec::new();
        let is_chain = self.is_chain(self.root, &mut calls) && self.output == Conversion::Same;
        // Nor of one that gives a `result`, which would be taken for its own.
        let gives_result = matches!(self.callee.gives, Gives::Value(Type::Result(_)));
        let may_be_called = calls.len() as u64 <= self.calls_max;
        (is_chain && calls.len() > 1 && !gives_result && may_be_called).then_some(calls)
    }

    fn is_chain(&self, node: usize, calls: &mut Vec<usize>) -> bool {
        match &self.nodes[node] {
            Node::Sequence(nodes) => nodes.iter().all(|node| self.is_chain(*node, calls)),
            Node::Call(call) => {
                let Call { callee, step, .. } = &self.calls[*call];
                let as_it_is = match &step.feed {
                    Feed::One(conversion) => *conversion == Conversion::Same,
                    // What is taken by several parameters is what the pipeline takes.
                    Feed::Several(conversion) => {
                        calls.is_empty()
                            && *conversion == Conversion::Same
                            && self.callee.takes == callee.takes
                    }
                    Feed::Nothing => calls.is_empty() && self.callee.takes == callee.takes,
                    Feed::Payload(_) => false,
                };
                calls.push(*call);
                as_it_is && !step.keeps_result && matches!(callee.gives, Gives::Value(_))
            }
            Node::All(_)
            | Node::Each(_)
            | Node::Group { .. }
            | Node::Choice(_)
            | Node::Select(_)
            | Node::Constant(_) => false,
        }
    }
}

impl Gives {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Nothing => Shape::Nothing,
            Self::Payload => Shape::Payload,
            Self::Value(ty) => Shape::Value(ty.clone()),
        }
    }

    /// The kind of the value, where it is flat.
    pub fn flat(&self) -> Option<Flat> {
        if let Self::Value(ty) = self { Flat::of(ty) } else { None }
    }
}

/// How what flows becomes a function's input.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed {
    /// It takes none.
    Nothing,
    /// It is a payload, or becomes one: text and bytes as they are, anything else as JSON of the type.
    Payload(Option<(Conversion, Type)>),
    /// The one parameter.
    One(Conversion),
    /// A record or tuple of all of them.
    Several(Conversion),
}

/// A step that calls a function.
#[derive(Clone, Debug, PartialEq)]
pub struct CallStep {
    pub feed: Feed,
    /// Its own error is a value like any other, which the next step looks at.
    pub keeps_result: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Of [`Plan::calls`].
    Call(usize),
    /// Nodes that run one after the other.
    Sequence(Vec<usize>),
    /// A record's or a tuple's.
    All(Vec<usize>),
    /// A node that runs on every item of a list.
    Each(usize),
    /// `items` makes the list's items values of a type, `by` is the way to the key.
    Group {
        /// Converts the list's items to one type.
        items: Conversion,
        /// The path to the key in an item.
        by: Vec<usize>,
        /// The node that runs on each group.
        each: usize,
    },
    /// What each case gives becomes the same.
    Choice(Vec<(String, usize, Option<Conversion>)>),
    /// The path to a part of the value.
    Select(Vec<usize>),
    /// The value, where it has a type by itself.
    Constant(Option<Arc<Val>>),
}

/// A call, with what there is to say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The step's name.
    pub label: String,
    /// The function that is called.
    pub function: FunctionRef,
    /// The types of the function.
    pub callee: Callee,
    /// The conversion of the step's input.
    pub step: CallStep,
}

/// How the errors of its steps are the pipeline's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errors {
    /// As they are: they are of one type, or there are none.
    Alike,
    /// As the case of a variant that is named after the step.
    ByStep,
}

/// A pipeline, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is as a function.
    pub callee: Callee,
    /// The function's own errors that the pipeline returns.
    pub errors: Errors,
    /// The nodes of the tree; nodes name each other by index.
    pub nodes: Vec<Node>,
    /// Of `nodes`.
    pub root: usize,
    /// In the order in which they are written.
    pub calls: Vec<Call>,
    /// What the last step gives becomes what the pipeline gives.
    pub output: Conversion,
    /// The number of calls the pipeline may make.
    pub calls_max: u64,
    /// Whether it is a chain that can be linked to one component, as far as its types say.
    pub is_chain: bool,
    /// The plan as it is shown to people.
    pub view: View,
}

/// A step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// `call`, `sequence`, `all`, `each`, `group`, `choice`, `select` or `constant`.
    pub kind: String,
    /// What it is called: of a call its label, of a selection its path, of a constant its value.
    pub label: String,
    /// Of a call, the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The type of what comes in.
    pub takes: String,
    /// The type of what goes out.
    pub gives: String,
    /// The steps in it, by field or case where they have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<(Option<String>, View)>,
}
