//! A chain of typed functions as one component, in which a hop is a call.
//!
//! ```text
//! (component
//!     (import "wasi:…" …)                          what any of them imports, once          (`nest`)
//!     (component …) (instance $f0 …)               each function as it is
//!     (component …) (instance $f1 …) …
//!     (component …) (instance $glue (with "step-0" $f0 "handle") (with "step-1" $f1 "handle") …)   (`glue`)
//!     (export "handle" $glue "handle"))
//! ```
//!
//! Invariants:
//! * What a fused component returns is what its functions return one after the other, each on an instance of
//!   its own.
//! * Where it traps nothing is said: a function may have returned an error, or too long an answer, or have
//!   trapped. Called one by one they tell.
//! * What could tell that it isn't alone isn't fused: who draws random numbers, looks at the clock that
//!   sleeping moves, or begins with a snapshot.
//!
//! When to fuse, and what to do after a trap, is not decided here.

mod bound;
mod declare;
mod glue;
mod layout;

use nebula_codec::{Signature, Type};
use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentTypeRef};

use super::nest::{self, INITIALISES, NotNested, Read};

/// The longest chain.
const LINKS_MAX: usize = 20;

/// Imports whose functions answer by what else runs in a store: the random stream is drawn from the component
/// and its input, and a sleep, which only this clock has, moves the time for all. Their types alone may be imported.
const SHARED: [&str; 3] = ["wasi:random/random@", "wasi:random/insecure@", "wasi:clocks/monotonic-clock@"];

/// One function of a chain.
pub struct Link<'a> {
    /// The component.
    pub component: &'a [u8],
    /// Its `handle`, as reflected.
    pub signature: &'a Signature,
    /// Its answer as JSON may not be longer, bytes; as it is, if it is one `string` or `list<u8>`.
    pub output_bytes_max: u64,
}

/// Why a chain can't be one component.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFusible {
    /// Nothing to link, or too much.
    #[error("a chain of {links} is none of 2 to {LINKS_MAX}")]
    Length {
        /// How many.
        links: usize,
    },
    /// It has no `handle` that is a function.
    #[error("function {step} of the chain isn't typed")]
    Untyped {
        /// Which, from 0.
        step: usize,
    },
    /// What it gives isn't what the next one takes.
    #[error("function {step} of the chain doesn't give just what the next one takes")]
    Types {
        /// Which, from 0.
        step: usize,
    },
    /// It would notice the others.
    #[error("function {step} of the chain imports `{import}`, which depends on what else runs")]
    Shared {
        /// Which, from 0.
        step: usize,
        /// The interface.
        import: String,
    },
    /// It is a snapshot that runs.
    #[error("function {step} of the chain exports `{INITIALISES}`")]
    Initialises {
        /// Which, from 0.
        step: usize,
    },
    /// Its answers can't be told to be short enough.
    #[error("function {step} of the chain may always answer with more than it may")]
    AnswerBound {
        /// Which, from 0.
        step: usize,
    },
    /// What they import can't be imported by one.
    #[error("the imports of the chain can't be linked: {0}")]
    Imports(#[from] NotNested),
}

/// Links functions so that each gets what the one before it returned. The component that comes of it exports
/// `handle` with the first one's parameters; it returns what the last one does, without the `result` around
/// it.
///
/// It also imports types, by names that mean nothing: those of its `handle` and of what is passed on.
///
/// # Errors
/// [`NotFusible`].
pub fn fuse(chain: &[Link<'_>]) -> Result<Vec<u8>, NotFusible> {
    if !(2..=LINKS_MAX).contains(&chain.len()) {
        return Err(NotFusible::Length { links: chain.len() });
    }
    for (step, pair) in chain.windows(2).enumerate() {
        if let [link, next] = pair
            && !fits(link, next)
        {
            return Err(NotFusible::Types { step });
        }
    }
    let read =
        chain.iter().enumerate().map(|(step, link)| check(step, link)).collect::<Result<Vec<_>, _>>()?;

    let mut outer = ComponentBuilder::default();
    let arguments = nest::import_all(&read, &mut outer)?;
    let declared = declare::declare(chain, &mut outer);
    let mut with: Vec<_> = declared
        .named
        .iter()
        .map(|(_, name, index)| (name.to_owned(), ComponentExportKind::Type, index))
        .collect();
    // A function that comes again is there once, and has an instance for each time.
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
    Read::of(&fused)?;
    Ok(fused)
}

/// What is passed on of what a function returns: all of it, or the `ok` of a `result`.
fn answer<'a>(link: &Link<'a>) -> Option<&'a Type> {
    let ty = link.signature.result.as_ref()?;
    if let Type::Result(result) = ty { result.ok.as_ref() } else { Some(ty) }
}

fn fits(link: &Link<'_>, next: &Link<'_>) -> bool {
    match (answer(link), next.signature.params.as_slice()) {
        (Some(output), [param]) => *output == param.ty,
        (Some(_) | None, _) => false,
    }
}

/// Reads a function of the chain, and says whether it may be in one.
fn check(step: usize, link: &Link<'_>) -> Result<Read, NotFusible> {
    let read = Read::of(link.component)?;
    if !read.exports_function("handle") {
        return Err(NotFusible::Untyped { step });
    }
    if read.exports.iter().any(|name| name == INITIALISES) {
        return Err(NotFusible::Initialises { step });
    }
    if let Some(import) = read.imports_function_of(&SHARED) {
        return Err(NotFusible::Shared { step, import: import.to_owned() });
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
