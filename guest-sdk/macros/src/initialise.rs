//! The initialiser: an export that Nebula runs once, when it compiles the component.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, ReturnType, Type};

use crate::signature::check_callable;

/// The world of the initialiser. The export has the name that the tool `wizer` established.
const WIT: &str =
    "package nebula:initialise;\n\nworld initialise {\n    export wizer-initialize: func();\n}\n";

/// Expands `#[initialize]` on a function.
pub(crate) fn function(function: &ItemFn) -> syn::Result<TokenStream> {
    check_callable(function)?;
    let signature = &function.sig;
    if !signature.inputs.is_empty() {
        let message =
            "the initialiser runs when the component is deployed, without an input: remove the parameters";
        return Err(syn::Error::new_spanned(&signature.inputs, message));
    }
    let returns_nothing = match &signature.output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()),
    };
    if !returns_nothing {
        let message = "the result of the initialiser would be dropped: store it in a `static`, such as a \
                       `LazyLock`, and panic on failure";
        return Err(syn::Error::new_spanned(&signature.output, message));
    }
    let name = &signature.ident;
    Ok(quote! {
        // Natively it may be unused outside tests.
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        #function

        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic)]
        mod __nebula_initialize {
            ::nebula_sdk::generate!({ inline: #WIT, world: "initialise" });

            struct __Component;

            impl Guest for __Component {
                fn wizer_initialize() {
                    super::#name()
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
    fn an_initialiser_becomes_an_export() {
        let expanded = function(&syn::parse_quote! {
            /// Makes the table.
            fn table() {
                LazyLock::force(&TABLE);
            }
        });
        insta::assert_snapshot!(prettyplease::unparse(&syn::parse2(expanded.unwrap()).unwrap()));
    }
}
