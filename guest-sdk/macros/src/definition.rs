//! The user's structs and enums as WIT types, and the conversions between the two.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Fields, ItemEnum, ItemStruct};

use crate::docs::{docs, write_docs};
use crate::names::{Name, check_distinct};
use crate::scope::{Scope, check_no_cfg};
use crate::types::Ty;

/// A struct or enum of the user's module, as a WIT type.
pub(crate) struct Definition {
    pub(crate) ident: Ident,
    pub(crate) name: Name,
    pub(crate) docs: Vec<String>,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    Record(Vec<Field>),
    Cases(Vec<Case>),
}

pub(crate) struct Field {
    ident: Ident,
    pub(crate) name: Name,
    pub(crate) docs: Vec<String>,
    pub(crate) ty: Ty,
}

pub(crate) struct Case {
    ident: Ident,
    pub(crate) name: Name,
    pub(crate) docs: Vec<String>,
    /// The types of the payload. Several become a tuple.
    payload: Vec<Ty>,
}

impl Case {
    /// Returns the type of the payload.
    pub(crate) fn payload_type(&self) -> Option<Ty> {
        match self.payload.as_slice() {
            [] => None,
            [ty] => Some(ty.clone()),
            several => Some(Ty::Tuple(several.to_vec())),
        }
    }
}

impl Definition {
    /// Reads a struct.
    ///
    /// # Errors
    /// Returns an error at the part that WIT can't express.
    pub(crate) fn of_struct(item: &ItemStruct, scope: &Scope<'_>) -> syn::Result<Self> {
        check_no_cfg(&item.attrs)?;
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
            check_no_cfg(&field.attrs)?;
            Ok(Field {
                ident: ident.clone(),
                name: Name::of_value(ident)?,
                docs: docs(&field.attrs),
                ty: Ty::of(&field.ty, scope)?,
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

    /// Reads an enum.
    ///
    /// # Errors
    /// Returns an error at the part that WIT can't express.
    pub(crate) fn of_enum(item: &ItemEnum, scope: &Scope<'_>) -> syn::Result<Self> {
        check_no_cfg(&item.attrs)?;
        check_generics(&item.generics)?;
        if item.variants.is_empty() {
            let message = "an enum must have at least one case in WIT: add a case, or remove this type";
            return Err(syn::Error::new(item.ident.span(), message));
        }
        let cases = item.variants.iter().map(|variant| {
            check_no_cfg(&variant.attrs)?;
            let payload = match &variant.fields {
                Fields::Unit => Vec::new(),
                Fields::Unnamed(fields) => {
                    let fields = fields.unnamed.iter().map(|field| {
                        check_no_cfg(&field.attrs)?;
                        Ty::of(&field.ty, scope)
                    });
                    fields.collect::<syn::Result<_>>()?
                }
                Fields::Named(_) => {
                    let message =
                        "a case has at most one unnamed value in WIT: move these fields to a struct";
                    return Err(syn::Error::new(variant.ident.span(), message));
                }
            };
            Ok(Case {
                ident: variant.ident.clone(),
                name: Name::of_type(&variant.ident)?,
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
    pub(crate) fn parts(&self) -> Vec<&Ident> {
        match &self.shape {
            Shape::Record(fields) => fields.iter().flat_map(|field| field.ty.named()).collect(),
            Shape::Cases(cases) => cases.iter().flat_map(|case| &case.payload).flat_map(Ty::named).collect(),
        }
    }

    /// Appends the definition in WIT.
    pub(crate) fn write_wit(&self, wit: &mut String) -> syn::Result<()> {
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
    pub(crate) fn conversions(&self) -> syn::Result<TokenStream> {
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
    let name = Name::of_type(ident)?;
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
