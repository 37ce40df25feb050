//! Rust types that WIT can express.
//!
//! A macro sees names, not types: it looks a name up among the module's own types, and assumes that
//! any other `String` is the one of std.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{GenericArgument, PathArguments, Type, TypeParamBound, TypePath};

use crate::names::Name;
use crate::scope::{Scope, own_name};

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

    /// Returns whether a primitive type has this name in Rust.
    pub(crate) fn is_named(name: &str) -> bool {
        Self::ALL.iter().any(|primitive| primitive.rust == name)
    }

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
    pub(crate) fn of(ty: &Type, scope: &Scope<'_>) -> syn::Result<Self> {
        match ty {
            Type::Path(path) if path.qself.is_none() => Self::of_path(path, scope),
            Type::Tuple(tuple) if tuple.elems.is_empty() => {
                Err(error(ty, "WIT has no type for `()` here: remove it"))
            }
            Type::Tuple(tuple) if tuple.elems.len() > TUPLE_MAX => {
                Err(error(ty, "a tuple may have at most 8 elements: use a struct"))
            }
            Type::Tuple(tuple) => {
                let elements = tuple.elems.iter().map(|element| Self::of(element, scope));
                Ok(Self::Tuple(elements.collect::<Result<_, _>>()?))
            }
            Type::Paren(inner) => Self::of(&inner.elem, scope),
            Type::Group(inner) => Self::of(&inner.elem, scope),
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

    fn of_path(path: &TypePath, scope: &Scope<'_>) -> syn::Result<Self> {
        if let Some(ty) = scope.expand(&path.path)? {
            return Self::of(&ty, scope);
        }
        let Some(segment) = path.path.segments.last() else {
            return Err(error(path, NO_WIT_TYPE));
        };
        let name = segment.ident.to_string();
        let arguments = type_arguments(&segment.arguments);
        let is_own = own_name(&path.path).is_some_and(|name| scope.item(&name).is_some());
        if is_own && arguments.is_empty() {
            return Ok(Self::Named(segment.ident.clone()));
        }
        if let Some(primitive) = Primitive::ALL.into_iter().find(|primitive| primitive.rust == name) {
            return Ok(Self::Primitive(primitive));
        }
        match (name.as_str(), arguments.as_slice()) {
            ("Vec", [element]) => Ok(Self::List(Box::new(Self::of(element, scope)?))),
            ("Option", [value]) => Ok(Self::Option(Box::new(Self::of(value, scope)?))),
            ("Result", [value, error]) => {
                Ok(Self::Result(Self::unless_unit(value, scope)?, Self::unless_unit(error, scope)?))
            }
            ("Result", _) => Err(error(
                path,
                "the macro sees no alias of `Result` outside of its module: write both types, as in `Result<T, String>`",
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
            ("Box" | "Rc" | "Arc", [Type::TraitObject(object)]) if is_error(object) => {
                Err(error(path, ERROR_IS_A_VALUE))
            }
            ("Box" | "Rc" | "Arc" | "Cow", _) => Err(error(
                path,
                "only plain values can cross the component's boundary: use the type without its wrapper",
            )),
            // The error types of libraries: `anyhow::Error`, `std::num::ParseIntError`.
            (name, []) if name.ends_with("Error") && path.path.segments.len() > 1 => {
                Err(error(path, ERROR_IS_A_VALUE))
            }
            (name, []) => match of_library(name) {
                Some(advice) => Err(error(path, advice)),
                None => Err(scope.unknown(&segment.ident)),
            },
            _ => Err(error(
                path,
                "WIT has no generic types: write a struct for this one, or declare the alias in the module",
            )),
        }
    }

    /// Reads a type, or returns `None` for `()`.
    fn unless_unit(ty: &Type, scope: &Scope<'_>) -> syn::Result<Option<Box<Self>>> {
        match ty {
            Type::Tuple(tuple) if tuple.elems.is_empty() => Ok(None),
            ty => Self::of(ty, scope).map(Box::new).map(Some),
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
            Self::Named(ident) => Name::of_type(ident)?.wit_source(),
        })
    }

    /// Returns the type in the bindings.
    pub(crate) fn binding(&self) -> syn::Result<TokenStream> {
        self.rust(&|ident| Name::of_type(ident).map(|name| name.binding_type()).map(|ident| quote!(#ident)))
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

const ERROR_IS_A_VALUE: &str = "callers get an error as a value: write `Result<T, String>` and \
                                `.map_err(|error| error.to_string())`, or an enum of your own";

/// Returns whether a trait object is `dyn Error`.
fn is_error(object: &syn::TypeTraitObject) -> bool {
    object.bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == "Error"),
        _ => false,
    })
}

/// Returns what to write instead of a well-known type of a library.
fn of_library(name: &str) -> Option<&'static str> {
    Some(match name {
        "Value" => {
            "`Value` holds any JSON, for which WIT has no type: write a struct with the fields, or take a `String` \
             and parse it"
        }
        "Duration" => "WIT has no durations: use a `u64` with the unit in its name, such as `timeout_ms`",
        "SystemTime" | "Instant" | "DateTime" | "NaiveDate" | "NaiveDateTime" => {
            "WIT has no times: use a `String` in RFC 3339, or a `u64` of seconds"
        }
        "PathBuf" | "Path" | "OsString" | "OsStr" | "Uuid" | "Url" | "Uri" => {
            "WIT has no such type: use `String`"
        }
        "Bytes" | "BytesMut" | "ByteBuf" => "WIT has no such type: use `Vec<u8>`",
        _ => return None,
    })
}

fn error(at: &impl ToTokens, message: &str) -> syn::Error {
    syn::Error::new_spanned(at, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "mod own {
        struct StdDev;
        type Points = Vec<(u8, StdDev)>;
        type Result<T, E = String> = std::result::Result<T, Vec<E>>;
        type Deep = Points;
        type Cycle = Other;
        type Other = Cycle;
        type Fixed<const N: usize> = [u8; N];
    }";

    fn wit(rust: &str) -> Result<String, String> {
        let module: syn::ItemMod = syn::parse_str(MODULE).unwrap();
        let (_, items) = module.content.unwrap();
        let scope = || Scope::of(&module.ident, &items);
        let ty: Type = syn::parse_str(rust).unwrap();
        Ty::of(&ty, &scope()).and_then(|ty| ty.wit()).map_err(|error| error.to_string())
    }

    #[test]
    fn supported_types_become_wit() {
        for (rust, expected) in [
            ("i64", "s64"),
            ("std::string::String", "string"),
            ("Vec<u8>", "list<u8>"),
            ("Option<Vec<(u8, char)>>", "option<list<tuple<u8, char>>>"),
            ("std::result::Result<(), String>", "result<_, string>"),
            ("std::result::Result<u8, ()>", "result<u8>"),
            ("Vec<StdDev>", "list<%std-dev>"),
            ("self::StdDev", "%std-dev"),
            ("Option<Deep>", "option<list<tuple<u8, %std-dev>>>"),
            ("self::Points", "list<tuple<u8, %std-dev>>"),
            ("Result<Points>", "result<list<tuple<u8, %std-dev>>, list<string>>"),
            ("Result<(), u8>", "result<_, list<u8>>"),
            ("std::result::Result<u8, u8>", "result<u8, u8>"),
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
            ("io::Result<u8>", "Result<T, String>"),
            ("other::Thing", "move it here, and write `use own::Thing;` where it was"),
            ("Thing", "move it here"),
            ("Cycle", "refers to itself"),
            ("Fixed<3>", "other parameters"),
            ("std::result::Result<u8, Box<dyn std::error::Error + Send>>", "map_err"),
            ("std::result::Result<u8, anyhow::Error>", "map_err"),
            ("Box<dyn Fn(u8)>", "without its wrapper"),
            ("serde_json::Value", "take a `String`"),
            ("Vec<Value>", "take a `String`"),
            ("std::time::Duration", "u64"),
            ("Generic<u8>", "struct"),
        ] {
            let message = wit(rust).unwrap_err();
            assert!(message.contains(hint), "{rust}: {message}");
        }
    }
}
