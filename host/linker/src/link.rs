//! Links a component with the functions it imports into one component.
//!
//! ```text
//! (component
//!     (import "wasi:…" …)                             what any of the components imports, once
//!     (component …) (instance $f …)                   an imported function, as deployed
//!     (component …) (instance $f' (with "handle" $f)) its `handle`, with the types that the import names
//!     …
//!     (component …) (instance $i (with "nebula:functions/f" $f') …)   the importing component
//!     (export "handle" $i "handle"))
//! ```
//!
//! Invariants:
//! * The linked component imports no function: it is a component like any other.
//! * An import and its function have equal types and parameter names, or the component isn't
//!   linked.
//! * The same components give the same bytes.
//!
//! `import` recognises and compares imports. `nest` writes the imports of the host. The caller
//! resolves names to components and admits the result.

mod error;
mod import;

use nebula_codec::Signature;
use nebula_model::form::Form;
use nebula_model::id::FunctionName;
use nebula_model::limits::{COMPONENT_BYTES_MAX, FUNCTIONS_IMPORTED_MAX};
use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentTypeRef};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::{Parser, Payload};

pub use self::error::{ImportMismatch, InvalidImport, InvalidImporter, LinkError};
use self::import::{FunctionImport, is_types};
use crate::nest::{self, HOST, INITIALISES, Names, ParsedComponent, Types};

/// A component that imports functions.
pub struct Importer {
    component: ParsedComponent,
    imports: Vec<FunctionImport>,
}

/// Returns the names of the functions that a component imports, in order; empty if it can't be
/// read.
///
/// Lets a deploy of several components order them.
pub fn imported_functions(component: &[u8]) -> Vec<FunctionName> {
    match Importer::read(component) {
        Ok(Some(importer)) => importer.functions().cloned().collect(),
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// Returns the importing component in a linked one; `None` if there is no nested component.
pub fn importer_of(linked: &[u8]) -> Option<&[u8]> {
    // `link` writes it after its functions.
    components_in(linked).pop()
}

/// Returns the components directly inside of a component, in order; none if it can't be read. Those
/// of a linked one are its functions, as deployed, what connects them, and the importing component.
pub fn components_in(component: &[u8]) -> Vec<&[u8]> {
    let (mut nesting, mut found) = (0_usize, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ComponentSection { unchecked_range, .. }) => {
                if nesting == 0 {
                    found.extend(component.get(unchecked_range));
                }
                nesting += 1;
            }
            Ok(Payload::ModuleSection { .. }) => nesting += 1,
            Ok(Payload::End(_)) => nesting = nesting.saturating_sub(1),
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
    }
    found
}

impl Importer {
    /// Reads an admitted component; `None` if it imports no function.
    ///
    /// # Errors
    /// [`InvalidImport`] if an import looks like a function's and can't be one.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, InvalidImport> {
        let component = ParsedComponent::parse(bytes)?;
        let mut imports = Vec::new();
        for import in &component.imports {
            imports.extend(FunctionImport::of(import, &component)?);
        }
        if imports.len() > FUNCTIONS_IMPORTED_MAX {
            return Err(InvalidImport::TooMany { functions: imports.len() });
        }
        Ok(if imports.is_empty() { None } else { Some(Self { component, imports }) })
    }

    /// Returns the names of the imported functions, in order.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionName> {
        self.imports.iter().map(|import| &import.name)
    }

    /// Links the component with its functions, which are typed and in the order of
    /// [`functions`](Self::functions). `component` is the component that was read.
    ///
    /// The result is at most [`COMPONENT_BYTES_MAX`] long and hasn't been admitted.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link(self, component: &[u8], functions: &[Vec<u8>]) -> Result<Vec<u8>, LinkError> {
        let sum = |bytes: usize, function: &Vec<u8>| bytes.saturating_add(function.len());
        let bytes = functions.iter().fold(component.len(), sum);
        if bytes > COMPONENT_BYTES_MAX {
            return Err(InvalidImport::TooLarge { bytes }.into());
        }
        self.check()?;
        let handlers = handlers(&self.component)?;
        let names = self.names();
        let Self { component: mut importer, imports } = self;
        importer.imports.retain(|name| imports.iter().all(|import| import.import != *name));
        // The importing component comes first, then its functions in order.
        let mut components = vec![importer];
        for (import, function) in imports.iter().zip(functions) {
            components.push(import.check(function)?);
        }

        let mut outer = ComponentBuilder::default();
        let arguments = nest::import_all(&components, &mut outer).map_err(InvalidImport::from)?;
        let mut arguments = arguments.into_iter();
        let mut own = arguments.next().unwrap_or_default();
        let mut types = Types::unnamed();
        for ((import, function), arguments) in imports.iter().zip(functions).zip(arguments) {
            let function = outer.component_raw(None, function);
            let instance = outer.instantiate(None, function, arguments);
            let handle = outer.alias_export(instance, "handle", ComponentExportKind::Func);
            own.push(provide(import, handle, &mut types, &mut outer));
        }
        let importer = outer.component_raw(None, component);
        let importer = outer.instantiate(None, importer, own);
        export_handlers(&handlers, importer, names, &mut outer);
        let linked = outer.finish();
        if linked.len() > COMPONENT_BYTES_MAX {
            return Err(InvalidImport::TooLarge { bytes: linked.len() }.into());
        }
        ParsedComponent::parse(&linked).map_err(InvalidImport::from)?;
        Ok(linked)
    }

    /// Refuses components that can't be linked with any functions.
    fn check(&self) -> Result<(), LinkError> {
        if self.component.exports.iter().any(|name| name == INITIALISES) {
            return Err(InvalidImport::Initialises { function: None }.into());
        }
        let others = self.component.imports.iter().filter(|name| {
            let is_function = self.imports.iter().any(|import| import.import == **name);
            !is_function && !name.starts_with(HOST) && !is_types(&self.component, name)
        });
        let imports: Vec<_> = others.cloned().collect();
        if imports.is_empty() { Ok(()) } else { Err(InvalidImporter::Imports { imports }.into()) }
    }

    /// Returns the component's own names for the types it imports. The linked component keeps them.
    fn names(&self) -> Names {
        let mut names = Names::default();
        let mut want = |name: &str, ty: ComponentAnyTypeId| {
            if let ComponentAnyTypeId::Defined(id) = ty
                && let Ok(ty) = self.component.ty(name, id)
            {
                names.want(ty, name);
            }
        };
        for name in &self.component.imports {
            if let Some(ComponentEntityType::Type { created, .. }) = self.component.item(name) {
                want(name, created);
            }
        }
        // World-level names have precedence over names in interfaces.
        for name in self.component.imports.iter().filter(|name| !name.starts_with(HOST)) {
            let Some(ComponentEntityType::Instance(id)) = self.component.item(name) else { continue };
            for (name, export) in &self.component.types[id].exports {
                if let ComponentEntityType::Type { created, .. } = export.ty {
                    want(name, created);
                }
            }
        }
        names
    }
}

/// An export that receives calls.
struct Handler {
    name: String,
    /// The signature of a function; `None` for an instance.
    signature: Option<Signature>,
}

/// Returns all exports that make a component a function. A component with two is refused later, as
/// one without imports is.
fn handlers(component: &ParsedComponent) -> Result<Vec<Handler>, InvalidImporter> {
    let mut handlers = Vec::new();
    for name in component.exports.iter().filter(|name| Form::of_export(name).is_some()) {
        let signature = match component.exported(name) {
            Some(ComponentEntityType::Func(id)) => Some(component.signature(id)?),
            Some(ComponentEntityType::Instance(_)) => None,
            Some(
                ComponentEntityType::Type { .. }
                | ComponentEntityType::Module(_)
                | ComponentEntityType::Value(_)
                | ComponentEntityType::Component(_),
            )
            | None => return Err(InvalidImporter::NotAFunction),
        };
        handlers.push(Handler { name: name.clone(), signature });
    }
    if handlers.is_empty() {
        Err(InvalidImporter::NoHandle { exports: component.exports.clone() })
    } else {
        Ok(handlers)
    }
}

/// Exports the handlers of the instance `importer` from `outer`.
fn export_handlers(handlers: &[Handler], importer: u32, names: Names, outer: &mut ComponentBuilder) {
    let mut types = Types::named(names);
    for Handler { name, signature } in handlers {
        let (kind, ty) = match signature {
            Some(signature) => {
                let ty = types.function(outer, &signature.params, signature.result.as_ref());
                (ComponentExportKind::Func, Some(ComponentTypeRef::Func(ty)))
            }
            None => (ComponentExportKind::Instance, None),
        };
        let exported = outer.alias_export(importer, name, kind);
        outer.export(name.as_str(), kind, exported, ty);
    }
}

/// Returns the argument that satisfies `import` with the function of index `handle`.
///
/// `types` holds the types already written in `outer`.
fn provide(
    import: &FunctionImport,
    handle: u32,
    types: &mut Types,
    outer: &mut ComponentBuilder,
) -> nest::Argument {
    let name = import.import.clone();
    let Some(interface) = &import.interface else { return (name, ComponentExportKind::Func, handle) };
    // The interface's types have names, and only a component can name types.
    let mut names = Names::default();
    for (name, ty) in interface {
        names.want(ty.clone(), name);
    }
    let mut inner = ComponentBuilder::default();
    let mut named = Types::named(names);
    let indices: Vec<_> = interface.iter().map(|(_, ty)| named.index(&mut inner, ty)).collect();
    let Signature { params, result } = &import.signature;
    let ty = named.function(&mut inner, params, result.as_ref());
    let function = inner.import("handle", ComponentTypeRef::Func(ty));
    for ((name, _), index) in interface.iter().zip(indices) {
        inner.export(name.as_str(), ComponentExportKind::Type, index, None);
    }
    inner.export("handle", ComponentExportKind::Func, function, None);
    let mut with: Vec<_> = named
        .iter()
        .map(|ty| (ty.name.clone(), ComponentExportKind::Type, types.index(outer, &ty.ty)))
        .collect();
    with.push(("handle".to_owned(), ComponentExportKind::Func, handle));
    let inner = outer.component(None, inner);
    (name, ComponentExportKind::Instance, outer.instantiate(None, inner, with))
}

#[cfg(test)]
mod tests;
