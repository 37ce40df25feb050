//! The signature of `handle`, checked.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{FnArg, ItemFn, Pat, ReturnType, Type};

use crate::names::{Name, check_distinct};
use crate::types::Ty;

/// `handle`, as far as callers see it.
pub(crate) struct Signature {
    pub(crate) params: Vec<Param>,
    /// `None` is `()`.
    pub(crate) result: Option<Ty>,
}

/// A parameter of `handle`.
pub(crate) struct Param {
    ident: Ident,
    pub(crate) name: Name,
    pub(crate) ty: Ty,
    /// The user's function takes it by reference.
    borrowed: bool,
}

impl Param {
    /// How the user's function is given the value of `variable`.
    pub(crate) fn pass(&self, variable: &Ident) -> TokenStream {
        if self.borrowed { quote!(&#variable) } else { quote!(#variable) }
    }
}

/// What any `handle` has to be, whatever its types.
///
/// # Errors
/// At what isn't so.
pub(crate) fn check_plain(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.ident != "handle" {
        let message = format!(
            "a function of Nebula is named `handle`: rename `{}`, or call it from there",
            signature.ident
        );
        return Err(syn::Error::new_spanned(&signature.ident, message));
    }
    check_callable(function)
}

/// What any function has to be that the host calls.
///
/// # Errors
/// At what isn't so.
pub(crate) fn check_callable(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        let message = "a pure function waits for nothing: leave `async` out";
        return Err(syn::Error::new_spanned(token, message));
    }
    if let Some(token) = &signature.unsafety {
        return Err(syn::Error::new_spanned(token, "callers can keep no promises: leave `unsafe` out"));
    }
    if let Some(abi) = &signature.abi {
        return Err(syn::Error::new_spanned(abi, "the macro chooses the ABI: leave this out"));
    }
    if !signature.generics.params.is_empty() {
        let message = format!(
            "`{}` has one signature: write the types out instead of parameters for them",
            signature.ident
        );
        return Err(syn::Error::new_spanned(&signature.generics, message));
    }
    Ok(())
}

impl Signature {
    /// Reads the signature of a typed `handle`.
    ///
    /// # Errors
    /// At what WIT has nothing for.
    pub(crate) fn of(function: &ItemFn) -> syn::Result<Self> {
        check_plain(function)?;
        let params: Vec<Param> = function.sig.inputs.iter().map(param).collect::<syn::Result<_>>()?;
        check_distinct(params.iter().map(|param| (&param.ident, &param.name)))?;
        let result = match &function.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) if matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()) => None,
            ReturnType::Type(_, ty) => Some(Ty::of(ty)?),
        };
        Ok(Self { params, result })
    }

    /// As WIT source: `func(a: s64) -> s64`.
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

fn param(argument: &FnArg) -> syn::Result<Param> {
    let FnArg::Typed(argument) = argument else {
        let message = "`handle` is a plain function: it has no `self`";
        return Err(syn::Error::new_spanned(argument, message));
    };
    let Pat::Ident(pattern) = &*argument.pat else {
        let message = "a parameter needs a plain name, which is the one that callers use";
        return Err(syn::Error::new_spanned(&argument.pat, message));
    };
    let (ty, borrowed) = match &*argument.ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            let message = "nobody would see the change: take the value, and return what becomes of it";
            return Err(syn::Error::new_spanned(reference, message));
        }
        Type::Reference(reference) => (borrowed(&reference.elem)?, true),
        ty => (Ty::of(ty)?, false),
    };
    Ok(Param { ident: pattern.ident.clone(), name: Name::of(&pattern.ident)?, ty, borrowed })
}

/// The owned type behind a reference.
fn borrowed(ty: &Type) -> syn::Result<Ty> {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => Ok(Ty::Primitive("string", "String")),
        Type::Slice(slice) => Ok(Ty::List(Box::new(Ty::of(&slice.elem)?))),
        ty => Ty::of(ty),
    }
}
