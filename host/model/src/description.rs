//! The description of a pipeline, as its author writes it: a tree of a few kinds of steps.
//!
//! ```text
//! "name", "name@v3"               calls a function; also {"call": "name", "as": "label"}
//! [step, …]                       runs steps one after the other; also {"sequence": […]}
//! {"all": {"field": step, …}}     runs each on the same value and gathers a record; with an array, a tuple
//! {"each": step}                  runs on every item of a list and keeps the order
//! {"group": {"by": "field", "each": step}}    groups the items of a list by a key; each group is a list
//! {"choice": {"case": step, …}}   runs the step of the value's case: of a variant, enum, option (some, none),
//!                                 result (ok, err) or bool (true, false)
//! {"select": "field.0"}           takes a field of a record or part of a tuple; "." is the whole value
//! {"constant": json}              gives this value, of the type that the next step takes
//! ```
//!
//! `nebula.toml` has the same in TOML's tables.
//!
//! Invariant: [`Pipeline::check`] bounds depth and size in any notation. Whether types fit is
//! checked by the `pipeline` crate.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{FunctionName, FunctionRef};

/// Maximum nesting of steps.
pub const DEPTH_MAX: usize = 32;

/// Maximum nesting of values in a constant.
const CONSTANT_DEPTH_MAX: usize = 16;

/// Maximum number of steps of one pipeline.
pub const STEPS_MAX: usize = 256;

/// Default of [`Pipeline::calls_max`].
pub const CALLS_MAX: u64 = 100_000;

/// Maximum length of the names of fields and cases, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Maximum length of a refused name in an error, characters.
const NAME_EXCERPT_CHARS_MAX: usize = 80;

/// The description of a pipeline.
///
/// ```
/// use nebula_model::description::{Pipeline, Step};
///
/// let json = r#"{"steps": ["csv-stats", {"select": "rows"}]}"#;
/// let pipeline: Pipeline = serde_json::from_str(json).unwrap();
/// pipeline.check().unwrap();
///
/// let called: Vec<_> = pipeline.steps.calls().into_iter().map(ToString::to_string).collect();
/// assert_eq!(called, ["csv-stats"]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The input type in WIT, or `payload`, if it doesn't follow from the first steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The root of the tree.
    pub steps: Step,
    /// Maximum number of calls, nested pipelines included; default [`CALLS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_max: Option<u64>,
    /// When a chain runs as one component.
    #[serde(default, skip_serializing_if = "Fuse::is_auto")]
    pub fuse: Fuse,
}

/// When a chain of typed functions runs as the one component that it is linked into. The answers
/// are the same either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fuse {
    /// If measured to be faster than single steps, whose results are cached separately.
    #[default]
    Auto,
    /// Whenever the chain can be linked.
    Always,
    /// Never.
    Never,
}

impl Fuse {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// A step, with the steps inside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Calls a function.
    Call {
        /// The function.
        function: FunctionRef,
        /// The step's name, if it isn't the function's.
        label: Option<String>,
    },
    /// Runs steps in order, each on the output of the one before.
    Sequence(Vec<Step>),
    /// Runs every step on the same value and gathers a record.
    All(Vec<NamedStep>),
    /// Runs every step on the same value and gathers a tuple.
    AllOf(Vec<Step>),
    /// Runs the step on every item of a list.
    Each(Box<Step>),
    /// Groups the items of a list by a key.
    Group {
        /// The path to the key.
        by: Path,
        /// The step that runs on the list of each key's items.
        each: Box<Step>,
    },
    /// Runs the step of the value's case, on its payload.
    Choice(Vec<NamedStep>),
    /// Takes a part of the value.
    Select(Path),
    /// Gives a fixed value.
    Constant(Arc<serde_json::Value>),
}

/// A step for a field of a record, or for a case.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedStep {
    /// The name of the field or case.
    pub name: String,
    /// The step.
    pub step: Step,
}

/// The path to a part of a value: names of fields and positions in tuples. Empty for the whole
/// value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<String>);

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { formatter.write_str(".") } else { formatter.write_str(&self.0.join(".")) }
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self(text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

/// Reasons to refuse a description, independent of types.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidDescription {
    /// Steps are nested deeper than [`DEPTH_MAX`].
    #[error("steps are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// There are more steps than [`STEPS_MAX`].
    #[error("the pipeline has more than {STEPS_MAX} steps")]
    TooManySteps,
    /// A field, case or label isn't a name in WIT.
    #[error(
        "`{0}` is not a valid name: use words of a-z and 0-9 with `-` between them, each beginning with a letter"
    )]
    Name(String),
    /// Two fields or cases have the same name.
    #[error("duplicate name `{0}`")]
    DuplicateName(String),
    /// A constant nests too many levels of values.
    #[error("a constant is nested more than {CONSTANT_DEPTH_MAX} deep")]
    ConstantTooDeep,
    /// An `all` or `choice` has no steps.
    #[error("`{0}` is empty")]
    Empty(&'static str),
}

impl Pipeline {
    /// Checks names and the bounds of this module.
    ///
    /// # Errors
    /// [`InvalidDescription`] for the first violation.
    pub fn check(&self) -> Result<(), InvalidDescription> {
        let mut steps_left = STEPS_MAX;
        self.steps.check(DEPTH_MAX, &mut steps_left)
    }
}

impl Step {
    fn check(&self, depth_left: usize, steps_left: &mut usize) -> Result<(), InvalidDescription> {
        let depth_left = depth_left.checked_sub(1).ok_or(InvalidDescription::TooDeep)?;
        *steps_left = steps_left.checked_sub(1).ok_or(InvalidDescription::TooManySteps)?;
        match self {
            Self::Call { label: Some(label), .. } => {
                // The default label is a function's name, so the same rules apply.
                label.parse::<FunctionName>().map_err(|_| invalid_name(label))?;
            }
            Self::All(branches) if branches.is_empty() => return Err(InvalidDescription::Empty("all")),
            Self::AllOf(branches) if branches.is_empty() => return Err(InvalidDescription::Empty("all")),
            Self::Choice(cases) if cases.is_empty() => return Err(InvalidDescription::Empty("choice")),
            Self::All(named) | Self::Choice(named) => {
                if named.len() > STEPS_MAX {
                    return Err(InvalidDescription::TooManySteps);
                }
                let mut seen = HashSet::new();
                for NamedStep { name, .. } in named {
                    check_name(name)?;
                    if !seen.insert(name) {
                        return Err(InvalidDescription::DuplicateName(name.clone()));
                    }
                }
            }
            Self::Constant(value) if !is_shallow(value, CONSTANT_DEPTH_MAX) => {
                return Err(InvalidDescription::ConstantTooDeep);
            }
            Self::Call { label: None, .. }
            | Self::Sequence(_)
            | Self::AllOf(_)
            | Self::Each(_)
            | Self::Group { .. }
            | Self::Select(_)
            | Self::Constant(_) => {}
        }
        self.inner().into_iter().try_for_each(|step| step.check(depth_left, steps_left))
    }

    /// Returns the steps directly inside this one.
    pub fn inner(&self) -> Vec<&Step> {
        match self {
            Self::Call { .. } | Self::Select(_) | Self::Constant(_) => Vec::new(),
            Self::Sequence(steps) | Self::AllOf(steps) => steps.iter().collect(),
            Self::All(named) | Self::Choice(named) => named.iter().map(|named| &named.step).collect(),
            Self::Each(step) | Self::Group { each: step, .. } => vec![step],
        }
    }

    /// Replaces every function that is called. The labels of steps stay the same.
    pub fn rename(&mut self, replacement: &impl Fn(&FunctionRef) -> FunctionRef) {
        match self {
            Self::Call { function, label } => {
                let renamed = replacement(function);
                label.get_or_insert_with(|| function.name.as_str().to_owned());
                *function = renamed;
            }
            Self::Sequence(steps) | Self::AllOf(steps) => {
                steps.iter_mut().for_each(|step| step.rename(replacement))
            }
            Self::All(named) | Self::Choice(named) => {
                named.iter_mut().for_each(|named| named.step.rename(replacement));
            }
            Self::Each(step) | Self::Group { each: step, .. } => step.rename(replacement),
            Self::Select(_) | Self::Constant(_) => {}
        }
    }

    /// Returns the functions that are called, in the order written, with repetitions.
    pub fn calls(&self) -> Vec<&FunctionRef> {
        if let Self::Call { function, .. } = self {
            return vec![function];
        }
        self.inner().into_iter().flat_map(Self::calls).collect()
    }
}

fn is_shallow(value: &serde_json::Value, depth_left: usize) -> bool {
    let Some(depth_left) = depth_left.checked_sub(1) else { return false };
    match value {
        serde_json::Value::Array(items) => items.iter().all(|item| is_shallow(item, depth_left)),
        serde_json::Value::Object(fields) => fields.values().all(|field| is_shallow(field, depth_left)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => true,
    }
}

/// Checks a name by WIT's rule, `[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*`, and its length.
fn check_name(name: &str) -> Result<(), InvalidDescription> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_valid = name.len() <= NAME_BYTES_MAX && name.split('-').all(is_word);
    if is_valid { Ok(()) } else { Err(invalid_name(name)) }
}

fn invalid_name(name: &str) -> InvalidDescription {
    InvalidDescription::Name(name.chars().take(NAME_EXCERPT_CHARS_MAX).collect())
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Serializes as a map, in order.
        struct Named<'a>(&'a [NamedStep]);
        impl Serialize for Named<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|NamedStep { name, step }| (name, step)))
            }
        }
        #[derive(Serialize)]
        struct Grouped<'a> {
            by: String,
            each: &'a Step,
        }
        fn only<S: Serializer>(serializer: S, kind: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(kind, value)?;
            map.end()
        }
        match self {
            Self::Call { function, label: None } => serializer.collect_str(function),
            Self::Call { function, label: Some(label) } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("call", &function.to_string())?;
                map.serialize_entry("as", label)?;
                map.end()
            }
            Self::Sequence(steps) => serializer.collect_seq(steps),
            Self::All(named) => only(serializer, "all", &Named(named)),
            Self::AllOf(steps) => only(serializer, "all", steps),
            Self::Each(step) => only(serializer, "each", step),
            Self::Group { by, each } => only(serializer, "group", &Grouped { by: by.to_string(), each }),
            Self::Choice(named) => only(serializer, "choice", &Named(named)),
            Self::Select(path) => only(serializer, "select", &path.to_string()),
            Self::Constant(value) => only(serializer, "constant", &**value),
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a step: a function's name, a list of steps, or one of `call`, `sequence`, `all`, `each`, `group`, `choice`, `select`, `constant`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Step, E> {
        Ok(Step::Call { function: reference(text)?, label: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, steps: A) -> Result<Step, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(steps)).map(Step::Sequence)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Step, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Grouped {
            by: String,
            each: Step,
        }
        let Some(kind) = entries.next_key::<String>()? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let (mut step, mut label) = (None, None);
        let mut next = Some(kind);
        while let Some(kind) = next {
            if kind == "as" {
                label = Some(entries.next_value::<String>()?);
                next = entries.next_key()?;
                continue;
            }
            if step.is_some() {
                return Err(de::Error::custom(format!(
                    "a step has only one kind, and `{kind}` is a second one"
                )));
            }
            step = Some(match kind.as_str() {
                "call" => Step::Call { function: reference(&entries.next_value::<String>()?)?, label: None },
                "sequence" => Step::Sequence(entries.next_value()?),
                "all" => entries.next_value::<Branches>()?.0,
                "each" => Step::Each(entries.next_value()?),
                "group" => {
                    let Grouped { by, each } = entries.next_value()?;
                    Step::Group { by: Path::from(by.as_str()), each: Box::new(each) }
                }
                "choice" => Step::Choice(entries.next_value::<Named>()?.0),
                "select" => Step::Select(Path::from(entries.next_value::<String>()?.as_str())),
                "constant" => Step::Constant(Arc::new(entries.next_value()?)),
                other => return Err(de::Error::custom(format!("unknown kind of step `{other}`"))),
            });
            next = entries.next_key()?;
        }
        match (step, label) {
            (Some(Step::Call { function, .. }), label) => Ok(Step::Call { function, label }),
            (Some(step), None) => Ok(step),
            (Some(_), Some(_)) => Err(de::Error::custom("only a `call` can have a label (`as`)")),
            (None, _) => Err(de::Error::custom("the step has no kind")),
        }
    }
}

fn reference<E: de::Error>(text: &str) -> Result<FunctionRef, E> {
    text.parse().map_err(E::custom)
}

/// The steps of an `all`: [`Step::All`] or [`Step::AllOf`].
struct Branches(Step);

impl<'de> Deserialize<'de> for Branches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Branches;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("steps by name, or a list of steps")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, steps: A) -> Result<Branches, A::Error> {
                let steps = Vec::deserialize(de::value::SeqAccessDeserializer::new(steps))?;
                Ok(Branches(Step::AllOf(steps)))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Branches, A::Error> {
                let named = Named::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                Ok(Branches(Step::All(named.0)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A map of steps, in the order written.
struct Named(Vec<NamedStep>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Named;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("steps by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Named, A::Error> {
                let mut named = Vec::new();
                while let Some((name, step)) = entries.next_entry()? {
                    named.push(NamedStep { name, step });
                }
                Ok(Named(named))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
