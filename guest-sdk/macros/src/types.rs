//! Rust types that WIT can express.
//!
//! A macro sees names, not types: it assumes that `String` is the one of std, and looks up an
//! unknown name among the module's own structs and enums.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{GenericArgument, PathArguments, Type, TypePath};

use crate::names::Name;

/// The type of a parameter, a result or a part of one.
#[derive(Clone, Debug)]
pub(crate) enum Ty {
    Primitive(Primitive),
    List(Box<Ty>),
    Option(Box<Ty>),
    /// The value and the error, either of which is `None` for `()`.
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Tuple(Vec<Ty>),
    /// A struct or enum of the module.
    Named(Ident),
}

/// A primitive type by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Primitive {
    wit: &'static str,
    rust: &'static str,
}

impl Primitive {
    pub(crate) const STRING: Self = Self { wit: "string", rust: "String" };

    const ALL: [Self; 13] = [
        Self { wit: "bool", rust: "bool" },
        Self { wit: "u8", rust: "u8" },
        Self { wit: "u16", rust: "u16" },
        Self { wit: "u32", rust: "u32" },
        Self { wit: "u64", rust: "u64" },
        Self { wit: "s8", rust: "i8" },
        Self { wit: "s16", rust: "i16" },
        Self { wit: "s32", rust: "i32" },
        Self { wit: "s64", rust: "i64" },
        Self { wit: "f32", rust: "f32" },
        Self { wit: "f64", rust: "f64" },
        Self { wit: "char", rust: "char" },
        Self::STRING,
    ];
}

/// The most elements of a tuple: `nebula_sdk` has conversions for this number.
const TUPLE_MAX: usize = 8;

impl Ty {
    /// Reads a type from its syntax.
    ///
    /// # Errors
    /// Returns an error at the part that WIT can't express.
    pub(crate) fn of(ty: &Type) -> syn::Result<Self> {
        match ty {
            Type::Path(path) if path.qself.is_none() => Self::of_path(path),
            Type::Tuple(tuple) if tuple.elems.is_empty() => {
                Err(error(ty, "WIT has no type for `()` here: remove it"))
            }
            Type::Tuple(tuple) if tuple.elems.len() > TUPLE_MAX => {
                Err(error(ty, "a tuple may have at most 8 elements: use a struct"))
            }
            Type::Tuple(tuple) => {
                Ok(Self::Tuple(tuple.elems.iter().map(Self::of).collect::<Result<_, _>>()?))
            }
            Type::Paren(inner) => Self::of(&inner.elem),
            Type::Group(inner) => Self::of(&inner.elem),
            Type::Reference(_) => Err(error(
                ty,
                "a value that crosses the component's boundary must be owned: use `String` for `&str`, `Vec<T>` for `&[T]`",
            )),
            Type::Array(_) | Type::Slice(_) => Err(error(ty, "WIT has no arrays: use `Vec<T>`")),
            Type::ImplTrait(_) | Type::TraitObject(_) | Type::BareFn(_) | Type::Ptr(_) => Err(error(
                ty,
                "only plain values can cross the component's boundary: use a struct or an enum",
            )),
            other => Err(error(other, NO_WIT_TYPE)),
        }
    }

    fn of_path(path: &TypePath) -> syn::Result<Self> {
        let Some(segment) = path.path.segments.last() else {
            return Err(error(path, NO_WIT_TYPE));
        };
        let name = segment.ident.to_string();
        let arguments = type_arguments(&segment.arguments);
        if let Some(primitive) = Primitive::ALL.into_iter().find(|primitive| primitive.rust == name) {
            return Ok(Self::Primitive(primitive));
        }
        match (name.as_str(), arguments.as_slice()) {
            ("Vec", [element]) => Ok(Self::List(Box::new(Self::of(element)?))),
            ("Option", [value]) => Ok(Self::Option(Box::new(Self::of(value)?))),
            ("Result", [value, error]) => {
                Ok(Self::Result(Self::unless_unit(value)?, Self::unless_unit(error)?))
            }
            ("Result", _) => Err(error(
                path,
                "a macro can't expand a type alias: write both types, as in `Result<T, String>`",
            )),
            ("usize", []) => {
                Err(error(path, "the size of `usize` depends on the machine: use `u64` or `u32`"))
            }
            ("isize", []) => {
                Err(error(path, "the size of `isize` depends on the machine: use `i64` or `i32`"))
            }
            ("u128" | "i128", []) => {
                Err(error(path, "WIT has no 128-bit integers: use `u64`, or a `String` of digits"))
            }
            ("str", []) => Err(error(path, "`str` has no size: use `String`")),
            ("HashMap" | "BTreeMap", _) => Err(error(
                path,
                "maps are not supported: use `Vec<(K, V)>`, or a struct if the keys are known",
            )),
            ("HashSet" | "BTreeSet" | "VecDeque", _) => {
                Err(error(path, "this collection is not supported: use `Vec<T>`"))
            }
            ("Box" | "Rc" | "Arc" | "Cow", _) => Err(error(
                path,
                "only plain values can cross the component's boundary: use the type without its wrapper",
            )),
            (_, []) if path.path.segments.len() == 1 => Ok(Self::Named(segment.ident.clone())),
            (_, []) => Err(error(
                path,
                "the macro sees only types of the module with `#[nebula_sdk::function]`: declare this type there",
            )),
            (..) => Err(error(path, "WIT has no generic types: write a struct for this one")),
        }
    }

    /// Reads a type, or returns `None` for `()`.
    fn unless_unit(ty: &Type) -> syn::Result<Option<Box<Self>>> {
        match ty {
            Type::Tuple(tuple) if tuple.elems.is_empty() => Ok(None),
            ty => Self::of(ty).map(Box::new).map(Some),
        }
    }

    /// Returns the type as WIT source.
    pub(crate) fn wit(&self) -> syn::Result<String> {
        Ok(match self {
            Self::Primitive(primitive) => primitive.wit.to_owned(),
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

    /// Returns the type in the bindings.
    pub(crate) fn binding(&self) -> syn::Result<TokenStream> {
        self.rust(&|ident| Name::of(ident).map(|name| name.binding_type()).map(|ident| quote!(#ident)))
    }

    /// Returns the user's type, as seen from a module inside the user's module.
    pub(crate) fn user(&self) -> syn::Result<TokenStream> {
        self.rust(&|ident| Ok(quote!(super::#ident)))
    }

    fn rust(&self, named: &dyn Fn(&Ident) -> syn::Result<TokenStream>) -> syn::Result<TokenStream> {
        let part = |ty: &Option<Box<Self>>| match ty {
            Some(ty) => ty.rust(named),
            None => Ok(quote!(())),
        };
        Ok(match self {
            Self::Primitive(Primitive::STRING) => quote!(::std::string::String),
            Self::Primitive(primitive) => {
                let ident = format_ident!("{}", primitive.rust);
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

    /// Returns the module's own types that this type contains.
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

const NO_WIT_TYPE: &str = "WIT has no type for this: use primitive types, `String`, `Vec`, `Option`, `Result`, \
                           tuples, structs and enums";

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
    fn supported_types_become_wit() {
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
    fn unsupported_types_suggest_an_alternative() {
        for (rust, hint) in [
            ("usize", "u64"),
            ("u128", "u64"),
            ("HashMap<String, u8>", "Vec<(K, V)>"),
            ("&'static str", "String"),
            ("[u8; 4]", "Vec<T>"),
            ("Box<u8>", "wrapper"),
            ("Result<u8>", "Result<T, String>"),
            ("other::Thing", "declare this type there"),
            ("Generic<u8>", "struct"),
        ] {
            let message = wit(rust).unwrap_err();
            assert!(message.contains(hint), "{rust}: {message}");
        }
    }
}
