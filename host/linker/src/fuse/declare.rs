//! The types of a chain's functions, written in a component.

use wasm_encoder::ComponentBuilder;

use super::{Link, answer};
use crate::nest::{Names, Types};

/// The types of the functions of a chain, as they stand in a component.
pub(super) struct Declared {
    /// Of each function.
    pub(super) steps: Vec<u32>,
    /// Of the chain as one.
    pub(super) handle: u32,
    /// Those that had to be named, by names that mean nothing.
    pub(super) named: Types,
}

/// Declares the types of a chain's functions: the same ones by the same names in every component.
pub(super) fn declare(chain: &[Link<'_>], to: &mut ComponentBuilder) -> Declared {
    let mut named = Types::named(Names::default());
    let steps = chain.iter().map(|link| {
        let result = link.signature.result.as_ref();
        named.function(to, &link.signature.params, result)
    });
    let steps = steps.collect();
    let params = chain.first().map_or([].as_slice(), |first| first.signature.params.as_slice());
    let handle = named.function(to, params, chain.last().and_then(answer));
    Declared { steps, handle, named }
}
