//! A component's imports, exports and types, parsed without validating its code.
//!
//! Invariant: a component shares types, and the codec's [`Type`] writes each out in full. One
//! component yields at most [`Budget::INITIAL`] of them, counted before they are made.

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

/// Why components can't be nested in one: one of them is invalid, or has an import that can't be
/// merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NestError(pub(super) String);

/// A component's types, and the names of its imports and exports in order.
pub(crate) struct ParsedComponent {
    pub types: Types,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The types that may still be made for this component.
    budget: Cell<Budget>,
}

/// A number of types, fields, cases and flags, and the bytes of their names.
#[derive(Clone, Copy)]
struct Budget {
    items: usize,
    name_bytes: usize,
}

impl Budget {
    /// Three times the codec's bounds for one function: a component imports several.
    const INITIAL: Self = Self { items: 3 * TYPES_MAX, name_bytes: 3 * NAME_BYTES_MAX };
}

impl ParsedComponent {
    /// Parses a component's imports and exports. Its code isn't validated.
    ///
    /// # Errors
    /// [`NestError`] if the bytes aren't a component.
    pub(crate) fn parse(component: &[u8]) -> Result<Self, NestError> {
        let invalid = |error: wasmparser::BinaryReaderError| NestError(error.message().to_owned());
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
        let types = types.ok_or_else(|| NestError("the component has no end".to_owned()))?;
        Ok(Self { types, imports, exports, budget: Cell::new(Budget::INITIAL) })
    }

    /// Returns whether it exports a function of that name.
    pub(crate) fn exports_function(&self, name: &str) -> bool {
        let item = self.types.component_item_for_export(name);
        item.is_some_and(|item| matches!(item.ty, ComponentEntityType::Func(_)))
    }

    /// Returns the first import with one of these prefixes that brings a function.
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

    /// Returns the type of an import.
    pub(crate) fn item(&self, name: &str) -> Option<ComponentEntityType> {
        self.types.component_item_for_import(name).map(|item| item.ty)
    }

    /// Returns the type of an export.
    pub(crate) fn exported(&self, name: &str) -> Option<ComponentEntityType> {
        self.types.component_item_for_export(name).map(|item| item.ty)
    }

    /// Returns a function's signature, equal to the one that [`reflect`](nebula_codec::reflect)
    /// reads from the compiled component.
    ///
    /// # Errors
    /// [`UnsupportedType`] for types without plain values, or beyond the budget.
    pub(crate) fn signature(&self, id: ComponentFuncTypeId) -> Result<Signature, UnsupportedType> {
        let ty = &self.types[id];
        let mut reflector =
            Reflector { types: &self.types, budget: &self.budget, depth_left: TYPE_DEPTH_MAX };
        let params = ty.params.iter();
        let params = params.map(|(name, ty)| {
            Ok(Field::new(reflector.name(name.as_str())?, reflector.value(name.as_str(), *ty)?))
        });
        let params = params.collect::<Result<_, UnsupportedType>>()?;
        let result = ty.result.map(|ty| reflector.value("result", ty)).transpose()?;
        Ok(Signature { params, result })
    }

    /// Returns one type; `name` names it in an error.
    ///
    /// # Errors
    /// The same as for [`signature`](Self::signature).
    pub(crate) fn ty(&self, name: &str, id: ComponentDefinedTypeId) -> Result<Type, UnsupportedType> {
        let mut reflector =
            Reflector { types: &self.types, budget: &self.budget, depth_left: TYPE_DEPTH_MAX };
        reflector.value(name, ComponentValType::Type(id))
    }
}

/// Converts a component's types to the codec's.
struct Reflector<'a> {
    types: &'a Types,
    budget: &'a Cell<Budget>,
    depth_left: usize,
}

impl Reflector<'_> {
    /// Counts a type, field, case or flag; `name` is empty if it has none.
    fn item(&self, name: &str) -> Result<(), UnsupportedType> {
        let Budget { items, name_bytes } = self.budget.get();
        let items = items.checked_sub(1).ok_or(UnsupportedType::TooManyTypes)?;
        let name_bytes = name_bytes.checked_sub(name.len()).ok_or(UnsupportedType::NamesTooLong)?;
        self.budget.set(Budget { items, name_bytes });
        Ok(())
    }

    /// Counts and returns the name of a field, case or parameter.
    fn name(&self, name: &str) -> Result<String, UnsupportedType> {
        self.item(name)?;
        Ok(name.to_owned())
    }

    /// Converts a type; `at` names the parameter or field in an error.
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
