//! Types of the codec's, written in a component.
//!
//! A component may name a type in what it imports and exports only if that has a name there itself. So where types are
//! named they are imported, and whoever instantiates the component gives just those.

use std::collections::HashSet;

use nebula_codec::{Field, Primitive, Type};
use wasm_encoder::{
    ComponentBuilder, ComponentDefinedTypeEncoder, ComponentTypeRef, ComponentValType, PrimitiveValType,
    TypeBounds,
};

/// What types are called, if they have to be called anything.
#[derive(Default)]
pub(crate) struct Names {
    wanted: Vec<(Type, String)>,
    /// In lower case: names that differ in nothing else are the same.
    taken: HashSet<String>,
}

impl Names {
    /// Has `ty` called that, unless another name came first or the name is another type's.
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

    /// A name that means nothing where none was wanted.
    fn of(&mut self, ty: &Type, at: usize) -> String {
        if let Some((_, name)) = self.wanted.iter().find(|(wanted, _)| wanted == ty) {
            return name.clone();
        }
        // Of more numbers than there are names one is free.
        let mut free = (at..).map(|number| format!("t{number}")).filter(|name| !self.taken.contains(name));
        let name = free.next().unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}

/// The types that have been written in a component.
pub(crate) struct Types {
    /// Nothing where types need no names.
    names: Option<Names>,
    /// Of those that have to have one where they are named.
    written: Vec<(Type, String, u32)>,
}

impl Types {
    /// Types that have names: imported, as functions that are imported and exported can have no others.
    pub(crate) fn named(names: Names) -> Self {
        Self { names: Some(names), written: Vec::new() }
    }

    /// Types that are there to be given to another component.
    pub(crate) fn unnamed() -> Self {
        Self { names: None, written: Vec::new() }
    }

    /// Those that had to be named, by what they are imported as.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&Type, &str, u32)> {
        self.written.iter().map(|(ty, name, index)| (ty, name.as_str(), *index))
    }

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

    /// The index of a type, whatever it is.
    pub(crate) fn index(&mut self, to: &mut ComponentBuilder, ty: &Type) -> u32 {
        match self.value(to, ty) {
            ComponentValType::Type(index) => index,
            ComponentValType::Primitive(ty) => define(to, |to| to.primitive(ty)),
        }
    }

    fn value(&mut self, to: &mut ComponentBuilder, ty: &Type) -> ComponentValType {
        if let Some((.., index)) = self.written.iter().find(|(known, ..)| known == ty) {
            return ComponentValType::Type(*index);
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
                self.name_it(to, ty, index)
            }
            Type::Variant(cases) => {
                let payload = |ty: &Option<Type>| ty.as_ref().map(|ty| self.value(to, ty));
                let payloads: Vec<_> = cases.iter().map(|case| &case.payload).map(payload).collect();
                let cases: Vec<_> = cases.iter().map(|case| case.name.as_str()).zip(payloads).collect();
                let index = define(to, |to| to.variant(cases));
                self.name_it(to, ty, index)
            }
            Type::Enum(names) => {
                let index = define(to, |to| to.enum_type(names.iter().map(String::as_str)));
                self.name_it(to, ty, index)
            }
            Type::Flags(names) => {
                let index = define(to, |to| to.flags(names.iter().map(String::as_str)));
                self.name_it(to, ty, index)
            }
        };
        ComponentValType::Type(index)
    }

    fn name_it(&mut self, to: &mut ComponentBuilder, ty: &Type, index: u32) -> u32 {
        let (name, index) = match &mut self.names {
            Some(names) => {
                let name = names.of(ty, self.written.len());
                let index = to.import(name.as_str(), ComponentTypeRef::Type(TypeBounds::Eq(index)));
                (name, index)
            }
            None => (String::new(), index),
        };
        self.written.push((ty.clone(), name, index));
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
