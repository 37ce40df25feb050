//! The types of a chain's functions, written in a component.

use wasm_encoder::{
    ComponentBuilder, ComponentDefinedTypeEncoder, ComponentTypeRef, ComponentValType, PrimitiveValType,
    TypeBounds,
};

use super::{Link, answer};
use crate::codec::{Field, Type};

/// The types of the functions of a chain, as they stand in a component.
pub(super) struct Declared {
    /// Of each function.
    pub(super) steps: Vec<u32>,
    /// Of the chain as one.
    pub(super) handle: u32,
    /// Those that had to be named.
    pub(super) named: Named,
}

/// Declares the types of a chain's functions: the same ones by the same names in every component.
pub(super) fn declare(chain: &[Link<'_>], to: &mut ComponentBuilder) -> Declared {
    let mut named = Named::default();
    let steps = chain.iter().map(|link| {
        let result = link.signature.result.as_ref();
        named.function(to, &link.signature.params, result)
    });
    let steps = steps.collect();
    let params = chain.first().map_or([].as_slice(), |first| first.signature.params.as_slice());
    let handle = named.function(to, params, chain.last().and_then(answer));
    Declared { steps, handle, named }
}

/// Types that have to have a name: imported, as functions that are imported and exported can have no others.
#[derive(Default)]
pub(super) struct Named {
    types: Vec<(Type, u32)>,
}

impl Named {
    /// Their names and indices.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (String, u32)> {
        self.types.iter().enumerate().map(|(at, (_, index))| (Self::name(at), *index))
    }

    fn name(at: usize) -> String {
        format!("t{at}")
    }

    pub(super) fn function(
        &mut self,
        to: &mut ComponentBuilder,
        params: &[Field],
        result: Option<&Type>,
    ) -> u32 {
        let params: Vec<_> = params.iter().map(|(name, ty)| (name.as_str(), self.value(to, ty))).collect();
        let result = result.map(|ty| self.value(to, ty));
        let (index, mut function) = to.type_function(None);
        function.params(params).result(result);
        index
    }

    fn value(&mut self, to: &mut ComponentBuilder, ty: &Type) -> ComponentValType {
        if let Some((_, index)) = self.types.iter().find(|(known, _)| known == ty) {
            return ComponentValType::Type(*index);
        }
        let index = match ty {
            Type::Bool => return ComponentValType::Primitive(PrimitiveValType::Bool),
            Type::S8 => return ComponentValType::Primitive(PrimitiveValType::S8),
            Type::U8 => return ComponentValType::Primitive(PrimitiveValType::U8),
            Type::S16 => return ComponentValType::Primitive(PrimitiveValType::S16),
            Type::U16 => return ComponentValType::Primitive(PrimitiveValType::U16),
            Type::S32 => return ComponentValType::Primitive(PrimitiveValType::S32),
            Type::U32 => return ComponentValType::Primitive(PrimitiveValType::U32),
            Type::S64 => return ComponentValType::Primitive(PrimitiveValType::S64),
            Type::U64 => return ComponentValType::Primitive(PrimitiveValType::U64),
            Type::Float32 => return ComponentValType::Primitive(PrimitiveValType::F32),
            Type::Float64 => return ComponentValType::Primitive(PrimitiveValType::F64),
            Type::Char => return ComponentValType::Primitive(PrimitiveValType::Char),
            Type::String => return ComponentValType::Primitive(PrimitiveValType::String),
            Type::List(element) => {
                let element = self.value(to, element);
                define(to, |to| to.list(element))
            }
            Type::Map(map) => {
                let (key, value) = (self.value(to, &map.0), self.value(to, &map.1));
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
                    fields.iter().map(|(name, ty)| (name.as_str(), self.value(to, ty))).collect();
                let index = define(to, |to| to.record(fields));
                self.name_it(to, ty, index)
            }
            Type::Variant(cases) => {
                let payload = |ty: &Option<Type>| ty.as_ref().map(|ty| self.value(to, ty));
                let payloads: Vec<_> = cases.iter().map(|(_, ty)| ty).map(payload).collect();
                let cases: Vec<_> = cases.iter().map(|(name, _)| name.as_str()).zip(payloads).collect();
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
        let name = Self::name(self.types.len());
        let index = to.import(name, ComponentTypeRef::Type(TypeBounds::Eq(index)));
        self.types.push((ty.clone(), index));
        index
    }
}

fn define(to: &mut ComponentBuilder, write: impl FnOnce(ComponentDefinedTypeEncoder<'_>)) -> u32 {
    let (index, encoder) = to.type_defined(None);
    write(encoder);
    index
}
