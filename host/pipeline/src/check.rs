//! From a description to a plan: every edge's types are compared.
//!
//! What a pipeline takes is what its first steps take; from there types flow through the steps as values will.
//!
//! A function that returns `result<T, E>` gives its `T`: an `E` ends the pipeline, and is the pipeline's error. Only where
//! the next step is a choice by `ok` and `err` is the result itself what flows.

mod demand;

use std::collections::HashSet;
use std::sync::Arc;

use nebula_codec as codec;
use nebula_codec::{Case, Outcome, TYPE_DEPTH_MAX, TYPES_MAX, Type};
use nebula_model::description::CALLS_MAX;
use nebula_model::description::{InvalidDescription, Path, Pipeline, Step};
use nebula_model::id::FunctionRef;

use super::fit::{Conversion, Misfit, fit, fit_whole};
use super::plan::{Call, CallStep, Callee, Errors, Feed, Gives, Node, Plan, Takes, View};
use super::shape::Shape;

/// Steps in one another, those of the pipelines that are called too: each takes its part of a thread's stack.
const TOTAL_DEPTH_MAX: usize = 64;

/// What is given of the input's type to say that it is any.
const PAYLOAD: &str = "payload";

/// Why a pipeline can't be.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPipeline {
    /// It isn't within the bounds.
    #[error(transparent)]
    Description(#[from] InvalidDescription),
    /// A step calls what isn't there.
    #[error("step `{step}` calls `{function}`: {reason}")]
    UnknownFunction {
        /// The step.
        step: String,
        /// What it calls.
        function: String,
        /// Why that can't be called.
        reason: String,
    },
    /// It calls itself, by way of others.
    #[error("it calls itself: {}", names.join(" → "))]
    Cycle {
        /// From itself to itself.
        names: Vec<String>,
    },
    /// Too many pipelines in one another.
    #[error("with the pipelines that it calls its steps are more than {max} deep")]
    TooNested {
        /// How deep they may be.
        max: usize,
    },
    /// A type that steps have put together is too large.
    #[error(
        "what its steps gather is of a type that is over {TYPES_MAX} types or {TYPE_DEPTH_MAX} deep, written out"
    )]
    TypeTooLarge,
    /// What one step gives isn't what the next takes.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// A step that doesn't work on what comes to it.
    #[error("step `{step}` gets `{given}`, {reason}")]
    Unsuitable {
        /// The step.
        step: String,
        /// The type that comes.
        given: String,
        /// What is wrong with that.
        reason: String,
    },
    /// What it takes doesn't follow from its first steps.
    #[error("what it takes doesn't follow from its first steps{}: say it as `input`", if reason.is_empty() { String::new() } else { format!(" ({reason})") })]
    UnknownInput {
        /// Why, if there is more to say.
        reason: String,
    },
    /// `input` is no type.
    #[error("its `input` is no type: {reason}")]
    BadInputType {
        /// Why.
        reason: String,
    },
}

/// Two types at the ends of one edge.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("step `{step}` takes `{taken}` and gets `{given}`: {}`{found}` is no `{expected}`", if at.is_empty() { String::new() } else { format!("at `{at}`, ") })]
pub struct Mismatch {
    /// The step that it comes to.
    pub step: String,
    /// The type that the step takes.
    pub taken: String,
    /// The type that comes.
    pub given: String,
    /// Where in it the two differ: `.rows[].name`; empty is the whole.
    pub at: String,
    /// What stands there.
    pub found: String,
    /// What is taken there.
    pub expected: String,
}

/// Checks a pipeline and plans it.
///
/// `lookup` says what a function takes and gives, or why it can't be called.
///
/// # Errors
/// [`InvalidPipeline`] for the first thing that is wrong.
pub fn check(
    pipeline: &Pipeline,
    lookup: &mut dyn FnMut(&FunctionRef) -> Result<Callee, String>,
) -> Result<Plan, InvalidPipeline> {
    pipeline.check()?;
    let mut checker = Checker {
        lookup,
        nodes: Vec::new(),
        calls: Vec::new(),
        labels: HashSet::new(),
        fails: Vec::new(),
        depth: 0,
        deepest: 0,
    };
    let takes = checker.takes(pipeline)?;
    let input = match &takes {
        Takes::Payload => Shape::Payload,
        Takes::Values(params) => match params.as_slice() {
            [] => Shape::Nothing,
            [(_, ty)] => Shape::Value(ty.clone()),
            params => Shape::Value(Type::Record(params.into())),
        },
    };
    let (root, shape, view) = checker.step(&pipeline.steps, input, false)?;
    let (gives, output) = match &shape {
        Shape::Nothing => (Gives::Nothing, Conversion::Same),
        Shape::Payload => (Gives::Payload, Conversion::Same),
        Shape::Value(_) | Shape::Constant(_) | Shape::Record(_) | Shape::Tuple(_) | Shape::List(_) => {
            let (ty, conversion) = settle(&shape, "its output")?;
            (Gives::Value(ty), conversion)
        }
    };
    let (fails, errors) = checker.errors();
    if checker.deepest > TOTAL_DEPTH_MAX {
        return Err(InvalidPipeline::TooNested { max: TOTAL_DEPTH_MAX });
    }
    let mut plan = Plan {
        callee: Callee { takes, gives, fails, depth: checker.deepest },
        errors,
        nodes: checker.nodes,
        root,
        calls: checker.calls,
        output,
        calls_max: pipeline.calls_max.unwrap_or(CALLS_MAX),
        is_chain: false,
        view,
    };
    plan.is_chain = plan.chain().is_some();
    Ok(plan)
}

struct Checker<'a> {
    lookup: &'a mut dyn FnMut(&FunctionRef) -> Result<Callee, String>,
    nodes: Vec<Node>,
    calls: Vec<Call>,
    labels: HashSet<String>,
    /// What each call may fail with, if that ends the pipeline.
    fails: Vec<(String, Option<Type>)>,
    /// Steps that this one is in.
    depth: usize,
    /// The most there were, with those of pipelines that are called.
    deepest: usize,
}

type Checked = Result<(usize, Shape, View), InvalidPipeline>;

impl Checker<'_> {
    fn lookup(&mut self, step: &str, function: &FunctionRef) -> Result<Callee, InvalidPipeline> {
        (self.lookup)(function).map_err(|reason| InvalidPipeline::UnknownFunction {
            step: step.to_owned(),
            function: function.to_string(),
            reason,
        })
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// One step, on what is of `shape`. Where it `keeps_result`, the next one chooses by `ok` and `err`.
    fn step(&mut self, step: &Step, shape: Shape, keeps_result: bool) -> Checked {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let checked = self.kind_of_step(step, shape, keeps_result)?;
        self.depth -= 1;
        // Before anything else looks at it: what steps gather from one another soon is more than anyone can read.
        checked.1.check_size()?;
        Ok(checked)
    }

    fn kind_of_step(&mut self, step: &Step, shape: Shape, keeps_result: bool) -> Checked {
        let takes = shown(&shape);
        let view = |kind: &str, label: String, gives: &Shape, inner| View {
            kind: kind.to_owned(),
            label,
            function: None,
            takes: takes.clone(),
            gives: shown(gives),
            inner,
        };
        match step {
            Step::Call { function, label } => self.call(function, label.as_deref(), shape, keeps_result),
            Step::Sequence(steps) => {
                let (mut shape, mut indices, mut inner) = (shape, Vec::new(), Vec::new());
                for (at, step) in steps.iter().enumerate() {
                    let keeps = match steps.get(at + 1) {
                        Some(next) => chooses_by_result(next),
                        None => keeps_result,
                    };
                    let (index, gives, view) = self.step(step, shape, keeps)?;
                    shape = gives;
                    indices.push(index);
                    inner.push((None, view));
                }
                let view = view("sequence", String::new(), &shape, inner);
                Ok((self.add(Node::Sequence(indices)), shape, view))
            }
            Step::All(named) => {
                let (mut shapes, mut indices, mut inner) = (Vec::new(), Vec::new(), Vec::new());
                for (name, step) in named {
                    let (index, gives, view) = self.step(step, shape.clone(), false)?;
                    if gives == Shape::Nothing {
                        return Err(unsuitable(name, &gives, "which can't be a field"));
                    }
                    shapes.push((name.clone(), gives));
                    indices.push(index);
                    inner.push((Some(name.clone()), view));
                }
                let gives = Shape::Record(shapes);
                let view = view("all", String::new(), &gives, inner);
                Ok((self.add(Node::All(indices)), gives, view))
            }
            Step::AllOf(steps) => {
                let (mut shapes, mut indices, mut inner) = (Vec::new(), Vec::new(), Vec::new());
                for (at, step) in steps.iter().enumerate() {
                    let (index, gives, view) = self.step(step, shape.clone(), false)?;
                    if gives == Shape::Nothing {
                        return Err(unsuitable(&at.to_string(), &gives, "which can't be a part of a tuple"));
                    }
                    shapes.push(gives);
                    indices.push(index);
                    inner.push((None, view));
                }
                let gives = Shape::Tuple(shapes);
                let view = view("all", String::new(), &gives, inner);
                Ok((self.add(Node::All(indices)), gives, view))
            }
            Step::Each(step) => {
                let item = item_of(&shape).ok_or_else(|| unsuitable("each", &shape, "which is no list"))?;
                let (index, gives, inner) = self.step(step, item, false)?;
                if gives == Shape::Nothing {
                    return Err(unsuitable("each", &gives, "which can't be an item"));
                }
                let gives = Shape::List(Box::new(gives));
                let view = view("each", String::new(), &gives, vec![(None, inner)]);
                Ok((self.add(Node::Each(index)), gives, view))
            }
            Step::Group { by, each } => self.group(by, each, &shape),
            Step::Choice(cases) => self.choice(cases, &shape, keeps_result),
            Step::Select(path) => {
                let (indices, gives) = select(&shape, path)?;
                let view = view("select", path.to_string(), &gives, Vec::new());
                Ok((self.add(Node::Select(indices)), gives, view))
            }
            Step::Constant(value) => {
                let gives = Shape::Constant(Arc::clone(value));
                let view = view("constant", codec::excerpt(&value.to_string()), &gives, Vec::new());
                let val = gives.ty().and_then(|ty| match fit(&gives, &ty) {
                    Ok(Conversion::Constant(val)) => Some(Arc::new(val)),
                    Ok(_) | Err(_) => None,
                });
                Ok((self.add(Node::Constant(val)), gives, view))
            }
        }
    }

    fn call(
        &mut self,
        function: &FunctionRef,
        label: Option<&str>,
        shape: Shape,
        keeps_result: bool,
    ) -> Checked {
        let label = self.label(label.unwrap_or(function.name.as_str()));
        let callee = self.lookup(&label, function)?;
        self.deepest = self.deepest.max(self.depth + callee.depth);
        let mismatch = |misfit: &Misfit, taken: &dyn std::fmt::Display| {
            InvalidPipeline::Mismatch(Box::new(Mismatch {
                step: label.clone(),
                taken: taken.to_string(),
                given: shown(&shape),
                at: misfit.path(),
                found: misfit.found().to_owned(),
                expected: misfit.expected().to_owned(),
            }))
        };
        let feed = match &callee.takes {
            Takes::Payload => match &shape {
                Shape::Payload => Feed::Payload(None),
                Shape::Nothing => return Err(unsuitable(&label, &shape, "and takes a payload")),
                Shape::Value(_)
                | Shape::Constant(_)
                | Shape::Record(_)
                | Shape::Tuple(_)
                | Shape::List(_) => {
                    let (ty, conversion) = settle(&shape, &label)?;
                    Feed::Payload(Some((conversion, ty)))
                }
            },
            Takes::Values(params) => match params.as_slice() {
                [] => Feed::Nothing,
                [(_, ty)] => {
                    let conversion = fit_whole(&shape, ty);
                    Feed::One(conversion.map_err(|misfit| mismatch(&misfit, &Shape::Value(ty.clone())))?)
                }
                params => {
                    let record = Type::Record(params.into());
                    let tuple = Type::Tuple(params.iter().map(|(_, ty)| ty.clone()).collect());
                    let by_order = matches!(&shape, Shape::Tuple(_) | Shape::Value(Type::Tuple(_)));
                    let taken = if by_order { tuple } else { record };
                    let conversion = fit(&shape, &taken);
                    Feed::Several(conversion.map_err(|misfit| mismatch(&misfit, &Shape::Value(taken)))?)
                }
            },
        };
        let result = if keeps_result { callee.result() } else { None };
        let keeps_result = result.is_some();
        if let (false, Some(err)) = (keeps_result, &callee.fails) {
            self.fails.push((label.clone(), err.clone()));
        }
        let gives = result.map_or_else(|| callee.gives.shape(), Shape::Value);
        let view = View {
            kind: "call".to_owned(),
            label: label.clone(),
            function: Some(function.to_string()),
            takes: shown(&shape),
            gives: shown(&gives),
            inner: Vec::new(),
        };
        let step = CallStep { feed, keeps_result };
        self.calls.push(Call { label, function: function.clone(), callee, step });
        let index = self.calls.len() - 1;
        Ok((self.add(Node::Call(index)), gives, view))
    }

    /// A label that no other step has.
    fn label(&mut self, wanted: &str) -> String {
        let mut label = wanted.to_owned();
        let mut count = 1;
        while !self.labels.insert(label.clone()) {
            count += 1;
            label = format!("{wanted}-{count}");
        }
        label
    }

    fn group(&mut self, by: &Path, each: &Step, shape: &Shape) -> Checked {
        let item = item_of(shape).ok_or_else(|| unsuitable("group", shape, "which is no list"))?;
        let (ty, items) = settle(&item, "group")?;
        let (path, key) = select(&Shape::Value(ty.clone()), by)?;
        if !matches!(&key, Shape::Value(key) if is_key(key)) {
            let reason = format!(
                "and `{by}` of it is `{key}`, which is no key: take a string, char, enum, bool or integer"
            );
            return Err(unsuitable("group", &item, &reason));
        }
        let (index, value, inner) = self.step(each, Shape::Value(Type::list(ty)), false)?;
        if value == Shape::Nothing {
            return Err(unsuitable("group", &value, "which can't be a field"));
        }
        let fields = vec![("key".to_owned(), key), ("value".to_owned(), value)];
        let gives = Shape::List(Box::new(Shape::Record(fields)));
        let view = View {
            kind: "group".to_owned(),
            label: by.to_string(),
            function: None,
            takes: shown(shape),
            gives: shown(&gives),
            inner: vec![(None, inner)],
        };
        Ok((self.add(Node::Group { items, by: path, each: index }), gives, view))
    }

    fn choice(&mut self, written: &[(String, Step)], shape: &Shape, keeps_result: bool) -> Checked {
        let cases = cases_of(shape).ok_or_else(|| {
            unsuitable("choice", shape, "which is no variant, enum, option, result or bool")
        })?;
        if let Some((name, _)) = written.iter().find(|(name, _)| !cases.iter().any(|(case, _)| case == name))
        {
            return Err(unsuitable("choice", shape, &format!("which has no case `{name}`")));
        }
        let missing: Vec<_> = cases
            .iter()
            .filter(|(case, _)| !written.iter().any(|(name, _)| name == case))
            .map(|(case, _)| format!("`{case}`"))
            .collect();
        if !missing.is_empty() {
            let reason = format!("and says nothing of its case {}", missing.join(", "));
            return Err(unsuitable("choice", shape, &reason));
        }
        let (mut branches, mut shapes, mut inner) = (Vec::new(), Vec::new(), Vec::new());
        for (name, step) in written {
            let payload =
                cases.iter().find(|(case, _)| case == name).and_then(|(_, payload)| payload.clone());
            let payload = payload.map_or(Shape::Nothing, Shape::Value);
            let (index, gives, view) = self.step(step, payload, keeps_result)?;
            branches.push((name.clone(), index));
            shapes.push(gives);
            inner.push((Some(name.clone()), view));
        }
        let (gives, conversions) = join(written, &shapes)?;
        let branches = branches.into_iter().zip(conversions);
        let branches = branches.map(|((name, index), conversion)| (name, index, conversion)).collect();
        let view = View {
            kind: "choice".to_owned(),
            label: String::new(),
            function: None,
            takes: shown(shape),
            gives: shown(&gives),
            inner,
        };
        Ok((self.add(Node::Choice(branches)), gives, view))
    }

    /// What the pipeline fails with.
    fn errors(&self) -> (Option<Option<Type>>, Errors) {
        let Some((_, first)) = self.fails.first() else { return (None, Errors::Alike) };
        if self.fails.iter().all(|(_, err)| err == first) {
            return (Some(first.clone()), Errors::Alike);
        }
        (Some(Some(Type::Variant(self.fails.iter().cloned().collect()))), Errors::ByStep)
    }
}

/// Whether this step chooses between `ok` and `err`.
fn chooses_by_result(step: &Step) -> bool {
    match step {
        Step::Choice(cases) => cases.iter().all(|(name, _)| name == "ok" || name == "err"),
        Step::Sequence(steps) => steps.first().is_some_and(chooses_by_result),
        Step::Call { .. }
        | Step::All(_)
        | Step::AllOf(_)
        | Step::Each(_)
        | Step::Group { .. }
        | Step::Select(_)
        | Step::Constant(_) => false,
    }
}

/// The one type of `shape`, and how it becomes that.
fn settle(shape: &Shape, step: &str) -> Result<(Type, Conversion), InvalidPipeline> {
    let ty = shape.ty().ok_or_else(|| unsuitable(step, shape, "which has no type by itself"))?;
    match fit(shape, &ty) {
        Ok(conversion) => Ok((ty, conversion)),
        Err(misfit) => {
            let reason = format!("of which `{}` is no `{}`", misfit.found(), misfit.expected());
            Err(unsuitable(step, shape, &reason))
        }
    }
}

/// What all branches give, and how each becomes that.
fn join(
    written: &[(String, Step)],
    shapes: &[Shape],
) -> Result<(Shape, Vec<Option<Conversion>>), InvalidPipeline> {
    for same in [Shape::Nothing, Shape::Payload] {
        if shapes.iter().all(|shape| *shape == same) {
            return Ok((same, vec![None; shapes.len()]));
        }
    }
    for candidate in shapes.iter().filter_map(Shape::ty) {
        let fitted: Result<Vec<_>, _> = shapes.iter().map(|shape| fit(shape, &candidate).map(Some)).collect();
        if let Ok(conversions) = fitted {
            return Ok((Shape::Value(candidate), conversions));
        }
    }
    let given = written.iter().zip(shapes).map(|((name, _), shape)| format!("`{name}` gives `{shape}`"));
    let reason = "which aren't of one type".to_owned();
    Err(unsuitable("choice", &given.collect::<Vec<_>>().join(", "), &reason))
}

fn item_of(shape: &Shape) -> Option<Shape> {
    match shape {
        Shape::List(item) => Some((**item).clone()),
        Shape::Value(Type::List(element)) => Some(Shape::Value((**element).clone())),
        Shape::Constant(_) => {
            let Type::List(element) = shape.ty()? else { return None };
            Some(Shape::Value((*element).clone()))
        }
        Shape::Nothing | Shape::Payload | Shape::Value(_) | Shape::Record(_) | Shape::Tuple(_) => None,
    }
}

/// What a value can be chosen by.
fn cases_of(shape: &Shape) -> Option<Vec<Case>> {
    let plain = |name: &str| (name.to_owned(), None);
    let Shape::Value(ty) = shape else { return None };
    if let Type::Variant(cases) = ty {
        return Some(cases.to_vec());
    }
    if let Type::Enum(names) = ty {
        return Some(names.iter().map(|name| plain(name)).collect());
    }
    if let Type::Option(inner) = ty {
        return Some(vec![plain("none"), ("some".to_owned(), Some((**inner).clone()))]);
    }
    if let Type::Result(outcome) = ty {
        let Outcome { ok, err } = &**outcome;
        return Some(vec![("ok".to_owned(), ok.clone()), ("err".to_owned(), err.clone())]);
    }
    (*ty == Type::Bool).then(|| vec![plain("true"), plain("false")])
}

fn is_key(ty: &Type) -> bool {
    use Type::{Bool, Char, Enum, S8, S16, S32, S64, String, U8, U16, U32, U64};
    matches!(ty, Bool | Char | Enum(_) | S8 | S16 | S32 | S64 | String | U8 | U16 | U32 | U64)
}

/// The part of `shape` at the end of `path`, and the number of each part on the way.
fn select(shape: &Shape, path: &Path) -> Result<(Vec<usize>, Shape), InvalidPipeline> {
    let (mut at, mut indices) = (shape.clone(), Vec::new());
    for part in &path.0 {
        let found = match &at {
            Shape::Record(fields) => named(fields.iter(), part),
            Shape::Tuple(parts) => numbered(parts.iter().cloned(), part),
            Shape::Value(Type::Record(fields)) => {
                named(fields.iter(), part).map(|(index, ty)| (index, Shape::Value(ty)))
            }
            Shape::Value(Type::Tuple(types)) => {
                numbered(types.iter().cloned(), part).map(|(index, ty)| (index, Shape::Value(ty)))
            }
            Shape::Nothing | Shape::Payload | Shape::Value(_) | Shape::Constant(_) | Shape::List(_) => None,
        };
        let Some((index, inner)) = found else {
            let reason = if at == *shape {
                format!("which has no part `{part}`")
            } else {
                format!("of which `{at}` has no part `{part}`")
            };
            return Err(unsuitable(&format!("select {path}"), shape, &reason));
        };
        indices.push(index);
        at = inner;
    }
    Ok((indices, at))
}

fn named<'a, T: Clone + 'a>(fields: impl Iterator<Item = &'a (String, T)>, name: &str) -> Option<(usize, T)> {
    let mut fields = fields.enumerate();
    fields.find(|(_, (field, _))| field == name).map(|(index, (_, inner))| (index, inner.clone()))
}

fn numbered<T>(mut parts: impl Iterator<Item = T>, number: &str) -> Option<(usize, T)> {
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let index = number.parse().ok().filter(|_| is_number)?;
    Some((index, parts.nth(index)?))
}

/// A type as it is shown, or its beginning.
fn shown(shape: &Shape) -> String {
    codec::excerpt(&shape.to_string())
}

fn unsuitable(step: &str, given: &impl ToString, reason: &str) -> InvalidPipeline {
    InvalidPipeline::Unsuitable {
        step: step.to_owned(),
        given: codec::excerpt(&given.to_string()),
        reason: reason.to_owned(),
    }
}
