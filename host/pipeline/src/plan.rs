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

/// Why a pipeline isn't a chain.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAChain {
    /// The pipeline has a step that isn't a call.
    #[error("it has a `{kind}`, and a chain has only calls of functions")]
    OtherStep {
        /// The kind of the step.
        kind: &'static str,
    },
    /// A function takes or gives a payload, or gives nothing.
    #[error("`{step}` doesn't take and give values")]
    NotValues {
        /// The label of the step.
        step: String,
    },
    /// A function gets something else than the unchanged output of the one before.
    #[error("`{step}` doesn't get exactly what the step before gives")]
    Changed {
        /// The label of the step.
        step: String,
    },
    /// The output isn't exactly what the last function gives.
    #[error("its output isn't exactly what its last function gives")]
    ChangedOutput,
    /// The output is a `result`, which would be mistaken for the error of a step.
    #[error("its output is a `result`")]
    GivesResult,
    /// The pipeline calls one function, or none.
    #[error("it calls {calls} functions, and a chain has at least two")]
    TooShort {
        /// The number of calls.
        calls: usize,
    },
}

impl Plan {
    /// Returns the calls of a chain, or `None` if the pipeline isn't one or may not make them all.
    pub fn chain(&self) -> Option<Vec<usize>> {
        self.links().ok().filter(|calls| calls.len() as u64 <= self.calls_max)
    }

    /// Returns the calls of a chain.
    ///
    /// A chain is a sequence of functions on values, each of which gets the unchanged output of the
    /// one before.
    ///
    /// # Errors
    /// [`NotAChain`].
    pub fn links(&self) -> Result<Vec<usize>, NotAChain> {
        let mut calls = Vec::new();
        self.add_links(self.root, &mut calls)?;
        if self.output != Conversion::Same {
            return Err(NotAChain::ChangedOutput);
        }
        if matches!(self.callee.output, OutputType::Value(Type::Result(_))) {
            return Err(NotAChain::GivesResult);
        }
        if calls.len() < 2 {
            return Err(NotAChain::TooShort { calls: calls.len() });
        }
        Ok(calls)
    }

    fn add_links(&self, node: usize, calls: &mut Vec<usize>) -> Result<(), NotAChain> {
        let other_step = |kind| Err(NotAChain::OtherStep { kind });
        match &self.nodes[node] {
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.add_links(*node, calls)),
            Node::Call(call) => {
                let Call { label, callee, step, .. } = &self.calls[*call];
                let is_first = calls.is_empty();
                let is_unchanged = match &step.input {
                    CallInput::Parameter(conversion) => *conversion == Conversion::Same,
                    // Only the first function can have several parameters: those of the pipeline.
                    CallInput::Parameters(conversion) => {
                        is_first && *conversion == Conversion::Same && self.callee.input == callee.input
                    }
                    CallInput::Nothing => is_first && self.callee.input == callee.input,
                    CallInput::Payload | CallInput::EncodedPayload { .. } => {
                        return Err(NotAChain::NotValues { step: label.clone() });
                    }
                };
                calls.push(*call);
                if !is_unchanged {
                    return Err(NotAChain::Changed { step: label.clone() });
                }
                if step.keeps_result || !matches!(callee.output, OutputType::Value(_)) {
                    return Err(NotAChain::NotValues { step: label.clone() });
                }
                Ok(())
            }
            Node::All(_) => other_step("all"),
            Node::Each(_) => other_step("each"),
            Node::Group { .. } => other_step("group"),
            Node::Choice(_) => other_step("choice"),
            Node::Select(_) => other_step("select"),
            Node::Constant(_) => other_step("constant"),
        }
    }
}
