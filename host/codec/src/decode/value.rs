//! Decodes one value, driven by its type.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_model::similar::did_you_mean;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::kinds::{ByKind, Kinds, Text, is_out_of_range};
use super::number::{self, FLOAT32_MAX, Whole, may_round_twice};
use super::state::State;
use crate::encode::encode;
use crate::text::wit_excerpt;
use crate::types::{Case, Field, MapEntry, Outcome, Params, Primitive, Type};

/// Decodes one value of `ty`.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'a> {
    pub(super) ty: &'a Type,
    pub(super) state: &'a State,
}

impl<'a> ValueSeed<'a> {
    fn of<'b>(self, ty: &'b Type) -> ValueSeed<'b>
    where
        'a: 'b,
    {
        ValueSeed { ty, state: self.state }
    }

    fn mismatch<E: de::Error>(self, found: &str) -> E {
        self.state.type_mismatch(self.ty, found, None)
    }

    /// Records a name that isn't one of the type's, and the known one that may be meant.
    fn unknown<'b, E: de::Error>(
        self,
        found: &str,
        name: &str,
        known: impl IntoIterator<Item = &'b str>,
    ) -> E {
        self.state.type_mismatch(self.ty, found, did_you_mean(name, known))
    }

    fn out_of_range<E: de::Error>(self, value: impl fmt::Display) -> E {
        self.mismatch(&format!("{value}, which is out of range"))
    }

    fn integer<T, E: de::Error>(
        self,
        value: impl TryInto<T> + fmt::Display + Copy,
        make: fn(T) -> Val,
    ) -> Result<Val, E> {
        value.try_into().map(make).map_err(|_| self.out_of_range(value))
    }

    /// Decodes an integer, for a type of integers or of floats. `double` and `single` are the
    /// floats that it rounds to.
    fn number<E, N>(self, value: N, double: f64, single: f32) -> Result<Val, E>
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
        let Type::Primitive(primitive) = self.ty else { return Err(self.mismatch("a number")) };
        match primitive {
            Primitive::S8 => self.integer(value, Val::S8),
            Primitive::U8 => self.integer(value, Val::U8),
            Primitive::S16 => self.integer(value, Val::S16),
            Primitive::U16 => self.integer(value, Val::U16),
            Primitive::S32 => self.integer(value, Val::S32),
            Primitive::U32 => self.integer(value, Val::U32),
            Primitive::S64 => self.integer(value, Val::S64),
            Primitive::U64 => self.integer(value, Val::U64),
            Primitive::Float32 => Ok(Val::Float32(single)),
            Primitive::Float64 => Ok(Val::Float64(double)),
            Primitive::Bool | Primitive::Char | Primitive::String => Err(self.mismatch("a number")),
        }
    }

    /// Decodes a value for a type of numbers, with the digits of a number.
    fn digits_of<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(raw) {
                Ok(Text(text)) => self.visit_str(&text),
                Err(_) => Err(self.mismatch("a string")),
            },
            Some(b'[') => Err(self.mismatch("an array")),
            Some(b'{') => Err(self.mismatch("an object")),
            Some(b't' | b'f') => Err(self.mismatch("a boolean")),
            Some(b'n') => Err(self.mismatch("null")),
            Some(_) | None => self.number_of_digits(raw),
        }
    }

    /// Decodes a number exactly.
    fn number_of_digits<E: de::Error>(self, digits: &str) -> Result<Val, E> {
        let out_of_range = || self.out_of_range(number::shown(digits));
        match self.ty {
            Type::Primitive(Primitive::Float64) => match digits.parse() {
                Ok(value) if f64::is_finite(value) => Ok(Val::Float64(value)),
                Ok(_) | Err(_) => Err(out_of_range()),
            },
            Type::Primitive(Primitive::Float32) => match (digits.parse::<f64>(), digits.parse()) {
                (Ok(double), Ok(single)) if double.abs() <= FLOAT32_MAX => Ok(Val::Float32(single)),
                (_, _) => Err(out_of_range()),
            },
            _ => match Whole::of(digits) {
                Whole::Integer(value) => self.number(value, f64::NAN, f32::NAN),
                Whole::Fraction => Err(self.mismatch("a number with a fraction")),
                Whole::TooLarge => Err(out_of_range()),
            },
        }
    }

    fn special_float<E: de::Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// Parses a 64-bit integer from digits. The standard library would also accept a `+`.
    fn digits<T: FromStr, E: de::Error>(self, text: &str) -> Result<T, E> {
        let value = if text.starts_with('+') { None } else { text.parse().ok() };
        value.ok_or_else(|| self.mismatch("a string that isn't an integer of this type"))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match self.ty {
            Type::Option(_) => deserializer.deserialize_option(self),
            Type::Primitive(primitive) if primitive.is_number() && self.state.reads_digits() => {
                self.digits_of(deserializer)
            }
            ty => deserializer.deserialize_any(self).map_err(|error| match ty {
                _ if !is_out_of_range(&error) => error,
                Type::Primitive(primitive) if primitive.is_number() => self.state.need_digits(),
                _ => self.mismatch("a number"),
            }),
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Val;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value of `{}`", wit_excerpt(self.ty))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Val, E> {
        match self.ty {
            Type::Primitive(Primitive::Bool) => Ok(Val::Bool(value)),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer sent for a float is rounded to it")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Val, E> {
        self.number(value, value as f64, value as f32)
    }

    #[expect(clippy::cast_precision_loss, reason = "an integer sent for a float is rounded to it")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Val, E> {
        self.number(value, value as f64, value as f32)
    }

    /// Handles numbers with a fraction or exponent, and integers of more than 64 bits.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Val, E> {
        match self.ty {
            Type::Primitive(Primitive::Float64) => Ok(Val::Float64(value)),
            Type::Primitive(Primitive::Float32) if value.abs() > FLOAT32_MAX => {
                Err(self.out_of_range(format_args!("{value:e}")))
            }
            Type::Primitive(Primitive::Float32) if may_round_twice(value) => Err(self.state.need_digits()),
            #[expect(clippy::cast_possible_truncation, reason = "the type asks for rounding to f32")]
            Type::Primitive(Primitive::Float32) => Ok(Val::Float32(value as f32)),
            Type::Primitive(primitive) if primitive.is_integer() => Err(self.state.need_digits()),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
        match self.ty {
            Type::Primitive(Primitive::String) => Ok(Val::String(self.state.string(text)?)),
            Type::Primitive(Primitive::Char) => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Ok(Val::Char(char)),
                    _ => Err(self.mismatch("a string that isn't one character")),
                }
            }
            Type::Primitive(Primitive::S64) => self.digits(text).map(Val::S64),
            Type::Primitive(Primitive::U64) => self.digits(text).map(Val::U64),
            Type::Primitive(Primitive::Float64) => self.special_float(text).map(Val::Float64),
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities have no digits to lose")]
            Type::Primitive(Primitive::Float32) => {
                self.special_float(text).map(|value| Val::Float32(value as f32))
            }
            Type::Enum(cases) => match cases.iter().find(|name| *name == text) {
                Some(name) => Ok(Val::Enum(self.state.string(name)?)),
                None => Err(self.unknown(&format!("`{text}`"), text, cases.iter().map(String::as_str))),
            },
            Type::Variant(cases) => match cases.iter().find(|case| case.name == text) {
                Some(Case { payload: None, .. }) => Ok(Val::Variant(self.state.string(text)?, None)),
                Some(_) => Err(self.mismatch(&format!("`{text}` without its payload"))),
                None => Err(self.unknown(&format!("`{text}`"), text, names_of(cases))),
            },
            Type::List(_) if self.ty.is_bytes() => match STANDARD.decode(text) {
                Ok(bytes) => {
                    let mut items = self.state.vec(bytes.len())?;
                    items.extend(bytes.into_iter().map(Val::U8));
                    Ok(Val::List(items))
                }
                Err(error) => Err(self.mismatch(&format!("a string that isn't base64 ({error})"))),
            },
            _ => Err(self.mismatch("a string")),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Val, E> {
        Err(self.mismatch("null"))
    }

    fn visit_none<E: de::Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let Type::Option(inner) = self.ty else { return Err(self.mismatch("a value")) };
        let value = match &**inner {
            inner @ Type::Option(_) => {
                ByKind(WrappedOption { option: self, inner }).deserialize(deserializer)?
            }
            inner => self.of(inner).deserialize(deserializer)?,
        };
        Ok(Val::Option(Some(self.state.boxed(value)?)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::List(element) => Ok(Val::List(self.elements(&mut items, element)?)),
            Type::Tuple(types) => {
                let mut values = self.state.vec(types.len())?;
                for (index, ty) in types.iter().enumerate() {
                    let item = items.next_element_seed(self.of(ty));
                    match item.map_err(self.state.at(|| index.to_string()))? {
                        Some(value) => values.push(value),
                        None => return Err(self.mismatch(&format!("an array of length {index}"))),
                    }
                }
                if items.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(self.mismatch("a longer array"));
                }
                Ok(Val::Tuple(values))
            }
            Type::Map(map) => self.pairs(map, &mut items),
            Type::Flags(flags) => {
                let mut set = vec![false; flags.len()];
                while let Some(name) = items.next_element_seed(ByKind(FlagName { flags: self }))? {
                    match flags.iter().position(|known| *known == name) {
                        Some(index) if set[index] => return Err(self.mismatch(&format!("`{name}` twice"))),
                        Some(index) => set[index] = true,
                        None => {
                            let known = flags.iter().map(String::as_str);
                            return Err(self.unknown(&format!("`{name}`"), &name, known));
                        }
                    }
                }
                // In the order of the type, so that equal sets are equal values.
                let mut names = self.state.vec(set.iter().filter(|set| **set).count())?;
                for (name, _) in flags.iter().zip(set).filter(|(_, set)| *set) {
                    names.push(self.state.string(name)?);
                }
                Ok(Val::Flags(names))
            }
            _ => Err(self.mismatch("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::Record(fields) => self.record(fields, &mut entries),
            Type::Variant(cases) => self.variant(cases, &mut entries),
            Type::Result(result) => self.result(result, &mut entries),
            Type::Map(map) if map.key == Type::STRING => self.entries(&map.value, &mut entries),
            _ => Err(self.mismatch("an object")),
        }
    }
}

impl ValueSeed<'_> {
    fn elements<'de, A: SeqAccess<'de>>(self, items: &mut A, ty: &Type) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        loop {
            let item = items.next_element_seed(self.of(ty));
            match item.map_err(self.state.at(|| values.len().to_string()))? {
                Some(value) => self.state.push(&mut values, value)?,
                None => return Ok(values),
            }
        }
    }

    /// Decodes a map with string keys, from an object.
    fn entries<'de, A: MapAccess<'de>>(self, ty: &Type, entries: &mut A) -> Result<Val, A::Error> {
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        while let Some(Text(key)) = entries.next_key()? {
            let value = entries.next_value_seed(self.of(ty)).map_err(self.state.at(|| key.to_string()))?;
            let held = self.state.string(&key)?;
            self.state.reserve(size_of::<String>())?;
            if !seen.insert(self.state.string(&key)?) {
                return Err(self.mismatch(&format!("the key `{key}` twice")));
            }
            self.state.push(&mut values, (Val::String(held), value))?;
        }
        Ok(Val::Map(values))
    }

    /// Decodes any other map, from an array of pairs.
    fn pairs<'de, A: SeqAccess<'de>>(self, map: &MapEntry, items: &mut A) -> Result<Val, A::Error> {
        let MapEntry { key: key_type, value: value_type } = map;
        if *key_type == Type::STRING {
            return Err(self.mismatch("an array"));
        }
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        loop {
            let pair = ByKind(Pair { map: self, key: self.of(key_type), value: self.of(value_type) });
            let pair = items.next_element_seed(pair).map_err(self.state.at(|| entries.len().to_string()))?;
            let Some((key, value)) = pair else { return Ok(Val::Map(entries)) };
            let mut json = Vec::new();
            encode(key_type, &key, &mut json);
            self.state.reserve(size_of::<Vec<u8>>() + json.capacity())?;
            if let Some(twice) = seen.replace(json) {
                return Err(self.mismatch(&format!("the key `{}` twice", String::from_utf8_lossy(&twice))));
            }
            self.state.push(&mut entries, (key, value))?;
        }
    }

    fn record<'de, A: MapAccess<'de>>(self, fields: &Params, entries: &mut A) -> Result<Val, A::Error> {
        let mut values: Vec<Option<Val>> = fields.iter().map(|_| None).collect();
        // Most documents keep the type's order: look there first.
        let mut next = 0;
        while let Some(Text(key)) = entries.next_key()? {
            let in_order = fields.get(next).is_some_and(|field| field.name == key);
            let found = if in_order { Some(next) } else { fields.iter().position(|field| field.name == key) };
            let Some(index) = found else {
                let known = fields.iter().map(|field| field.name.as_str());
                return Err(self.unknown(&format!("an unknown field `{key}`"), &key, known));
            };
            if values[index].is_some() {
                return Err(self.mismatch(&format!("the field `{key}` twice")));
            }
            let value = entries
                .next_value_seed(self.of(&fields[index].ty))
                .map_err(self.state.at(|| key.into_owned()))?;
            values[index] = Some(value);
            next = index + 1;
        }
        // Absent options take memory too: each field has a name beside its value.
        let mut named = self.state.vec(fields.len())?;
        for (Field { name, ty }, value) in fields.iter().zip(values) {
            let value = match value {
                Some(value) => value,
                None if matches!(ty, Type::Option(_)) => Val::Option(None),
                None => return Err(self.mismatch(&format!("no field `{name}`"))),
            };
            named.push((self.state.string(name)?, value));
        }
        Ok(Val::Record(named))
    }

    /// Decodes the value of an object's only entry.
    fn only_value<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        self,
        entries: &mut A,
        name: &str,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        let value = entries.next_value_seed(seed).map_err(self.state.at(|| name.to_owned()))?;
        self.end_object(entries)?;
        Ok(value)
    }

    /// Checks that an object has no second entry.
    fn end_object<'de, A: MapAccess<'de>>(self, entries: &mut A) -> Result<(), A::Error> {
        match entries.next_key()? {
            None => Ok(()),
            Some(Text(key)) => Err(self.mismatch(&format!("a second key `{key}`"))),
        }
    }

    fn variant<'de, A: MapAccess<'de>>(self, cases: &[Case], entries: &mut A) -> Result<Val, A::Error> {
        let Some(Text(key)) = entries.next_key()? else {
            return Err(self.mismatch("an empty object"));
        };
        let Some(Case { name, payload }) = cases.iter().find(|case| case.name == key) else {
            return Err(self.unknown(&format!("the case `{key}`"), &key, names_of(cases)));
        };
        let Some(ty) = payload else {
            return Err(self.mismatch(&format!("a payload for `{key}`, which has none: send a string")));
        };
        let payload = self.only_value(entries, name, self.of(ty))?;
        Ok(Val::Variant(self.state.string(name)?, Some(self.state.boxed(payload)?)))
    }

    fn result<'de, A: MapAccess<'de>>(self, result: &Outcome, entries: &mut A) -> Result<Val, A::Error> {
        let Some(Text(key)) = entries.next_key()? else {
            return Err(self.mismatch("an empty object"));
        };
        match &*key {
            "ok" => Ok(Val::Result(Ok(self.payload(entries, "ok", result.ok.as_ref())?))),
            "err" => Ok(Val::Result(Err(self.payload(entries, "err", result.err.as_ref())?))),
            _ => Err(self.unknown(&format!("the key `{key}`"), &key, ["ok", "err"])),
        }
    }

    /// Decodes the payload of a result, or `null` if it has none.
    fn payload<'de, A: MapAccess<'de>>(
        self,
        entries: &mut A,
        name: &str,
        ty: Option<&Type>,
    ) -> Result<Option<Box<Val>>, A::Error> {
        match ty {
            Some(ty) => {
                let value = self.only_value(entries, name, self.of(ty))?;
                self.state.boxed(value).map(Some)
            }
            None => {
                // A payload that is there is a mismatch of the result, so its pointer gets no step.
                entries.next_value_seed(ByKind(NoPayload { result: self, name }))?;
                self.end_object(entries)?;
                Ok(None)
            }
        }
    }
}

fn names_of(cases: &[Case]) -> impl Iterator<Item = &str> {
    cases.iter().map(|case| case.name.as_str())
}

/// Decodes `{"some": value}`, the form of an option in an option.
#[derive(Clone, Copy)]
struct WrappedOption<'a> {
    option: ValueSeed<'a>,
    inner: &'a Type,
}

impl<'de> Kinds<'de> for WrappedOption<'_> {
    type Value = Val;

    fn mismatch<E: de::Error>(self) -> E {
        self.option.mismatch("neither `null` nor an object")
    }

    fn object<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match entries.next_key()? {
            Some(Text(key)) if key == "some" => {
                self.option.only_value(&mut entries, "some", self.option.of(self.inner))
            }
            Some(_) | None => Err(self.option.mismatch("an object without `some`")),
        }
    }
}

/// Decodes an item of flags, a name.
#[derive(Clone, Copy)]
struct FlagName<'a> {
    flags: ValueSeed<'a>,
}

impl<'de> Kinds<'de> for FlagName<'_> {
    type Value = Cow<'de, str>;

    fn mismatch<E: de::Error>(self) -> E {
        self.flags.mismatch("an item that isn't a string")
    }

    fn string<E: de::Error>(self, name: Cow<'de, str>) -> Result<Cow<'de, str>, E> {
        Ok(name)
    }
}

/// Decodes the `null` of a result's case without a payload.
#[derive(Clone, Copy)]
struct NoPayload<'a> {
    result: ValueSeed<'a>,
    /// `ok` or `err`.
    name: &'a str,
}

impl<'de> Kinds<'de> for NoPayload<'_> {
    type Value = ();

    fn mismatch<E: de::Error>(self) -> E {
        self.result.mismatch(&format!("a payload for `{}`, which has none", self.name))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Decodes `[key, value]`.
#[derive(Clone, Copy)]
struct Pair<'a> {
    map: ValueSeed<'a>,
    key: ValueSeed<'a>,
    value: ValueSeed<'a>,
}

impl<'de> Kinds<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn mismatch<E: de::Error>(self) -> E {
        self.map.mismatch("an entry that isn't an array")
    }

    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<(Val, Val), A::Error> {
        let state = self.map.state;
        let key = items.next_element_seed(self.key).map_err(state.at(|| "0".to_owned()))?;
        let value = items.next_element_seed(self.value).map_err(state.at(|| "1".to_owned()))?;
        match (key, value, items.next_element::<de::IgnoredAny>()?) {
            (Some(key), Some(value), None) => Ok((key, value)),
            _ => Err(self.map.mismatch("an entry that isn't a pair")),
        }
    }
}
