//! Types that made-up functions take and give: how they are written, and how they lie in core Wasm and in memory.
//!
//! Layouts are those of the canonical ABI, written down here once more: what a function is made of must not be taken from
//! the host that is tested with it.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Values that travel in registers, at most; more of them are in memory.
pub(super) const FLAT_MAX: usize = 16;

/// A type of WIT that travels.
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
    /// Of anything but `u8`.
    List(Box<Type>),
    /// Of anything but an option.
    Option(Box<Type>),
    Result(Box<Type>, Box<Type>),
    /// Of so many cases, at most 8, called `c0`, `c1` and so on.
    Enum(usize),
    /// Likewise.
    Flags(usize),
    /// Its cases are called `c0`, `c1` and so on.
    Variant(Vec<Option<Type>>),
    /// Its fields are called `f0`, `f1` and so on.
    Record(Vec<Type>),
    Tuple(Vec<Type>),
}

/// A type of core Wasm.
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
    /// Its text; types that need a name are appended to `definitions`.
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

    /// The payloads of its cases, in order; nothing where it isn't one of several.
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

    /// What it is in core Wasm.
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
                            // All cases share what can hold any of them.
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

    /// Where the payload of a case begins: after a byte that says which it is.
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
                let end = types.iter().fold(0, |at, ty| at_next(at, ty) + ty.bytes());
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

/// Where a value of `ty` begins that comes after `at`.
pub(super) fn at_next(at: usize, ty: &Type) -> usize {
    at.next_multiple_of(ty.align())
}

/// Any type that travels, of at most three levels. Floats travel as they are only to and from callers: of NaNs there is
/// one between steps of a pipeline.
pub(crate) fn any_type(with_floats: bool) -> impl Strategy<Value = Type> + Clone {
    let mut plain = vec![Type::S32, Type::U64, Type::Bool, Type::Char, Type::String, Type::Bytes];
    plain.extend(with_floats.then_some(Type::F64));
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
    // Others travel as base64.
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
