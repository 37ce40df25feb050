//! The types of a chain's functions, written in a component.

use wasm_encoder::ComponentBuilder;

use super::chain::Link;
use crate::nest::{Names, Types};

/// The types of a chain's functions in one component.
pub(super) struct Declarations {
    /// Index of each function's type.
    pub(super) steps: Vec<u32>,
    /// Index of the type of the chain's `handle`.
    pub(super) handle: u32,
    /// The value types that the component imports.
    pub(super) types: Types,
}

/// Declares the types of a chain's functions, under the same names in every component.
pub(super) fn declare(chain: &[Link<'_>], to: &mut ComponentBuilder) -> Declarations {
    let mut types = Types::named(Names::default());
    let steps = chain.iter().map(|link| {
        let result = link.signature.result.as_ref();
        types.function(to, &link.signature.params, result)
    });
    let steps = steps.collect();
    let params = chain.first().map_or([].as_slice(), |first| first.signature.params.as_slice());
    let handle = types.function(to, params, chain.last().and_then(Link::answer));
    Declarations { steps, handle, types }
}
