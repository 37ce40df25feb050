//! One value, by its type.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::trace::Trace;
use crate::encode::encode;
use crate::text::wit_excerpt;
use crate::types::{Case, Field, Outcome, Type};

/// Whole numbers below it are exact as doubles, whatever they were written like (RFC 8259 §6).
const EXACT_BELOW: f64 = (1_u64 << 53) as f64;

/// The largest `f32`, as it is written: a little more than it is.
pub(crate) const FLOAT32_MAX: f64 = 3.402_823_5e38;

/// Decodes one value of `ty`.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) ty: &'a Type,
    pub(super) trace: &'a Trace,
}

impl<'a> Seed<'a> {
    fn of<'b>(self, ty: &'b Type) -> Seed<'b>
    where
        'a: 'b,
    {
        Seed { ty, trace: self.trace }
    }

    fn wrong<E: de::Error>(self, found: &str) -> E {
        self.trace.wrong(self.ty, found)
    }

    fn integer<T, E: de::Error>(
        self,
        value: impl TryInto<T> + fmt::Display + Copy,
        make: fn(T) -> Val,
    ) -> Result<Val, E> {
        value.try_into().map(make).map_err(|_| self.wrong(&format!("{value}, which is out of range")))
    }

    fn number<E, N>(self, value: N, float: f64) -> Result<Val, E>
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
            _ => self.float(float),
        }
    }

    fn float<E: de::Error>(self, value: f64) -> Result<Val, E> {
        match self.ty {
            Type::Float64 => Ok(Val::Float64(value)),
            // As the schema says it.
            Type::Float32 if value.abs() > FLOAT32_MAX => {
                Err(self.wrong(&format!("{value:e}, which is out of range")))
            }
            #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what the type asks")]
            Type::Float32 => Ok(Val::Float32(value as f32)),
            _ => Err(self.wrong("a number")),
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

    /// An integer of 64 bits as digits, without the `+` that the standard library would take.
    fn digits<T: FromStr, E: de::Error>(self, text: &str) -> Result<T, E> {
        let value = if text.starts_with('+') { None } else { text.parse().ok() };
        value.ok_or_else(|| self.wrong("a string that isn't such an integer"))
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
        write!(formatter, "a value of `{}`", wit_excerpt(self.ty))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Val, E> {
        match self.ty {
            Type::Bool => Ok(Val::Bool(value)),
            _ => Err(self.wrong("a boolean")),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer given for a float is rounded to it")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Val, E> {
        self.number(value, value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer given for a float is rounded to it")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Val, E> {
        self.number(value, value as f64)
    }

    /// A number with a fraction or exponent, or a plain integer of more than 64 bits.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Val, E> {
        let integer = matches!(
            self.ty,
            Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64
        );
        if !integer {
            return self.float(value);
        }
        if value.fract() != 0.0 {
            return Err(self.wrong("a number with a fraction"));
        }
        if value.abs() >= EXACT_BELOW {
            return Err(self.wrong(&format!("{value:e}, which is out of range or not exact")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
        self.number(value as i64, value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
        match self.ty {
            Type::String => Ok(Val::String(self.trace.string(text)?)),
            Type::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Ok(Val::Char(char)),
                    _ => Err(self.wrong("a string that isn't one character")),
                }
            }
            Type::S64 => self.digits(text).map(Val::S64),
            Type::U64 => self.digits(text).map(Val::U64),
            Type::Float64 => self.special_float(text).map(Val::Float64),
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities stay what they are")]
            Type::Float32 => self.special_float(text).map(|value| Val::Float32(value as f32)),
            Type::Enum(cases) => match cases.iter().find(|name| *name == text) {
                Some(name) => Ok(Val::Enum(self.trace.string(name)?)),
                None => Err(self.wrong(&format!("`{text}`"))),
            },
            Type::Variant(cases) => match cases.iter().find(|(name, _)| name == text) {
                Some((_, None)) => Ok(Val::Variant(self.trace.string(text)?, None)),
                Some(_) => Err(self.wrong(&format!("`{text}` without its payload"))),
                None => Err(self.wrong(&format!("`{text}`"))),
            },
            Type::List(_) if self.ty.is_bytes() => match STANDARD.decode(text) {
                Ok(bytes) => {
                    let mut items = self.trace.vec(bytes.len())?;
                    items.extend(bytes.into_iter().map(Val::U8));
                    Ok(Val::List(items))
                }
                Err(error) => Err(self.wrong(&format!("a string that isn't base64 ({error})"))),
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
        let Type::Option(inner) = self.ty else { return Err(self.wrong("a value")) };
        let value = match &**inner {
            inner @ Type::Option(_) => deserializer
                .deserialize_map(Wrapped { seed: self, inner })
                .map_err(|error| self.trace.typed(error, || wit_excerpt(self.ty), "no object"))?,
            inner => self.of(inner).deserialize(deserializer)?,
        };
        Ok(Val::Option(Some(self.trace.boxed(value)?)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::List(element) => Ok(Val::List(self.elements(&mut items, element)?)),
            Type::Tuple(types) => {
                let mut values = self.trace.vec(types.len())?;
                for (index, ty) in types.iter().enumerate() {
                    let item = items.next_element_seed(self.of(ty));
                    match item.map_err(self.trace.at(|| index.to_string()))? {
                        Some(value) => values.push(value),
                        None => return Err(self.wrong(&format!("an array of {index}"))),
                    }
                }
                if items.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(self.wrong("a longer array"));
                }
                Ok(Val::Tuple(values))
            }
            Type::Map(map) => self.pairs(map, &mut items),
            Type::Flags(flags) => {
                let mut set = vec![false; flags.len()];
                let not_text =
                    |error| self.trace.typed(error, || wit_excerpt(self.ty), "an item that is no string");
                while let Some(Text(name)) = items.next_element().map_err(not_text)? {
                    match flags.iter().position(|known| *known == name) {
                        Some(index) if set[index] => return Err(self.wrong(&format!("`{name}` twice"))),
                        Some(index) => set[index] = true,
                        None => return Err(self.wrong(&format!("`{name}`"))),
                    }
                }
                // In the type's order, whatever the document's: equal sets are equal values.
                let mut names = self.trace.vec(set.iter().filter(|set| **set).count())?;
                for (name, _) in flags.iter().zip(set).filter(|(_, set)| *set) {
                    names.push(self.trace.string(name)?);
                }
                Ok(Val::Flags(names))
            }
            _ => Err(self.wrong("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::Record(fields) => self.record(fields, &mut entries),
            Type::Variant(cases) => self.variant(cases, &mut entries),
            Type::Result(result) => self.result(result, &mut entries),
            Type::Map(map) if map.0 == Type::String => self.entries(&map.1, &mut entries),
            _ => Err(self.wrong("an object")),
        }
    }
}

impl Seed<'_> {
    fn elements<'de, A: SeqAccess<'de>>(self, items: &mut A, ty: &Type) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        loop {
            let item = items.next_element_seed(self.of(ty));
            match item.map_err(self.trace.at(|| values.len().to_string()))? {
                Some(value) => self.trace.push(&mut values, value)?,
                None => return Ok(values),
            }
        }
    }

    /// The entries of a map by `string`: an object.
    fn entries<'de, A: MapAccess<'de>>(self, ty: &Type, entries: &mut A) -> Result<Val, A::Error> {
        let mut known = HashSet::new();
        let mut values = Vec::new();
        while let Some(Text(key)) = entries.next_key()? {
            let value = entries.next_value_seed(self.of(ty)).map_err(self.trace.at(|| key.to_string()))?;
            let held = self.trace.string(&key)?;
            self.trace.hold(size_of::<String>())?;
            if !known.insert(self.trace.string(&key)?) {
                return Err(self.wrong(&format!("the key `{key}` twice")));
            }
            self.trace.push(&mut values, (Val::String(held), value))?;
        }
        Ok(Val::Map(values))
    }

    /// The entries of any other map: an array of pairs.
    fn pairs<'de, A: SeqAccess<'de>>(
        self,
        (key_type, value_type): &(Type, Type),
        items: &mut A,
    ) -> Result<Val, A::Error> {
        if *key_type == Type::String {
            return Err(self.wrong("an array"));
        }
        let mut known = HashSet::new();
        let mut entries = Vec::new();
        loop {
            let pair = Pair { map: self, key: self.of(key_type), value: self.of(value_type) };
            let pair = items.next_element_seed(pair).map_err(self.trace.at(|| entries.len().to_string()))?;
            let Some((key, value)) = pair else { return Ok(Val::Map(entries)) };
            let mut json = Vec::new();
            encode(key_type, &key, &mut json);
            self.trace.hold(size_of::<Vec<u8>>() + json.capacity())?;
            if let Some(twice) = known.replace(json) {
                return Err(self.wrong(&format!("the key `{}` twice", String::from_utf8_lossy(&twice))));
            }
            self.trace.push(&mut entries, (key, value))?;
        }
    }

    fn record<'de, A: MapAccess<'de>>(self, fields: &[Field], entries: &mut A) -> Result<Val, A::Error> {
        let mut values: Vec<Option<Val>> = fields.iter().map(|_| None).collect();
        // Documents mostly keep the type's order: look there first.
        let mut next = 0;
        while let Some(Text(key)) = entries.next_key()? {
            let in_order = fields.get(next).is_some_and(|(name, _)| *name == key);
            let found = if in_order { Some(next) } else { fields.iter().position(|(name, _)| *name == key) };
            let Some(index) = found else {
                return Err(self.wrong(&format!("an unknown field `{key}`")));
            };
            if values[index].is_some() {
                return Err(self.wrong(&format!("the field `{key}` twice")));
            }
            let value = entries
                .next_value_seed(self.of(&fields[index].1))
                .map_err(self.trace.at(|| key.into_owned()))?;
            values[index] = Some(value);
            next = index + 1;
        }
        // What is absent is held, too: each field has its name beside its value.
        let mut named = self.trace.vec(fields.len())?;
        for ((name, ty), value) in fields.iter().zip(values) {
            let value = match value {
                Some(value) => value,
                None if matches!(ty, Type::Option(_)) => Val::Option(None),
                None => return Err(self.wrong(&format!("no field `{name}`"))),
            };
            named.push((self.trace.string(name)?, value));
        }
        Ok(Val::Record(named))
    }

    /// The value of the only entry of an object.
    fn only_value<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        self,
        entries: &mut A,
        name: &str,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        let value = entries.next_value_seed(seed).map_err(self.trace.at(|| name.to_owned()))?;
        match entries.next_key()? {
            None => Ok(value),
            Some(Text(key)) => Err(self.wrong(&format!("a second key `{key}`"))),
        }
    }

    fn variant<'de, A: MapAccess<'de>>(self, cases: &[Case], entries: &mut A) -> Result<Val, A::Error> {
        let Some(Text(key)) = entries.next_key()? else {
            return Err(self.wrong("an empty object"));
        };
        let Some((name, payload)) = cases.iter().find(|(name, _)| *name == key) else {
            return Err(self.wrong(&format!("the case `{key}`")));
        };
        let Some(ty) = payload else {
            return Err(self.wrong(&format!("a payload for `{key}`, which has none: it is a string")));
        };
        let payload = self.only_value(entries, name, self.of(ty))?;
        Ok(Val::Variant(self.trace.string(name)?, Some(self.trace.boxed(payload)?)))
    }

    fn result<'de, A: MapAccess<'de>>(self, result: &Outcome, entries: &mut A) -> Result<Val, A::Error> {
        let Some(Text(key)) = entries.next_key()? else {
            return Err(self.wrong("an empty object"));
        };
        match &*key {
            "ok" => Ok(Val::Result(Ok(self.payload(entries, "ok", result.ok.as_ref())?))),
            "err" => Ok(Val::Result(Err(self.payload(entries, "err", result.err.as_ref())?))),
            _ => Err(self.wrong(&format!("the key `{key}`"))),
        }
    }

    /// The value of a result, or `None` for the `null` that stands for none.
    fn payload<'de, A: MapAccess<'de>>(
        self,
        entries: &mut A,
        name: &str,
        ty: Option<&Type>,
    ) -> Result<Option<Box<Val>>, A::Error> {
        match ty {
            Some(ty) => {
                let value = self.only_value(entries, name, self.of(ty))?;
                self.trace.boxed(value).map(Some)
            }
            None => {
                let none = std::marker::PhantomData::<()>;
                self.only_value(entries, name, none).map(|()| None).map_err(|error| {
                    let found = format!("a payload for `{name}`, which has none");
                    self.trace.typed(error, || wit_excerpt(self.ty), &found)
                })
            }
        }
    }
}

/// A string of the document, borrowed where it has no escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// `{"some": value}`, for an option in an option.
struct Wrapped<'a> {
    seed: Seed<'a>,
    inner: &'a Type,
}

impl<'de> Visitor<'de> for Wrapped<'_> {
    type Value = Val;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the key `some`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match entries.next_key()? {
            Some(Text(key)) if key == "some" => {
                self.seed.only_value(&mut entries, "some", self.seed.of(self.inner))
            }
            Some(_) | None => Err(self.seed.wrong("an object without `some`")),
        }
    }
}

/// `[key, value]`.
struct Pair<'a> {
    map: Seed<'a>,
    key: Seed<'a>,
    value: Seed<'a>,
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(Val, Val), D::Error> {
        let map = self.map;
        let found = "an entry that is no array";
        deserializer
            .deserialize_seq(self)
            .map_err(|error| map.trace.typed(error, || wit_excerpt(map.ty), found))
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of key and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(Val, Val), A::Error> {
        let trace = self.map.trace;
        let key = items.next_element_seed(self.key).map_err(trace.at(|| "0".to_owned()))?;
        let value = items.next_element_seed(self.value).map_err(trace.at(|| "1".to_owned()))?;
        match (key, value, items.next_element::<de::IgnoredAny>()?) {
            (Some(key), Some(value), None) => Ok((key, value)),
            _ => Err(self.map.wrong("an entry that is no pair")),
        }
    }
}
