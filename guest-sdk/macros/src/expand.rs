//! The typed form: inline WIT, its bindings, and the conversions between them and the user's code.
//!
//! The user's items stay unchanged. A module for Wasm only, `__nebula`, exports `handle`.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Expr, Fields, Item, ItemEnum, ItemFn, ItemMod, ItemStruct, Lit, Meta};

use crate::names::{Name, check_distinct};
use crate::signature::Signature;
use crate::types::Ty;

/// Expands `#[function]` on a function.
pub(crate) fn function(function: &ItemFn) -> syn::Result<TokenStream> {
    let signature = Signature::of(function)?;
    let named = signature.params.iter().flat_map(|param| param.ty.named());
    if let Some(ident) = named.chain(signature.result.iter().flat_map(Ty::named)).next() {
        let message = format!(
            "`{ident}` is not a type of WIT: move it and `handle` into a module, and write \
             `#[nebula_sdk::function]` above the module"
        );
        return Err(syn::Error::new(ident.span(), message));
    }
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
    let signature = Signature::of(handle)?;
    let definitions = Definitions::of(items).reachable_from(&signature)?;
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
    Ok(quote! {
        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, unsafe_code, unused)]
        mod __nebula {
            ::nebula_sdk::__private::generate!({
                inline: #wit,
                world: "function",
                runtime_path: "::nebula_sdk::__private::rt",
            });

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
        }
    })
}

/// A struct or enum of the user's module, as a WIT type.
struct Definition {
    ident: Ident,
    name: Name,
    docs: Vec<String>,
    shape: Shape,
}

enum Shape {
    Record(Vec<Field>),
    Cases(Vec<Case>),
}

struct Field {
    ident: Ident,
    name: Name,
    docs: Vec<String>,
    ty: Ty,
}

struct Case {
    ident: Ident,
    name: Name,
    docs: Vec<String>,
    /// The types of the payload. Several become a tuple.
    payload: Vec<Ty>,
}

impl Case {
    fn payload_type(&self) -> Option<Ty> {
        match self.payload.as_slice() {
            [] => None,
            [ty] => Some(ty.clone()),
            several => Some(Ty::Tuple(several.to_vec())),
        }
    }
}

/// The structs and enums of a module by name.
struct Definitions<'a>(HashMap<String, &'a Item>);

impl<'a> Definitions<'a> {
    fn of(items: &'a [Item]) -> Self {
        let items = items.iter().filter_map(|item| match item {
            Item::Struct(definition) => Some((definition.ident.to_string(), item)),
            Item::Enum(definition) => Some((definition.ident.to_string(), item)),
            _ => None,
        });
        Self(items.collect())
    }

    /// Returns the definitions that the signature contains, each after the ones that it contains
    /// itself.
    fn reachable_from(&self, signature: &Signature) -> syn::Result<Vec<Definition>> {
        let mut found = Vec::new();
        let types = signature.params.iter().map(|param| &param.ty).chain(&signature.result);
        for ident in types.flat_map(Ty::named) {
            self.collect(ident, &mut Vec::new(), &mut found)?;
        }
        check_distinct(found.iter().map(|definition| (&definition.ident, &definition.name)))?;
        Ok(found)
    }

    /// Adds a type and the types that it contains to `found`. `within` holds the types that contain
    /// it.
    fn collect(
        &self,
        ident: &Ident,
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
        let definition = match self.0.get(&key) {
            Some(Item::Struct(item)) => Definition::of_struct(item)?,
            Some(Item::Enum(item)) => Definition::of_enum(item)?,
            _ => {
                let message = format!(
                    "`{ident}` is not a struct or enum of this module: declare it here, or use a type of WIT"
                );
                return Err(syn::Error::new(ident.span(), message));
            }
        };
        within.push(key);
        for part in definition.parts() {
            self.collect(part, within, found)?;
        }
        within.pop();
        found.push(definition);
        Ok(())
    }
}

impl Definition {
    fn of_struct(item: &ItemStruct) -> syn::Result<Self> {
        check_generics(&item.generics)?;
        let fields = match &item.fields {
            Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
            Fields::Named(_) | Fields::Unit => {
                let message =
                    "a record must have at least one field in WIT: add a field, or remove this type";
                return Err(syn::Error::new(item.ident.span(), message));
            }
            Fields::Unnamed(_) => {
                let message =
                    "the fields of a record must have names in WIT: write `struct Name { field: Type }`";
                return Err(syn::Error::new(item.ident.span(), message));
            }
        };
        let fields = fields.iter().filter_map(|field| field.ident.as_ref().map(|ident| (field, ident)));
        let fields = fields.map(|(field, ident)| {
            Ok(Field {
                ident: ident.clone(),
                name: Name::of(ident)?,
                docs: docs(&field.attrs),
                ty: Ty::of(&field.ty)?,
            })
        });
        let fields: Vec<Field> = fields.collect::<syn::Result<_>>()?;
        check_distinct(fields.iter().map(|field| (&field.ident, &field.name)))?;
        Ok(Self {
            ident: item.ident.clone(),
            name: type_name(&item.ident)?,
            docs: docs(&item.attrs),
            shape: Shape::Record(fields),
        })
    }

    fn of_enum(item: &ItemEnum) -> syn::Result<Self> {
        check_generics(&item.generics)?;
        if item.variants.is_empty() {
            let message = "an enum must have at least one case in WIT: add a case, or remove this type";
            return Err(syn::Error::new(item.ident.span(), message));
        }
        let cases = item.variants.iter().map(|variant| {
            let payload = match &variant.fields {
                Fields::Unit => Vec::new(),
                Fields::Unnamed(fields) => {
                    fields.unnamed.iter().map(|field| Ty::of(&field.ty)).collect::<syn::Result<_>>()?
                }
                Fields::Named(_) => {
                    let message =
                        "a case has at most one unnamed value in WIT: move these fields to a struct";
                    return Err(syn::Error::new(variant.ident.span(), message));
                }
            };
            Ok(Case {
                ident: variant.ident.clone(),
                name: Name::of(&variant.ident)?,
                docs: docs(&variant.attrs),
                payload,
            })
        });
        let cases: Vec<Case> = cases.collect::<syn::Result<_>>()?;
        check_distinct(cases.iter().map(|case| (&case.ident, &case.name)))?;
        Ok(Self {
            ident: item.ident.clone(),
            name: type_name(&item.ident)?,
            docs: docs(&item.attrs),
            shape: Shape::Cases(cases),
        })
    }

    /// Returns the module's types that this one contains directly.
    fn parts(&self) -> Vec<&Ident> {
        match &self.shape {
            Shape::Record(fields) => fields.iter().flat_map(|field| field.ty.named()).collect(),
            Shape::Cases(cases) => cases.iter().flat_map(|case| &case.payload).flat_map(Ty::named).collect(),
        }
    }

    fn write_wit(&self, wit: &mut String) -> syn::Result<()> {
        write_docs(wit, &self.docs, 1);
        let name = self.name.wit_source();
        match &self.shape {
            Shape::Record(fields) => {
                wit.push_str(&format!("    record {name} {{\n"));
                for field in fields {
                    write_docs(wit, &field.docs, 2);
                    wit.push_str(&format!("        {}: {},\n", field.name.wit_source(), field.ty.wit()?));
                }
            }
            Shape::Cases(cases) => {
                let bare = cases.iter().all(|case| case.payload.is_empty());
                wit.push_str(&format!("    {} {name} {{\n", if bare { "enum" } else { "variant" }));
                for case in cases {
                    write_docs(wit, &case.docs, 2);
                    match case.payload_type() {
                        Some(ty) => {
                            wit.push_str(&format!("        {}({}),\n", case.name.wit_source(), ty.wit()?));
                        }
                        None => wit.push_str(&format!("        {},\n", case.name.wit_source())),
                    }
                }
            }
        }
        wit.push_str("    }\n\n");
        Ok(())
    }

    /// Returns the implementations of `Lift` and `Lower` for the user's type.
    fn conversions(&self) -> syn::Result<TokenStream> {
        let (user, binding) = (&self.ident, self.name.binding_type());
        let (lift, lower) = match &self.shape {
            Shape::Record(fields) => {
                let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
                let names: Vec<_> = fields.iter().map(|field| field.name.binding_field()).collect();
                (
                    quote!(Self { #(#idents: ::nebula_sdk::__private::Lift::lift(wit.#names),)* }),
                    quote!(#binding { #(#names: ::nebula_sdk::__private::Lower::lower(self.#idents),)* }),
                )
            }
            Shape::Cases(cases) => {
                let mut lift = Vec::new();
                let mut lower = Vec::new();
                for case in cases {
                    let (ident, name) = (&case.ident, case.name.binding_type());
                    let values: Vec<Ident> =
                        (0..case.payload.len()).map(|index| format_ident!("value_{index}")).collect();
                    let (outer, inner) = match values.as_slice() {
                        [] => (TokenStream::new(), TokenStream::new()),
                        [value] => (quote!((#value)), quote!((#value))),
                        several => (quote!((#(#several),*)), quote!(((#(#several),*)))),
                    };
                    let lifted =
                        values.iter().map(|value| quote!(::nebula_sdk::__private::Lift::lift(#value)));
                    let lifted = if values.is_empty() { quote!() } else { quote!((#(#lifted),*)) };
                    let lowered: Vec<_> = values
                        .iter()
                        .map(|value| quote!(::nebula_sdk::__private::Lower::lower(#value)))
                        .collect();
                    let lowered = match lowered.as_slice() {
                        [] => quote!(),
                        [value] => quote!((#value)),
                        several => quote!(((#(#several),*))),
                    };
                    lift.push(quote!(#binding::#name #inner => Self::#ident #lifted));
                    lower.push(quote!(Self::#ident #outer => #binding::#name #lowered));
                }
                (quote!(match wit { #(#lift,)* }), quote!(match self { #(#lower,)* }))
            }
        };
        Ok(quote! {
            impl ::nebula_sdk::__private::Lift<#binding> for super::#user {
                fn lift(wit: #binding) -> Self {
                    #lift
                }
            }

            impl ::nebula_sdk::__private::Lower<#binding> for super::#user {
                fn lower(self) -> #binding {
                    #lower
                }
            }
        })
    }
}

/// Returns the WIT name of a type. Types and `handle` share one namespace.
fn type_name(ident: &Ident) -> syn::Result<Name> {
    let name = Name::of(ident)?;
    if name.wit == "handle" {
        let message = "a type and the function can't both become `handle` in WIT: rename the type";
        return Err(syn::Error::new(ident.span(), message));
    }
    Ok(name)
}

fn check_generics(generics: &syn::Generics) -> syn::Result<()> {
    match generics.params.first() {
        None => Ok(()),
        Some(param) => Err(syn::Error::new_spanned(param, "WIT has no generic types: write concrete types")),
    }
}

/// Returns the lines of the doc comments among `attributes`.
fn docs(attributes: &[Attribute]) -> Vec<String> {
    let texts = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn write_docs(wit: &mut String, docs: &[String], indent: usize) {
    for line in docs {
        wit.push_str(&"    ".repeat(indent));
        wit.push_str("///");
        wit.push_str(line);
        wit.push('\n');
    }
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
