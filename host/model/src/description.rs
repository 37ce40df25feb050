//! What a pipeline is, as its author writes it: a tree of a few kinds of steps.
//!
//! ```text
//! "name", "name@v3"               call a function; also {"call": "name", "as": "label"}
//! [step, …]                       one after the other; also {"sequence": […]}
//! {"all": {"field": step, …}}     each on the same value, gathered into a record; of an array, into a tuple
//! {"each": step}                  on every item of a list, the order kept
//! {"group": {"by": "field", "each": step}}    on the items of a list by a key: each key's items are a list
//! {"choice": {"case": step, …}}   by the case of a variant, enum, option (some, none), result (ok, err), bool (true, false)
//! {"select": "field.0"}           a field of a record or tuple; "." is the whole value
//! {"constant": json}              this value, of the type that the next step takes
//! ```
//!
//! In `nebula.toml` it is the same with TOML's tables.
//!
//! Invariant: what was read is within the bounds below, however it was written.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{FunctionName, FunctionRef};

/// Steps in one another.
pub const DEPTH_MAX: usize = 32;

/// Values in one another of a constant.
const CONSTANT_DEPTH_MAX: usize = 16;

/// Steps of one pipeline.
pub const STEPS_MAX: usize = 256;

/// A pipeline as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The type of what it takes, in WIT, or `payload`: for where the first step doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// What it does.
    pub steps: Step,
    /// How many calls it may make in all; [`CALLS_MAX`] unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_max: Option<u64>,
    /// Whether a chain runs as one component.
    #[serde(default, skip_serializing_if = "Fuse::is_auto")]
    pub fuse: Fuse,
}

/// Whether a chain of typed functions runs as the one component that it is linked to. It answers the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fuse {
    /// Where that has turned out to be faster than remembering its steps apart.
    #[default]
    Auto,
    /// Wherever it can be.
    Always,
    /// Not.
    Never,
}

impl Fuse {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Calls that a pipeline makes at most unless it says otherwise.
pub const CALLS_MAX: u64 = 100_000;

/// One step, and those inside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Calls a function.
    Call {
        /// Which.
        function: FunctionRef,
        /// What the step is called, if not by its function's name.
        label: Option<String>,
    },
    /// One after the other, each on what the one before gives.
    Sequence(Vec<Step>),
    /// Each on the same value, gathered by name.
    All(Vec<(String, Step)>),
    /// Likewise, gathered in order.
    AllOf(Vec<Step>),
    /// On every item of a list.
    Each(Box<Step>),
    /// On the items of a list, by a key.
    Group {
        /// The path to the key.
        by: Path,
        /// Done with the items of each key.
        each: Box<Step>,
    },
    /// By the value's case.
    Choice(Vec<(String, Step)>),
    /// A part of the value.
    Select(Path),
    /// A value of its own.
    Constant(Arc<serde_json::Value>),
}

/// The way to a part of a value: fields of records, numbers of tuples. Empty is the whole.
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

/// Why a description is none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidDescription {
    /// Too many steps in one another.
    #[error("its steps are more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Too many steps.
    #[error("it has more than {STEPS_MAX} steps")]
    TooManySteps,
    /// A field, case or label that WIT has no such name for.
    #[error(
        "`{0}` is no name: use words of a-z and 0-9, each beginning with a letter, with `-` between them"
    )]
    Name(String),
    /// Two fields, cases or labels of one name.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// A constant of many levels.
    #[error("a constant is more than {CONSTANT_DEPTH_MAX} deep")]
    ConstantTooDeep,
    /// `all` or `choice` of nothing.
    #[error("`{0}` is empty")]
    Empty(&'static str),
}

impl Pipeline {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`InvalidDescription`].
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
                // As functions have names, which it has unless it is given another.
                let name = label.parse::<FunctionName>();
                name.map_err(|_| InvalidDescription::Name(label.chars().take(80).collect()))?;
            }
            Self::All(branches) if branches.is_empty() => return Err(InvalidDescription::Empty("all")),
            Self::AllOf(branches) if branches.is_empty() => return Err(InvalidDescription::Empty("all")),
            Self::Choice(cases) if cases.is_empty() => return Err(InvalidDescription::Empty("choice")),
            Self::All(named) | Self::Choice(named) => {
                if named.len() > STEPS_MAX {
                    return Err(InvalidDescription::TooManySteps);
                }
                let mut known = HashSet::new();
                for (name, _) in named {
                    check_name(name)?;
                    if !known.insert(name) {
                        return Err(InvalidDescription::Twice(name.clone()));
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

    /// The steps in it.
    pub fn inner(&self) -> Vec<&Step> {
        match self {
            Self::Call { .. } | Self::Select(_) | Self::Constant(_) => Vec::new(),
            Self::Sequence(steps) | Self::AllOf(steps) => steps.iter().collect(),
            Self::All(named) | Self::Choice(named) => named.iter().map(|(_, step)| step).collect(),
            Self::Each(step) | Self::Group { each: step, .. } => vec![step],
        }
    }

    /// Has it call other functions, each in the place of one. What a step is called stays.
    pub fn rename(&mut self, other: &impl Fn(&FunctionRef) -> FunctionRef) {
        match self {
            Self::Call { function, label } => {
                let renamed = other(function);
                // Its label is its own, whatever it calls.
                label.get_or_insert_with(|| function.name.as_str().to_owned());
                *function = renamed;
            }
            Self::Sequence(steps) | Self::AllOf(steps) => {
                steps.iter_mut().for_each(|step| step.rename(other))
            }
            Self::All(named) | Self::Choice(named) => {
                named.iter_mut().for_each(|(_, step)| step.rename(other));
            }
            Self::Each(step) | Self::Group { each: step, .. } => step.rename(other),
            Self::Select(_) | Self::Constant(_) => {}
        }
    }

    /// The functions that it calls, in order, each as often as it is written.
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

/// As WIT has names: `[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*`. Longer than any is no use.
fn check_name(name: &str) -> Result<(), InvalidDescription> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.len() <= 64 && name.split('-').all(is_word) {
        return Ok(());
    }
    Err(InvalidDescription::Name(name.chars().take(80).collect()))
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Pairs as a map, in their order.
        struct Named<'a>(&'a [(String, Step)]);
        impl Serialize for Named<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, step)| (name, step)))
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
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
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
                return Err(de::Error::custom(format!("`{kind}` beside another kind of step")));
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
                other => return Err(de::Error::custom(format!("`{other}` is no kind of step"))),
            });
            next = entries.next_key()?;
        }
        match (step, label) {
            (Some(Step::Call { function, .. }), label) => Ok(Step::Call { function, label }),
            (Some(step), None) => Ok(step),
            (Some(_), Some(_)) => Err(de::Error::custom("only a `call` has a label of its own (`as`)")),
            (None, _) => Err(de::Error::custom("a step without a kind")),
        }
    }
}

fn reference<E: de::Error>(text: &str) -> Result<FunctionRef, E> {
    text.parse().map_err(E::custom)
}

/// Of `all`: a record's, or a tuple's.
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

/// A map in the order in which it is written.
struct Named(Vec<(String, Step)>);

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
                while let Some(entry) = entries.next_entry()? {
                    named.push(entry);
                }
                Ok(Named(named))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
