//! Rust types, as far as WIT has them.
//!
//! A macro sees names, not types: `String` is taken for the one of std, and a name that isn't known is
//! looked up among the module's own structs and enums.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{GenericArgument, PathArguments, Type, TypePath};

use crate::names::Name;

/// A type that a value may have.
#[derive(Clone, Debug)]
pub(crate) enum Ty {
    /// Its WIT name, and its Rust name.
    Primitive(&'static str, &'static str),
    List(Box<Ty>),
    Option(Box<Ty>),
    /// `None` is `()`.
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Tuple(Vec<Ty>),
    /// A struct or enum of the module.
    Named(Ident),
}

const PRIMITIVES: [(&str, &str); 13] = [
    ("bool", "bool"),
    ("u8", "u8"),
    ("u16", "u16"),
    ("u32", "u32"),
    ("u64", "u64"),
    ("s8", "i8"),
    ("s16", "i16"),
    ("s32", "i32"),
    ("s64", "i64"),
    ("f32", "f32"),
    ("f64", "f64"),
    ("char", "char"),
    ("string", "String"),
];

/// How many elements a tuple may have: as many as there are conversions for.
const TUPLE_MAX: usize = 8;

impl Ty {
    /// The type of a value, by its syntax.
    ///
    /// # Errors
    /// At the part that WIT has nothing for.
    pub(crate) fn of(ty: &Type) -> syn::Result<Self> {
        match ty {
            Type::Path(path) if path.qself.is_none() => Self::of_path(path),
            Type::Tuple(tuple) if tuple.elems.is_empty() => {
                Err(error(ty, "`()` carries nothing, so WIT has no type for it here: leave it out"))
            }
            Type::Tuple(tuple) if tuple.elems.len() > TUPLE_MAX => {
                Err(error(ty, "tuples of at most 8 elements are supported: use a struct"))
            }
            Type::Tuple(tuple) => {
                Ok(Self::Tuple(tuple.elems.iter().map(Self::of).collect::<Result<_, _>>()?))
            }
            Type::Paren(inner) => Self::of(&inner.elem),
            Type::Group(inner) => Self::of(&inner.elem),
            Type::Reference(_) => Err(error(
                ty,
                "a value that crosses the component's boundary is owned: use `String` for `&str`, `Vec<T>` for `&[T]`",
            )),
            Type::Array(_) | Type::Slice(_) => Err(error(ty, "WIT has no arrays: use `Vec<T>`")),
            Type::ImplTrait(_) | Type::TraitObject(_) | Type::BareFn(_) | Type::Ptr(_) => {
                Err(error(ty, "only plain values cross the component's boundary"))
            }
            other => Err(error(other, "this type has no counterpart in WIT")),
        }
    }

    fn of_path(path: &TypePath) -> syn::Result<Self> {
        let Some(segment) = path.path.segments.last() else {
            return Err(error(path, "this type has no counterpart in WIT"));
        };
        let name = segment.ident.to_string();
        let arguments = type_arguments(&segment.arguments);
        if let Some((wit, rust)) = PRIMITIVES.iter().find(|(_, rust)| *rust == name) {
            return Ok(Self::Primitive(wit, rust));
        }
        match (name.as_str(), arguments.as_slice()) {
            ("Vec", [element]) => Ok(Self::List(Box::new(Self::of(element)?))),
            ("Option", [value]) => Ok(Self::Option(Box::new(Self::of(value)?))),
            ("Result", [value, error]) => {
                Ok(Self::Result(Self::unless_unit(value)?, Self::unless_unit(error)?))
            }
            ("Result", _) => Err(error(
                path,
                "write both types out, as in `Result<T, String>`: a macro can't see what an alias stands for",
            )),
            ("usize", []) => Err(error(path, "its size depends on the machine: use `u64` or `u32`")),
            ("isize", []) => Err(error(path, "its size depends on the machine: use `i64` or `i32`")),
            ("u128" | "i128", []) => {
                Err(error(path, "WIT has no integers of 128 bits: use `u64`, or a `String` of digits"))
            }
            ("str", []) => Err(error(path, "use `String`")),
            ("HashMap" | "BTreeMap", _) => Err(error(
                path,
                "maps have no counterpart here: use `Vec<(K, V)>`, or a struct where the keys are known",
            )),
            ("HashSet" | "BTreeSet" | "VecDeque", _) => Err(error(path, "use `Vec<T>`")),
            ("Box" | "Rc" | "Arc" | "Cow", _) => Err(error(
                path,
                "a value that crosses the component's boundary is plain: leave the wrapper out",
            )),
            (_, []) if path.path.segments.len() == 1 => Ok(Self::Named(segment.ident.clone())),
            (_, []) => Err(error(
                path,
                "only types declared in the module itself have a counterpart in WIT: declare it there",
            )),
            (..) => Err(error(path, "generic types have no counterpart in WIT: write a struct for this one")),
        }
    }

    fn unless_unit(ty: &Type) -> syn::Result<Option<Box<Self>>> {
        match ty {
            Type::Tuple(tuple) if tuple.elems.is_empty() => Ok(None),
            ty => Self::of(ty).map(Box::new).map(Some),
        }
    }

    /// As WIT source.
    pub(crate) fn wit(&self) -> syn::Result<String> {
        Ok(match self {
            Self::Primitive(wit, _) => (*wit).to_owned(),
            Self::List(element) => format!("list<{}>", element.wit()?),
            Self::Option(value) => format!("option<{}>", value.wit()?),
            Self::Result(None, None) => "result".to_owned(),
            Self::Result(Some(value), None) => format!("result<{}>", value.wit()?),
            Self::Result(None, Some(error)) => format!("result<_, {}>", error.wit()?),
            Self::Result(Some(value), Some(error)) => format!("result<{}, {}>", value.wit()?, error.wit()?),
            Self::Tuple(elements) => {
                let elements: Vec<_> = elements.iter().map(Self::wit).collect::<Result<_, _>>()?;
                format!("tuple<{}>", elements.join(", "))
            }
            Self::Named(ident) => Name::of(ident)?.wit_source(),
        })
    }

    /// As the bindings have it.
    pub(crate) fn binding(&self) -> syn::Result<TokenStream> {
        self.rust(&|ident| Name::of(ident).map(|name| name.binding_type()).map(|ident| quote!(#ident)))
    }

    /// As the user has it, seen from a module inside the user's.
    pub(crate) fn user(&self) -> syn::Result<TokenStream> {
        self.rust(&|ident| Ok(quote!(super::#ident)))
    }

    fn rust(&self, named: &dyn Fn(&Ident) -> syn::Result<TokenStream>) -> syn::Result<TokenStream> {
        let part = |ty: &Option<Box<Self>>| match ty {
            Some(ty) => ty.rust(named),
            None => Ok(quote!(())),
        };
        Ok(match self {
            Self::Primitive(_, "String") => quote!(::std::string::String),
            Self::Primitive(_, rust) => {
                let ident = format_ident!("{rust}");
                quote!(::core::primitive::#ident)
            }
            Self::List(element) => {
                let element = element.rust(named)?;
                quote!(::std::vec::Vec<#element>)
            }
            Self::Option(value) => {
                let value = value.rust(named)?;
                quote!(::core::option::Option<#value>)
            }
            Self::Result(value, error) => {
                let (value, error) = (part(value)?, part(error)?);
                quote!(::core::result::Result<#value, #error>)
            }
            Self::Tuple(elements) => {
                let elements: Vec<_> =
                    elements.iter().map(|element| element.rust(named)).collect::<Result<_, _>>()?;
                quote!((#(#elements,)*))
            }
            Self::Named(ident) => named(ident)?,
        })
    }

    /// The module's own types that this one is made of.
    pub(crate) fn named(&self) -> Vec<&Ident> {
        match self {
            Self::Primitive(..) => Vec::new(),
            Self::List(inner) | Self::Option(inner) => inner.named(),
            Self::Result(value, error) => value.iter().chain(error).flat_map(|inner| inner.named()).collect(),
            Self::Tuple(elements) => elements.iter().flat_map(Self::named).collect(),
            Self::Named(ident) => vec![ident],
        }
    }
}

fn type_arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return Vec::new() };
    arguments
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect()
}

fn error(at: &impl ToTokens, message: &str) -> syn::Error {
    syn::Error::new_spanned(at, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wit(rust: &str) -> Result<String, String> {
        let ty: Type = syn::parse_str(rust).unwrap();
        Ty::of(&ty).and_then(|ty| ty.wit()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_wit_has_is_mapped() {
        for (rust, expected) in [
            ("i64", "s64"),
            ("std::string::String", "string"),
            ("Vec<u8>", "list<u8>"),
            ("Option<Vec<(u8, char)>>", "option<list<tuple<u8, char>>>"),
            ("Result<(), String>", "result<_, string>"),
            ("Result<u8, ()>", "result<u8>"),
            ("Vec<StdDev>", "list<%std-dev>"),
        ] {
            assert_eq!(wit(rust).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_wit_lacks_says_what_to_use() {
        for (rust, hint) in [
            ("usize", "u64"),
            ("u128", "u64"),
            ("HashMap<String, u8>", "Vec<(K, V)>"),
            ("&'static str", "String"),
            ("[u8; 4]", "Vec<T>"),
            ("Box<u8>", "wrapper"),
            ("Result<u8>", "Result<T, String>"),
            ("other::Thing", "declare it there"),
            ("Generic<u8>", "struct"),
        ] {
            let message = wit(rust).unwrap_err();
            assert!(message.contains(hint), "{rust}: {message}");
        }
    }
}
