//! The types of generated functions: their WAT and their layout in core Wasm and in memory.
//!
//! The layouts are those of the canonical ABI. They are written here a second time, independently
//! of the host, because the host is what these functions test.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The most core values that are passed as parameters; more of them are passed in memory.
pub(super) const FLAT_MAX: usize = 16;

/// A WIT type of a parameter or result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    U8,
    S16,
    S32,
    U64,
    F64,
    Bool,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    /// A list of anything but `u8`.
    List(Box<Type>),
    /// An option of anything but an option.
    Option(Box<Type>),
    Result(Box<Type>, Box<Type>),
    /// The number of cases, at most 8, which are named `c0`, `c1` and so on.
    Enum(usize),
    /// The number of flags, at most 8, which are named `c0`, `c1` and so on.
    Flags(usize),
    /// The payloads of the cases, which are named `c0`, `c1` and so on.
    Variant(Vec<Option<Type>>),
    /// The types of the fields, which are named `f0`, `f1` and so on.
    Record(Vec<Type>),
    Tuple(Vec<Type>),
}

/// A core Wasm type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Core {
    I32,
    I64,
    F64,
}

impl Core {
    pub(super) fn wat(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

impl Type {
    /// Returns the type as WAT, and appends the definitions of types that need a name.
    pub(super) fn wat(&self, definitions: &mut Vec<String>) -> String {
        let names = |count: usize| (0..count).map(|index| format!(" \"c{index}\"")).collect::<String>();
        let text = match self {
            Self::U8 => return "u8".to_owned(),
            Self::S16 => return "s16".to_owned(),
            Self::S32 => return "s32".to_owned(),
            Self::U64 => return "u64".to_owned(),
            Self::F64 => return "f64".to_owned(),
            Self::Bool => return "bool".to_owned(),
            Self::Char => return "char".to_owned(),
            Self::String => return "string".to_owned(),
            Self::Bytes => return "(list u8)".to_owned(),
            Self::List(inner) => return format!("(list {})", inner.wat(definitions)),
            Self::Option(inner) => return format!("(option {})", inner.wat(definitions)),
            Self::Result(ok, err) => {
                return format!("(result {} (error {}))", ok.wat(definitions), err.wat(definitions));
            }
            Self::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| ty.wat(definitions)).collect();
                return format!("(tuple {})", types.join(" "));
            }
            Self::Enum(count) => format!("enum{}", names(*count)),
            Self::Flags(count) => format!("flags{}", names(*count)),
            Self::Variant(cases) => {
                let mut text = "variant".to_owned();
                for (index, case) in cases.iter().enumerate() {
                    let payload = case.as_ref().map_or_else(String::new, |ty| ty.wat(definitions));
                    write!(text, " (case \"c{index}\" {payload})").unwrap();
                }
                text
            }
            Self::Record(fields) => {
                let mut text = "record".to_owned();
                for (index, ty) in fields.iter().enumerate() {
                    write!(text, " (field \"f{index}\" {})", ty.wat(definitions)).unwrap();
                }
                text
            }
        };
        let name = format!("t{}", definitions.len());
        definitions
            .push(format!("(type ${name}' ({text})) (import \"{name}\" (type ${name} (eq ${name}')))"));
        format!("${name}")
    }

    /// Returns the payloads of the cases in order, or `None` if the type has no cases.
    pub(super) fn cases(&self) -> Option<Vec<Option<&Type>>> {
        match self {
            Self::Option(inner) => Some(vec![None, Some(inner)]),
            Self::Result(ok, err) => Some(vec![Some(ok), Some(err)]),
            Self::Variant(cases) => Some(cases.iter().map(Option::as_ref).collect()),
            Self::Enum(count) => Some(vec![None; *count]),
            Self::U8
            | Self::S16
            | Self::S32
            | Self::U64
            | Self::F64
            | Self::Bool
            | Self::Char
            | Self::String
            | Self::Bytes
            | Self::List(_)
            | Self::Flags(_)
            | Self::Record(_)
            | Self::Tuple(_) => None,
        }
    }

    /// Returns the core types that a value is flattened to.
    pub(super) fn flat(&self) -> Vec<Core> {
        match self {
            Self::U8 | Self::S16 | Self::S32 | Self::Bool | Self::Char | Self::Flags(_) => vec![Core::I32],
            Self::U64 => vec![Core::I64],
            Self::F64 => vec![Core::F64],
            Self::String | Self::Bytes | Self::List(_) => vec![Core::I32; 2],
            Self::Record(types) | Self::Tuple(types) => types.iter().flat_map(Self::flat).collect(),
            Self::Option(_) | Self::Result(..) | Self::Variant(_) | Self::Enum(_) => {
                let mut flat = vec![Core::I32];
                for payload in self.cases().into_iter().flatten().flatten() {
                    for (index, core) in payload.flat().into_iter().enumerate() {
                        match flat.get_mut(index + 1) {
                            // The cases share a type that can hold the value of any of them.
                            Some(joined) if *joined != core => *joined = Core::I64,
                            Some(_) => {}
                            None => flat.push(core),
                        }
                    }
                }
                flat
            }
        }
    }

    pub(super) fn align(&self) -> usize {
        match self {
            Self::U8 | Self::Bool | Self::Flags(_) => 1,
            Self::S16 => 2,
            Self::S32 | Self::Char | Self::String | Self::Bytes | Self::List(_) => 4,
            Self::U64 | Self::F64 => 8,
            Self::Record(types) | Self::Tuple(types) => types.iter().map(Self::align).max().unwrap_or(1),
            Self::Option(_) | Self::Result(..) | Self::Variant(_) | Self::Enum(_) => self.payload_at(),
        }
    }

    /// Returns the offset of a case's payload, which follows a byte that holds the index of the
    /// case.
    pub(super) fn payload_at(&self) -> usize {
        self.cases().into_iter().flatten().flatten().map(Self::align).max().unwrap_or(1)
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::U8 | Self::Bool | Self::Flags(_) => 1,
            Self::S16 => 2,
            Self::S32 | Self::Char => 4,
            Self::U64 | Self::F64 | Self::String | Self::Bytes | Self::List(_) => 8,
            Self::Record(types) | Self::Tuple(types) => {
                let end = types.iter().fold(0, |at, ty| aligned(at, ty) + ty.bytes());
                end.next_multiple_of(self.align())
            }
            Self::Option(_) | Self::Result(..) | Self::Variant(_) | Self::Enum(_) => {
                let payload = self.cases().into_iter().flatten().flatten().map(Self::bytes).max();
                let end = payload.map_or(1, |bytes| self.payload_at() + bytes);
                end.next_multiple_of(self.align())
            }
        }
    }
}

/// Returns the offset of a value of type `ty` that follows the offset `at`.
pub(super) fn aligned(at: usize, ty: &Type) -> usize {
    at.next_multiple_of(ty.align())
}

/// Generates any type of at most three levels, with floats.
pub(crate) fn any_type() -> impl Strategy<Value = Type> + Clone {
    type_of(vec![Type::S32, Type::U64, Type::Bool, Type::Char, Type::String, Type::Bytes, Type::F64])
}

/// Generates any type without floats: a step of a pipeline passes NaNs on in canonical form, so
/// floats may change between steps.
pub(crate) fn any_type_without_floats() -> impl Strategy<Value = Type> + Clone {
    type_of(vec![Type::S32, Type::U64, Type::Bool, Type::Char, Type::String, Type::Bytes])
}

/// Generates a type made of `plain` and small types.
fn type_of(plain: Vec<Type>) -> impl Strategy<Value = Type> + Clone {
    let small = prop_oneof![
        Just(Type::U8),
        Just(Type::S16),
        (1_usize..=8).prop_map(Type::Enum),
        (1_usize..=8).prop_map(Type::Flags),
    ];
    let plain = prop_oneof![4 => select(plain), 1 => small].boxed();
    let boxed = |ty: BoxedStrategy<Type>| ty.prop_map(Box::new);
    let option = boxed(plain.clone()).prop_map(Type::Option);
    let inner = prop_oneof![3 => plain.clone(), 1 => option].boxed();
    let record = vec(inner.clone(), 2..4).prop_map(Type::Record).boxed();
    let tuple = vec(plain.clone(), 2..4).prop_map(Type::Tuple).boxed();
    // JSON holds a list of bytes as base64; `Type::Bytes` covers that.
    let item = prop_oneof![2 => plain.clone(), 1 => record.clone(), 1 => tuple.clone()]
        .prop_map(|ty| if ty == Type::U8 { Type::S16 } else { ty });
    let list = boxed(item.boxed()).prop_map(Type::List).boxed();
    let variant = vec(proptest::option::of(inner.clone()), 1..5).prop_map(Type::Variant).boxed();
    let result = (boxed(inner.clone()), boxed(plain.clone())).prop_map(|(ok, err)| Type::Result(ok, err));
    let deep = prop_oneof![list.clone(), variant.clone(), result].boxed();
    let wide = (vec(deep.clone(), 1..3), vec(inner, 1..14))
        .prop_map(|(deep, inner)| Type::Record([deep, inner].concat()));
    prop_oneof![
        10 => plain,
        2 => boxed(prop_oneof![record.clone(), tuple.clone(), deep].boxed()).prop_map(Type::Option),
        3 => record,
        2 => tuple,
        3 => list,
        3 => variant,
        2 => wide,
    ]
}
