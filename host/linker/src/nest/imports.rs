//! The imports of several components, merged into the imports of the component around them.
//!
//! * An interface of the host is imported once for each version, with everything that any component
//!   uses.
//! * Types that a component imports, alone or in an interface of types, need no import: they are
//!   defined in the outer component, separately for each component, so two components may use one
//!   name for different types.
//!
//! The contents of the interfaces are opaque here. If two components declare one interface
//! differently, the outer component is invalid, and the caller finds that when it parses the
//! result.
//!
//! Invariant: the types written count at most [`WRITTEN_MAX`], however components share theirs.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{
    Alias, ComponentBuilder, ComponentDefinedTypeEncoder, ComponentExportKind, ComponentOuterAliasKind,
    ComponentTypeEncoder, ComponentTypeRef, ComponentValType, InstanceType, TypeBounds,
};
use wasmparser::component_types::{
    self, AliasableResourceId, ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId,
    ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId, ResourceId,
};

use super::read::{NestError, ParsedComponent};

/// Prefix of the host's interfaces.
pub(crate) const HOST: &str = "wasi:";

/// The most that is written of types in total: one for each type, field and case, and one more for
/// each [`NAME_BYTES`] of a name. All WASI interfaces together count some thousands, and each
/// component may use them all.
const WRITTEN_MAX: usize = 200_000;

/// Bytes of a name that count as one field or case.
const NAME_BYTES: usize = 32;

/// An argument of an instantiation: name, kind, index.
pub(crate) type Argument = (String, ComponentExportKind, u32);

/// Imports into `outer` what the components import, and returns the arguments of each component.
///
/// # Errors
/// [`NestError`] if an import is neither the host's nor types, or the types are too many.
pub(crate) fn import_all(
    components: &[ParsedComponent],
    outer: &mut ComponentBuilder,
) -> Result<Vec<Vec<Argument>>, NestError> {
    let left = Cell::new(WRITTEN_MAX);
    let mut merger = Merger {
        components,
        left: &left,
        origins: components.iter().map(origins).collect(),
        outer,
        interfaces: BTreeMap::new(),
        resources: BTreeMap::new(),
    };
    let each = 0..components.len();
    each.map(|component| merger.arguments(component)).collect()
}

/// The imported interface that defines a resource, and its name there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    interface: String,
    name: String,
}

/// Maps each resource that a component imports to the first import that exports it.
fn origins(component: &ParsedComponent) -> BTreeMap<ResourceId, Origin> {
    let mut origins = BTreeMap::new();
    for interface in &component.imports {
        let Some(ComponentEntityType::Instance(id)) = component.item(interface) else { continue };
        for (name, export) in &component.types[id].exports {
            if let ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } = export.ty {
                origins
                    .entry(id.resource())
                    .or_insert_with(|| Origin { interface: interface.clone(), name: name.clone() });
            }
        }
    }
    origins
}

/// Writes the merged imports.
struct Merger<'a> {
    components: &'a [ParsedComponent],
    /// The rest of [`WRITTEN_MAX`].
    left: &'a Cell<usize>,
    /// The resources of each component.
    origins: Vec<BTreeMap<ResourceId, Origin>>,
    outer: &'a mut ComponentBuilder,
    /// Index of the instance imported under each name; `None` while its type is being written.
    interfaces: BTreeMap<String, Option<u32>>,
    /// Resources that one interface takes from another.
    resources: BTreeMap<Origin, u32>,
}

/// A type that an interface exports, as one component declares it.
struct InterfaceType<'a> {
    interface: &'a str,
    export: &'a str,
    /// Index of the component.
    component: usize,
    ty: ComponentAnyTypeId,
}

impl Merger<'_> {
    /// Returns the arguments of the component at that index.
    fn arguments(&mut self, component: usize) -> Result<Vec<Argument>, NestError> {
        let components = self.components;
        let Some(read) = components.get(component) else { return Ok(Vec::new()) };
        let mut arguments = Vec::new();
        for name in &read.imports {
            let argument = match read.item(name) {
                Some(ComponentEntityType::Instance(_)) if name.starts_with(HOST) => {
                    (ComponentExportKind::Instance, self.interface(name)?)
                }
                Some(ComponentEntityType::Instance(id)) => {
                    (ComponentExportKind::Instance, self.only_types(read, name, id)?)
                }
                Some(ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. }) => {
                    let mut scope = Scope::new(read, &mut *self.outer, self.left);
                    (ComponentExportKind::Type, scope.defined(id)?)
                }
                Some(ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. }) => {
                    let origin = self.origin(component, id).ok_or_else(|| refused(name))?;
                    (ComponentExportKind::Type, self.resource(origin)?)
                }
                Some(
                    ComponentEntityType::Type { .. }
                    | ComponentEntityType::Module(_)
                    | ComponentEntityType::Func(_)
                    | ComponentEntityType::Value(_)
                    | ComponentEntityType::Component(_),
                )
                | None => return Err(refused(name)),
            };
            arguments.push((name.clone(), argument.0, argument.1));
        }
        Ok(arguments)
    }

    /// Defines an instance of plain types and returns its index.
    fn only_types(
        &mut self,
        read: &ParsedComponent,
        name: &str,
        id: ComponentInstanceTypeId,
    ) -> Result<u32, NestError> {
        let mut bag = ComponentBuilder::default();
        let mut scope = Scope::new(read, &mut *self.outer, self.left);
        for (export, item) in &read.types[id].exports {
            let ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } = item.ty else {
                return Err(refused(name));
            };
            let index = scope.defined(id)?;
            let alias = Alias::Outer { kind: ComponentOuterAliasKind::Type, count: 1, index };
            let inner = bag.alias(None, alias);
            bag.export(export, ComponentExportKind::Type, inner, None);
        }
        let bag = self.outer.component(None, bag);
        Ok(self.outer.instantiate(None, bag, [] as [Argument; 0]))
    }

    /// Imports the interface of that name, with everything that any component uses, and returns its
    /// index.
    fn interface(&mut self, name: &str) -> Result<u32, NestError> {
        match self.interfaces.get(name) {
            Some(Some(index)) => return Ok(*index),
            Some(None) => return Err(NestError(format!("`{name}` refers to itself"))),
            None => {}
        }
        self.interfaces.insert(name.to_owned(), None);
        let components = self.components;
        let mut ty = InstanceType::new();
        let mut types = BTreeMap::new();
        let mut functions = BTreeSet::new();
        for (component, read) in components.iter().enumerate() {
            let Some(ComponentEntityType::Instance(id)) = read.item(name) else { continue };
            let mut scope = Scope::new(read, &mut ty, self.left);
            for (export, item) in &read.types[id].exports {
                match item.ty {
                    ComponentEntityType::Type { created, .. } => {
                        let index = match types.get(export.as_str()) {
                            Some(index) => *index,
                            None => {
                                let ty = InterfaceType { interface: name, export, component, ty: created };
                                let bounds = self.bounds(&ty, &types, &mut scope)?;
                                let index = scope.to.type_count();
                                scope.to.export(export, ComponentTypeRef::Type(bounds));
                                types.insert(export.as_str(), index);
                                index
                            }
                        };
                        scope.record(created, index);
                    }
                    ComponentEntityType::Func(id) => {
                        if functions.insert(export.as_str()) {
                            let index = scope.function(id)?;
                            scope.to.export(export, ComponentTypeRef::Func(index));
                        }
                    }
                    ComponentEntityType::Module(_)
                    | ComponentEntityType::Value(_)
                    | ComponentEntityType::Instance(_)
                    | ComponentEntityType::Component(_) => return Err(refused(name)),
                }
            }
        }
        let ty = self.outer.type_instance(None, &ty);
        let index = self.outer.import(name, ComponentTypeRef::Instance(ty));
        self.interfaces.insert(name.to_owned(), Some(index));
        Ok(index)
    }

    /// Returns the bounds of an exported type: a new resource, or equal to another type.
    ///
    /// `types` maps the interface's earlier exports to their indices.
    fn bounds(
        &mut self,
        ty: &InterfaceType<'_>,
        types: &BTreeMap<&str, u32>,
        scope: &mut Scope<'_, InstanceType>,
    ) -> Result<TypeBounds, NestError> {
        let InterfaceType { interface, export, component, ty } = *ty;
        match ty {
            ComponentAnyTypeId::Defined(id) => Ok(TypeBounds::Eq(scope.defined(id)?)),
            ComponentAnyTypeId::Resource(id) => {
                let origin = self.origin(component, id).ok_or_else(|| refused(interface))?;
                if origin.interface != interface {
                    let index = self.resource(origin)?;
                    let local = scope.to.type_count();
                    let kind = ComponentOuterAliasKind::Type;
                    scope.to.alias(Alias::Outer { kind, count: 1, index });
                    return Ok(TypeBounds::Eq(local));
                }
                if origin.name == export {
                    return Ok(TypeBounds::SubResource);
                }
                types
                    .get(origin.name.as_str())
                    .map(|index| TypeBounds::Eq(*index))
                    .ok_or_else(|| refused(interface))
            }
            ComponentAnyTypeId::Func(_)
            | ComponentAnyTypeId::Instance(_)
            | ComponentAnyTypeId::Component(_) => Err(refused(interface)),
        }
    }

    fn origin(&self, component: usize, resource: AliasableResourceId) -> Option<Origin> {
        self.origins.get(component)?.get(&resource.resource()).cloned()
    }

    fn resource(&mut self, origin: Origin) -> Result<u32, NestError> {
        if let Some(index) = self.resources.get(&origin) {
            return Ok(*index);
        }
        let instance = self.interface(&origin.interface)?;
        let index = self.outer.alias_export(instance, &origin.name, ComponentExportKind::Type);
        self.resources.insert(origin, index);
        Ok(index)
    }
}

fn refused(import: &str) -> NestError {
    NestError(format!("`{import}` is neither an interface of the host nor types"))
}

/// Returns what a type counts toward [`WRITTEN_MAX`], without the types it refers to.
fn weight(ty: &ComponentDefinedType) -> usize {
    fn members<'a>(names: impl Iterator<Item = &'a str>) -> usize {
        names.map(|name| 1 + name.len() / NAME_BYTES).sum()
    }
    1 + match ty {
        ComponentDefinedType::Record(record) => members(record.fields.keys().map(|name| name.as_str())),
        ComponentDefinedType::Variant(variant) => members(variant.cases.keys().map(|name| name.as_str())),
        ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
            members(names.iter().map(|name| name.as_str()))
        }
        ComponentDefinedType::Tuple(tuple) => tuple.types.len(),
        ComponentDefinedType::Primitive(_)
        | ComponentDefinedType::List { .. }
        | ComponentDefinedType::Map { .. }
        | ComponentDefinedType::FixedLengthList { .. }
        | ComponentDefinedType::Option { .. }
        | ComponentDefinedType::Result { .. }
        | ComponentDefinedType::Own(_)
        | ComponentDefinedType::Borrow(_)
        | ComponentDefinedType::Future { .. }
        | ComponentDefinedType::Stream { .. } => 0,
    }
}

/// A place where types can be defined.
trait Definitions {
    /// Returns the index and the encoder of the next type.
    fn define(&mut self) -> (u32, ComponentTypeEncoder<'_>);
}

impl Definitions for ComponentBuilder {
    fn define(&mut self) -> (u32, ComponentTypeEncoder<'_>) {
        self.ty(None)
    }
}

impl Definitions for InstanceType {
    fn define(&mut self) -> (u32, ComponentTypeEncoder<'_>) {
        (self.type_count(), self.ty())
    }
}

/// Copies types of a component to another place.
struct Scope<'a, T> {
    read: &'a ParsedComponent,
    to: &'a mut T,
    left: &'a Cell<usize>,
    /// Indices of the types copied so far.
    known: BTreeMap<ComponentAnyTypeId, u32>,
    /// Indices of the resources copied so far, independent of the alias that named them.
    resources: BTreeMap<ResourceId, u32>,
}

impl<'a, T: Definitions> Scope<'a, T> {
    fn new(read: &'a ParsedComponent, to: &'a mut T, left: &'a Cell<usize>) -> Self {
        Self { read, to, left, known: BTreeMap::new(), resources: BTreeMap::new() }
    }

    /// Records the index of a copied type.
    fn record(&mut self, ty: ComponentAnyTypeId, index: u32) {
        self.known.insert(ty, index);
        if let ComponentAnyTypeId::Resource(id) = ty {
            self.resources.insert(id.resource(), index);
        }
    }

    fn resource(&self, id: AliasableResourceId) -> Result<u32, NestError> {
        let known = self.known.get(&ComponentAnyTypeId::Resource(id));
        let known = known.or_else(|| self.resources.get(&id.resource())).copied();
        known.ok_or_else(|| NestError("a type refers to a resource that no import declares".to_owned()))
    }

    fn function(&mut self, id: ComponentFuncTypeId) -> Result<u32, NestError> {
        let read = self.read;
        let ty = &read.types[id];
        let params = ty.params.iter().map(|(name, ty)| Ok((name.as_str(), self.value(*ty)?)));
        let params: Vec<_> = params.collect::<Result<_, NestError>>()?;
        let result = self.maybe(ty.result)?;
        let (index, encoder) = self.to.define();
        encoder.function().async_(ty.async_).params(params).result(result);
        Ok(index)
    }

    fn maybe(
        &mut self,
        ty: Option<component_types::ComponentValType>,
    ) -> Result<Option<ComponentValType>, NestError> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    fn value(&mut self, ty: component_types::ComponentValType) -> Result<ComponentValType, NestError> {
        Ok(match ty {
            component_types::ComponentValType::Primitive(ty) => ComponentValType::Primitive(ty.into()),
            component_types::ComponentValType::Type(id) => ComponentValType::Type(self.defined(id)?),
        })
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<u32, NestError> {
        if let Some(index) = self.known.get(&ComponentAnyTypeId::Defined(id)) {
            return Ok(*index);
        }
        let left = self.left.get().checked_sub(weight(&self.read.types[id]));
        let left =
            left.ok_or_else(|| NestError("the imports have too many types, or too large ones".to_owned()))?;
        self.left.set(left);
        let index = self.define(id)?;
        self.known.insert(ComponentAnyTypeId::Defined(id), index);
        Ok(index)
    }

    fn define(&mut self, id: ComponentDefinedTypeId) -> Result<u32, NestError> {
        let read = self.read;
        // A type can only refer to types written before it.
        Ok(match &read.types[id] {
            ComponentDefinedType::Primitive(ty) => self.write(|to| to.primitive((*ty).into())),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.as_str(), self.value(*ty)?)));
                let fields: Vec<_> = fields.collect::<Result<_, NestError>>()?;
                self.write(|to| to.record(fields))
            }
            ComponentDefinedType::Variant(variant) => {
                let cases =
                    variant.cases.iter().map(|(name, case)| Ok((name.as_str(), self.maybe(case.ty)?)));
                let cases: Vec<_> = cases.collect::<Result<_, NestError>>()?;
                self.write(|to| to.variant(cases))
            }
            ComponentDefinedType::List { element, .. } => {
                let element = self.value(*element)?;
                self.write(|to| to.list(element))
            }
            ComponentDefinedType::Map { key, value, .. } => {
                let (key, value) = (self.value(*key)?, self.value(*value)?);
                self.write(|to| to.map(key, value))
            }
            ComponentDefinedType::Tuple(tuple) => {
                let types: Vec<_> =
                    tuple.types.iter().map(|ty| self.value(*ty)).collect::<Result<_, NestError>>()?;
                self.write(|to| to.tuple(types))
            }
            ComponentDefinedType::Flags(names) => {
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                self.write(|to| to.flags(names))
            }
            ComponentDefinedType::Enum(names) => {
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                self.write(|to| to.enum_type(names))
            }
            ComponentDefinedType::Option { ty, .. } => {
                let ty = self.value(*ty)?;
                self.write(|to| to.option(ty))
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                let (ok, err) = (self.maybe(*ok)?, self.maybe(*err)?);
                self.write(|to| to.result(ok, err))
            }
            ComponentDefinedType::Own(id) => {
                let resource = self.resource(*id)?;
                self.write(|to| to.own(resource))
            }
            ComponentDefinedType::Borrow(id) => {
                let resource = self.resource(*id)?;
                self.write(|to| to.borrow(resource))
            }
            ComponentDefinedType::FixedLengthList { .. }
            | ComponentDefinedType::Future { .. }
            | ComponentDefinedType::Stream { .. } => {
                return Err(NestError(
                    "a type isn't supported: list of a fixed length, future or stream".to_owned(),
                ));
            }
        })
    }

    fn write(&mut self, write: impl FnOnce(ComponentDefinedTypeEncoder<'_>)) -> u32 {
        let (index, encoder) = self.to.define();
        write(encoder.defined_type());
        index
    }
}
