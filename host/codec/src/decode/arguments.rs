//! Documents of functions with several parameters or none. A single parameter is decoded by
//! `value`.

use nebula_model::similar::did_you_mean;
use serde::de::{self, MapAccess, SeqAccess};
use wasmtime::component::Val;

use super::kinds::{Kinds, Text};
use super::state::State;
use super::value::ValueSeed;
use crate::text::params_excerpt;
use crate::types::{Params, Type};

/// Decodes the arguments of a function with several parameters.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) params: &'a Params,
    pub(super) state: &'a State,
}

impl Arguments<'_> {
    fn mismatch_with<E: de::Error>(self, found: &str) -> E {
        self.state.mismatch(params_excerpt(self.params), found, None)
    }
}

impl<'de> Kinds<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn mismatch<E: de::Error>(self) -> E {
        self.mismatch_with("neither an object nor an array")
    }

    fn object<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<Val>, A::Error> {
        let mut values: Vec<Option<Val>> = self.params.iter().map(|_| None).collect();
        while let Some(Text(key)) = entries.next_key()? {
            let Some(index) = self.params.iter().position(|param| param.name == key) else {
                let hint = did_you_mean(&key, self.params.iter().map(|param| param.name.as_str()));
                let found = format!("an unknown parameter `{key}`");
                return Err(self.state.mismatch(params_excerpt(self.params), &found, hint));
            };
            if values[index].is_some() {
                return Err(self.mismatch_with(&format!("the parameter `{key}` twice")));
            }
            let seed = ValueSeed { ty: &self.params[index].ty, state: self.state };
            values[index] = Some(entries.next_value_seed(seed).map_err(self.state.at(|| key.into_owned()))?);
        }
        let mut arguments = Vec::with_capacity(values.len());
        for (param, value) in self.params.iter().zip(values) {
            arguments.push(match value {
                Some(value) => value,
                None if matches!(param.ty, Type::Option(_)) => Val::Option(None),
                None => return Err(self.mismatch_with(&format!("no parameter `{}`", param.name))),
            });
        }
        Ok(arguments)
    }

    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        let mut arguments = Vec::with_capacity(self.params.len());
        for (index, param) in self.params.iter().enumerate() {
            let seed = ValueSeed { ty: &param.ty, state: self.state };
            match items.next_element_seed(seed).map_err(self.state.at(|| index.to_string()))? {
                Some(value) => arguments.push(value),
                None => return Err(self.mismatch_with(&format!("an array of length {index}"))),
            }
        }
        if items.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(self.mismatch_with("a longer array"));
        }
        Ok(arguments)
    }
}

/// Decodes the input of a function without parameters.
#[derive(Clone, Copy)]
pub(super) struct NoArguments<'a> {
    pub(super) state: &'a State,
}

impl NoArguments<'_> {
    fn mismatch_with<E: de::Error>(self, found: &str) -> E {
        self.state.mismatch("nothing".to_owned(), found, None)
    }
}

impl<'de> Kinds<'de> for NoArguments<'_> {
    type Value = Vec<Val>;

    fn mismatch<E: de::Error>(self) -> E {
        self.mismatch_with("a value")
    }

    fn null<E: de::Error>(self) -> Result<Vec<Val>, E> {
        Ok(Vec::new())
    }

    fn object<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<Val>, A::Error> {
        match entries.next_key()? {
            None => Ok(Vec::new()),
            Some(Text(key)) => Err(self.mismatch_with(&format!("an unknown parameter `{key}`"))),
        }
    }

    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        match items.next_element::<de::IgnoredAny>()? {
            None => Ok(Vec::new()),
            Some(_) => Err(self.mismatch_with("an array with an item")),
        }
    }
}
