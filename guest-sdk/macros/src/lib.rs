//! The attribute macros of `nebula-sdk`.
//!
//! ```text
//! Rust tokens -> signature (checked) -> types (WIT and bindings) -> expand (inline WIT, exports)
//! ```
//!
//! Every error points at the user's own code and says what to do instead.
#![expect(clippy::wildcard_enum_match_arm, reason = "Rust has many kinds of syntax; a wildcard is any other")]

mod expand;
mod initialise;
mod names;
mod raw;
mod signature;
mod types;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Item, parse_macro_input};

/// Makes a component of the function `handle`, typed by its own signature.
///
/// On a function, parameters and result are made of `bool`, integers, floats, `char`, `String`, `Vec`,
/// `Option`, `Result` and tuples. On a module, the function `handle` in it may use the module's structs
/// and enums too: they become WIT records, enums and variants, named in kebab-case, with their doc
/// comments. An `Err` is the function's own error.
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
///     /// The area of a shape.
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
            "put `#[nebula_sdk::function]` on a function named `handle`, or on a module that holds one",
        )),
    };
    or_error(&item, expanded)
}

/// Makes a component of the function `handle`, from a payload of bytes to another.
///
/// ```
/// use nebula_sdk::{Error, Payload};
///
/// /// Answers text in capitals.
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
        other => Err(syn::Error::new_spanned(other, "put `#[nebula_sdk::raw]` on a function named `handle`")),
    };
    or_error(&item, expanded)
}

/// Runs a function once, when the component is deployed, and keeps what it leaves in statics.
///
/// Nebula runs it in the sandbox of a call and takes a snapshot: every call's instance begins there, with
/// the tables made, the texts parsed, the patterns compiled. It has no parameters and no result, any name,
/// and stands beside `handle`, of whichever form that is. What a call changes of the state is gone with the
/// call, as ever.
///
/// Natively nothing runs it. With a `LazyLock`, as here, that makes no difference to tests: what it
/// would have made is made at the first use. Where it fills an `OnceLock`, have the tests call it first.
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
            "put `#[nebula_sdk::initialize]` on a function without parameters",
        )),
    };
    or_error(&item, expanded)
}

/// The error for arguments of an attribute that takes none.
fn arguments(attribute: TokenStream) -> Option<TokenStream> {
    let attribute = proc_macro2::TokenStream::from(attribute);
    (!attribute.is_empty()).then(|| {
        let message =
            "this attribute takes no arguments: a function's name and limits are its `nebula.toml`'s";
        syn::Error::new_spanned(attribute, message).into_compile_error().into()
    })
}

/// The expansion; or the error beside what the user wrote, so that nothing else breaks for want of it.
fn or_error(item: &Item, expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded
        .unwrap_or_else(|error| {
            let error = error.into_compile_error();
            quote! { #item #error }
        })
        .into()
}
