//! The check of a pipeline: types flow from the input through the steps, as values will.
//!
//! A function that returns `result<T, E>` gives its `T`. An `E` ends the pipeline and becomes the
//! pipeline's error. Only if the next step is a choice by `ok` and `err` does it get the whole
//! result.

mod input;
mod lookup;
mod parts;

use std::collections::HashSet;
use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::{Case, Type};
use nebula_model::description::CALLS_MAX;
use nebula_model::description::{NamedStep, Path, Pipeline, Step};
use nebula_model::id::FunctionRef;
use nebula_model::similar::did_you_mean;

use self::input::input_type;
use self::lookup::Lookup;
use self::parts::{Selection, cases_of, is_key, item_of, select};
use crate::callee::{Callee, ErrorType, InputType, OutputType};
use crate::conversion::Conversion;
use crate::error::{InvalidPipeline, Mismatch};
use crate::fit::{Incompatibility, fit, fit_input};
use crate::plan::{Branch, Call, CallInput, CallStep, ErrorMapping, Node, Plan, View};
use crate::shape::{FieldShape, Shape};

/// Maximum nesting of steps, called pipelines included. Each level takes a part of a thread's
/// stack.
const TOTAL_DEPTH_MAX: usize = 64;

/// Checks a pipeline and plans it.
///
/// `lookup` returns the types of a function, or the reason why it can't be called.
///
/// # Errors
/// [`InvalidPipeline`] for the first violation.
pub fn check(
    pipeline: &Pipeline,
    lookup: &mut dyn FnMut(&FunctionRef) -> Result<Callee, String>,
) -> Result<Plan, InvalidPipeline> {
    pipeline.check()?;
    let mut lookup = Lookup { callee: lookup };
    let input = input_type(pipeline, &mut lookup)?;
    let mut checker = Checker {
        lookup,
        nodes: Vec::new(),
        calls: Vec::new(),
        labels: HashSet::new(),
        errors: Vec::new(),
        depth: 0,
        depth_reached: 0,
    };
    let CheckedStep { node: root, output: shape, view } =
        checker.step(&pipeline.steps, &input.shape(), None)?;
    let (output, conversion) = match &shape {
        Shape::Nothing => (OutputType::Nothing, Conversion::Same),
        Shape::Payload => (OutputType::Payload, Conversion::Same),
        Shape::Value(_) | Shape::Constant(_) | Shape::Record(_) | Shape::Tuple(_) | Shape::List(_) => {
            let settled = settle(&shape, "output")?;
            (OutputType::Value(settled.ty), settled.conversion)
        }
    };
    let (error, errors) = checker.error();
    if checker.depth_reached > TOTAL_DEPTH_MAX {
        return Err(InvalidPipeline::TooNested { max: TOTAL_DEPTH_MAX });
    }
    let mut plan = Plan {
        callee: Callee { input, output, error, depth: checker.depth_reached },
        errors,
        nodes: checker.nodes,
        root,
        calls: checker.calls,
        output: conversion,
        calls_max: pipeline.calls_max.unwrap_or(CALLS_MAX),
        is_chain: false,
        view,
    };
    plan.is_chain = plan.chain().is_some();
    Ok(plan)
}

struct Checker<'a> {
    lookup: Lookup<'a>,
    nodes: Vec<Node>,
    calls: Vec<Call>,
    labels: HashSet<String>,
    /// A case for each call whose error ends the pipeline, by label.
    errors: Vec<Case>,
    /// The nesting of the current step.
    depth: usize,
    /// The maximum nesting so far, called pipelines included.
    depth_reached: usize,
}

/// A step that fits its input.
struct CheckedStep {
    /// Its index in the plan.
    node: usize,
    output: Shape,
    view: View,
}

impl CheckedStep {
    /// Refuses a step whose output isn't a value. `use_of_output` completes "which can't be …".
    fn with_value(self, step: &str, use_of_output: &str) -> Result<Self, InvalidPipeline> {
        if self.output == Shape::Nothing {
            let reason = format!("which can't be {use_of_output}");
            return Err(InvalidPipeline::unsuitable(step, &self.output, &reason));
        }
        Ok(self)
    }
}

/// The steps inside a step, as far as they are checked.
#[derive(Default)]
struct Inner {
    nodes: Vec<usize>,
    outputs: Vec<Shape>,
    views: Vec<(Option<String>, View)>,
}

impl Inner {
    fn push(&mut self, name: Option<&str>, checked: CheckedStep) {
        self.nodes.push(checked.node);
        self.outputs.push(checked.output);
        self.views.push((name.map(str::to_owned), checked.view));
    }
}

impl Checker<'_> {
    /// Checks one step on an input. `next` are the cases of the choice that follows, if one does: it
    /// may choose by `ok` and `err`.
    fn step(
        &mut self,
        step: &Step,
        input: &Shape,
        next: Option<&[NamedStep]>,
    ) -> Result<CheckedStep, InvalidPipeline> {
        self.depth += 1;
        self.depth_reached = self.depth_reached.max(self.depth);
        let checked = self.kind_of_step(step, input, next)?;
        self.depth -= 1;
        // Before any other use: composed types can grow exponentially.
        if checked.output.is_within_limits() { Ok(checked) } else { Err(InvalidPipeline::TypeTooLarge) }
    }

    fn kind_of_step(
        &mut self,
        step: &Step,
        input: &Shape,
        next: Option<&[NamedStep]>,
    ) -> Result<CheckedStep, InvalidPipeline> {
        let mut inner = Inner::default();
        let (kind, label, node, output) = match step {
            Step::Call { function, label } => {
                return self.call(function, label.as_deref(), input, next);
            }
            Step::Group { by, each } => return self.group(by, each, input),
            Step::Choice(cases) => return self.choice(cases, input, next),
            Step::Sequence(steps) => {
                let mut shape = input.clone();
                for (at, step) in steps.iter().enumerate() {
                    let next = match steps.get(at + 1) {
                        Some(next) => first_choice(next),
                        None => next,
                    };
                    let checked = self.step(step, &shape, next)?;
                    shape = checked.output.clone();
                    inner.push(None, checked);
                }
                ("sequence", String::new(), Node::Sequence(inner.nodes), shape)
            }
            Step::All(named) => {
                for NamedStep { name, step } in named {
                    let checked = self.step(step, input, None)?;
                    inner.push(Some(name), checked.with_value(name, "a field")?);
                }
                let names = named.iter().map(|named| named.name.clone());
                let fields = names.zip(inner.outputs).map(|(name, shape)| FieldShape { name, shape });
                ("all", String::new(), Node::All(inner.nodes), Shape::Record(fields.collect()))
            }
            Step::AllOf(steps) => {
                for (at, step) in steps.iter().enumerate() {
                    let checked = self.step(step, input, None)?;
                    inner.push(None, checked.with_value(&at.to_string(), "a part of a tuple")?);
                }
                ("all", String::new(), Node::All(inner.nodes), Shape::Tuple(inner.outputs))
            }
            Step::Each(step) => {
                let item = item_of(input).ok_or_else(|| not_a_list("each", input))?;
                let checked = self.step(step, &item, None)?.with_value("each", "an item of a list")?;
                let (node, output) = (checked.node, Shape::List(Box::new(checked.output.clone())));
                inner.push(None, checked);
                ("each", String::new(), Node::Each(node), output)
            }
            Step::Select(path) => {
                let Selection { indices, shape } = select(input, path)?;
                ("select", path.to_string(), Node::Select(indices), shape)
            }
            Step::Constant(value) => {
                let output = Shape::Constant(Arc::clone(value));
                let val = output.ty().and_then(|ty| match fit(&output, &ty) {
                    Ok(Conversion::Constant(val)) => Some(Arc::new(val)),
                    Ok(_) | Err(_) => None,
                });
                ("constant", codec::excerpt(&value.to_string()), Node::Constant(val), output)
            }
        };
        Ok(self.checked(node, output, view(kind, label, input, inner.views)))
    }

    /// Adds a node to the plan, and its output to the display.
    fn checked(&mut self, node: Node, output: Shape, mut view: View) -> CheckedStep {
        view.gives = shown(&output);
        CheckedStep { node: self.add(node), output, view }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn call(
        &mut self,
        function: &FunctionRef,
        label: Option<&str>,
        input: &Shape,
        next: Option<&[NamedStep]>,
    ) -> Result<CheckedStep, InvalidPipeline> {
        let label = self.unique_label(label.unwrap_or(function.name.as_str()));
        let callee = self.lookup.callee(&label, function)?;
        self.depth_reached = self.depth_reached.max(self.depth + callee.depth);
        let call_input = call_input(&label, &callee.input, input)?;
        let by_result = next.is_some_and(|cases| chooses_by_result(cases, &callee.output.shape()));
        let result = if by_result { callee.result() } else { None };
        let keeps_result = result.is_some();
        if !keeps_result {
            match &callee.error {
                ErrorType::Never => {}
                ErrorType::Empty => self.errors.push(Case::new(label.clone(), None)),
                ErrorType::Value(ty) => self.errors.push(Case::new(label.clone(), Some(ty.clone()))),
            }
        }
        let output = result.map_or_else(|| callee.output.shape(), Shape::Value);
        let function_text = Some(function.to_string());
        let view = View { function: function_text, ..view("call", label.clone(), input, Vec::new()) };
        let step = CallStep { input: call_input, keeps_result };
        self.calls.push(Call { label, function: function.clone(), callee, step });
        Ok(self.checked(Node::Call(self.calls.len() - 1), output, view))
    }

    /// Returns a label that no other step has.
    fn unique_label(&mut self, wanted: &str) -> String {
        let mut label = wanted.to_owned();
        let mut count = 1;
        while !self.labels.insert(label.clone()) {
            count += 1;
            label = format!("{wanted}-{count}");
        }
        label
    }

    fn group(&mut self, by: &Path, each: &Step, input: &Shape) -> Result<CheckedStep, InvalidPipeline> {
        let item = item_of(input).ok_or_else(|| not_a_list("group", input))?;
        let Settled { ty, conversion: items } = settle(&item, "group")?;
        let Selection { indices, shape: key } = select(&Shape::Value(ty.clone()), by)?;
        if !is_key(&key) {
            let reason = format!(
                "in which `{by}` is `{key}`, which can't be a key: use a string, char, enum, bool or integer"
            );
            return Err(InvalidPipeline::unsuitable("group", &item, &reason));
        }
        let each = self.step(each, &Shape::Value(Type::list(ty)), None)?.with_value("group", "a field")?;
        let fields = vec![
            FieldShape { name: "key".to_owned(), shape: key },
            FieldShape { name: "value".to_owned(), shape: each.output.clone() },
        ];
        let output = Shape::List(Box::new(Shape::Record(fields)));
        let node = Node::Group { items, by: indices, each: each.node };
        let view = view("group", by.to_string(), input, vec![(None, each.view)]);
        Ok(self.checked(node, output, view))
    }

    fn choice(
        &mut self,
        named: &[NamedStep],
        input: &Shape,
        next: Option<&[NamedStep]>,
    ) -> Result<CheckedStep, InvalidPipeline> {
        let unsuitable = |reason: &str| InvalidPipeline::unsuitable("choice", input, reason);
        let cases = cases_of(input)
            .ok_or_else(|| unsuitable("which is not a variant, enum, option, result or bool"))?;
        let has_case = |name: &str| cases.iter().any(|case| case.name == name);
        if let Some(unknown) = named.iter().find(|named| !has_case(&named.name)) {
            let names = cases.iter().map(|case| case.name.as_str());
            return Err(unsuitable(&format!(
                "which has no case `{}`{}",
                unknown.name,
                hint(&unknown.name, names)
            )));
        }
        let has_step = |case: &&Case| named.iter().any(|named| named.name == case.name);
        let missing: Vec<_> =
            cases.iter().filter(|case| !has_step(case)).map(|case| format!("`{}`", case.name)).collect();
        if !missing.is_empty() {
            return Err(unsuitable(&format!("and has no step for {}", missing.join(", "))));
        }
        let mut inner = Inner::default();
        for NamedStep { name, step } in named {
            let payload = cases.iter().find(|case| case.name == *name).and_then(|case| case.payload.clone());
            let payload = payload.map_or(Shape::Nothing, Shape::Value);
            inner.push(Some(name), self.step(step, &payload, next)?);
        }
        let Joined { output, conversions } = join(named, &inner.outputs)?;
        let branches = named.iter().zip(inner.nodes).zip(conversions);
        let branches =
            branches.map(|((named, node), output)| Branch { case: named.name.clone(), node, output });
        let node = Node::Choice(branches.collect());
        Ok(self.checked(node, output, view("choice", String::new(), input, inner.views)))
    }

    /// Returns the error of the pipeline, and how the errors of its steps become that.
    fn error(&self) -> (ErrorType, ErrorMapping) {
        let Some(first) = self.errors.first() else { return (ErrorType::Never, ErrorMapping::Unchanged) };
        if self.errors.iter().all(|case| case.payload == first.payload) {
            return (ErrorType::of_err(first.payload.clone()), ErrorMapping::Unchanged);
        }
        let cases = self.errors.iter().cloned().collect();
        (ErrorType::Value(Type::Variant(cases)), ErrorMapping::CasePerStep)
    }
}

/// Returns the display of a step, before its output is known.
fn view(kind: &str, label: String, input: &Shape, inner: Vec<(Option<String>, View)>) -> View {
    View { kind: kind.to_owned(), label, function: None, takes: shown(input), gives: String::new(), inner }
}

/// Finds the conversion of a value to the input of the function that step `label` calls.
fn call_input(label: &str, input: &InputType, given: &Shape) -> Result<CallInput, InvalidPipeline> {
    let mismatch = |found: &Incompatibility, taken: &Type| {
        InvalidPipeline::Mismatch(Box::new(Mismatch {
            step: label.to_owned(),
            taken: codec::wit_excerpt(taken),
            given: shown(given),
            at: found.path(),
            found: found.found.clone(),
            expected: found.expected.clone(),
        }))
    };
    match input {
        InputType::Payload => match given {
            Shape::Payload => Ok(CallInput::Payload),
            Shape::Nothing => Err(InvalidPipeline::unsuitable(label, given, "and takes a payload")),
            Shape::Value(_) | Shape::Constant(_) | Shape::Record(_) | Shape::Tuple(_) | Shape::List(_) => {
                let Settled { ty, conversion } = settle(given, label)?;
                Ok(CallInput::EncodedPayload { conversion, ty })
            }
        },
        InputType::Values(params) => match params.as_slice() {
            [] => Ok(CallInput::Nothing),
            [param] => {
                let conversion = fit_input(given, &param.ty);
                conversion.map(CallInput::Parameter).map_err(|found| mismatch(&found, &param.ty))
            }
            params => {
                let is_by_position = matches!(given, Shape::Tuple(_) | Shape::Value(Type::Tuple(_)));
                let taken = if is_by_position {
                    Type::Tuple(params.iter().map(|param| param.ty.clone()).collect())
                } else {
                    Type::Record(params.into())
                };
                let conversion = fit(given, &taken);
                conversion.map(CallInput::Parameters).map_err(|found| mismatch(&found, &taken))
            }
        },
    }
}

/// Returns the cases of a choice that a step begins with.
fn first_choice(step: &Step) -> Option<&[NamedStep]> {
    match step {
        Step::Choice(cases) => Some(cases),
        Step::Sequence(steps) => steps.first().and_then(first_choice),
        Step::Call { .. }
        | Step::All(_)
        | Step::AllOf(_)
        | Step::Each(_)
        | Step::Group { .. }
        | Step::Select(_)
        | Step::Constant(_) => None,
    }
}

/// Returns whether a choice after a call is between `ok` and `err`, not between the cases of the
/// `value` in `ok`. A misspelt case leaves no doubt if it is none of the value's either: the error
/// then shows the right cases.
fn chooses_by_result(cases: &[NamedStep], value: &Shape) -> bool {
    let is_of_result = |named: &NamedStep| named.name == "ok" || named.name == "err";
    let Some(of_value) = cases_of(value) else { return true };
    let is_of_value = |named: &NamedStep| of_value.iter().any(|case| case.name == named.name);
    cases.iter().all(is_of_result) || (cases.iter().any(is_of_result) && !cases.iter().all(is_of_value))
}

/// Returns the end of a message about an unknown name: the similar one, if there is one.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    did_you_mean(name, known).map(|hint| format!(": {hint}")).unwrap_or_default()
}

/// The type that a shape has by itself, and the conversion to it.
struct Settled {
    ty: Type,
    conversion: Conversion,
}

fn settle(shape: &Shape, step: &str) -> Result<Settled, InvalidPipeline> {
    let unsuitable = |reason: &str| InvalidPipeline::unsuitable(step, shape, reason);
    let ty = shape.ty().ok_or_else(|| unsuitable("which has no type by itself"))?;
    match fit(shape, &ty) {
        Ok(conversion) => Ok(Settled { ty, conversion }),
        Err(Incompatibility { found, expected, .. }) => {
            Err(unsuitable(&format!("in which `{found}` is not of type `{expected}`")))
        }
    }
}

/// The shape that all branches of a choice give, and the conversion of each to it.
struct Joined {
    output: Shape,
    conversions: Vec<Conversion>,
}

fn join(named: &[NamedStep], outputs: &[Shape]) -> Result<Joined, InvalidPipeline> {
    for output in [Shape::Nothing, Shape::Payload] {
        if outputs.iter().all(|shape| *shape == output) {
            return Ok(Joined { output, conversions: vec![Conversion::Same; outputs.len()] });
        }
    }
    for candidate in outputs.iter().filter_map(Shape::ty) {
        let conversions: Result<_, _> = outputs.iter().map(|shape| fit(shape, &candidate)).collect();
        if let Ok(conversions) = conversions {
            return Ok(Joined { output: Shape::Value(candidate), conversions });
        }
    }
    let branches = named.iter().zip(outputs);
    let branches: Vec<_> =
        branches.map(|(named, shape)| format!("`{}` gives `{shape}`", named.name)).collect();
    Err(InvalidPipeline::DifferentBranches { branches: codec::excerpt(&branches.join(", ")) })
}

fn not_a_list(step: &str, given: &Shape) -> InvalidPipeline {
    InvalidPipeline::unsuitable(step, given, "which is not a list")
}

/// Returns the display of a shape, or its beginning.
fn shown(shape: &Shape) -> String {
    codec::excerpt(&shape.to_string())
}
