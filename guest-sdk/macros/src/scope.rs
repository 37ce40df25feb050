//! The types that a function may name: the structs, enums and type aliases of its module.
//!
//! A macro sees only the code that it is written on. For a type that is declared elsewhere, the
//! error says where to move it.

use std::collections::HashMap;

use proc_macro2::Ident;
use syn::{Attribute, GenericArgument, GenericParam, Item, ItemType, PathArguments, Type};

/// Most aliases that lead from one to the next. More refer to themselves.
const ALIAS_DEPTH_MAX: usize = 32;

/// The types of the module with the attribute; none if the attribute is on a function.
pub(crate) struct Scope<'a> {
    module: Option<&'a Ident>,
    items: HashMap<String, &'a Item>,
}

impl<'a> Scope<'a> {
    /// Returns the scope of a function outside of a module: types of WIT only.
    pub(crate) fn outside() -> Self {
        Self { module: None, items: HashMap::new() }
    }

    /// Returns the scope of a module with these items.
    pub(crate) fn of(module: &'a Ident, items: &'a [Item]) -> Self {
        let items = items.iter().filter_map(|item| match item {
            Item::Struct(definition) => Some((definition.ident.to_string(), item)),
            Item::Enum(definition) => Some((definition.ident.to_string(), item)),
            Item::Type(alias) => Some((alias.ident.to_string(), item)),
            _ => None,
        });
        Self { module: Some(module), items: items.collect() }
    }

    /// Returns the struct, enum or alias of that name.
    pub(crate) fn item(&self, name: &str) -> Option<&'a Item> {
        self.items.get(name).copied()
    }

    /// Returns the type that an alias stands for, or `None` if the path isn't an alias of the
    /// module.
    ///
    /// # Errors
    /// Returns an error at the path if the alias takes other arguments or refers to itself.
    pub(crate) fn expand(&self, path: &syn::Path) -> syn::Result<Option<Type>> {
        let mut expanded: Option<Type> = None;
        for _ in 0..ALIAS_DEPTH_MAX {
            let current = match &expanded {
                None => path,
                Some(Type::Path(next)) if next.qself.is_none() => &next.path,
                Some(_) => return Ok(expanded),
            };
            let Some(Item::Type(alias)) = own_name(current).and_then(|name| self.item(&name)) else {
                return Ok(expanded);
            };
            expanded = Some(body(alias, current)?);
        }
        Err(syn::Error::new_spanned(path, "this alias refers to itself: write the type"))
    }

    /// Returns the error for a type that is neither one of WIT nor one of the module.
    pub(crate) fn unknown(&self, ident: &Ident) -> syn::Error {
        let message = match self.module {
            Some(module) => format!(
                "`{ident}` is declared outside of this module, where the macro can't see it: move it here, and \
                 write `use {module}::{ident};` where it was"
            ),
            None => format!(
                "`{ident}` is not a type of WIT: move it and `handle` into a module, and write \
                 `#[nebula_sdk::function]` above the module"
            ),
        };
        syn::Error::new(ident.span(), message)
    }
}

/// Returns the name if the path is one in the module itself: `Name` or `self::Name`.
pub(crate) fn own_name(path: &syn::Path) -> Option<String> {
    let mut segments = path.segments.iter();
    let first = segments.next()?;
    match segments.next() {
        None => Some(first.ident.to_string()),
        Some(second) if first.ident == "self" && segments.next().is_none() => Some(second.ident.to_string()),
        Some(_) => None,
    }
}

/// Returns the type of an alias with the arguments of `path`.
fn body(alias: &ItemType, path: &syn::Path) -> syn::Result<Type> {
    check_no_cfg(&alias.attrs)?;
    let given = path.segments.last().map_or_else(Vec::new, |segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().collect(),
        _ => Vec::new(),
    });
    let mut arguments = HashMap::new();
    for (index, param) in alias.generics.params.iter().enumerate() {
        let argument = match (param, given.get(index)) {
            (GenericParam::Type(_), Some(GenericArgument::Type(ty))) => Some(ty),
            (GenericParam::Type(param), None) => param.default.as_ref(),
            _ => None,
        };
        let (GenericParam::Type(param), Some(argument)) = (param, argument) else {
            let message = format!("`{}` has other parameters: write the type it stands for", alias.ident);
            return Err(syn::Error::new_spanned(path, message));
        };
        arguments.insert(param.ident.to_string(), argument.clone());
    }
    let mut ty = (*alias.ty).clone();
    substitute(&mut ty, &arguments);
    Ok(ty)
}

/// Replaces the parameters of an alias in its type.
fn substitute(ty: &mut Type, arguments: &HashMap<String, Type>) {
    match ty {
        Type::Path(path) => {
            let replacement = path.path.get_ident().and_then(|ident| arguments.get(&ident.to_string()));
            if let Some(replacement) = replacement {
                *ty = replacement.clone();
                return;
            }
            for segment in &mut path.path.segments {
                if let PathArguments::AngleBracketed(inner) = &mut segment.arguments {
                    for argument in &mut inner.args {
                        if let GenericArgument::Type(ty) = argument {
                            substitute(ty, arguments);
                        }
                    }
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|ty| substitute(ty, arguments)),
        Type::Paren(inner) => substitute(&mut inner.elem, arguments),
        Type::Group(inner) => substitute(&mut inner.elem, arguments),
        // Other types are refused wherever they are.
        _ => {}
    }
}

/// Checks that a part of the interface exists in every build.
///
/// # Errors
/// Returns an error at an attribute `cfg`.
pub(crate) fn check_no_cfg(attributes: &[Attribute]) -> syn::Result<()> {
    match attributes.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        None => Ok(()),
        Some(attribute) => Err(syn::Error::new_spanned(
            attribute,
            "callers see the same interface, whatever the build: remove this `cfg`, and decide inside `handle`",
        )),
    }
}
