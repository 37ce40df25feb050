//! One import of a function: recognised, read, and compared with the deployed function.
//!
//! An import of a function is an instance `nebula:functions/NAME` of plain types and one function
//! `handle`, or a world-level function with the name of the deployed function.

use nebula_codec as codec;
use nebula_codec::{Signature, Type};
use nebula_model::id::FunctionName;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId,
};

use super::error::{ImportMismatch, InvalidImport};
use crate::nest::{INITIALISES, ParsedComponent};

/// The package whose interfaces stand for deployed functions.
const PACKAGE: &str = "nebula:functions/";

/// A function that a component imports.
pub(super) struct FunctionImport {
    /// The import's name in the component.
    pub(super) import: String,
    /// The deployed function.
    pub(super) name: FunctionName,
    pub(super) signature: Signature,
    /// The interface's types by name; `None` for a world-level function.
    pub(super) interface: Option<Vec<(String, Type)>>,
}

impl FunctionImport {
    /// Reads the import of that name; `None` if it isn't a function's.
    pub(super) fn of(import: &str, component: &ParsedComponent) -> Result<Option<Self>, InvalidImport> {
        let (name, handle, interface) = match (component.item(import), import.strip_prefix(PACKAGE)) {
            (Some(ComponentEntityType::Func(id)), None) => (import, id, None),
            // An interface of types alone imports no function.
            (Some(ComponentEntityType::Instance(_)), Some(_)) if is_types(component, import) => {
                return Ok(None);
            }
            (Some(ComponentEntityType::Instance(id)), Some(name)) => {
                let Interface { types, handle } = Interface::read(import, id, component)?;
                (name, handle, Some(types))
            }
            (
                Some(
                    ComponentEntityType::Func(_)
                    | ComponentEntityType::Instance(_)
                    | ComponentEntityType::Type { .. }
                    | ComponentEntityType::Module(_)
                    | ComponentEntityType::Value(_)
                    | ComponentEntityType::Component(_),
                )
                | None,
                _,
            ) => return Ok(None),
        };
        if name.contains('@') {
            return Err(InvalidImport::Versioned { import: import.to_owned() });
        }
        let name = match name.parse() {
            Ok(name) => name,
            // A world-level import needn't be a deployed function.
            Err(_) if interface.is_none() => return Ok(None),
            Err(source) => return Err(InvalidImport::Name { import: import.to_owned(), source }),
        };
        let signature = component.signature(handle);
        let signature =
            signature.map_err(|source| InvalidImport::Type { import: import.to_owned(), source })?;
        Ok(Some(Self { import: import.to_owned(), name, signature, interface }))
    }

    /// Parses the deployed function and compares its `handle` with the import.
    pub(super) fn check(&self, function: &[u8]) -> Result<ParsedComponent, InvalidImport> {
        let component = ParsedComponent::parse(function)?;
        if component.exports.iter().any(|name| name == INITIALISES) {
            return Err(InvalidImport::Initialises { function: Some(self.name.clone()) });
        }
        let Some(ComponentEntityType::Func(handle)) = component.exported("handle") else {
            return Err(InvalidImport::Form { name: self.name.clone(), form: "not typed" });
        };
        let deployed = component.signature(handle);
        let deployed =
            deployed.map_err(|source| InvalidImport::Type { import: self.import.clone(), source })?;
        match codec::difference(&self.signature, &deployed) {
            None => Ok(component),
            Some(difference) => Err(InvalidImport::Mismatch(Box::new(ImportMismatch {
                function: self.name.clone(),
                imported: codec::signature_excerpt("handle", &self.signature),
                deployed: codec::signature_excerpt("handle", &deployed),
                at: difference.at,
                found: difference.right,
                expected: difference.left,
            }))),
        }
    }
}

/// Returns whether an import is a type, or an interface of types alone.
pub(super) fn is_types(component: &ParsedComponent, name: &str) -> bool {
    match component.item(name) {
        Some(ComponentEntityType::Type { .. }) => true,
        Some(ComponentEntityType::Instance(id)) => {
            let mut exports = component.types[id].exports.values();
            exports.all(|export| matches!(export.ty, ComponentEntityType::Type { .. }))
        }
        Some(
            ComponentEntityType::Func(_)
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Component(_),
        )
        | None => false,
    }
}

/// The contents of an imported interface.
struct Interface {
    types: Vec<(String, Type)>,
    handle: ComponentFuncTypeId,
}

impl Interface {
    fn read(
        import: &str,
        id: ComponentInstanceTypeId,
        component: &ParsedComponent,
    ) -> Result<Self, InvalidImport> {
        let shape = |found: String| InvalidImport::Shape { import: import.to_owned(), found };
        let (mut types, mut handle) = (Vec::new(), None);
        for (name, export) in &component.types[id].exports {
            match export.ty {
                ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } => {
                    let ty = component.ty(name, id);
                    let ty =
                        ty.map_err(|source| InvalidImport::Type { import: import.to_owned(), source })?;
                    types.push((name.clone(), ty));
                }
                ComponentEntityType::Func(id) if name == "handle" => handle = Some(id),
                ComponentEntityType::Func(_) => return Err(shape(format!("a function `{name}`"))),
                ComponentEntityType::Type { .. } => return Err(shape(format!("a resource `{name}`"))),
                ComponentEntityType::Module(_)
                | ComponentEntityType::Value(_)
                | ComponentEntityType::Instance(_)
                | ComponentEntityType::Component(_) => return Err(shape(format!("`{name}`"))),
            }
        }
        Ok(Self { types, handle: handle.ok_or_else(|| shape("no `handle`".to_owned()))? })
    }
}
