//! The raw form: bytes with a media type, in the world that `wit/function.wit` defines.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, GenericArgument, ItemFn, PathArguments, ReturnType, Type};

use crate::docs::docs;
use crate::section::section_of_raw;
use crate::signature::check_handle;
use crate::types::Primitive;

/// The raw world.
const WIT: &str = include_str!("../wit/function.wit");

/// The error for another signature. `nebula_sdk::__private::RawSignature` has the same text.
const EXPECTED: &str = "a raw function must be `fn handle(request: Payload) -> Result<Payload, Error>` with the \
                        types of `nebula_sdk`";

/// Expands `#[raw]` on a function.
pub(crate) fn function(function: &ItemFn) -> syn::Result<TokenStream> {
    check_handle(function)?;
    let signature = &function.sig;
    let mut inputs = signature.inputs.iter();
    let (Some(FnArg::Typed(input)), None) = (inputs.next(), inputs.next()) else {
        let at = if signature.inputs.is_empty() { signature.span() } else { signature.inputs.span() };
        return Err(syn::Error::new(at, EXPECTED));
    };
    let ReturnType::Type(_, output) = &signature.output else {
        return Err(syn::Error::new(signature.span(), EXPECTED));
    };
    if is_other_type(&input.ty) {
        return Err(syn::Error::new_spanned(&input.ty, EXPECTED));
    }
    check_output(output)?;
    let (input, docs) = (&input.ty, section_of_raw(&docs(&function.attrs)));
    // The compiler checks types that have other names, such as aliases. There is one call on every
    // target, so there is one error, and its span is that of the user's signature.
    let call = quote_spanned! {output.span()=>
        <fn(#input) -> #output as ::nebula_sdk::__private::RawSignature>::call(handle, request)
    };
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        fn __nebula_call(
            request: ::nebula_sdk::Payload,
        ) -> ::core::result::Result<::nebula_sdk::Payload, ::nebula_sdk::Error> {
            #call
        }

        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic)]
        mod __nebula {
            ::nebula_sdk::generate!({ inline: #WIT, world: "function" });

            use self::exports::nebula::function::handler;

            struct __Component;

            impl handler::Guest for __Component {
                fn handle(request: handler::Payload) -> ::core::result::Result<handler::Payload, handler::Error> {
                    let request = ::nebula_sdk::Payload { media_type: request.media_type, body: request.body };
                    match super::__nebula_call(request) {
                        Ok(answer) => Ok(handler::Payload { media_type: answer.media_type, body: answer.body }),
                        Err(::nebula_sdk::Error::BadInput(reason)) => Err(handler::Error::BadInput(reason)),
                        Err(::nebula_sdk::Error::Failed(reason)) => Err(handler::Error::Failed(reason)),
                    }
                }
            }

            export!(__Component);

            #docs
        }
    })
}

/// Checks the output as far as its names tell.
fn check_output(output: &Type) -> syn::Result<()> {
    let Type::Path(path) = output else { return Err(syn::Error::new_spanned(output, EXPECTED)) };
    let Some(last) = path.path.segments.last() else { return Ok(()) };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return if is_other_type(output) { Err(syn::Error::new_spanned(output, EXPECTED)) } else { Ok(()) };
    };
    let is_other = |argument: &GenericArgument| match argument {
        GenericArgument::Type(ty) => is_other_type(ty),
        _ => true,
    };
    let is_wrong = match last.ident.to_string().as_str() {
        "Result" => arguments.args.iter().any(is_other),
        "Vec" | "Option" | "Box" => true,
        // It may be an alias.
        _ => false,
    };
    if is_wrong { Err(syn::Error::new_spanned(output, EXPECTED)) } else { Ok(()) }
}

/// Returns whether a type certainly isn't `Payload` or `Error`, even if these have other names.
fn is_other_type(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return true };
    path.path.segments.last().is_none_or(|last| {
        let name = last.ident.to_string();
        !last.arguments.is_empty() || Primitive::is_named(&name) || name == "str" || name == "usize"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_function_becomes_an_export() {
        let expanded = function(&syn::parse_quote! {
            pub fn handle(request: Payload) -> Result<Payload, Error> {
                Ok(request)
            }
        });
        insta::assert_snapshot!(prettyplease::unparse(&syn::parse2(expanded.unwrap()).unwrap()));
    }

    #[test]
    fn the_world_equals_the_one_of_the_host() {
        // This crate's copy is a symbolic link in a clone and a file in a published package.
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/function.wit");
        if let Ok(text) = std::fs::read_to_string(here) {
            assert_eq!(text, WIT);
        }
    }
}
