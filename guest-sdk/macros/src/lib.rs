//! The attribute macros of `nebula-sdk`.
//!
//! ```text
//! Rust tokens -> signature (checked) -> types (WIT and bindings) -> expand (inline WIT, exports)
//! ```
//!
//! * `names`: Rust names as WIT names and as names in the bindings.
//! * `scope`: the types that a module declares, aliases expanded.
//! * `signature` and `types`: the signature of `handle`, checked, and its types.
//! * `definition`: structs and enums as WIT types, with their conversions.
//! * `docs` and `section`: doc comments, in WIT and in the component.
//! * `expand`: the typed form; `raw`: the raw form; `initialise`: the initialiser.
//!
//! Every error points at the user's code and says what to write instead.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Rust has many kinds of syntax, of which few are supported"
)]

mod definition;
mod docs;
mod expand;
mod initialise;
mod names;
mod raw;
mod scope;
mod section;
mod signature;
mod types;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Item, parse_macro_input};

/// Makes a typed component from the function `handle` and its signature.
///
/// On a function, parameters and result consist of `bool`, integers, floats, `char`, `String`,
/// `Vec`, `Option`, `Result` and tuples. On a module, the function `handle` in it may also use the
/// module's structs and enums: they become WIT records, enums and variants, with names in
/// kebab-case and their doc comments. Type aliases of the module are expanded. An `Err` is the
/// function's own error.
///
/// ```
/// #[nebula_sdk::function]
/// pub mod shapes {
///     /// Something with an area.
///     pub enum Shape {
///         /// Its radius.
///         Circle(f64),
///         Rectangle(Sides),
///     }
///
///     pub struct Sides {
///         pub width: f64,
///         pub height: f64,
///     }
///
///     /// Returns the area of a shape.
///     pub fn handle(shape: Shape) -> f64 {
///         match shape {
///             Shape::Circle(radius) => std::f64::consts::PI * radius * radius,
///             Shape::Rectangle(Sides { width, height }) => width * height,
///         }
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(error) = arguments(attribute) {
        return error;
    }
    let item = parse_macro_input!(item as Item);
    let expanded = match &item {
        Item::Fn(function) => expand::function(function),
        Item::Mod(module) => expand::module(module),
        other => Err(syn::Error::new_spanned(
            other,
            "write `#[nebula_sdk::function]` above a function named `handle`, or above a module that contains one",
        )),
    };
    or_error(&item, expanded)
}

/// Makes a raw component from the function `handle`, which takes a payload and returns a payload.
///
/// ```
/// use nebula_sdk::{Error, Payload};
///
/// /// Converts text to capitals.
/// #[nebula_sdk::raw]
/// pub fn handle(request: Payload) -> Result<Payload, Error> {
///     Ok(Payload::text(request.as_text()?.to_uppercase()))
/// }
/// ```
#[proc_macro_attribute]
pub fn raw(attribute: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(error) = arguments(attribute) {
        return error;
    }
    let item = parse_macro_input!(item as Item);
    let expanded = match &item {
        Item::Fn(function) => raw::function(function),
        other => {
            Err(syn::Error::new_spanned(other, "write `#[nebula_sdk::raw]` above a function named `handle`"))
        }
    };
    or_error(&item, expanded)
}

/// Runs a function once, when the component is deployed, and keeps the statics that it fills.
///
/// Nebula runs the function in the sandbox of a call and takes a snapshot. The instance of every
/// call begins with that snapshot: with tables computed, texts parsed, patterns compiled. The
/// function has any name, no parameters and no result, and is declared beside `handle` of any form.
/// Changes that a call makes to the state end with the call.
///
/// Natively nothing runs the function. With a `LazyLock`, as in this example, tests don't notice:
/// the first use computes the value. If the function fills a `OnceLock`, let the tests call it
/// first.
///
/// ```
/// use std::sync::LazyLock;
///
/// /// `SQUARES[n]` is `n` squared.
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..1000).map(|n| n * n).collect());
///
/// #[nebula_sdk::initialize]
/// fn squares() {
///     LazyLock::force(&SQUARES);
/// }
///
/// #[nebula_sdk::function]
/// pub fn handle(n: u16) -> Option<u32> {
///     SQUARES.get(usize::from(n)).copied()
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn initialize(attribute: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(error) = arguments(attribute) {
        return error;
    }
    let item = parse_macro_input!(item as Item);
    let expanded = match &item {
        Item::Fn(function) => initialise::function(function),
        other => Err(syn::Error::new_spanned(
            other,
            "write `#[nebula_sdk::initialize]` above a function without parameters",
        )),
    };
    or_error(&item, expanded)
}

/// Returns an error if an attribute has arguments.
fn arguments(attribute: TokenStream) -> Option<TokenStream> {
    let attribute = proc_macro2::TokenStream::from(attribute);
    (!attribute.is_empty()).then(|| {
        let message =
            "this attribute takes no arguments: set the function's name and limits in `nebula.toml`";
        syn::Error::new_spanned(attribute, message).into_compile_error().into()
    })
}

/// Returns the expansion. After an error it returns the user's item and the error, so that other
/// code that refers to the item causes no further errors.
fn or_error(item: &Item, expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded
        .unwrap_or_else(|error| {
            let error = error.into_compile_error();
            quote! { #item #error }
        })
        .into()
}
