//! Fuses a chain of typed functions into one component, in which a hop is a call.
//!
//! ```text
//! (component
//!     (import "wasi:…" …)                          what any function imports, once          (`nest`)
//!     (component …) (instance $f0 …)               each function, unchanged
//!     (component …) (instance $f1 …) …
//!     (component …) (instance $glue (with "step-0" $f0 "handle") (with "step-1" $f1 "handle") …)   (`glue`)
//!     (export "handle" $glue "handle"))
//! ```
//!
//! Invariants:
//! * A fused component returns what its functions return when called in sequence, each on its own
//!   instance.
//! * A trap doesn't tell its cause: a function returned an error, exceeded its output limit, or
//!   trapped. The caller calls the functions one by one to find out.
//! * A function that could notice the others isn't fused: one that draws random numbers, reads the
//!   clock that sleeping moves, or starts from a snapshot.
//!
//! The caller decides when to fuse and what to do after a trap.

mod bound;
mod chain;
mod declare;
mod glue;
mod layout;

use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentTypeRef};

use self::chain::LINKS_MAX;
pub use self::chain::{FuseError, Link};
use crate::nest::{self, INITIALISES, ParsedComponent};

/// Interfaces whose functions depend on what else runs in a store: all components draw from one
/// random stream, and a sleep, which only this clock offers, moves the time for all. Importing only
/// their types is allowed.
const SHARED: [&str; 3] = ["wasi:random/random@", "wasi:random/insecure@", "wasi:clocks/monotonic-clock@"];

/// Fuses functions so that each gets what the one before it returned. The component exports
/// `handle` with the parameters of the first function and the answer of the last one, without the
/// `result` around it.
///
/// The component also imports, under arbitrary names, the types of `handle` and of the values
/// passed on.
///
/// # Errors
/// [`FuseError`].
pub fn fuse(chain: &[Link<'_>]) -> Result<Vec<u8>, FuseError> {
    if !(2..=LINKS_MAX).contains(&chain.len()) {
        return Err(FuseError::Length { links: chain.len() });
    }
    for (step, pair) in chain.windows(2).enumerate() {
        if let [link, next] = pair
            && !link.fits(next)
        {
            return Err(FuseError::Types { step });
        }
    }
    let components =
        chain.iter().enumerate().map(|(step, link)| parse(step, link)).collect::<Result<Vec<_>, _>>()?;

    let mut outer = ComponentBuilder::default();
    let arguments = nest::import_all(&components, &mut outer)?;
    let declared = declare::declare(chain, &mut outer);
    let types = declared.types.iter();
    let mut with: Vec<_> = types.map(|ty| (ty.name.clone(), ComponentExportKind::Type, ty.index)).collect();
    // A component that occurs twice is embedded once and instantiated twice.
    let mut known: Vec<(&[u8], u32)> = Vec::new();
    for (step, (link, arguments)) in chain.iter().zip(arguments).enumerate() {
        let component = match known.iter().find(|(component, _)| *component == link.component) {
            Some((_, index)) => *index,
            None => {
                let index = outer.component_raw(None, link.component);
                known.push((link.component, index));
                index
            }
        };
        let instance = outer.instantiate(None, component, arguments);
        let handle = outer.alias_export(instance, "handle", ComponentExportKind::Func);
        with.push((glue::step(step), ComponentExportKind::Func, handle));
    }
    let glue = outer.component(None, glue::glue(chain)?);
    let glue = outer.instantiate(None, glue, with);
    let handle = outer.alias_export(glue, "handle", ComponentExportKind::Func);
    let ty = ComponentTypeRef::Func(declared.handle);
    outer.export("handle", ComponentExportKind::Func, handle, Some(ty));
    let fused = outer.finish();
    ParsedComponent::parse(&fused)?;
    Ok(fused)
}

/// Parses a function of the chain and checks that it may be fused.
fn parse(step: usize, link: &Link<'_>) -> Result<ParsedComponent, FuseError> {
    let component = ParsedComponent::parse(link.component)?;
    if !component.exports_function("handle") {
        return Err(FuseError::Untyped { step });
    }
    if component.exports.iter().any(|name| name == INITIALISES) {
        return Err(FuseError::Initialises { step });
    }
    if let Some(import) = component.imports_function_of(&SHARED) {
        return Err(FuseError::Shared { step, import: import.to_owned() });
    }
    Ok(component)
}

#[cfg(test)]
mod tests;
