//! The raw form: bytes with a media type, in the world that `wit/function.wit` defines.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ItemFn, ReturnType};

use crate::signature::check_handle;

/// The raw world.
const WIT: &str = include_str!("../wit/function.wit");

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
    // The compiler checks the types; the spans make its errors point at the user's code.
    let input = quote_spanned!(input.ty.span()=> ::nebula_sdk::Payload);
    let output = quote_spanned! {output.span()=>
        ::core::result::Result<::nebula_sdk::Payload, ::nebula_sdk::Error>
    };
    let check = quote_spanned! {signature.span()=> const _: fn(#input) -> #output = handle; };
    Ok(quote! {
        #function
        #check

        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, unsafe_code, unused)]
        mod __nebula {
            ::nebula_sdk::__private::generate!({
                inline: #WIT,
                world: "function",
                runtime_path: "::nebula_sdk::__private::rt",
            });

            use self::exports::nebula::function::handler;

            struct __Component;

            impl handler::Guest for __Component {
                fn handle(request: handler::Payload) -> ::core::result::Result<handler::Payload, handler::Error> {
                    let request = ::nebula_sdk::Payload { media_type: request.media_type, body: request.body };
                    match super::handle(request) {
                        Ok(answer) => Ok(handler::Payload { media_type: answer.media_type, body: answer.body }),
                        Err(::nebula_sdk::Error::BadInput(reason)) => Err(handler::Error::BadInput(reason)),
                        Err(::nebula_sdk::Error::Failed(reason)) => Err(handler::Error::Failed(reason)),
                    }
                }
            }

            export!(__Component);
        }
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
