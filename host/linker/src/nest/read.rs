//! What a component imports and exports, and of which types.
//!
//! Invariant: types are shared in a component and written out by the codec. What is made of them, of one component in all, is
//! bounded before it is made.

use std::cell::Cell;
use std::sync::Arc;

use nebula_codec::{
    Case, Field, MapEntry, NAME_BYTES_MAX, Outcome, Signature, TYPE_DEPTH_MAX, TYPES_MAX, Type,
    UnsupportedType,
};
use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, PrimitiveValType, ValidPayload, Validator, WasmFeatures};

use super::NotNested;

/// A component's types, and what it imports and exports, by name.
pub(crate) struct Read {
    pub types: Types,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// What may still be made of its types.
    left: Cell<Left>,
}

/// Types, fields, cases and flags, and the bytes of their names.
#[derive(Clone, Copy)]
struct Left {
    items: usize,
    name_bytes: usize,
}

/// Of one function so much may be made ([`TYPES_MAX`], [`NAME_BYTES_MAX`]); of all that a component imports, so many times that.
const FUNCTIONS_WORTH: usize = 3;

impl Read {
    /// Reads what a component imports and exports. Its code isn't validated.
    ///
    /// # Errors
    /// [`NotNested`] for what is no component.
    pub(crate) fn of(component: &[u8]) -> Result<Self, NotNested> {
        let invalid = |error: wasmparser::BinaryReaderError| NotNested(error.message().to_owned());
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut depth = 0_usize;
        let mut types = None;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(invalid)?;
            if let ValidPayload::End(ended) = validator.payload(&payload).map_err(invalid)? {
                types = Some(ended);
            }
            if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
                depth += 1;
            } else if let Payload::End(_) = payload {
                depth = depth.saturating_sub(1);
            } else if let (0, Payload::ComponentImportSection(section)) = (depth, &payload) {
                let names = section.clone().into_iter().flatten().map(|import| import.name.name.to_owned());
                imports.extend(names);
            } else if let (0, Payload::ComponentExportSection(section)) = (depth, &payload) {
                let names = section.clone().into_iter().flatten().map(|export| export.name.name.to_owned());
                exports.extend(names);
            }
        }
        let types = types.ok_or_else(|| NotNested("it has no end".to_owned()))?;
        let left = Left { items: FUNCTIONS_WORTH * TYPES_MAX, name_bytes: FUNCTIONS_WORTH * NAME_BYTES_MAX };
        Ok(Self { types, imports, exports, left: Cell::new(left) })
    }

    /// Whether it exports a function of that name.
    pub(crate) fn exports_function(&self, name: &str) -> bool {
        let item = self.types.component_item_for_export(name);
        item.is_some_and(|item| matches!(item.ty, ComponentEntityType::Func(_)))
    }

    /// The first import of a function from an interface that begins so.
    pub(crate) fn imports_function_of(&self, prefixes: &[&str]) -> Option<&str> {
        let named = self.imports.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let mut with_function = named.filter(|name| match self.item(name) {
            Some(ComponentEntityType::Instance(id)) => {
                let mut exports = self.types[id].exports.values();
                exports.any(|export| matches!(export.ty, ComponentEntityType::Func(_)))
            }
            Some(_) | None => true,
        });
        with_function.next().map(String::as_str)
    }

    /// What an import is.
    pub(crate) fn item(&self, name: &str) -> Option<ComponentEntityType> {
        self.types.component_item_for_import(name).map(|item| item.ty)
    }

    /// What an export is.
    pub(crate) fn exported(&self, name: &str) -> Option<ComponentEntityType> {
        self.types.component_item_for_export(name).map(|item| item.ty)
    }

    /// The signature of a function, as [`reflect`](nebula_codec::reflect) tells it of a component that is compiled.
    ///
    /// # Errors
    /// [`UnsupportedType`]: no plain values, or more than could be written out.
    pub(crate) fn signature(&self, id: ComponentFuncTypeId) -> Result<Signature, UnsupportedType> {
        let ty = &self.types[id];
        let mut reflecting = Reflecting { types: &self.types, left: &self.left, depth_left: TYPE_DEPTH_MAX };
        let params = ty.params.iter();
        let params = params.map(|(name, ty)| {
            Ok(Field::new(reflecting.name(name.as_str())?, reflecting.value(name.as_str(), *ty)?))
        });
        let params = params.collect::<Result<_, UnsupportedType>>()?;
        let result = ty.result.map(|ty| reflecting.value("result", ty)).transpose()?;
        Ok(Signature { params, result })
    }

    /// A type by itself.
    ///
    /// # Errors
    /// As of [`signature`](Self::signature).
    pub(crate) fn ty(&self, name: &str, id: ComponentDefinedTypeId) -> Result<Type, UnsupportedType> {
        let mut reflecting = Reflecting { types: &self.types, left: &self.left, depth_left: TYPE_DEPTH_MAX };
        reflecting.value(name, ComponentValType::Type(id))
    }
}

/// Types on their way to the codec's. They are shared here, and written out there, so they are counted.
struct Reflecting<'a> {
    types: &'a Types,
    left: &'a Cell<Left>,
    depth_left: usize,
}

impl Reflecting<'_> {
    /// One more type, field, case or flag; `name` is empty where it has none.
    fn item(&self, name: &str) -> Result<(), UnsupportedType> {
        let Left { items, name_bytes } = self.left.get();
        let items = items.checked_sub(1).ok_or(UnsupportedType::TooManyTypes)?;
        let name_bytes = name_bytes.checked_sub(name.len()).ok_or(UnsupportedType::NamesTooLong)?;
        self.left.set(Left { items, name_bytes });
        Ok(())
    }

    /// The name of a field, case or parameter.
    fn name(&self, name: &str) -> Result<String, UnsupportedType> {
        self.item(name)?;
        Ok(name.to_owned())
    }

    /// `at` names what it is of, for an error.
    fn value(&mut self, at: &str, ty: ComponentValType) -> Result<Type, UnsupportedType> {
        self.item("")?;
        match ty {
            ComponentValType::Primitive(ty) => primitive(at, ty),
            ComponentValType::Type(id) => {
                self.depth_left = self.depth_left.checked_sub(1).ok_or(UnsupportedType::TooDeep)?;
                let ty = self.defined(at, id)?;
                self.depth_left += 1;
                Ok(ty)
            }
        }
    }

    fn maybe(&mut self, at: &str, ty: Option<ComponentValType>) -> Result<Option<Type>, UnsupportedType> {
        ty.map(|ty| self.value(at, ty)).transpose()
    }

    fn names<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Arc<[String]>, UnsupportedType> {
        names.map(|name| self.name(name)).collect()
    }

    fn defined(&mut self, at: &str, id: ComponentDefinedTypeId) -> Result<Type, UnsupportedType> {
        let refuse = |what| Err(no_value(at, what));
        let types = self.types;
        Ok(match &types[id] {
            ComponentDefinedType::Primitive(ty) => primitive(at, *ty)?,
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter();
                let fields =
                    fields.map(|(name, ty)| Ok(Field::new(self.name(name.as_str())?, self.value(at, *ty)?)));
                Type::Record(fields.collect::<Result<_, UnsupportedType>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases = cases
                    .map(|(name, case)| Ok(Case::new(self.name(name.as_str())?, self.maybe(at, case.ty)?)));
                Type::Variant(cases.collect::<Result<_, UnsupportedType>>()?)
            }
            ComponentDefinedType::List { element, .. } => Type::list(self.value(at, *element)?),
            ComponentDefinedType::Map { key, value, .. } => {
                Type::map(MapEntry { key: self.value(at, *key)?, value: self.value(at, *value)? })
            }
            ComponentDefinedType::Tuple(tuple) => {
                let parts = tuple.types.iter().map(|ty| self.value(at, *ty));
                Type::Tuple(parts.collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Flags(names) => {
                Type::Flags(self.names(names.iter().map(|name| name.as_str()))?)
            }
            ComponentDefinedType::Enum(names) => {
                Type::Enum(self.names(names.iter().map(|name| name.as_str()))?)
            }
            ComponentDefinedType::Option { ty, .. } => Type::option(self.value(at, *ty)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                Type::result(Outcome { ok: self.maybe(at, *ok)?, err: self.maybe(at, *err)? })
            }
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return refuse("resource"),
            ComponentDefinedType::FixedLengthList { .. } => return refuse("fixed-length list"),
            ComponentDefinedType::Future { .. } => return refuse("future"),
            ComponentDefinedType::Stream { .. } => return refuse("stream"),
        })
    }
}

fn no_value(at: &str, what: &'static str) -> UnsupportedType {
    UnsupportedType::NoJsonForm { path: at.to_owned(), kind: what }
}

fn primitive(at: &str, ty: PrimitiveValType) -> Result<Type, UnsupportedType> {
    Ok(match ty {
        PrimitiveValType::Bool => Type::BOOL,
        PrimitiveValType::S8 => Type::S8,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::S16 => Type::S16,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::S32 => Type::S32,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::S64 => Type::S64,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::F32 => Type::FLOAT32,
        PrimitiveValType::F64 => Type::FLOAT64,
        PrimitiveValType::Char => Type::CHAR,
        PrimitiveValType::String => Type::STRING,
        PrimitiveValType::ErrorContext => return Err(no_value(at, "error-context")),
    })
}
