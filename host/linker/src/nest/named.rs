//! The codec's types, written in a component.
//!
//! The signature of an imported or exported function may only mention types that the component
//! imports or exports by name. So [`Types::named`] imports records, variants, enums and flags, and
//! the instantiation of the component passes equal types.

use std::collections::HashSet;

use nebula_codec::{Field, Primitive, Type};
use wasm_encoder::{
    ComponentBuilder, ComponentDefinedTypeEncoder, ComponentTypeRef, ComponentValType, PrimitiveValType,
    TypeBounds,
};

/// Names for types that need one.
#[derive(Default)]
pub(crate) struct Names {
    wanted: Vec<(Type, String)>,
    /// Names in use, in lower case: names in a component must differ in more than case.
    taken: HashSet<String>,
}

impl Names {
    /// Reserves `name` for `ty`, unless the type has a name or the name is taken.
    pub(crate) fn want(&mut self, ty: Type, name: &str) {
        let is_named = match &ty {
            Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_) => true,
            Type::Primitive(_)
            | Type::List(_)
            | Type::Map(_)
            | Type::Tuple(_)
            | Type::Option(_)
            | Type::Result(_) => false,
        };
        let is_known = self.wanted.iter().any(|(known, _)| *known == ty);
        if is_named && !is_known && self.taken.insert(name.to_lowercase()) {
            self.wanted.push((ty, name.to_owned()));
        }
    }

    /// Returns the reserved name of a type, or a free one of the form `t7`, numbered from `from`.
    fn of(&mut self, ty: &Type, from: usize) -> String {
        if let Some((_, name)) = self.wanted.iter().find(|(wanted, _)| wanted == ty) {
            return name.clone();
        }
        // There are more numbers than names, so one is free.
        let mut free = (from..).map(|number| format!("t{number}")).filter(|name| !self.taken.contains(name));
        let name = free.next().unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}

/// The types written in a component so far.
pub(crate) struct Types {
    /// `None` if types need no names.
    names: Option<Names>,
    written: Vec<NamedType>,
}

/// A record, variant, enum or flags type written in a component.
pub(crate) struct NamedType {
    pub(crate) ty: Type,
    /// The name under which the component imports it; empty if types need no names.
    pub(crate) name: String,
    /// Index of the type in the component.
    pub(crate) index: u32,
}

impl Types {
    /// Types for the signatures of imported and exported functions: they are imported by name.
    pub(crate) fn named(names: Names) -> Self {
        Self { names: Some(names), written: Vec::new() }
    }

    /// Types that only serve as arguments of nested components.
    pub(crate) fn unnamed() -> Self {
        Self { names: None, written: Vec::new() }
    }

    /// Returns the types that a component with named types imports.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &NamedType> {
        self.written.iter()
    }

    /// Writes a function's type and returns its index.
    pub(crate) fn function(
        &mut self,
        to: &mut ComponentBuilder,
        params: &[Field],
        result: Option<&Type>,
    ) -> u32 {
        let params: Vec<_> =
            params.iter().map(|param| (param.name.as_str(), self.value(to, &param.ty))).collect();
        let result = result.map(|ty| self.value(to, ty));
        let (index, mut function) = to.type_function(None);
        function.params(params).result(result);
        index
    }

    /// Returns the index of a type and writes it if necessary. A primitive type is written each
    /// time.
    pub(crate) fn index(&mut self, to: &mut ComponentBuilder, ty: &Type) -> u32 {
        match self.value(to, ty) {
            ComponentValType::Type(index) => index,
            ComponentValType::Primitive(ty) => define(to, |to| to.primitive(ty)),
        }
    }

    fn value(&mut self, to: &mut ComponentBuilder, ty: &Type) -> ComponentValType {
        if let Some(known) = self.written.iter().find(|known| known.ty == *ty) {
            return ComponentValType::Type(known.index);
        }
        let index = match ty {
            Type::Primitive(ty) => return ComponentValType::Primitive(primitive(*ty)),
            Type::List(element) => {
                let element = self.value(to, element);
                define(to, |to| to.list(element))
            }
            Type::Map(map) => {
                let (key, value) = (self.value(to, &map.key), self.value(to, &map.value));
                define(to, |to| to.map(key, value))
            }
            Type::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| self.value(to, ty)).collect();
                define(to, |to| to.tuple(types))
            }
            Type::Option(inner) => {
                let inner = self.value(to, inner);
                define(to, |to| to.option(inner))
            }
            Type::Result(result) => {
                let ok = result.ok.as_ref().map(|ty| self.value(to, ty));
                let err = result.err.as_ref().map(|ty| self.value(to, ty));
                define(to, |to| to.result(ok, err))
            }
            Type::Record(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|field| (field.name.as_str(), self.value(to, &field.ty))).collect();
                let index = define(to, |to| to.record(fields));
                self.add_named(to, ty, index)
            }
            Type::Variant(cases) => {
                let payload = |ty: &Option<Type>| ty.as_ref().map(|ty| self.value(to, ty));
                let payloads: Vec<_> = cases.iter().map(|case| &case.payload).map(payload).collect();
                let cases: Vec<_> = cases.iter().map(|case| case.name.as_str()).zip(payloads).collect();
                let index = define(to, |to| to.variant(cases));
                self.add_named(to, ty, index)
            }
            Type::Enum(names) => {
                let index = define(to, |to| to.enum_type(names.iter().map(String::as_str)));
                self.add_named(to, ty, index)
            }
            Type::Flags(names) => {
                let index = define(to, |to| to.flags(names.iter().map(String::as_str)));
                self.add_named(to, ty, index)
            }
        };
        ComponentValType::Type(index)
    }

    /// Imports the type at `index` under a name, if types need one, and returns the index to use.
    fn add_named(&mut self, to: &mut ComponentBuilder, ty: &Type, index: u32) -> u32 {
        let (name, index) = match &mut self.names {
            Some(names) => {
                let name = names.of(ty, self.written.len());
                let index = to.import(name.as_str(), ComponentTypeRef::Type(TypeBounds::Eq(index)));
                (name, index)
            }
            None => (String::new(), index),
        };
        self.written.push(NamedType { ty: ty.clone(), name, index });
        index
    }
}

fn define(to: &mut ComponentBuilder, write: impl FnOnce(ComponentDefinedTypeEncoder<'_>)) -> u32 {
    let (index, encoder) = to.type_defined(None);
    write(encoder);
    index
}

fn primitive(ty: Primitive) -> PrimitiveValType {
    match ty {
        Primitive::Bool => PrimitiveValType::Bool,
        Primitive::S8 => PrimitiveValType::S8,
        Primitive::U8 => PrimitiveValType::U8,
        Primitive::S16 => PrimitiveValType::S16,
        Primitive::U16 => PrimitiveValType::U16,
        Primitive::S32 => PrimitiveValType::S32,
        Primitive::U32 => PrimitiveValType::U32,
        Primitive::S64 => PrimitiveValType::S64,
        Primitive::U64 => PrimitiveValType::U64,
        Primitive::Float32 => PrimitiveValType::F32,
        Primitive::Float64 => PrimitiveValType::F64,
        Primitive::Char => PrimitiveValType::Char,
        Primitive::String => PrimitiveValType::String,
    }
}
