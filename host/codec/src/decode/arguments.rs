//! The document of a function that has no single parameter to be the document of.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::trace::Trace;
use super::value::{Seed, Text};
use crate::Params;
use crate::text::params_excerpt;
use crate::types::Type;

/// The arguments of a function of several parameters.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) params: &'a Params,
    pub(super) trace: &'a Trace,
}

impl Arguments<'_> {
    fn wrong<E: de::Error>(self, found: &str) -> E {
        self.trace.mismatch(params_excerpt(self.params), found)
    }
}

impl<'de> DeserializeSeed<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Val>, D::Error> {
        deserializer.deserialize_any(self).map_err(|error| {
            let found = "something that is neither an object nor an array";
            self.trace.typed(error, || params_excerpt(self.params), found)
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
        while let Some(Text(key)) = entries.next_key()? {
            let Some(index) = self.params.iter().position(|(name, _)| *name == key) else {
                return Err(self.wrong(&format!("an unknown parameter `{key}`")));
            };
            if values[index].is_some() {
                return Err(self.wrong(&format!("the parameter `{key}` twice")));
            }
            let seed = Seed { ty: &self.params[index].1, trace: self.trace };
            values[index] = Some(entries.next_value_seed(seed).map_err(self.trace.at(|| key.into_owned()))?);
        }
        let mut arguments = Vec::with_capacity(values.len());
        for ((name, ty), value) in self.params.iter().zip(values) {
            arguments.push(match value {
                Some(value) => value,
                None if matches!(ty, Type::Option(_)) => Val::Option(None),
                None => return Err(self.wrong(&format!("no parameter `{name}`"))),
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
                None => return Err(self.wrong(&format!("an array of {index}"))),
            }
        }
        if items.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(self.wrong("a longer array"));
        }
        Ok(arguments)
    }
}

/// The input of a function without parameters.
#[derive(Clone, Copy)]
pub(super) struct Nothing<'a> {
    pub(super) trace: &'a Trace,
}

impl Nothing<'_> {
    fn wrong<E: de::Error>(self, found: &str) -> E {
        self.trace.mismatch("nothing".to_owned(), found)
    }
}

impl<'de> DeserializeSeed<'de> for Nothing<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Val>, D::Error> {
        deserializer
            .deserialize_any(self)
            .map_err(|error| self.trace.typed(error, || "nothing".to_owned(), "a value"))
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
        match entries.next_key()? {
            None => Ok(Vec::new()),
            Some(Text(key)) => Err(self.wrong(&format!("an unknown parameter `{key}`"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        match items.next_element::<de::IgnoredAny>()? {
            None => Ok(Vec::new()),
            Some(_) => Err(self.wrong("an array with an item")),
        }
    }
}
