//! The signature of a function, checked: the name `handle`, no qualifiers, parameters with names
//! and WIT types.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{FnArg, ItemFn, Pat, ReturnType, Type};

use crate::names::{Name, check_distinct};
use crate::scope::{Scope, check_no_cfg};
use crate::types::{Primitive, Ty};

/// The signature of a typed `handle`.
pub(crate) struct Signature {
    pub(crate) params: Vec<Param>,
    /// The result, or `None` for `()`.
    pub(crate) result: Option<Ty>,
}

/// A parameter of `handle`.
pub(crate) struct Param {
    ident: Ident,
    pub(crate) name: Name,
    pub(crate) ty: Ty,
    /// True if the user's function takes the parameter by reference.
    is_borrowed: bool,
}

impl Param {
    /// Returns the argument that passes `variable` to the user's function.
    pub(crate) fn argument(&self, variable: &Ident) -> TokenStream {
        if self.is_borrowed { quote!(&#variable) } else { quote!(#variable) }
    }
}

/// Checks the name and the qualifiers of `handle`, but not its types.
///
/// # Errors
/// Returns an error at the first part that isn't allowed.
pub(crate) fn check_handle(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.ident != "handle" {
        let message = format!(
            "a Nebula function must be named `handle`: rename `{0}`, or call `{0}` from `handle`",
            signature.ident
        );
        return Err(syn::Error::new_spanned(&signature.ident, message));
    }
    check_callable(function)
}

/// Checks the qualifiers of a function that the host calls: no `async`, `unsafe`, ABI or generics.
///
/// # Errors
/// Returns an error at the first part that isn't allowed.
pub(crate) fn check_callable(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        let message = "a pure function has nothing to wait for: remove `async`";
        return Err(syn::Error::new_spanned(token, message));
    }
    if let Some(token) = &signature.unsafety {
        let message = "callers can't uphold a safety contract: remove `unsafe`";
        return Err(syn::Error::new_spanned(token, message));
    }
    if let Some(abi) = &signature.abi {
        return Err(syn::Error::new_spanned(abi, "the macro chooses the ABI: remove this"));
    }
    if !signature.generics.params.is_empty() {
        let message = format!("`{}` can't be generic: write concrete types", signature.ident);
        return Err(syn::Error::new_spanned(&signature.generics, message));
    }
    Ok(())
}

impl Signature {
    /// Reads the signature of a typed `handle`.
    ///
    /// # Errors
    /// Returns an error at a part that WIT can't express.
    pub(crate) fn of(function: &ItemFn, scope: &Scope<'_>) -> syn::Result<Self> {
        check_handle(function)?;
        let inputs = function.sig.inputs.iter();
        let params: Vec<Param> = inputs.map(|input| param(input, scope)).collect::<syn::Result<_>>()?;
        check_distinct(params.iter().map(|param| (&param.ident, &param.name)))?;
        let result = match &function.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) if matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()) => None,
            ReturnType::Type(_, ty) => Some(Ty::of(ty, scope)?),
        };
        Ok(Self { params, result })
    }

    /// Returns the signature as WIT source: `func(a: s64) -> s64`.
    pub(crate) fn wit(&self) -> syn::Result<String> {
        let params: Vec<_> = self
            .params
            .iter()
            .map(|param| Ok(format!("{}: {}", param.name.wit_source(), param.ty.wit()?)))
            .collect::<syn::Result<_>>()?;
        let params = params.join(", ");
        Ok(match &self.result {
            Some(result) => format!("func({params}) -> {}", result.wit()?),
            None => format!("func({params})"),
        })
    }
}

fn param(argument: &FnArg, scope: &Scope<'_>) -> syn::Result<Param> {
    let FnArg::Typed(argument) = argument else {
        let message = "`handle` must be a free function: remove `self`";
        return Err(syn::Error::new_spanned(argument, message));
    };
    check_no_cfg(&argument.attrs)?;
    let Pat::Ident(pattern) = &*argument.pat else {
        let message =
            "a parameter must be a name, because callers use it: write a name and destructure it in the body";
        return Err(syn::Error::new_spanned(&argument.pat, message));
    };
    let (ty, is_borrowed) = match &*argument.ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            let message =
                "changes to a mutable reference would be lost: take the value, and return the changed one";
            return Err(syn::Error::new_spanned(reference, message));
        }
        Type::Reference(reference) => (owned(&reference.elem, scope)?, true),
        ty => (Ty::of(ty, scope)?, false),
    };
    Ok(Param { ident: pattern.ident.clone(), name: Name::of_value(&pattern.ident)?, ty, is_borrowed })
}

/// Returns the owned type of a borrowed one.
fn owned(ty: &Type, scope: &Scope<'_>) -> syn::Result<Ty> {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => Ok(Ty::Primitive(Primitive::STRING)),
        Type::Slice(slice) => Ok(Ty::List(Box::new(Ty::of(&slice.elem, scope)?))),
        ty => Ty::of(ty, scope),
    }
}
