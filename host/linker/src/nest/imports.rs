//! What components import, as imports of the one that they are put into.
//!
//! An interface of the host that several of them import is imported once, with all that any of them uses of
//! it. One of another version is another import: both are the host's. Types that a component imports, by
//! themselves or in an interface of nothing but types, need nobody to give them: they are made here, for each
//! component on its own, so that two may call different types the same.
//!
//! Nothing here knows what is in those interfaces. If two components disagree about one, what comes of it
//! isn't valid, and whoever reads it finds that.
//!
//! Invariant: however many types components share, what is written of them is bounded by [`WRITTEN_MAX`].

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

use super::NotNested;
use super::read::Read;

/// The host's packages.
pub(crate) const HOST: &str = "wasi:";

/// What is written of types in all: each counts for one, and so does each field, case and parameter, and each
/// [`NAME_BYTES`] of their names. All of WASI's interfaces have some thousands, and each component may want all of them.
const WRITTEN_MAX: usize = 200_000;

/// Of a name, counted as one.
const NAME_BYTES: usize = 32;

/// What a component is instantiated with.
pub(super) type Argument = (String, ComponentExportKind, u32);

/// Imports all that the components do into `outer`; gives the arguments of each.
///
/// # Errors
/// [`NotNested`].
pub(crate) fn import_all(
    components: &[Read],
    outer: &mut ComponentBuilder,
) -> Result<Vec<Vec<Argument>>, NotNested> {
    let left = Cell::new(WRITTEN_MAX);
    let mut merging = Merging {
        components,
        left: &left,
        origins: components.iter().map(origins).collect(),
        outer,
        interfaces: BTreeMap::new(),
        resources: BTreeMap::new(),
    };
    let each = 0..components.len();
    each.map(|component| merging.arguments(component)).collect()
}

/// Where a resource comes from: an imported interface, and what it is called there.
type Origin = (String, String);

/// Of each resource that a component imports, the import that brings it first.
fn origins(component: &Read) -> BTreeMap<ResourceId, Origin> {
    let mut origins = BTreeMap::new();
    for interface in &component.imports {
        let Some(ComponentEntityType::Instance(id)) = component.item(interface) else { continue };
        for (name, export) in &component.types[id].exports {
            if let ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } = export.ty {
                origins.entry(id.resource()).or_insert_with(|| (interface.clone(), name.clone()));
            }
        }
    }
    origins
}

struct Merging<'a> {
    components: &'a [Read],
    left: &'a Cell<usize>,
    /// Of each component.
    origins: Vec<BTreeMap<ResourceId, Origin>>,
    outer: &'a mut ComponentBuilder,
    /// The instance that is imported by that name; nothing while its type is being written.
    interfaces: BTreeMap<String, Option<u32>>,
    /// Those of imported instances that others refer to.
    resources: BTreeMap<Origin, u32>,
}

impl Merging<'_> {
    fn arguments(&mut self, component: usize) -> Result<Vec<Argument>, NotNested> {
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

    /// An instance of plain types, made here.
    fn only_types(&mut self, read: &Read, name: &str, id: ComponentInstanceTypeId) -> Result<u32, NotNested> {
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

    /// The instance that is imported by that name: what any component uses of it.
    fn interface(&mut self, name: &str) -> Result<u32, NotNested> {
        match self.interfaces.get(name) {
            Some(Some(index)) => return Ok(*index),
            Some(None) => return Err(NotNested(format!("`{name}` refers to itself"))),
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
                                let (at, bounds) = ((name, export.as_str()), (component, created));
                                let bounds = self.bounds(bounds, at, &types, &mut scope)?;
                                let index = scope.to.type_count();
                                scope.to.export(export, ComponentTypeRef::Type(bounds));
                                types.insert(export.as_str(), index);
                                index
                            }
                        };
                        scope.know(created, index);
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

    /// What a type that an interface exports is: made there, or the same as another.
    fn bounds(
        &mut self,
        (component, ty): (usize, ComponentAnyTypeId),
        (interface, export): (&str, &str),
        types: &BTreeMap<&str, u32>,
        scope: &mut Scope<'_, InstanceType>,
    ) -> Result<TypeBounds, NotNested> {
        match ty {
            ComponentAnyTypeId::Defined(id) => Ok(TypeBounds::Eq(scope.defined(id)?)),
            ComponentAnyTypeId::Resource(id) => {
                let origin = self.origin(component, id).ok_or_else(|| refused(interface))?;
                if origin.0 != interface {
                    let index = self.resource(origin)?;
                    let local = scope.to.type_count();
                    let kind = ComponentOuterAliasKind::Type;
                    scope.to.alias(Alias::Outer { kind, count: 1, index });
                    return Ok(TypeBounds::Eq(local));
                }
                if origin.1 == export {
                    return Ok(TypeBounds::SubResource);
                }
                types
                    .get(origin.1.as_str())
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

    fn resource(&mut self, origin: Origin) -> Result<u32, NotNested> {
        if let Some(index) = self.resources.get(&origin) {
            return Ok(*index);
        }
        let instance = self.interface(&origin.0)?;
        let index = self.outer.alias_export(instance, &origin.1, ComponentExportKind::Type);
        self.resources.insert(origin, index);
        Ok(index)
    }
}

fn refused(import: &str) -> NotNested {
    NotNested(format!("`{import}` is neither the host's nor types"))
}

/// What writing a type counts for, without those that it refers to.
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

/// Where types can be defined.
trait Definitions {
    /// The next type's index, and what writes it.
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

/// Types of a component, written down somewhere else.
struct Scope<'a, T> {
    read: &'a Read,
    to: &'a mut T,
    left: &'a Cell<usize>,
    known: BTreeMap<ComponentAnyTypeId, u32>,
    /// The same of resources, whatever they were called.
    resources: BTreeMap<ResourceId, u32>,
}

impl<'a, T: Definitions> Scope<'a, T> {
    fn new(read: &'a Read, to: &'a mut T, left: &'a Cell<usize>) -> Self {
        Self { read, to, left, known: BTreeMap::new(), resources: BTreeMap::new() }
    }

    fn know(&mut self, ty: ComponentAnyTypeId, index: u32) {
        self.known.insert(ty, index);
        if let ComponentAnyTypeId::Resource(id) = ty {
            self.resources.insert(id.resource(), index);
        }
    }

    fn resource(&self, id: AliasableResourceId) -> Result<u32, NotNested> {
        let known = self.known.get(&ComponentAnyTypeId::Resource(id));
        let known = known.or_else(|| self.resources.get(&id.resource())).copied();
        known.ok_or_else(|| NotNested("a resource has no name".to_owned()))
    }

    fn function(&mut self, id: ComponentFuncTypeId) -> Result<u32, NotNested> {
        let read = self.read;
        let ty = &read.types[id];
        let params = ty.params.iter().map(|(name, ty)| Ok((name.as_str(), self.value(*ty)?)));
        let params: Vec<_> = params.collect::<Result<_, NotNested>>()?;
        let result = self.maybe(ty.result)?;
        let (index, encoder) = self.to.define();
        encoder.function().async_(ty.async_).params(params).result(result);
        Ok(index)
    }

    fn maybe(
        &mut self,
        ty: Option<component_types::ComponentValType>,
    ) -> Result<Option<ComponentValType>, NotNested> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    fn value(&mut self, ty: component_types::ComponentValType) -> Result<ComponentValType, NotNested> {
        Ok(match ty {
            component_types::ComponentValType::Primitive(ty) => ComponentValType::Primitive(ty.into()),
            component_types::ComponentValType::Type(id) => ComponentValType::Type(self.defined(id)?),
        })
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<u32, NotNested> {
        if let Some(index) = self.known.get(&ComponentAnyTypeId::Defined(id)) {
            return Ok(*index);
        }
        let left = self.left.get().checked_sub(weight(&self.read.types[id]));
        let left = left
            .ok_or_else(|| NotNested("what is imported has too many types, or too large ones".to_owned()))?;
        self.left.set(left);
        let index = self.define(id)?;
        self.known.insert(ComponentAnyTypeId::Defined(id), index);
        Ok(index)
    }

    fn define(&mut self, id: ComponentDefinedTypeId) -> Result<u32, NotNested> {
        let read = self.read;
        // What a type refers to is written before it.
        Ok(match &read.types[id] {
            ComponentDefinedType::Primitive(ty) => self.write(|to| to.primitive((*ty).into())),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.as_str(), self.value(*ty)?)));
                let fields: Vec<_> = fields.collect::<Result<_, NotNested>>()?;
                self.write(|to| to.record(fields))
            }
            ComponentDefinedType::Variant(variant) => {
                let cases =
                    variant.cases.iter().map(|(name, case)| Ok((name.as_str(), self.maybe(case.ty)?)));
                let cases: Vec<_> = cases.collect::<Result<_, NotNested>>()?;
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
                    tuple.types.iter().map(|ty| self.value(*ty)).collect::<Result<_, NotNested>>()?;
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
                return Err(NotNested("a type is none of the host's".to_owned()));
            }
        })
    }

    fn write(&mut self, write: impl FnOnce(ComponentDefinedTypeEncoder<'_>)) -> u32 {
        let (index, encoder) = self.to.define();
        write(encoder.defined_type());
        index
    }
}
