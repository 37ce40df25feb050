//! The typed form: inline WIT, its bindings, and the conversions between them and the user's code.
//!
//! The user's items stay unchanged. A module for Wasm only, `__nebula`, exports `handle`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Item, ItemFn, ItemMod};

use crate::definition::Definition;
use crate::docs::{docs, write_docs};
use crate::names::check_distinct;
use crate::scope::{Scope, check_no_cfg};
use crate::section::section;
use crate::signature::Signature;
use crate::types::Ty;

/// Expands `#[function]` on a function.
pub(crate) fn function(function: &ItemFn) -> syn::Result<TokenStream> {
    let signature = Signature::of(function, &Scope::outside())?;
    let exports = exports(&signature, &docs(&function.attrs), &[])?;
    Ok(quote! {
        // Natively it may be unused outside tests.
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        #function
        #exports
    })
}

/// Expands `#[function]` on a module.
pub(crate) fn module(module: &ItemMod) -> syn::Result<TokenStream> {
    let ItemMod { attrs, vis, mod_token, ident, content, .. } = module;
    let Some((_, items)) = content else {
        let message = "the macro must see the content of the module: write it here, in braces";
        return Err(syn::Error::new(ident.span(), message));
    };
    let handle = items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == "handle" => Some(function),
        _ => None,
    });
    let Some(handle) = handle else {
        let message = format!("the module `{ident}` has no function `handle`: add the function to call");
        return Err(syn::Error::new(ident.span(), message));
    };
    check_no_cfg(&handle.attrs)?;
    let scope = Scope::of(ident, items);
    let signature = Signature::of(handle, &scope)?;
    let definitions = definitions(&signature, &scope)?;
    let exports = exports(&signature, &docs(&handle.attrs), &definitions)?;
    Ok(quote! {
        #(#attrs)*
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        #vis #mod_token #ident {
            #(#items)*
            #exports
        }
    })
}

/// Returns the definitions that the signature contains, each after the ones that it contains
/// itself.
fn definitions(signature: &Signature, scope: &Scope<'_>) -> syn::Result<Vec<Definition>> {
    let mut found = Vec::new();
    let types = signature.params.iter().map(|param| &param.ty).chain(&signature.result);
    for ident in types.flat_map(Ty::named) {
        collect(ident, scope, &mut Vec::new(), &mut found)?;
    }
    check_distinct(found.iter().map(|definition| (&definition.ident, &definition.name)))?;
    Ok(found)
}

/// Adds a type and the types that it contains to `found`. `within` holds the types that contain it.
fn collect(
    ident: &Ident,
    scope: &Scope<'_>,
    within: &mut Vec<String>,
    found: &mut Vec<Definition>,
) -> syn::Result<()> {
    if found.iter().any(|definition| definition.ident == *ident) {
        return Ok(());
    }
    let key = ident.to_string();
    if within.contains(&key) {
        let message = format!(
            "`{ident}` contains itself, but WIT has no recursive types: use a list of nodes that refer \
             to each other by index"
        );
        return Err(syn::Error::new(ident.span(), message));
    }
    let definition = match scope.item(&key) {
        Some(Item::Struct(item)) => Definition::of_struct(item, scope)?,
        Some(Item::Enum(item)) => Definition::of_enum(item, scope)?,
        _ => return Err(scope.unknown(ident)),
    };
    within.push(key);
    for part in definition.parts() {
        collect(part, scope, within, found)?;
    }
    within.pop();
    found.push(definition);
    Ok(())
}

/// Returns the module for Wasm that exports `handle`.
fn exports(signature: &Signature, docs: &[String], definitions: &[Definition]) -> syn::Result<TokenStream> {
    let mut wit = String::from("package nebula:typed;\n\nworld function {\n");
    for definition in definitions {
        definition.write_wit(&mut wit)?;
    }
    write_docs(&mut wit, docs, 1);
    wit.push_str(&format!("    export handle: {};\n}}\n", signature.wit()?));
    let conversions: Vec<_> = definitions.iter().map(Definition::conversions).collect::<syn::Result<_>>()?;
    let variables: Vec<Ident> =
        (0..signature.params.len()).map(|index| format_ident!("argument_{index}")).collect();
    let bindings: Vec<_> =
        signature.params.iter().map(|param| param.ty.binding()).collect::<syn::Result<_>>()?;
    let users: Vec<_> = signature.params.iter().map(|param| param.ty.user()).collect::<syn::Result<_>>()?;
    let arguments = signature.params.iter().zip(&variables).map(|(param, variable)| param.argument(variable));
    let (result, lowered) = match &signature.result {
        Some(result) => {
            let (binding, user) = (result.binding()?, result.user()?);
            let lower = quote!(<#user as ::nebula_sdk::__private::Lower<#binding>>::lower);
            (quote!(-> #binding), quote!(#lower(super::handle(#(#arguments),*))))
        }
        None => (TokenStream::new(), quote!(super::handle(#(#arguments),*))),
    };
    let section = section(docs, signature, definitions)?;
    Ok(quote! {
        // No lint of `rustc` is allowed here: a `forbid` of the user's crate would refuse that.
        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic)]
        mod __nebula {
            ::nebula_sdk::generate!({ inline: #wit, world: "function" });

            // No type of the user has this name in the bindings, whose names begin with a letter.
            struct __Component;

            impl Guest for __Component {
                fn handle(#(#variables: #bindings),*) #result {
                    #(let #variables = <#users as ::nebula_sdk::__private::Lift<#bindings>>::lift(#variables);)*
                    #lowered
                }
            }

            #(#conversions)*

            export!(__Component);

            #section
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expands an item and formats the result.
    fn expanded(item: TokenStream) -> String {
        let item: Item = syn::parse2(item).unwrap();
        let expanded = match &item {
            Item::Fn(item) => function(item),
            Item::Mod(item) => module(item),
            _ => panic!("a function or a module"),
        };
        prettyplease::unparse(&syn::parse2(expanded.unwrap()).unwrap())
    }

    #[test]
    fn a_function_becomes_an_export() {
        insta::assert_snapshot!(expanded(quote! {
            /// The sum of two numbers.
            pub fn handle(a: i64, other_one: &str) -> Result<i64, String> {
                Ok(a)
            }
        }));
    }

    /// The bindings' types share a module with the items that the macro declares.
    #[test]
    fn a_type_may_be_named_component() {
        let expanded = expanded(quote! {
            pub mod parts {
                pub struct Component {
                    pub part: u32,
                }

                pub fn handle(component: Component) -> u32 {
                    component.part
                }
            }
        });
        assert!(expanded.contains("Lift<Component> for super::Component"), "{expanded}");
        assert_eq!(expanded.matches("struct Component ").count(), 1, "{expanded}");
        assert!(!expanded.contains("struct Component;"), "{expanded}");
    }

    #[test]
    fn a_modules_types_become_wit() {
        insta::assert_snapshot!(expanded(quote! {
            pub mod shapes {
                /// Something with an area.
                pub enum Shape {
                    /// Its radius.
                    Circle(f64),
                    Line(f64, f64),
                    Nothing,
                }

                pub struct Table {
                    /// Top to bottom.
                    pub row_heights: Vec<f64>,
                    pub r#type: Option<Kind>,
                }

                pub enum Kind {
                    Plain,
                    VeryFancy,
                }

                struct Hidden {
                    anything: HashMap<String, String>,
                }

                pub fn handle(shapes: Vec<Shape>, table: Table) -> Option<Kind> {
                    None
                }
            }
        }));
    }
}
