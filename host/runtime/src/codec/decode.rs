//! JSON to values, driven by the type: no tree of the document is built in between.
//!
//! Where a value doesn't fit, the innermost visitor records what it expected and found, and each
//! level adds its step to the pointer as the error passes; nothing is spent on paths that decode.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wasmtime::component::types::{OptionType, Record, ResultType, Variant};
use wasmtime::component::{Type, Val};

use super::{Params, wit_text};

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
        /// The WIT type there.
        expected: String,
        /// What stands there instead.
        found: String,
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
pub(crate) fn decode(params: &Params, json: &[u8]) -> Result<Vec<Val>, DecodeError> {
    let trace = Trace::default();
    match params {
        [] if json.iter().all(u8::is_ascii_whitespace) => Ok(Vec::new()),
        [] => run(json, Nothing { trace: &trace }, &trace),
        [(_, ty)] => Ok(vec![run(json, Seed { ty, trace: &trace }, &trace)?]),
        params => run(json, Arguments { params, trace: &trace }, &trace),
    }
}

fn run<'de, S: DeserializeSeed<'de>>(
    json: &'de [u8],
    seed: S,
    trace: &Trace,
) -> Result<S::Value, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let decoded = seed.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    decoded.map_err(|error| match trace.0.take() {
        Some(mismatch) => mismatch.into_error(),
        None => {
            let text = error.to_string();
            // serde_json appends the position, which is given apart.
            let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
            DecodeError::Syntax { message, line: error.line(), column: error.column() }
        }
    })
}

/// The mismatch found, if any, shared by the visitors of one document.
#[derive(Default)]
struct Trace(RefCell<Option<Mismatch>>);

struct Mismatch {
    /// Innermost first.
    steps: Vec<String>,
    expected: String,
    found: String,
}

impl Mismatch {
    fn into_error(self) -> DecodeError {
        let mut at = String::new();
        for step in self.steps.iter().rev() {
            at.push('/');
            at.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        DecodeError::Mismatch { at, expected: self.expected, found: self.found }
    }
}

impl Trace {
    fn mismatch<E: de::Error>(&self, expected: String, found: impl Into<String>) -> E {
        self.0.borrow_mut().get_or_insert_with(|| Mismatch {
            steps: Vec::new(),
            expected,
            found: found.into(),
        });
        E::custom("mismatch")
    }

    /// Adds a step to the pointer of an error on its way out.
    fn at<E>(&self, step: impl FnOnce() -> String) -> impl FnOnce(E) -> E {
        move |error| {
            if let Some(mismatch) = self.0.borrow_mut().as_mut() {
                mismatch.steps.push(step());
            }
            error
        }
    }
}

/// Decodes one value of `ty`.
#[derive(Clone, Copy)]
struct Seed<'a> {
    ty: &'a Type,
    trace: &'a Trace,
}

impl<'a> Seed<'a> {
    fn of(self, ty: &'a Type) -> Self {
        Self { ty, ..self }
    }

    fn wrong<E: de::Error>(self, found: impl Into<String>) -> E {
        self.trace.mismatch(wit_text(self.ty), found)
    }

    fn integer<T, E: de::Error>(
        self,
        value: impl TryInto<T> + fmt::Display + Copy,
        make: fn(T) -> Val,
    ) -> Result<Val, E> {
        value.try_into().map(make).map_err(|_| self.wrong(format!("{value}, which is out of range")))
    }

    fn number<E, N>(self, value: N, float: f64, what: &'static str) -> Result<Val, E>
    where
        E: de::Error,
        N: fmt::Display
            + Copy
            + TryInto<i8>
            + TryInto<u8>
            + TryInto<i16>
            + TryInto<u16>
            + TryInto<i32>
            + TryInto<u32>
            + TryInto<i64>
            + TryInto<u64>,
    {
        match self.ty {
            Type::S8 => self.integer(value, Val::S8),
            Type::U8 => self.integer(value, Val::U8),
            Type::S16 => self.integer(value, Val::S16),
            Type::U16 => self.integer(value, Val::U16),
            Type::S32 => self.integer(value, Val::S32),
            Type::U32 => self.integer(value, Val::U32),
            Type::S64 => self.integer(value, Val::S64),
            Type::U64 => self.integer(value, Val::U64),
            Type::Float32 | Type::Float64 => self.float(float),
            _ => Err(self.wrong(what)),
        }
    }

    fn float<E: de::Error>(self, value: f64) -> Result<Val, E> {
        match self.ty {
            Type::Float64 => Ok(Val::Float64(value)),
            Type::Float32 => {
                #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what the type asks")]
                let narrow = value as f32;
                if narrow.is_infinite() {
                    return Err(self.wrong(format!("{value}, which is out of range")));
                }
                Ok(Val::Float32(narrow))
            }
            _ => Err(self.wrong("a number with a fraction or exponent")),
        }
    }

    fn special_float<E: de::Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(self.wrong("a string")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match self.ty {
            Type::Option(_) => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Val;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value of `{}`", wit_text(self.ty))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Val, E> {
        match self.ty {
            Type::Bool => Ok(Val::Bool(value)),
            _ => Err(self.wrong("a boolean")),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer given for a float is rounded to it")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Val, E> {
        self.number(value, value as f64, "a number")
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer given for a float is rounded to it")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Val, E> {
        self.number(value, value as f64, "a number")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Val, E> {
        self.float(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
        match self.ty {
            Type::String => Ok(Val::String(text.to_owned())),
            Type::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Ok(Val::Char(char)),
                    _ => Err(self.wrong("a string that isn't one character")),
                }
            }
            Type::S64 => match text.parse() {
                Ok(value) => Ok(Val::S64(value)),
                Err(_) => Err(self.wrong("a string that isn't such an integer")),
            },
            Type::U64 => match text.parse() {
                Ok(value) => Ok(Val::U64(value)),
                Err(_) => Err(self.wrong("a string that isn't such an integer")),
            },
            Type::Float64 => self.special_float(text).map(Val::Float64),
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities stay what they are")]
            Type::Float32 => self.special_float(text).map(|value| Val::Float32(value as f32)),
            Type::Enum(cases) => match cases.names().find(|name| *name == text) {
                Some(name) => Ok(Val::Enum(name.to_owned())),
                None => Err(self.wrong(format!("`{text}`"))),
            },
            Type::Variant(variant) => match variant.cases().find(|case| case.name == text) {
                Some(case) if case.ty.is_none() => Ok(Val::Variant(text.to_owned(), None)),
                Some(_) => Err(self.wrong(format!("`{text}` without its payload"))),
                None => Err(self.wrong(format!("`{text}`"))),
            },
            Type::Result(result) => match (text, result.ok(), result.err()) {
                ("ok", None, _) => Ok(Val::Result(Ok(None))),
                ("err", _, None) => Ok(Val::Result(Err(None))),
                _ => Err(self.wrong("a string")),
            },
            Type::List(list) if matches!(list.ty(), Type::U8) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Val::List(bytes.into_iter().map(Val::U8).collect())),
                Err(error) => Err(self.wrong(format!("a string that isn't base64 ({error})"))),
            },
            _ => Err(self.wrong("a string")),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Val, E> {
        Err(self.wrong("null"))
    }

    fn visit_none<E: de::Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let Type::Option(option) = self.ty else { return Err(self.wrong("a value")) };
        let inner = option.ty();
        let value = match &inner {
            Type::Option(inner) => deserializer.deserialize_map(Wrapped { seed: self, inner })?,
            inner => self.of(inner).deserialize(deserializer)?,
        };
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::List(list) => {
                let element = list.ty();
                Ok(Val::List(self.elements(&mut items, &element)?))
            }
            Type::FixedLengthList(list) => {
                let element = list.ty();
                let values = self.elements(&mut items, &element)?;
                if u32::try_from(values.len()) == Ok(list.len()) {
                    Ok(Val::FixedLengthList(values))
                } else {
                    Err(self.wrong(format!("an array of {}", values.len())))
                }
            }
            Type::Tuple(tuple) => {
                let mut values = Vec::with_capacity(tuple.types().len());
                for (index, ty) in tuple.types().enumerate() {
                    match items
                        .next_element_seed(self.of(&ty))
                        .map_err(self.trace.at(|| index.to_string()))?
                    {
                        Some(value) => values.push(value),
                        None => return Err(self.wrong(format!("an array of {index}"))),
                    }
                }
                if items.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(self.wrong("a longer array"));
                }
                Ok(Val::Tuple(values))
            }
            Type::Map(map) => {
                let (key, value) = (map.key(), map.value());
                let mut entries = Vec::new();
                while let Some(entry) = items
                    .next_element_seed(Pair { key: self.of(&key), value: self.of(&value) })
                    .map_err(self.trace.at(|| entries.len().to_string()))?
                {
                    entries.push(entry);
                }
                Ok(Val::Map(entries))
            }
            Type::Flags(flags) => {
                let mut set = Vec::new();
                while let Some(name) = items.next_element::<Cow<'_, str>>()? {
                    match flags.names().find(|known| *known == name) {
                        Some(known) if set.iter().any(|seen| seen == known) => {
                            return Err(self.wrong(format!("`{name}` twice")));
                        }
                        Some(known) => set.push(known.to_owned()),
                        None => return Err(self.wrong(format!("`{name}`"))),
                    }
                }
                // In the type's order, whatever the document's: equal sets are equal values.
                let names = flags.names().filter(|name| set.iter().any(|seen| seen == name));
                Ok(Val::Flags(names.map(str::to_owned).collect()))
            }
            _ => Err(self.wrong("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::Record(record) => self.record(record, &mut entries),
            Type::Variant(variant) => self.variant(variant, &mut entries),
            Type::Result(result) => self.result(result, &mut entries),
            Type::Map(map) if matches!(map.key(), Type::String) => {
                let ty = map.value();
                let mut values: Vec<(Val, Val)> = Vec::new();
                while let Some(key) = entries.next_key::<String>()? {
                    let value =
                        entries.next_value_seed(self.of(&ty)).map_err(self.trace.at(|| key.clone()))?;
                    values.push((Val::String(key), value));
                }
                Ok(Val::Map(values))
            }
            _ => Err(self.wrong("an object")),
        }
    }
}

impl<'a> Seed<'a> {
    fn elements<'de, A: SeqAccess<'de>>(self, items: &mut A, ty: &Type) -> Result<Vec<Val>, A::Error> {
        let seed = Seed { ty, trace: self.trace };
        let mut values = Vec::new();
        while let Some(value) =
            items.next_element_seed(seed).map_err(self.trace.at(|| values.len().to_string()))?
        {
            values.push(value);
        }
        Ok(values)
    }

    fn record<'de, A: MapAccess<'de>>(self, record: &Record, entries: &mut A) -> Result<Val, A::Error> {
        let mut values: Vec<Option<Val>> = record.fields().map(|_| None).collect();
        // Documents mostly keep the type's order: look there first.
        let mut next = 0;
        while let Some(key) = entries.next_key::<Cow<'_, str>>()? {
            let in_order = record.fields().nth(next).filter(|field| field.name == key);
            let found = match in_order {
                Some(field) => Some((next, field)),
                None => record.fields().enumerate().find(|(_, field)| field.name == key),
            };
            let Some((index, field)) = found else {
                return Err(self.wrong(format!("an unknown field `{key}`")));
            };
            if values[index].is_some() {
                return Err(self.wrong(format!("the field `{key}` twice")));
            }
            let seed = Seed { ty: &field.ty, trace: self.trace };
            let value = entries.next_value_seed(seed).map_err(self.trace.at(|| key.into_owned()))?;
            values[index] = Some(value);
            next = index + 1;
        }
        let mut fields = Vec::with_capacity(values.len());
        for (field, value) in record.fields().zip(values) {
            let value = match value {
                Some(value) => value,
                None if matches!(field.ty, Type::Option(_)) => Val::Option(None),
                None => return Err(self.wrong(format!("no field `{}`", field.name))),
            };
            fields.push((field.name.to_owned(), value));
        }
        Ok(Val::Record(fields))
    }

    /// The payload of the only entry of an object, or `None` where the case has none.
    fn payload<'de, A: MapAccess<'de>>(
        self,
        entries: &mut A,
        name: &str,
        ty: Option<&Type>,
    ) -> Result<Option<Box<Val>>, A::Error> {
        let payload = match ty {
            Some(ty) => {
                let seed = Seed { ty, trace: self.trace };
                let value = entries.next_value_seed(seed).map_err(self.trace.at(|| name.to_owned()))?;
                Some(Box::new(value))
            }
            None => {
                entries
                    .next_value::<()>()
                    .map_err(|_| self.wrong::<A::Error>(format!("a payload for `{name}`, which has none")))?;
                None
            }
        };
        match entries.next_key::<Cow<'_, str>>()? {
            None => Ok(payload),
            Some(key) => Err(self.wrong(format!("a second key `{key}`"))),
        }
    }

    fn variant<'de, A: MapAccess<'de>>(self, variant: &Variant, entries: &mut A) -> Result<Val, A::Error> {
        let Some(key) = entries.next_key::<Cow<'_, str>>()? else {
            return Err(self.wrong("an empty object"));
        };
        let Some(case) = variant.cases().find(|case| case.name == key) else {
            return Err(self.wrong(format!("the case `{key}`")));
        };
        let payload = self.payload(entries, case.name, case.ty.as_ref())?;
        Ok(Val::Variant(case.name.to_owned(), payload))
    }

    fn result<'de, A: MapAccess<'de>>(self, result: &ResultType, entries: &mut A) -> Result<Val, A::Error> {
        let Some(key) = entries.next_key::<Cow<'_, str>>()? else {
            return Err(self.wrong("an empty object"));
        };
        match &*key {
            "ok" => Ok(Val::Result(Ok(self.payload(entries, "ok", result.ok().as_ref())?))),
            "err" => Ok(Val::Result(Err(self.payload(entries, "err", result.err().as_ref())?))),
            _ => Err(self.wrong(format!("the key `{key}`"))),
        }
    }
}

/// `{"some": value}`, for an option in an option.
struct Wrapped<'a> {
    seed: Seed<'a>,
    inner: &'a OptionType,
}

impl<'de> Visitor<'de> for Wrapped<'_> {
    type Value = Val;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the key `some`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        let ty = Type::Option(self.inner.clone());
        match entries.next_key::<Cow<'_, str>>()?.as_deref() {
            Some("some") => match self.seed.payload(&mut entries, "some", Some(&ty))? {
                Some(value) => Ok(*value),
                None => Err(self.seed.wrong("no value")),
            },
            Some(_) | None => Err(self.seed.wrong("an object without `some`")),
        }
    }
}

/// `[key, value]`.
struct Pair<'a> {
    key: Seed<'a>,
    value: Seed<'a>,
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(Val, Val), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of key and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(Val, Val), A::Error> {
        let trace = self.key.trace;
        let key = items.next_element_seed(self.key).map_err(trace.at(|| "0".to_owned()))?;
        let value = items.next_element_seed(self.value).map_err(trace.at(|| "1".to_owned()))?;
        match (key, value, items.next_element::<de::IgnoredAny>()?) {
            (Some(key), Some(value), None) => Ok((key, value)),
            _ => Err(trace.mismatch("tuple<_, _>".to_owned(), "an array of another length")),
        }
    }
}

/// The arguments of a function of several parameters.
struct Arguments<'a> {
    params: &'a Params,
    trace: &'a Trace,
}

impl Arguments<'_> {
    fn expected(&self) -> String {
        let fields: Vec<String> =
            self.params.iter().map(|(name, ty)| format!("{name}: {}", wit_text(ty))).collect();
        format!("record {{ {} }}", fields.join(", "))
    }
}

impl<'de> DeserializeSeed<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Val>, D::Error> {
        let (trace, expected) = (self.trace, self.expected());
        deserializer.deserialize_any(self).map_err(|error| {
            // A scalar comes here as serde's own type error; a syntax error keeps its position.
            let error: D::Error = error;
            if trace.0.borrow().is_none() && error.to_string().starts_with("invalid type") {
                return trace.mismatch(expected, "something that is neither an object nor an array");
            }
            error
        })
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the parameters by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<Val>, A::Error> {
        let mut values: Vec<Option<Val>> = self.params.iter().map(|_| None).collect();
        while let Some(key) = entries.next_key::<Cow<'_, str>>()? {
            let Some(index) = self.params.iter().position(|(name, _)| *name == key) else {
                return Err(self.trace.mismatch(self.expected(), format!("an unknown parameter `{key}`")));
            };
            if values[index].is_some() {
                return Err(self.trace.mismatch(self.expected(), format!("the parameter `{key}` twice")));
            }
            let seed = Seed { ty: &self.params[index].1, trace: self.trace };
            values[index] = Some(entries.next_value_seed(seed).map_err(self.trace.at(|| key.into_owned()))?);
        }
        let mut arguments = Vec::with_capacity(values.len());
        for ((name, ty), value) in self.params.iter().zip(values) {
            arguments.push(match value {
                Some(value) => value,
                None if matches!(ty, Type::Option(_)) => Val::Option(None),
                None => {
                    return Err(self.trace.mismatch(self.expected(), format!("no parameter `{name}`")));
                }
            });
        }
        Ok(arguments)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        let mut arguments = Vec::with_capacity(self.params.len());
        for (index, (_, ty)) in self.params.iter().enumerate() {
            let seed = Seed { ty, trace: self.trace };
            match items.next_element_seed(seed).map_err(self.trace.at(|| index.to_string()))? {
                Some(value) => arguments.push(value),
                None => return Err(self.trace.mismatch(self.expected(), format!("an array of {index}"))),
            }
        }
        if items.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(self.trace.mismatch(self.expected(), "a longer array"));
        }
        Ok(arguments)
    }
}

/// The input of a function without parameters.
struct Nothing<'a> {
    trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Nothing<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Val>, D::Error> {
        let trace = self.trace;
        deserializer.deserialize_any(self).map_err(|error| {
            let error: D::Error = error;
            if error.to_string().starts_with("invalid type") {
                return trace.mismatch("nothing".to_owned(), "a value");
            }
            error
        })
    }
}

impl<'de> Visitor<'de> for Nothing<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("nothing: `null`, `{}` or `[]`")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<Val>, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<Val>, A::Error> {
        match entries.next_key::<Cow<'_, str>>()? {
            None => Ok(Vec::new()),
            Some(key) => {
                Err(self.trace.mismatch("nothing".to_owned(), format!("an unknown parameter `{key}`")))
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        match items.next_element::<de::IgnoredAny>()? {
            None => Ok(Vec::new()),
            Some(_) => Err(self.trace.mismatch("nothing".to_owned(), "an array with an item")),
        }
    }
}
