//! Generators of types and values, for the tests of this crate and others.

#![expect(clippy::unwrap_used, reason = "test support fails by panicking")]

use std::collections::HashSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Val};
use wasmtime::{Config, Engine};

use crate::encode::encode;
use crate::reflect::reflect;
use crate::types::{Primitive, Type};

/// The engine that all reflected types belong to.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
});

/// Returns the type that `ty` has in the component text syntax, after `definitions`.
pub fn reflected_type(definitions: &str, ty: &str) -> Type {
    let func = function(definitions, &[("x", ty)], None);
    reflect(&func).unwrap().params.remove(0).ty
}

/// Returns a function with these named parameters and result, as wasmtime reflects it.
pub fn function(definitions: &str, params: &[(&str, &str)], result: Option<&str>) -> ComponentFunc {
    let params: String = params.iter().map(|(name, ty)| format!("(param \"{name}\" {ty})")).collect();
    let result = result.map(|ty| format!("(result {ty})")).unwrap_or_default();
    let wat = format!(
        r#"(component
            {definitions}
            (type $f (func {params} {result}))
            (import "f" (func (type $f))))"#
    );
    let engine = &*ENGINE;
    let component = Component::new(engine, wat::parse_str(&wat).unwrap()).unwrap();
    let component = component.component_type();
    let (_, import) = component.imports(engine).last().unwrap();
    let ComponentItem::ComponentFunc(func) = import.ty else { panic!("the last import isn't a function") };
    func
}

/// A type before it is part of a component.
#[derive(Clone, Debug)]
enum Shape {
    Primitive(Primitive),
    Flags(usize),
    Enum(usize),
    List(Box<Shape>),
    Option(Box<Shape>),
    Map(&'static str, Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<Shape>),
    Variant(Vec<Option<Shape>>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

impl Shape {
    /// Returns the type's text. Types that need a name are appended to `definitions`.
    fn wat(&self, definitions: &mut Vec<String>) -> String {
        let names = |count: usize| (0..count).map(|index| format!(" \"c{index}\"")).collect::<String>();
        match self {
            Self::Primitive(primitive) => primitive.name().to_owned(),
            Self::List(inner) => format!("(list {})", inner.wat(definitions)),
            Self::Option(inner) => format!("(option {})", inner.wat(definitions)),
            Self::Map(key, value) => format!("(map {key} {})", value.wat(definitions)),
            Self::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| ty.wat(definitions)).collect();
                format!("(tuple {})", types.join(" "))
            }
            Self::Result(ok, err) => {
                let ok = ok.as_ref().map(|ty| ty.wat(definitions)).unwrap_or_default();
                let err = err.as_ref().map(|ty| format!("(error {})", ty.wat(definitions)));
                format!("(result {ok} {})", err.unwrap_or_default())
            }
            Self::Flags(count) => named(format!("(flags{})", names(*count)), definitions),
            Self::Enum(count) => named(format!("(enum{})", names(*count)), definitions),
            Self::Record(fields) => {
                let fields: String = fields
                    .iter()
                    .enumerate()
                    .map(|(index, ty)| format!(" (field \"f{index}\" {})", ty.wat(definitions)))
                    .collect();
                named(format!("(record{fields})"), definitions)
            }
            Self::Variant(cases) => {
                let cases: String = cases
                    .iter()
                    .enumerate()
                    .map(|(index, ty)| {
                        let ty = ty.as_ref().map(|ty| ty.wat(definitions)).unwrap_or_default();
                        format!(" (case \"c{index}\" {ty})")
                    })
                    .collect();
                named(format!("(variant{cases})"), definitions)
            }
        }
    }
}

fn named(definition: String, definitions: &mut Vec<String>) -> String {
    let name = format!("t{}", definitions.len());
    definitions
        .push(format!("(type ${name}' {definition}) (import \"{name}\" (type ${name} (eq ${name}')))"));
    format!("${name}")
}

/// Key types of generated maps. Strings, which have another JSON form, come twice as often.
const KEYS: &[&str] = &["string", "string", "bool", "u8", "s64", "char"];

/// Generates any type that has a JSON form, up to four levels deep.
pub fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        8 => proptest::sample::select(&Primitive::ALL[..]).prop_map(Shape::Primitive),
        1 => (1_usize..9).prop_map(Shape::Flags),
        1 => (1_usize..5).prop_map(Shape::Enum),
    ];
    let shape = leaf.prop_recursive(4, 24, 4, move |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Shape::List),
            boxed.clone().prop_map(Shape::Option),
            (proptest::sample::select(KEYS), boxed.clone()).prop_map(|(key, value)| Shape::Map(key, value)),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Shape::Record),
            proptest::collection::vec(proptest::option::of(inner), 1..4).prop_map(Shape::Variant),
            (proptest::option::of(boxed.clone()), proptest::option::of(boxed))
                .prop_map(|(ok, err)| Shape::Result(ok, err)),
        ]
    });
    shape.prop_map(|shape| {
        let mut definitions = Vec::new();
        let ty = shape.wat(&mut definitions);
        reflected_type(&definitions.join("\n"), &ty)
    })
}

/// Generates any value of `ty`.
pub fn value_of(ty: &Type) -> BoxedStrategy<Val> {
    match ty {
        Type::Primitive(primitive) => primitive_value(*primitive),
        Type::List(element) => proptest::collection::vec(value_of(element), 0..4).prop_map(Val::List).boxed(),
        Type::Record(fields) => fields
            .iter()
            .map(|field| {
                let name = field.name.clone();
                value_of(&field.ty).prop_map(move |value| (name.clone(), value)).boxed()
            })
            .collect::<Vec<_>>()
            .prop_map(Val::Record)
            .boxed(),
        Type::Tuple(types) => types.iter().map(value_of).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Type::Variant(cases) => {
            let cases: Vec<_> = cases
                .iter()
                .map(|case| {
                    let name = case.name.clone();
                    payload(case.payload.as_ref())
                        .prop_map(move |payload| Val::Variant(name.clone(), payload))
                        .boxed()
                })
                .collect();
            proptest::strategy::Union::new(cases).boxed()
        }
        Type::Enum(names) => proptest::sample::select(names.to_vec()).prop_map(Val::Enum).boxed(),
        Type::Flags(names) => {
            let names = names.to_vec();
            let count = names.len();
            proptest::sample::subsequence(names, 0..=count).prop_map(Val::Flags).boxed()
        }
        Type::Option(inner) => {
            proptest::option::of(value_of(inner)).prop_map(|value| Val::Option(value.map(Box::new))).boxed()
        }
        Type::Result(result) => prop_oneof![
            payload(result.ok.as_ref()).prop_map(|payload| Val::Result(Ok(payload))),
            payload(result.err.as_ref()).prop_map(|payload| Val::Result(Err(payload))),
        ]
        .boxed(),
        Type::Map(map) => {
            let (key, value) = (map.key.clone(), map.value.clone());
            proptest::collection::vec((value_of(&key), value_of(&value)), 0..4)
                .prop_map(move |mut entries| {
                    let mut seen = HashSet::new();
                    entries.retain(|(name, _)| seen.insert(json(&key, name)));
                    Val::Map(entries)
                })
                .boxed()
        }
    }
}

fn primitive_value(primitive: Primitive) -> BoxedStrategy<Val> {
    match primitive {
        Primitive::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Primitive::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Primitive::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Primitive::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Primitive::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Primitive::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Primitive::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Primitive::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Primitive::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Primitive::Float32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        Primitive::Float64 => any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).boxed(),
        Primitive::Char => any::<char>().prop_map(Val::Char).boxed(),
        Primitive::String => any::<String>().prop_map(Val::String).boxed(),
    }
}

fn json(ty: &Type, value: &Val) -> Vec<u8> {
    let mut out = Vec::new();
    encode(ty, value, &mut out);
    out
}

fn payload(ty: Option<&Type>) -> BoxedStrategy<Option<Box<Val>>> {
    match ty {
        Some(ty) => value_of(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}
