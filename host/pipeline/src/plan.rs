//! The result of a check: a tree of nodes, with the conversions between them.
//!
//! Nodes and calls are two lists in the order in which steps are written, and refer to each other
//! by index. `runtime` walks the tree from its root.

use std::sync::Arc;

use nebula_codec::Type;
use nebula_model::id::FunctionRef;
use wasmtime::component::Val;

use crate::callee::{Callee, OutputType};
use crate::conversion::Conversion;

/// A checked pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The types of the pipeline, as a function.
    pub callee: Callee,
    /// The conversion of a step's error to the pipeline's.
    pub errors: ErrorMapping,
    /// The nodes of the tree.
    pub nodes: Vec<Node>,
    /// The index of the root in `nodes`.
    pub root: usize,
    /// The calls, in the order in which they are written.
    pub calls: Vec<Call>,
    /// The conversion of the last step's output to the pipeline's.
    pub output: Conversion,
    /// Maximum number of calls.
    pub calls_max: u64,
    /// True if the types allow linking the pipeline into one component.
    pub is_chain: bool,
    /// The plan for display.
    pub view: View,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Makes the call at this index of [`Plan::calls`].
    Call(usize),
    /// Runs nodes in order.
    Sequence(Vec<usize>),
    /// Runs nodes on the same value and gathers their outputs into a record or tuple.
    All(Vec<usize>),
    /// Runs a node on every item of a list.
    Each(usize),
    /// Groups the items of a list by a key.
    Group {
        /// The conversion of the list's items to one type.
        items: Conversion,
        /// The path to the key in an item.
        by: Vec<usize>,
        /// The node that runs on each group.
        each: usize,
    },
    /// Runs the branch of the value's case.
    Choice(Vec<Branch>),
    /// Takes the part at this path.
    Select(Vec<usize>),
    /// Gives a fixed value; `None` if a later step determines its type, whose conversion then has
    /// it.
    Constant(Option<Arc<Val>>),
}

/// A branch of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The name of the case.
    pub case: String,
    /// The node that runs on the payload.
    pub node: usize,
    /// The conversion of its output to the type that all branches give.
    pub output: Conversion,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The step's label, which no other step has.
    pub label: String,
    /// The function, as written.
    pub function: FunctionRef,
    /// The types of the function.
    pub callee: Callee,
    /// The use of input and result.
    pub step: CallStep,
}

/// The use of a call's input and result.
#[derive(Clone, Debug, PartialEq)]
pub struct CallStep {
    /// The conversion of the value to the function's input.
    pub input: CallInput,
    /// True if the whole `result` is the output, for a choice by `ok` and `err`. Otherwise an error
    /// ends the pipeline.
    pub keeps_result: bool,
}

/// The conversion of a value to a function's input.
#[derive(Clone, Debug, PartialEq)]
pub enum CallInput {
    /// The function has no parameters.
    Nothing,
    /// The value is a payload.
    Payload,
    /// The value becomes a payload: text and bytes as they are, anything else as JSON of `ty`.
    EncodedPayload {
        /// The conversion to `ty`.
        conversion: Conversion,
        /// The type of the content.
        ty: Type,
    },
    /// The value becomes the only parameter.
    Parameter(Conversion),
    /// The value becomes a record or tuple of all parameters.
    Parameters(Conversion),
}

/// The conversion of a step's error to the pipeline's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorMapping {
    /// Errors stay unchanged, because all have one type.
    Unchanged,
    /// An error becomes the payload of the variant case with the step's label.
    CasePerStep,
}

/// A step for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `call`, `sequence`, `all`, `each`, `group`, `choice`, `select` or `constant`.
    pub kind: String,
    /// The label of a call, the path of a selection or group, the value of a constant; else empty.
    pub label: String,
    /// The function of a call.
    pub function: Option<String>,
    /// The type of the input.
    pub takes: String,
    /// The type of the output.
    pub gives: String,
    /// The steps inside, with the name of the field or case if they have one.
    pub inner: Vec<(Option<String>, View)>,
}

impl Plan {
    /// Returns the calls of a chain, or `None` if the pipeline isn't one.
    ///
    /// A chain is a sequence of functions on values, each of which gets the unchanged output of the
    /// one before.
    pub fn chain(&self) -> Option<Vec<usize>> {
        let mut calls = Vec::new();
        let is_chain = self.is_chain(self.root, &mut calls) && self.output == Conversion::Same;
        // The linked component's own `result` would be mistaken for the error of a step.
        let gives_result = matches!(self.callee.output, OutputType::Value(Type::Result(_)));
        let is_within_calls_max = calls.len() as u64 <= self.calls_max;
        (is_chain && calls.len() > 1 && !gives_result && is_within_calls_max).then_some(calls)
    }

    fn is_chain(&self, node: usize, calls: &mut Vec<usize>) -> bool {
        match &self.nodes[node] {
            Node::Sequence(nodes) => nodes.iter().all(|node| self.is_chain(*node, calls)),
            Node::Call(call) => {
                let Call { callee, step, .. } = &self.calls[*call];
                let is_unchanged = match &step.input {
                    CallInput::Parameter(conversion) => *conversion == Conversion::Same,
                    // Only the first function can have several parameters: those of the pipeline.
                    CallInput::Parameters(conversion) => {
                        calls.is_empty()
                            && *conversion == Conversion::Same
                            && self.callee.input == callee.input
                    }
                    CallInput::Nothing => calls.is_empty() && self.callee.input == callee.input,
                    CallInput::Payload | CallInput::EncodedPayload { .. } => false,
                };
                calls.push(*call);
                is_unchanged && !step.keeps_result && matches!(callee.output, OutputType::Value(_))
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
